//! Who may do what (design section 1, X1), by real accounts over the real socket.

use crate::support::account::{Account, BACKUP, GAMES, LIST, NOBODY, WWW_DATA};
use crate::support::config::{alice_with, and_bob};
use crate::support::{Daemon, Image};

/// Alice is `games`, bob `www-data`, their manager `backup`, the auditor `list`.
fn daemon(image: &crate::support::ImageTag) -> Daemon {
    let config = format!("{}{}", alice_with(image, "managers = [\"backup\"]", ""), and_bob());
    let daemon = Daemon::start_with("auditors = [\"list\"]", &config);
    for workspace in ["alice/main", "bob/main"] {
        daemon.wait_state(workspace, "running");
    }
    daemon
}

fn seen_by(daemon: &Daemon, account: Account) -> Vec<String> {
    let list = daemon.hearth_as(account, &["list", "--json"]).json();
    list.as_array().unwrap().iter().map(|workspace| workspace["workspace"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn x1_each_role_sees_and_does_what_is_its_own() {
    let image = Image::coder().import();
    let daemon = daemon(&image);
    assert_eq!(seen_by(&daemon, GAMES), ["alice/main"]);
    assert_eq!(seen_by(&daemon, WWW_DATA), ["bob/main"]);
    for all in [BACKUP, LIST] {
        assert_eq!(seen_by(&daemon, all), ["alice/main", "bob/main"], "{all:?}");
    }
    assert_eq!(seen_by(&daemon, NOBODY), Vec::<String>::new());

    let denied: &[(Account, &[&str], i32)] = &[
        (NOBODY, &["show", "alice/main"], 5),
        (WWW_DATA, &["show", "alice/main"], 5),
        (WWW_DATA, &["stop", "alice/main"], 5),
        (WWW_DATA, &["ssh", "alice/main", "--", "true"], 5),
        (BACKUP, &["ssh", "alice/main", "--", "true"], 4),
        (BACKUP, &["start", "alice/main"], 4),
        (BACKUP, &["config", "reload"], 4),
        (LIST, &["stop", "alice/main"], 4),
        (LIST, &["rebuild", "alice/main"], 4),
        (LIST, &["ssh", "alice/main", "--", "true"], 4),
        (GAMES, &["config", "reload"], 4),
    ];
    for (account, args, code) in denied {
        daemon.hearth_as(*account, args).fails(*code);
    }
    let allowed: &[(Account, &[&str])] = &[
        (GAMES, &["ssh", "main", "--", "true"]),
        (GAMES, &["logs", "main"]),
        (LIST, &["logs", "alice/main"]),
        (LIST, &["show", "bob/main"]),
        (BACKUP, &["logs", "alice/main"]),
        (BACKUP, &["rebuild", "alice/main"]),
        (BACKUP, &["stop", "bob/main"]),
        (WWW_DATA, &["start", "main"]),
        (NOBODY, &["status"]),
    ];
    for (account, args) in allowed {
        daemon.hearth_as(*account, args).ok();
    }
    let shown = daemon.show("alice/main");
    assert_eq!(
        (&shown["build"]["requester"], &shown["build"]["reason"]),
        (&"backup".into(), &"admin".into()),
        "{shown}"
    );
}

#[test]
fn section_9_from_inside_one_acts_on_this_workspace_alone() {
    let image = Image::coder().import();
    let daemon = daemon(&image);
    let list = daemon.inside("alice/main", &["hearth", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list[0]["workspace"], "alice/main");
    daemon.inside("alice/main", &["hearth", "show"]);
    daemon.hearth(&["ssh", "alice/main", "--", "hearth", "stop", "bob/main"]).fails(5);
    daemon.hearth(&["ssh", "alice/main", "--", "hearth", "ssh", "main", "--", "true"]).fails(4);
    daemon.hearth(&["ssh", "alice/main", "--", "hearth", "config", "reload"]).fails(4);
}

#[test]
fn c6_access_that_a_reload_takes_or_gives_counts_at_once() {
    let image = Image::coder().import();
    let daemon = daemon(&image);
    let main = std::fs::read_to_string(daemon.config_file()).unwrap();
    std::fs::write(daemon.config_file(), main.replace("auditors = [\"list\"]", "")).unwrap();
    let unmanaged = format!("{}{}", alice_with(&image, "managers = []", ""), and_bob());
    daemon.write_config(&unmanaged.replace("\"games\"", "\"nobody\""));
    daemon.hearth(&["config", "reload"]).ok();
    for former in [BACKUP, LIST, GAMES] {
        assert_eq!(seen_by(&daemon, former), [""; 0], "{former:?}");
        for args in [&["stop", "alice/main"][..], &["logs", "alice/main"], &["ssh", "alice/main", "--", "true"]] {
            daemon.hearth_as(former, args).fails(5);
        }
    }
    assert_eq!(seen_by(&daemon, NOBODY), ["alice/main"]);
    daemon.hearth_as(NOBODY, &["ssh", "main", "--", "true"]).ok();
    assert_eq!(seen_by(&daemon, WWW_DATA), ["bob/main"], "whom it does not concern");
}
