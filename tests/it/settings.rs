//! What members set by command (C6, C7), end to end.

use serde_json::{Value, json};

use crate::support::account::{BACKUP, GAMES, LIST, NOBODY, WWW_DATA};
use crate::support::config::{alice_with, and_bob};
use crate::support::{Daemon, Image, ImageTag, docker};

const ORG: &str = "auto_off = \"2h\"\nauto_off_override = \"modify\"\nauto_off_max = \"12h\"\nmanagers = [\"backup\"]\n\
                   limits = { cpus = 1.5, memory = \"1GiB\", ports = [\"18000-18999\"] }\n";

fn daemon(image: &ImageTag, org: &str) -> Daemon {
    let config = format!("{}{}", alice_with(image, &format!("{ORG}{org}"), ""), and_bob());
    let daemon = Daemon::start_with("auditors = [\"list\"]", &config);
    daemon.wait_state("alice/main", "running");
    daemon
}

/// What `config show` says of a key: its value and where it comes from.
fn in_force(daemon: &Daemon, key: &str) -> (String, String) {
    let rows = daemon.hearth(&["config", "show", "alice/main", "--json"]).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["key"] == key);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    row.map_or(("none".into(), String::new()), |row| (text(row, "value"), text(row, "origin")))
}

fn limits(daemon: &Daemon) -> String {
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}";
    docker(&["inspect", "--format", format, &daemon.container("alice/main")]).ok().trim().to_owned()
}

#[test]
fn c7_what_members_set_counts_as_c6_says_and_outlives_hearthd() {
    let image = Image::coder().import();
    let mut daemon = daemon(&image, "");
    let before = daemon.show("alice/main");

    let said = daemon.hearth_as(GAMES, &["set", "main", "cpus=0.5", "memory=300MiB", "auto_off=4h"]).ok();
    assert!(said.contains("cpus = 0.5 (hearth set)") && said.contains("takes effect at once"), "{said}");
    assert_eq!(limits(&daemon), "500000000 314572800 314572800", "the answer comes when it is done");
    let after = daemon.show("alice/main");
    assert_eq!((&after["outdated"], &after["container"]), (&json!([]), &before["container"]), "{after}");
    assert_eq!(
        (&after["auto_off"]["threshold"], &after["resources"]["cpus"]),
        (&json!(14_400), &json!(0.5)),
        "{after}"
    );

    let said = daemon.hearth_as(GAMES, &["set", "main", "env.COLOUR=blue", "ports=18042:80"]).ok();
    assert!(said.contains("at its next build: `hearth rebuild alice/main`"), "{said}");
    assert_eq!(daemon.show("alice/main")["outdated"], json!(["env", "ports"]));

    daemon.restart();
    daemon.wait_state("alice/main", "running");
    assert_eq!(in_force(&daemon, "cpus"), ("0.5".into(), "hearth set".into()));
    assert_eq!(in_force(&daemon, "env.COLOUR"), ("blue".into(), "hearth set".into()));
    assert_eq!(daemon.show("alice/main")["outdated"], json!(["env", "ports"]));

    daemon.hearth_as(GAMES, &["rebuild", "main"]).ok();
    assert!(daemon.inside("alice/main", &["env"]).contains("COLOUR=blue"));
    assert!(docker(&["port", &daemon.container("alice/main")]).ok().contains("127.0.0.1:18042"));
    assert_eq!(daemon.show("alice/main")["outdated"], json!([]));

    let reset = daemon.hearth_as(GAMES, &["reset", "main", "cpus", "memory", "env.COLOUR", "--json"]).json();
    assert_eq!(reset["settings"][0]["origin"], "default", "{reset}");
    assert_ne!(limits(&daemon).split(' ').next(), Some("500000000"));
    assert_eq!(daemon.show("alice/main")["outdated"], json!(["env"]));

    let audit = daemon.hearth(&["audit", "--json"]).json();
    let line = audit.as_array().unwrap().iter().find(|line| line["what"] == "set").unwrap();
    assert_eq!((&line["who"], &line["workspace"]), (&json!("games"), &json!("alice/main")), "{line}");
    assert!(line["before"].as_str().unwrap().contains("cpus = unlimited"), "{line}");
    assert!(line["after"].as_str().unwrap().contains("cpus = 0.5"), "{line}");
    assert!(!audit.to_string().contains("blue"), "a value of the environment is in the audit log");
}

#[test]
fn c7_a_lowered_ceiling_wins_at_once() {
    let image = Image::coder().import();
    let daemon = daemon(&image, "");
    daemon.hearth_as(GAMES, &["set", "main", "cpus=1.5", "auto_off=12h"]).ok();
    let lower = ORG.replace("cpus = 1.5", "cpus = 1.0").replace("12h", "3h");
    daemon.write_config(&alice_with(&image, &lower, ""));
    daemon.hearth(&["config", "reload"]).ok();
    assert_eq!(limits(&daemon).split(' ').next(), Some("1000000000"));
    assert_eq!(in_force(&daemon, "cpus"), ("1.0".into(), "hearth set, bounded by the org".into()));
    assert_eq!(in_force(&daemon, "auto_off"), ("3h".into(), "hearth set, bounded by the org".into()));
}

#[test]
fn c7_what_is_refused_changes_nothing_and_says_why() {
    let image = Image::coder().import();
    let daemon = daemon(&image, "");
    let set = |args: &[&str]| daemon.hearth_as(GAMES, &[&["set", "main"], args].concat());
    for (args, code, text) in [
        (&["cpus=0.5", "memory=2GiB"][..], 4, "limits `memory` to 1GiB"),
        (&["image=debian:12"], 4, "does not permit this image"),
        (&["auto_off=never"], 4, "auto_off_max"),
        (&["ports=9000:80"], 4, "18000-18999"),
        (&["pids=7"], 4, "not a member's to set"),
        (&["cpus=0.5", "memory=lots"], 2, "is not a size"),
        (&["cpu=1"], 2, "did you mean `cpus`?"),
        (&["env.HOME=/x"], 2, "hearth sets `HOME` itself"),
        (&["cpus"], 2, "has no value"),
        (&[], 2, ""),
    ] {
        let said = set(args).fails(code);
        assert!(said.contains(text), "{args:?}: {said}");
    }
    let place = set(&["cpus=2"]).fails(4);
    assert!(place.contains("test.toml:"), "no place in {place}");
    assert_eq!(in_force(&daemon, "cpus"), ("unlimited".into(), "default".into()));

    daemon.hearth_as(GAMES, &["set", "main", "ports=18043:80"]).ok();
    let bob = daemon.hearth_as(WWW_DATA, &["set", "main", "ports=18043:80"]).fails(6);
    assert!(bob.contains("taken by another workspace") && !bob.contains("alice"), "{bob}");

    for (account, args, code) in [
        (WWW_DATA, &["set", "alice/main", "cpus=1"][..], 5),
        (NOBODY, &["set", "alice/main", "cpus=1"], 5),
        (BACKUP, &["set", "alice/main", "cpus=1"], 4),
        (LIST, &["set", "alice/main", "cpus=1"], 4),
        (WWW_DATA, &["set", "--me", "--user", "alice", "name=Bob"], 5),
        (LIST, &["set", "--me", "--user", "alice", "name=Bob"], 4),
    ] {
        daemon.hearth_as(account, args).fails(code);
    }
    let root = daemon.hearth(&["set", "alice/main", "cpus=2"]).fails(4);
    assert!(root.contains("limits `cpus`"), "an admin's commands are bound, too: {root}");
    daemon.hearth(&["set", "alice/main", "cpus=1"]).ok();
}

#[test]
fn c7_from_inside_a_workspace_sets_what_is_its_own() {
    let image = Image::coder().import();
    let daemon = daemon(&image, "");
    daemon.inside("alice/main", &["hearth", "set", "cpus=0.5"]);
    assert_eq!(limits(&daemon).split(' ').next(), Some("500000000"));
    daemon.inside("alice/main", &["hearth", "reset", "cpus"]);
    assert_ne!(limits(&daemon).split(' ').next(), Some("500000000"));
    for args in [&["set", "--me", "dotfiles=git@evil.example:x"][..], &["set", "bob/main", "cpus=1"]] {
        let inside = [&["ssh", "alice/main", "--", "hearth"], args].concat();
        assert!([4, 5].contains(&daemon.hearth(&inside).code), "{args:?}");
    }
    assert_eq!(in_force(&daemon, "dotfiles").0, "none");
}

#[test]
fn c7_what_people_set_of_themselves_is_theirs_everywhere() {
    let image = Image::coder().import();
    let mut daemon = daemon(&image, "");
    let said =
        daemon.hearth_as(GAMES, &["set", "--me", "timezone=Asia/Tokyo", "name=Alice B.", "auto_start=09:00"]).ok();
    assert!(said.contains("timezone = Asia/Tokyo (hearth set)"), "{said}");
    daemon.restart();
    daemon.wait_state("alice/main", "running");
    let shown = daemon.show("alice/main");
    assert_eq!((&shown["auto_start"]["zone"], &shown["auto_start"]["at"]), (&json!("Asia/Tokyo"), &json!("09:00")));
    assert_eq!(in_force(&daemon, "name"), ("Alice B.".into(), "hearth set".into()));
    daemon.hearth_as(GAMES, &["reset", "--me", "timezone", "auto_start"]).ok();
    assert_eq!(daemon.show("alice/main")["auto_start"]["at"], Value::Null);
    let wrong = daemon.hearth_as(GAMES, &["set", "--me", "timezone=Asia/Tokio"]).fails(2);
    assert!(wrong.contains("did you mean `Asia/Tokyo`?"), "{wrong}");
}
