//! The configuration from the outside: refused whole, reloaded, kept (C1, C4, C6).

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::config::{alice, alice_with};
use crate::support::{Daemon, Image, docker, run, wait_for};

const BAD: &str = "[orgs.acme]\nimage = \"x\"\nauto_of = \"2h\"\nstop_grace = 5\n";

/// Asserts that a message names both faults of [`BAD`], each with its place.
fn names_both(message: &str, file: &str) {
    for place in [":3:1:", ":4:14:"] {
        assert!(message.contains(&format!("{file}{place}")), "no {file}{place} in:\n{message}");
    }
    assert!(message.contains("auto_off"), "no suggestion in:\n{message}");
    assert!(message.contains('^'), "no caret in:\n{message}");
}

#[test]
fn c4_check_needs_no_daemon() {
    let daemon = Daemon::prepare("", BAD);
    let check = |file: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.args(["config", "check"]).arg(file).env("HEARTH_SOCKET", "/nonexistent");
        run(command)
    };
    let ran = check(&daemon.config_file());
    assert_eq!(ran.code, 2, "{ran}");
    names_both(&format!("{}{}", ran.stdout(), ran.stderr()), &daemon.conf_d_file().display().to_string());
    daemon.write_config(&alice("busybox"));
    check(&daemon.config_file()).ok();
}

#[test]
fn c1_a_bad_file_at_the_first_start_ends_hearthd_with_2() {
    let daemon = Daemon::prepare("", BAD);
    let said = daemon.run_until_it_ends().fails(2);
    names_both(&said, &daemon.conf_d_file().display().to_string());
    assert_eq!(daemon.containers(), Vec::<String>::new());
}

#[test]
fn c1_a_bad_reload_keeps_the_last_good_one() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    daemon.write_config(BAD);
    let said = daemon.hearth(&["config", "reload"]).fails(2);
    names_both(&said, &daemon.conf_d_file().display().to_string());
    let status = daemon.hearth(&["status", "--json"]).json();
    assert!(status["config"]["rejected"].as_str().unwrap().contains(":3:1:"), "{status}");
    assert!(status["config"]["rejected_since"].is_string(), "{status}");
    assert_eq!(daemon.show("alice/main")["container"], before["container"]);

    // Also after a restart: the accepted copy is in force, and hearthd says so.
    daemon.restart();
    let status = daemon.hearth(&["status", "--json"]).json();
    assert_eq!(status["config"]["from_copy"], true, "{status}");
    assert_eq!(daemon.show("alice/main")["container"], before["container"]);

    daemon.write_config(&alice(&image));
    daemon.hearth(&["config", "reload"]).ok();
    let status = daemon.hearth(&["status", "--json"]).json();
    assert!(status["config"]["rejected"].is_null() && status["config"]["from_copy"] == false, "{status}");
}

#[test]
fn c1_secrets_that_went_bad_keep_no_hearthd_from_starting_and_the_next_build_says_so() {
    let image = Image::coder().import();
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("npm");
    let mode = |mode| std::fs::set_permissions(&secret, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::write(&secret, "s3cret").unwrap();
    mode(0o600);
    let org = format!("[orgs.acme.secrets.NPM_TOKEN]\nfile = \"{}\"", secret.display());
    let mut daemon = Daemon::start(&alice_with(&image, &org, ""));
    let before = daemon.wait_state("alice/main", "running");
    mode(0o644);
    daemon.restart();
    let status = daemon.hearth(&["status", "--json"]).json();
    assert_eq!(status["config"]["from_copy"], true, "{status}");
    assert!(status["config"]["rejected"].as_str().unwrap().contains("others can read"), "{status}");
    assert_eq!(daemon.show("alice/main")["container"], before["container"]);
    let rebuild = || {
        let ran = daemon.hearth(&["rebuild", "alice/main"]);
        assert_ne!(ran.code, 0, "{ran}");
        assert!(ran.to_string().contains(secret.to_str().unwrap()), "{ran}");
    };
    rebuild();
    std::fs::remove_file(&secret).unwrap();
    rebuild();
    std::fs::write(&secret, "s3cret").unwrap();
    mode(0o600);
    daemon.hearth(&["config", "reload"]).ok();
    let status = daemon.hearth(&["status", "--json"]).json();
    assert!(status["config"]["rejected"].is_null() && status["config"]["from_copy"] == false, "{status}");
    daemon.hearth(&["rebuild", "alice/main"]).ok();
}

#[test]
fn c6_limits_change_at_once_and_the_rest_makes_it_outdated() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    let workspace = "cpus = 0.5\nmemory = \"300MiB\"\nenv = { COLOUR = \"blue\" }\n";
    daemon.write_config(&format!("{}{workspace}", alice(&image)));
    daemon.signal(Signal::SIGHUP);
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}";
    wait_for("the new limits", || {
        let limits = docker(&["inspect", "--format", format, &daemon.container("alice/main")]).ok();
        if limits == "500000000 314572800 314572800\n" { Ok(()) } else { Err(limits) }
    });
    let after = wait_for("only env to be outdated", || match daemon.show("alice/main") {
        shown if shown["outdated"] == serde_json::json!(["env"]) => Ok(shown),
        shown => Err(shown.to_string()),
    });
    assert_eq!(after["container"], before["container"]);
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    let after = daemon.show("alice/main");
    assert_eq!(after["outdated"], serde_json::json!([]), "{after}");
    assert!(daemon.inside("alice/main", &["env"]).contains("COLOUR=blue"));
}

#[test]
fn c4_plan_says_what_a_reload_would_do_and_does_nothing() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    let before = daemon.wait_state("alice/main", "running");
    daemon.write_config(&alice_with(&image, "[orgs.acme.env]\nCOLOUR = \"red\"", ""));
    let plan = daemon.hearth(&["config", "plan"]).ok();
    assert!(plan.contains("alice/main") && plan.contains("env"), "{plan}");
    let after = daemon.show("alice/main");
    assert_eq!((&after["container"], &after["outdated"]), (&before["container"], &serde_json::json!([])));
}

#[test]
fn c4_show_names_where_each_value_came_from() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&format!("{}memory = \"256MiB\"\n", alice(&image)));
    let shown = daemon.hearth(&["config", "show", "alice/main", "--json"]).json();
    let file = daemon.conf_d_file().display().to_string();
    let origin = |key: &str| {
        let all = shown.as_array().unwrap_or_else(|| panic!("{shown}"));
        let value = all.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("no {key} in {shown}"));
        value["origin"].as_str().unwrap().to_owned()
    };
    assert_eq!(origin("image"), format!("{file}:2:9"));
    assert!(origin("memory").starts_with(&file), "{}", origin("memory"));
    assert_eq!(origin("auto_off"), "default");
}

#[test]
fn c4_the_schema_is_json_and_knows_the_keys() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command.args(["config", "schema"]).env("HEARTH_SOCKET", "/nonexistent");
    let schema = run(command).json();
    assert!(schema.to_string().contains("auto_off_override"), "{schema}");
}

#[test]
fn c6_limits_that_change_during_a_build_are_in_force_when_it_is_done() {
    let image = Image::coder().configure("while [ ! -e ~/go ]; do sleep 0.1; done").import();
    let daemon = Daemon::start(&alice(&image));
    wait_for("configure", || match daemon.show("alice/main") {
        shown if shown["build"]["stage"] == "configure" => Ok(()),
        shown => Err(shown.to_string()),
    });
    daemon.write_config(&alice_with(&image, "resources = { pids = 777 }", ""));
    daemon.hearth(&["config", "reload"]).ok();
    wait_for("the door", || match daemon.hearth(&["ssh", "alice/main", "--", "touch", "go"]) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    daemon.wait_state("alice/main", "running");
    wait_for("the new limit", || {
        let container = daemon.container("alice/main");
        let pids = docker(&["inspect", &container, "--format", "{{.HostConfig.PidsLimit}}"]).ok();
        let outdated = daemon.show("alice/main")["outdated"].clone();
        if pids == "777\n" && outdated == serde_json::json!([]) { Ok(()) } else { Err(format!("{pids} {outdated}")) }
    });
}

#[test]
fn l10_what_would_remove_many_of_those_that_run_is_refused_until_it_is_meant() {
    let image = Image::coder().import();
    let with = |names: &[&str]| {
        let more: String = names.iter().map(|name| format!("[users.alice.workspaces.{name}]\n")).collect();
        format!("{}{more}", alice(&image))
    };
    let all = ["a", "b", "c", "d", "e"];
    let mut daemon = Daemon::start(&with(&all));
    for name in all.iter().chain(&["main"]) {
        daemon.wait_state(&format!("alice/{name}"), "running");
    }
    // Three may go, however few there are.
    daemon.write_config(&with(&["a"]));
    let plan = daemon.hearth(&["config", "plan"]).ok();
    assert!(plan.contains("refused") && plan.contains("4 of 6") && plan.contains("alice/b"), "{plan}");
    let refused = daemon.hearth(&["config", "reload"]);
    assert_eq!(refused.code, 6, "{refused}");
    assert!(refused.stderr().contains("hearth config reload --yes"), "{refused}");
    let rejected = |daemon: &Daemon| daemon.hearth(&["status", "--json"]).json()["config"]["rejected"].clone();
    assert!(rejected(&daemon).to_string().contains("4 of 6"), "{}", rejected(&daemon));
    daemon.signal(Signal::SIGHUP);
    wait_for("the journal to say so", || match daemon.log() {
        log if log.contains("not reloaded") && log.contains("4 of 6") => Ok(()),
        log => Err(log),
    });
    assert_eq!(daemon.containers().len(), 6);
    // Nor is it by a restart, as an upgrade makes one.
    daemon.restart();
    assert!(rejected(&daemon).to_string().contains("4 of 6"), "{}", rejected(&daemon));
    daemon.wait_state("alice/e", "running");
    assert_eq!(daemon.containers().len(), 6);
    daemon.write_config(&with(&["a", "b"]));
    daemon.hearth(&["config", "reload"]).ok();
    assert!(rejected(&daemon).is_null());
    wait_for("three to be off", || match daemon.containers().len() {
        3 => Ok(()),
        n => Err(n.to_string()),
    });
    daemon.write_config(&with(&all));
    daemon.hearth(&["config", "reload"]).ok();
    for name in all {
        daemon.wait_state(&format!("alice/{name}"), "running");
    }
    daemon.write_config(&with(&["a"]));
    daemon.hearth(&["config", "reload", "--yes"]).ok();
    wait_for("four to be off", || match daemon.containers().len() {
        2 => Ok(()),
        n => Err(n.to_string()),
    });
}

#[test]
fn c6_a_lowered_memory_that_is_in_use_waits_for_the_next_build() {
    let image = Image::coder().import();
    let declared = |lines: &str| format!("{}shm = \"256MiB\"\n{lines}", alice(&image));
    let daemon = Daemon::start(&declared("memory = \"512MiB\"\n"));
    let before = daemon.wait_state("alice/main", "running");
    let limits = || {
        let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}";
        docker(&["inspect", "--format", format, &daemon.container("alice/main")]).ok()
    };
    // 90 % of the limit to come are 115 MiB.
    daemon.inside("alice/main", &["dd", "if=/dev/zero", "of=/dev/shm/full", "bs=1M", "count=118"]);
    daemon.write_config(&declared("cpus = 0.5\nmemory = \"128MiB\"\n"));
    daemon.hearth(&["config", "reload"]).ok();
    let shown = daemon.show("alice/main");
    assert_eq!(
        (&shown["outdated"], &shown["container"]),
        (&serde_json::json!(["memory"]), &before["container"]),
        "{shown}"
    );
    assert_eq!(limits(), "500000000 536870912\n", "what is not in the way changes at once");
    daemon.inside("alice/main", &["rm", "/dev/shm/full"]);
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    assert_eq!(limits(), "500000000 134217728\n");
    assert_eq!(daemon.show("alice/main")["outdated"], serde_json::json!([]));
}

#[test]
fn l3_what_a_reload_declares_is_built_at_once_where_the_org_says_so() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    daemon.wait_state("alice/main", "running");
    let quiet = format!("[orgs.quiet]\nimage = \"{image}\"\npull = \"never\"\nbuild_on_create = false\n");
    let more = "[users.alice.workspaces.two]\n[users.bob]\norgs = [\"quiet\"]\n[users.bob.workspaces.main]\n";
    daemon.write_config(&format!("{}{more}{quiet}", alice(&image)));
    daemon.hearth(&["config", "reload"]).ok();
    let built = daemon.wait_state("alice/two", "running");
    let build = (&built["build"]["number"], &built["build"]["reason"]);
    assert_eq!(build, (&1.into(), &"create".into()), "{built}");
    let off = daemon.show("bob/main");
    assert_eq!((&off["state"], &off["build"]), (&"off".into(), &serde_json::Value::Null), "{off}");
    assert_eq!(daemon.show("alice/main")["build"]["number"], 1, "what was there before is left alone");
}
