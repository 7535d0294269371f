//! What scripts read: the JSON of design section 8, and the exit codes.

use std::process::Command;

use serde_json::Value;

use crate::support::account::GAMES;
use crate::support::config::alice;
use crate::support::{Daemon, Image, run};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn list_has_exactly_the_fields_of_the_design() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&format!("{}cpus = 1.5\nmemory = \"256MiB\"\n", alice(&image)));
    daemon.wait_state("alice/main", "running");
    let list = daemon.hearth(&["list", "--json"]).json();
    let one = &list[0];
    let mut expected = vec![
        "workspace",
        "user",
        "name",
        "org",
        "image",
        "state",
        "since",
        "warnings",
        "outdated",
        "build",
        "last_activity",
        "auto_off",
        "auto_start",
        "resources",
        "usage",
        "connections",
    ];
    expected.sort_unstable();
    assert_eq!(keys(one), expected);
    assert_eq!(keys(&one["build"]), ["ended_at", "number", "reason", "requester", "result", "stage", "started_at"]);
    assert_eq!(keys(&one["auto_off"]), ["at", "held_until", "threshold"]);
    assert_eq!(keys(&one["auto_start"]), ["at", "next", "zone"]);
    assert_eq!(keys(&one["usage"]), ["cpu", "home_bytes", "memory"]);
    assert_eq!(one["resources"], serde_json::json!({"cpus": 1.5, "memory": 268_435_456, "pids": 4096}));
    assert_eq!(one["image"], image.tag);
    for (key, value) in [("workspace", "alice/main"), ("user", "alice"), ("name", "main"), ("org", "acme")] {
        assert_eq!(one[key], value);
    }
    let since: jiff::Timestamp = one["since"].as_str().unwrap().parse().unwrap();
    assert!(one["since"].as_str().unwrap().ends_with('Z'), "{since} is not in UTC");
}

#[test]
fn an_empty_list_is_an_empty_array() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image).replace("[users.alice.workspaces.main]", ""));
    assert_eq!(daemon.hearth(&["list", "--json"]).json(), serde_json::json!([]));
    daemon.hearth_as(GAMES, &["list"]).ok();
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&alice(&image));
    daemon.hearth(&["bogus"]).fails(2);
    daemon.hearth(&["show", "Not A Name"]).fails(2);
    let said = daemon.hearth(&["show", "alice/none"]).fails(5);
    assert!(said.contains("alice/none"), "{said}");
    daemon.wait_state("alice/main", "running");
    daemon.hearth(&["cancel", "alice/main"]).fails(6);
    daemon.down();
    let said = daemon.hearth(&["list"]).fails(3);
    assert!(said.contains("hearth.sock"), "{said}");
}

#[test]
fn completions_and_the_version_need_no_hearthd() {
    for args in [&["--version"][..], &["completion", "bash"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.args(args).env("HEARTH_SOCKET", "/nonexistent");
        assert!(!run(command).ok().is_empty());
    }
}
