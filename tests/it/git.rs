//! Dotfiles and Git over real SSH, with the injected key and the pinned host key (H1, H3).

use crate::support::config::alice_with;
use crate::support::{Daemon, Sshd, debian};

/// A daemon with `alice/main` off, her dotfiles at `url`, `hosts` pinned, and her Git key let in by `servers`.
fn daemon(url: &str, pinned: &[&Sshd], servers: &[&Sshd]) -> Daemon {
    let user = format!("name = \"Alice Example\"\nemail = \"alice@acme.example\"\ndotfiles = \"{url}\"");
    let mut config = alice_with(debian::image(), "build_on_create = false\nhook_timeout = \"1m\"", &user);
    for host in pinned {
        let line = host.known_hosts();
        config.push_str(&format!("[orgs.acme.git.hosts.\"{}\"]\nknown_hosts = [\"{line}\"]\n", host.host()));
    }
    let daemon = Daemon::start(&config);
    let key = daemon.hearth(&["git", "key", "alice"]).ok();
    assert!(key.starts_with("ssh-ed25519 "), "{key}");
    servers.iter().for_each(|server| server.authorize(&key));
    daemon
}

#[test]
fn h3_dotfiles_are_cloned_installed_and_kept_up_to_date() {
    let sshd = Sshd::start();
    let install = "#!/bin/sh\necho installed >> ~/installs\nln -sf ~/dotfiles/personalize ~/personalize\n";
    let personalize = "#!/bin/sh\necho personalized by $(id -un)\n";
    let url = sshd.repository("dotfiles", &[("install.sh", 0o755, install), ("personalize", 0o755, personalize)]);
    let daemon = daemon(&url, &[&sshd], &[&sshd]);
    daemon.hearth(&["start", "alice/main"]).ok();
    let shown = daemon.show("alice/main");
    assert_eq!(shown["warnings"], serde_json::json!([]), "{shown}");
    assert_eq!(daemon.inside("alice/main", &["cat", "installs"]), "installed\n");
    let log = daemon.hearth(&["logs", "alice/main"]).ok();
    assert!(log.contains("personalized by coder"), "{log}");

    sshd.commit("dotfiles", &[("new", 0o644, "new\n")]);
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    assert_eq!(daemon.inside("alice/main", &["cat", "dotfiles/new"]), "new\n");
}

#[test]
fn h1_a_first_clone_of_a_pinned_host_asks_nothing() {
    let sshd = Sshd::start();
    let url = sshd.repository("project", &[("README", 0o644, "hello\n")]);
    let daemon = daemon(&url, &[&sshd], &[&sshd]);
    daemon.hearth(&["start", "alice/main"]).ok();
    daemon.inside("alice/main", &["git", "clone", "--quiet", &url, "project"]);
    assert_eq!(daemon.inside("alice/main", &["cat", "project/README"]), "hello\n");
    let email = |daemon: &Daemon| daemon.inside("alice/main", &["git", "config", "user.email"]);
    assert_eq!(email(&daemon), "alice@acme.example\n");
    daemon.inside("alice/main", &["git", "config", "--global", "user.email", "own@alice.example"]);
    assert_eq!(email(&daemon), "own@alice.example\n", "the user's own wins");
    let kept = daemon.inside("alice/main", &["sh", "-c", "ls -A ~; ls -A ~/.ssh 2> /dev/null || true"]);
    assert!(!kept.contains("id_ed25519"), "a key in the home: {kept}");
}

#[test]
fn h1_a_host_that_is_not_pinned_fails_at_once_and_names_the_line_to_add() {
    let (pinned, other) = (Sshd::start(), Sshd::start());
    let url = other.repository("dotfiles", &[("install.sh", 0o755, "#!/bin/sh\n")]);
    let daemon = daemon(&url, &[&pinned], &[&other]);
    daemon.hearth(&["start", "alice/main"]).ok();
    let shown = daemon.show("alice/main");
    let warning = &shown["warnings"][0];
    assert_eq!(warning["hook"], "dotfiles", "{shown}");
    let told = warning.to_string();
    assert!(told.contains("known_hosts") && told.contains(&other.host()), "{told}");
    assert!(!other.log().contains("Accepted publickey"), "logged in to a host that nobody vouched for");
}
