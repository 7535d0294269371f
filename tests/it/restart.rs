//! hearthd and containers that end without being asked (L9, L10, L11).

use crate::support::config::{alice, and_bob};
use crate::support::{Daemon, Image, docker, wait_for};

/// A configure that goes on until somebody makes `~/go`.
const WAITS: &str = "while [ ! -e ~/go ]; do sleep 0.1; done";

#[test]
fn l11_a_restart_of_hearthd_disturbs_no_workspace() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "sleep 1000 > /dev/null 2>&1 & echo $! > ~/pid"]);
    daemon.restart();
    let after = daemon.show("alice/main");
    for key in ["state", "container", "since", "build"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    wait_for("the helper to dial again", || match daemon.hearth(&["ssh", "alice/main", "--", "true"]) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    daemon.inside("alice/main", &["sh", "-c", "kill -0 $(cat ~/pid)"]);
    assert!(daemon.inside("alice/main", &["hearth", "list", "--json"]).contains("alice/main"), "the token counts on");
}

#[test]
fn l11_killed_in_mid_build_it_converges() {
    let image = Image::coder().configure(WAITS).import();
    let mut daemon = Daemon::start(&alice(&image));
    wait_for("configure", || match daemon.show("alice/main") {
        shown if shown["build"]["stage"] == "configure" => Ok(()),
        shown => Err(shown.to_string()),
    });
    daemon.kill9();
    daemon.up();
    let enter = || daemon.hearth(&["ssh", "alice/main", "--", "touch", "go"]);
    wait_for("the door", || if enter().code == 0 { Ok(()) } else { Err(daemon.show("alice/main").to_string()) });
    let shown = daemon.wait_state("alice/main", "running");
    assert_eq!(shown["build"]["result"], "ok", "{shown}");
    assert_eq!(daemon.containers().len(), 1, "L1");
}

#[test]
fn l11_killed_at_any_moment_it_converges() {
    let image = Image::coder().configure("true").import();
    let mut daemon = Daemon::start(&format!("{}{}", alice(&image), and_bob()));
    for round in 0..6u32 {
        _ = daemon.hearth(&["rebuild", "alice/main", "--detach"]);
        _ = daemon.hearth(&["stop", "bob/main"]);
        // Not a clock: a different point of the build each time.
        let reads = round * 40;
        for _ in 0..reads {
            _ = daemon.get("/v1/status");
        }
        daemon.kill9();
        daemon.up();
    }
    daemon.hearth(&["start", "bob/main"]).ok();
    for workspace in ["alice/main", "bob/main"] {
        daemon.wait_state(workspace, "running");
        daemon.inside(workspace, &["true"]);
    }
    assert_eq!(daemon.containers().len(), 2, "L1");
}

/// Says which workspace one is in.
const WHERE: &[&str] = &["sh", "-c", "echo $HEARTH_WORKSPACE $(cat ~/mark 2>/dev/null)"];

#[test]
fn l11_a_lost_database_disturbs_no_workspace() {
    let image = Image::coder().import();
    // Bob's number is 1, which alice would get next.
    let bob = alice(&image).replace("alice", "bob").replace("games", "www-data");
    let mut daemon = Daemon::start(&bob);
    daemon.wait_state("bob/main", "running");
    daemon.inside("bob/main", &["sh", "-c", "echo mine > ~/mark; sleep 10000 > /dev/null 2>&1 & echo $! > ~/pid"]);
    let before = daemon.containers();
    daemon.down();
    daemon.remove_database();
    daemon.write_config(&format!("{}{}", alice(&image), and_bob()));
    daemon.up();
    for workspace in ["alice/main", "bob/main"] {
        let shown = daemon.wait_state(workspace, "running");
        wait_for("the door", || match daemon.hearth(&["ssh", workspace, "--", "true"]) {
            ran if ran.code == 0 => Ok(()),
            ran => Err(format!("{ran}: {shown}")),
        });
    }
    assert_eq!(daemon.inside("alice/main", WHERE), "alice/main\n");
    assert_eq!(daemon.inside("bob/main", WHERE), "bob/main mine\n");
    daemon.inside("bob/main", &["sh", "-c", "kill -0 $(cat ~/pid)"]);
    assert!(daemon.containers().contains(&before[0]), "bob's container was replaced");
    assert!(daemon.inside("bob/main", &["hearth", "list", "--json"]).contains("bob/main"), "no fresh token");
    assert_eq!(daemon.show("bob/main")["outdated"], serde_json::json!([]));

    daemon.restart();
    wait_for("the door", || match daemon.hearth(&["ssh", "bob/main", "--", "true"]) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    daemon.hearth(&["rebuild", "bob/main"]).ok();
    assert_eq!(daemon.inside("bob/main", WHERE), "bob/main mine\n");
    assert_eq!(daemon.containers().len(), 2, "L1");
}

#[test]
fn l9_a_container_that_somebody_restarts_gets_fresh_secrets() {
    let image = Image::coder().configure("echo once >> ~/configured").import();
    let mut daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    let fresh = |daemon: &Daemon| {
        wait_for("fresh secrets", || match daemon.hearth(&["ssh", "alice/main", "--", "hearth", "list", "--json"]) {
            ran if ran.code == 0 => Ok(()),
            ran => Err(ran.to_string()),
        });
        assert_eq!(daemon.wait_state("alice/main", "running")["container"], before["container"]);
        assert_eq!(daemon.inside("alice/main", &["cat", "configured"]), "once\n", "hooks ran again");
    };
    docker(&["restart", "--time", "2", &daemon.container("alice/main")]).ok();
    fresh(&daemon);
    daemon.down();
    docker(&["restart", "--time", "2", &daemon.container("alice/main")]).ok();
    daemon.up();
    fresh(&daemon);
}

/// The container ends so, and the same one is started again, with nothing but fresh secrets.
#[track_caller]
fn comes_back(lines: &str, ends: impl Fn(&str)) {
    let image = Image::coder().configure("echo once >> ~/configured").import();
    let daemon = Daemon::start(&format!("{}{lines}", alice(&image)));
    let before = daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "echo here > /tmp/still"]);
    let container = daemon.container("alice/main");
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", &container]).ok();
    let first = started();
    ends(&container);
    wait_for("another start", || if started() == first { Err(first.clone()) } else { Ok(()) });
    wait_for("it to be back", || {
        let ran = daemon.hearth(&["ssh", "alice/main", "--", "cat", "/tmp/still"]);
        if ran.code == 0 { Ok(()) } else { Err(ran.to_string()) }
    });
    let after = daemon.wait_state("alice/main", "running");
    assert_eq!((&before["container"], &before["build"]), (&after["container"], &after["build"]));
    assert_eq!(daemon.inside("alice/main", &["cat", "configured"]), "once\n", "hooks ran again");
    assert!(daemon.inside("alice/main", &["hearth", "list", "--json"]).contains("alice/main"), "no fresh secrets");
}

#[test]
fn l9_a_paused_container_is_running_with_a_warning_until_somebody_lets_it_go_on() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    let is_warned = |shown: &serde_json::Value| {
        let warnings = shown["warnings"].as_array().unwrap();
        warnings.iter().any(|warning| warning["kind"] == "paused" && warning["hook"] == "container")
    };
    for (command, warned) in [("pause", true), ("unpause", false)] {
        docker(&[command, &daemon.container("alice/main")]).ok();
        wait_for(command, || match daemon.show("alice/main") {
            shown if is_warned(&shown) == warned => {
                assert_eq!((&shown["state"], &shown["container"]), (&"running".into(), &before["container"]));
                Ok(())
            }
            shown => Err(shown.to_string()),
        });
        let notes = daemon.hearth(&["list"]).stdout().contains("warning");
        assert!(notes || !warned);
    }
    daemon.inside("alice/main", &["true"]);
}

#[test]
fn l9_a_killed_container_is_started_again_as_it_was() {
    comes_back("", |container| drop(docker(&["kill", container]).ok()));
}

#[test]
fn l9_a_container_that_somebody_stops_is_started_again_as_it_was() {
    comes_back("", |container| drop(docker(&["stop", "--time", "2", container]).ok()));
}

#[test]
fn l9_a_container_whose_main_process_the_kernel_ends_for_want_of_memory_is_started_again_as_it_was() {
    comes_back("memory = \"128MiB\"\nshm = \"512MiB\"\n", |container| {
        let fills = "echo 1000 > /proc/1/oom_score_adj && exec dd if=/dev/zero of=/dev/shm/full bs=1M count=300";
        let ran = docker(&["exec", "--user", "0", container, "sh", "-c", fills]);
        assert_eq!(ran.code, 137, "it had the memory: {ran}");
    });
}

#[test]
fn l9_a_removed_container_is_built_anew() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    docker(&["rm", "--force", &daemon.container("alice/main")]).ok();
    wait_for("a new build", || match daemon.show("alice/main") {
        shown if shown["state"] == "running" && shown["container"] != before["container"] => {
            assert_eq!(shown["build"]["reason"], "recovery", "{shown}");
            Ok(())
        }
        shown => Err(shown.to_string()),
    });
}

#[test]
fn l10_a_removed_workspace_goes_and_its_home_waits() {
    let image = Image::coder().import();
    let both = format!("{}{}", alice(&image), and_bob());
    let daemon = Daemon::start(&both);
    for workspace in ["alice/main", "bob/main"] {
        daemon.wait_state(workspace, "running");
    }
    daemon.inside("bob/main", &["sh", "-c", "echo mine > ~/mine"]);
    daemon.write_config(&alice(&image));
    daemon.hearth(&["config", "reload"]).ok();
    wait_for("bob's container to go", || match daemon.containers() {
        one if one.len() == 1 => Ok(()),
        more => Err(format!("{more:?}")),
    });
    docker(&["volume", "inspect", &daemon.home_volume("bob/main")]).ok();

    daemon.write_config(&both);
    daemon.hearth(&["config", "reload"]).ok();
    daemon.wait_state("bob/main", "running");
    assert_eq!(daemon.inside("bob/main", &["cat", "mine"]), "mine\n");
}
