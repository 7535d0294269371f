//! Where secrets are, and where they are not (H1).

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::account::GAMES;
use crate::support::config::alice_with;
use crate::support::registry::{PASSWORD, USERNAME};
use crate::support::{Daemon, Image, Registry, docker};

const SECRET: &str = "npm-6f1c7a2b9d-is-secret";

#[test]
fn h1_secrets_are_files_in_memory_and_nowhere_else() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (npm, pull) = (file("npm", SECRET), file("pull", PASSWORD));
    let registry = Registry::start_private();
    let image = registry
        .push(&Image::coder().configure("env; cat /run/hearth/secrets/NPM_TOKEN > /dev/null").import(), "dev:latest");
    let org = "pull = \"always\"\nbuild_on_create = false";
    let config = format!(
        "{}[orgs.acme.registries.\"{}\"]\nusername = \"{USERNAME}\"\npassword_file = \"{pull}\"\n\
         [orgs.acme.secrets.NPM_TOKEN]\nfile = \"{npm}\"\n",
        alice_with(&image, org, ""),
        registry.host()
    );
    let daemon = Daemon::start(&config);
    let seen = while_watching_command_lines(|| daemon.hearth(&["start", "alice/main"]).ok());

    assert_eq!(daemon.inside("alice/main", &["cat", "/run/hearth/secrets/NPM_TOKEN"]), SECRET);
    let listed = daemon.inside(
        "alice/main",
        &["sh", "-c", "cd /run/hearth && stat -c '%a %U %n' . token git/id_ed25519 secrets/NPM_TOKEN"],
    );
    assert_eq!(listed, "700 coder .\n600 coder token\n600 coder git/id_ed25519\n600 coder secrets/NPM_TOKEN\n");
    assert!(daemon.inside("alice/main", &["df", "/run/hearth"]).contains("tmpfs"));

    let key = daemon.inside("alice/main", &["cat", "/run/hearth/git/id_ed25519"]);
    let key_line = key.lines().nth(1).unwrap();
    let token = daemon.inside("alice/main", &["cat", "/run/hearth/token"]);
    let container = daemon.container("alice/main");
    let places = [
        ("docker inspect", docker(&["inspect", &container]).ok()),
        ("the image", docker(&["image", "inspect", &image]).ok()),
        ("docker logs", docker(&["logs", &container]).ok()),
        ("the build log", daemon.hearth(&["logs", "alice/main"]).ok()),
        ("hearthd's log", daemon.log()),
        ("the home", daemon.inside("alice/main", &["sh", "-c", "find ~ -type f -exec cat {} +"])),
        (
            "the container's environment",
            daemon.inside("alice/main", &["sh", "-c", "env; tr '\\0' '\\n' < /proc/self/environ"]),
        ),
        ("command lines", seen.into_iter().collect::<Vec<_>>().join("\n")),
        ("hearth show", daemon.hearth(&["show", "alice/main", "--json"]).ok()),
        ("hearth config show", daemon.hearth(&["config", "show", "alice/main"]).ok()),
    ];
    for (place, text) in places {
        assert!(!text.is_empty() || place == "docker logs", "nothing to look at in {place}");
        for (what, secret) in
            [("secret", SECRET), ("password", PASSWORD), ("Git key", key_line), ("token", token.trim())]
        {
            assert!(!text.contains(secret), "the {what} is in {place}:\n{text}");
        }
    }
    let left = docker(&["diff", &container]).ok();
    assert!(!left.contains("NPM_TOKEN"), "in the container's own layer: {left}");
}

/// Reads all command lines and environments on this machine, again and again, while `work` is done.
fn while_watching_command_lines<T>(work: impl FnOnce() -> T) -> BTreeSet<String> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    // Processes come and go; other entries have no such files.
                    for file in ["cmdline", "environ"] {
                        let Ok(bytes) = std::fs::read(process.path().join(file)) else { continue };
                        let mine = file == "cmdline" || bytes.windows(7).any(|window| window == b"HEARTH=");
                        if mine {
                            seen.insert(String::from_utf8_lossy(&bytes).into_owned());
                        }
                    }
                }
            }
            seen
        });
        work();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    })
}

#[test]
fn two_workspaces_of_a_user_have_one_git_key_and_two_tokens() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&format!("{}[users.alice.workspaces.side]\n", alice_with(&image, "", "")));
    let read = |workspace: &str, file: &str| {
        daemon.wait_state(workspace, "running");
        daemon.inside(workspace, &["cat", file])
    };
    let key = "/run/hearth/git/id_ed25519.pub";
    assert_eq!(read("alice/main", key), read("alice/side", key));
    assert_eq!(read("alice/main", key).trim(), daemon.hearth(&["git", "key", "alice"]).ok().trim());
    let (main, side) = (read("alice/main", "/run/hearth/token"), read("alice/side", "/run/hearth/token"));
    assert_ne!(main, side);
    daemon.inside("alice/side", &["sh", "-c", &format!("echo '{}' > /tmp/other", main.trim())]);
    // Another workspace's token does not count on this one's socket.
    let stolen = "cat /tmp/other > /run/hearth/token && hearth list";
    assert_ne!(daemon.hearth(&["ssh", "alice/side", "--", "sh", "-c", stolen]).code, 0);
}

/// A secret's file on the host.
struct SecretFile(tempfile::TempDir);

impl SecretFile {
    fn new(content: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.write(content);
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("secret")
    }

    fn write(&self, content: &str) {
        std::fs::write(self.path(), content).unwrap();
        std::fs::set_permissions(self.path(), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn declared(&self, name: &str) -> String {
        format!("[orgs.acme.secrets.{name}]\nfile = \"{}\"\n", self.path().display())
    }
}

#[test]
fn c6_secrets_and_names_that_change_are_there_at_the_next_entry_and_nobody_is_disturbed() {
    let secret = SecretFile::new("first");
    let image = Image::coder().import();
    let before = alice_with(&image, "", "");
    let daemon = Daemon::start(&format!("{before}{}", secret.declared("NPM_TOKEN")));
    let container = daemon.wait_state("alice/main", "running")["container"].clone();
    let read = |file: &str| daemon.inside("alice/main", &["sh", "-c", &format!("cat /run/hearth/{file} 2>&1 || true")]);
    let token = read("token");
    assert_eq!(read("secrets/NPM_TOKEN"), "first");

    secret.write("second");
    let plan = daemon.hearth(&["config", "plan"]).ok();
    assert!(plan.contains("alice/main: secrets: at once, in the running container"), "{plan}");
    daemon.hearth(&["config", "reload"]).ok();
    assert_eq!(read("secrets/NPM_TOKEN"), "second");
    daemon.write_config(&format!("{before}{}", secret.declared("OTHER")));
    daemon.hearth(&["config", "reload"]).ok();
    assert_eq!(read("secrets/OTHER"), "second");
    assert!(read("secrets/NPM_TOKEN").contains("No such file"));
    daemon.hearth_as(GAMES, &["set", "--me", "email=alice@new.example"]).ok();
    let config = daemon.inside("alice/main", &["cat", "/etc/gitconfig"]);
    assert!(config.contains("alice@new.example"), "{config}");
    // Who holds the token goes on, and nothing is built.
    assert_eq!(read("token"), token);
    assert_eq!(daemon.show("alice/main")["container"], container);
}

#[test]
fn c6_l11_a_secret_that_changed_is_there_after_a_restart_of_hearthd() {
    let secret = SecretFile::new("first");
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&format!("{}{}", alice_with(&image, "", ""), secret.declared("NPM_TOKEN")));
    daemon.wait_state("alice/main", "running");
    secret.write("second");
    daemon.restart();
    daemon.wait_state("alice/main", "running");
    // Whoever reloads waits for what is under way.
    daemon.hearth(&["config", "reload"]).ok();
    assert_eq!(daemon.inside("alice/main", &["cat", "/run/hearth/secrets/NPM_TOKEN"]), "second");
}
