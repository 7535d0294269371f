//! A workspace's life: built, stopped, rebuilt, cancelled (design section 4).

use crate::support::account::GAMES;
use crate::support::config::{alice, alice_with, and_bob};
use crate::support::{Daemon, Image, Registry, docker, unique, wait_for};

/// A configure that goes on until somebody makes `~/go`.
const WAITS: &str = "while [ ! -e ~/go ]; do sleep 0.1; done";

#[test]
fn l2_a_toml_file_becomes_a_running_workspace() {
    let image = Image::coder().configure("echo configured; id -un > ~/who; pwd > ~/where").import();
    let daemon = Daemon::start(&alice(&image));
    let shown = daemon.wait_state("alice/main", "running");
    let warnings: Vec<_> = shown["warnings"].as_array().unwrap().iter().map(|warning| &warning["kind"]).collect();
    assert_eq!(
        warnings,
        ["missing", "missing"],
        "a busybox has neither git nor ssh, and nothing else is amiss: {shown}"
    );
    assert_eq!((&shown["build"]["number"], &shown["build"]["reason"]), (&1.into(), &"create".into()), "{shown}");
    assert_eq!(shown["build"]["result"], "ok", "{shown}");
    let stages: Vec<&str> = shown["stages"].as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["pull", "create", "start", "inject", "configure", "personalize"]);
    assert!(daemon.hearth(&["logs", "alice/main"]).ok().contains("configured"));
    assert_eq!(daemon.inside("alice/main", &["cat", "who", "where"]), "coder\n/home/coder\n");
    assert_eq!(daemon.inside("alice/main", &["hostname"]), "main\n");
    assert!(daemon.inside("alice/main", &["cat", "configure.log"]).contains("configured"), "H4");
}

#[test]
fn l3_a_workspace_stays_off_where_the_org_says_so() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice_with(&image, "build_on_create = false", ""));
    let shown = daemon.wait_state("alice/main", "off");
    assert_eq!(shown["build"], serde_json::Value::Null, "{shown}");
    daemon.hearth_as(GAMES, &["start", "main"]).ok();
    let shown = daemon.wait_state("alice/main", "running");
    assert_eq!((&shown["build"]["reason"], &shown["build"]["requester"]), (&"user".into(), &"games".into()), "{shown}");
}

#[test]
fn l7_a_stop_takes_all_but_the_home() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "echo kept > ~/kept; echo lost > /tmp/lost"]);
    daemon.hearth(&["stop", "alice/main"]).ok();
    assert_eq!(daemon.show("alice/main")["state"], "off");
    assert_eq!(daemon.containers(), Vec::<String>::new());
    docker(&["volume", "inspect", &daemon.home_volume("alice/main")]).ok();
    daemon.hearth(&["stop", "alice/main"]).ok();

    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(daemon.inside("alice/main", &["cat", "kept"]), "kept\n");
    assert_eq!(daemon.inside("alice/main", &["ls", "/tmp"]), "");
    assert_eq!(daemon.show("alice/main")["build"]["reason"], "admin");
}

#[test]
fn l6_a_rebuild_picks_up_a_moved_tag() {
    let registry = Registry::start();
    let name = registry.push(&Image::coder().file("/version", 0o644, "one").import(), "dev:latest");
    let daemon = Daemon::start(&alice_with(&name, "pull = \"always\"", ""));
    let before = daemon.wait_state("alice/main", "running");
    assert_eq!(daemon.inside("alice/main", &["cat", "/version"]), "one");

    registry.push(&Image::coder().file("/version", 0o644, "two").import(), "dev:latest");
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    let after = daemon.show("alice/main");
    assert_eq!(daemon.inside("alice/main", &["cat", "/version"]), "two");
    assert_ne!(before["image_digest"], after["image_digest"]);
    assert_ne!(before["container"], after["container"]);
    assert_eq!(daemon.containers().len(), 1, "L1");
}

#[test]
fn l6_a_failed_pull_leaves_the_running_container() {
    let (registry, image) = (Registry::start(), Image::coder().import());
    let daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    let missing = registry.name("missing:latest");
    daemon.write_config(&alice_with(&missing, "pull = \"always\"", ""));
    daemon.hearth(&["config", "reload"]).ok();
    assert_eq!(daemon.show("alice/main")["outdated"], serde_json::json!(["image"]));

    let said = daemon.hearth(&["rebuild", "alice/main"]).fails(1);
    assert!(said.contains(&missing), "{said}");
    let after = daemon.show("alice/main");
    assert_eq!((&after["state"], &after["build"]["result"]), (&"running".into(), &"failed".into()), "{after}");
    assert_eq!(before["container"], after["container"]);
    assert!(after["failure"].as_str().unwrap().contains(&missing), "{after}");
    let inside = daemon.inside("alice/main", &["hearth", "list", "--json"]);
    assert!(inside.contains("alice/main"), "the token is not valid any more: {inside}");
}

#[test]
fn l6_with_the_registry_down_the_local_image_serves_with_a_warning() {
    let mut registry = Registry::start();
    let name = registry.push(&Image::coder().import(), "dev:latest");
    let daemon = Daemon::start(&alice_with(&name, "pull = \"always\"", ""));
    let before = daemon.wait_state("alice/main", "running");
    registry.down();
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    let after = daemon.show("alice/main");
    assert_ne!(before["container"], after["container"]);
    let warning = &after["warnings"][0];
    assert_eq!((&warning["hook"], &warning["kind"]), (&"pull".into(), &"stale-image".into()), "{after}");
}

#[test]
fn l8_a_failed_hook_is_a_warning_on_a_running_workspace() {
    let image = Image::coder().configure("echo the reason; exit 3").import();
    let daemon = Daemon::start(&alice(&image));
    let shown = daemon.wait_state("alice/main", "running");
    let warning = &shown["warnings"][0];
    assert_eq!((&warning["hook"], &warning["kind"]), (&"configure".into(), &"exit".into()), "{shown}");
    assert_eq!((&warning["exit_code"], &warning["tail"]), (&3.into(), &serde_json::json!(["the reason"])), "{shown}");
    assert_eq!(shown["build"]["result"], "ok", "{shown}");
    let told = daemon.hearth(&["show", "alice/main"]).ok();
    assert!(told.contains("configure") && told.contains("the reason"), "{told}");
    daemon.inside("alice/main", &["true"]);
}

#[test]
fn l8_an_image_that_is_nowhere_fails_the_build_and_names_it() {
    let missing = format!("hearth-{}:latest", unique());
    let daemon = Daemon::start(&alice(&missing));
    let shown = daemon.wait_state("alice/main", "failed");
    assert!(shown["failure"].as_str().unwrap().contains(&missing), "{shown}");
    assert_eq!(daemon.containers(), Vec::<String>::new());
    let said = daemon.hearth(&["start", "alice/main"]).fails(1);
    assert!(said.contains(&missing), "{said}");

    let mended = Image::coder().import_as(&missing);
    daemon.hearth(&["start", "alice/main"]).ok();
    drop(mended);
}

#[test]
fn l2_people_may_enter_while_hooks_run() {
    let image = Image::coder().configure(WAITS).import();
    let daemon = Daemon::start(&alice(&image));
    let entered = || daemon.hearth(&["ssh", "alice/main", "--", "true"]);
    wait_for("the door to open", || if entered().code == 0 { Ok(()) } else { Err(entered().to_string()) });
    let shown = daemon.show("alice/main");
    assert_eq!((&shown["state"], &shown["build"]["stage"]), (&"building".into(), &"configure".into()), "{shown}");
    daemon.inside("alice/main", &["touch", "go"]);
    daemon.wait_state("alice/main", "running");
}

#[test]
fn l13_two_starts_at_once_are_one_build() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice_with(&image, "build_on_create = false", ""));
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3).map(|_| scope.spawn(|| daemon.hearth(&["start", "alice/main"]).ok())).collect();
        starts.into_iter().for_each(|start| drop(start.join().unwrap()));
    });
    let shown = daemon.show("alice/main");
    assert_eq!((&shown["state"], &shown["build"]["number"]), (&"running".into(), &1.into()), "{shown}");
    assert_eq!(daemon.containers().len(), 1, "L1");
}

#[test]
fn l13_a_running_build_can_be_cancelled() {
    let image = Image::coder().configure(WAITS).import();
    let daemon = Daemon::start(&alice(&image));
    wait_for("configure", || match daemon.show("alice/main") {
        shown if shown["build"]["stage"] == "configure" => Ok(()),
        shown => Err(shown.to_string()),
    });
    daemon.hearth(&["cancel", "alice/main"]).ok();
    let shown = daemon.wait_state("alice/main", "off");
    assert_eq!(shown["build"]["result"], "cancelled", "{shown}");
    wait_for("no container", || match daemon.containers() {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{some:?}")),
    });
    daemon.hearth(&["cancel", "alice/main"]).fails(6);
}

#[test]
fn l13_a_queued_build_can_be_cancelled_and_the_others_go_on() {
    let image = Image::coder().configure(WAITS).import();
    let config = format!("{}{}", alice(&image), and_bob());
    let daemon = Daemon::start_with("max_builds = 1", &config);
    let queued = wait_for("one to be queued", || {
        let all = daemon.hearth(&["list", "--json"]).json();
        let all = all.as_array().unwrap();
        let queued = all.iter().find(|workspace| workspace["state"] == "queued");
        queued.map(|workspace| workspace["workspace"].as_str().unwrap().to_owned()).ok_or(format!("{all:?}"))
    });
    let other = if queued == "alice/main" { "bob/main" } else { "alice/main" };
    daemon.hearth(&["cancel", &queued]).ok();
    daemon.wait_state(&queued, "off");
    let enter = || daemon.hearth(&["ssh", other, "--", "touch", "go"]);
    wait_for("the door", || if enter().code == 0 { Ok(()) } else { Err(daemon.show(other).to_string()) });
    daemon.wait_state(other, "running");
}

#[test]
fn l13_commands_for_what_is_already_so_are_done_at_once() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(daemon.show("alice/main")["container"], before["container"]);
    daemon.hearth(&["start", "alice/none"]).fails(5);
}

#[test]
fn start_follows_the_build_with_a_line_per_stage() {
    let image = Image::coder().configure("echo quiet").import();
    let daemon = Daemon::start(&alice_with(&image, "build_on_create = false", ""));
    let ran = daemon.hearth(&["start", "alice/main"]);
    ran.ok();
    let told = format!("{}{}", ran.stdout(), ran.stderr());
    for stage in ["create", "start", "inject", "configure"] {
        assert!(told.lines().any(|line| line.contains(stage)), "no line for {stage}: {told}");
    }
    assert!(!told.contains("quiet"), "a hook's output without -v: {told}");
    daemon.hearth(&["rebuild", "alice/main", "--detach"]).ok();
    let verbose = daemon.hearth(&["start", "alice/main"]);
    verbose.ok();
}
