//! No path removes a home but the end of its time in the trash (rule L10).

use std::path::Path;

use crate::support::command::docker_remove;
use crate::support::config::{alice, alice_with, and_bob};
use crate::support::{Daemon, Image, docker, wait_for};

/// Puts a file into alice's home.
fn mark(daemon: &Daemon, text: &str) {
    daemon.inside("alice/main", &["sh", "-c", &format!("echo {text} > ~/mark")]);
}

fn marked(daemon: &Daemon) -> String {
    daemon.inside("alice/main", &["sh", "-c", "cat ~/mark 2>/dev/null || echo none"])
}

fn exists(volume: &str) -> bool {
    docker(&["volume", "inspect", volume]).code == 0
}

/// Returns state and note of each home, by its volume's name without the instance.
fn homes(daemon: &Daemon) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let listed = daemon.hearth(&["home", "list", "--json"]).json();
    let home = |home: &serde_json::Value| {
        let name = text(&home["home"]).replace(&format!("{}.", daemon.instance()), "");
        (name, text(&home["state"]), text(&home["note"]))
    };
    listed.as_array().unwrap().iter().map(home).collect()
}

fn states(daemon: &Daemon) -> Vec<(String, String)> {
    homes(daemon).into_iter().map(|(home, state, _)| (home, state)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(home, state)| ((*home).to_owned(), (*state).to_owned())).collect()
}

fn reload(daemon: &Daemon, config: &str) {
    daemon.write_config(config);
    daemon.hearth(&["config", "reload", "--yes"]).ok();
}

#[track_caller]
fn gone(daemon: &Daemon) {
    wait_for("no container", || match daemon.containers() {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{some:?}")),
    });
}

#[test]
fn l10_whatever_happens_to_a_workspace_its_home_stays() {
    let image = Image::coder().import();
    let other = Image::busybox().user("dev", 2000).change("USER dev").import();
    let mut daemon = Daemon::start(&alice(&image));
    daemon.wait_state("alice/main", "running");
    mark(&daemon, "mine");
    let volume = daemon.home_volume("alice/main");
    let back = |daemon: &Daemon, what: &str| {
        assert!(exists(&volume), "{what}: the volume is gone");
        daemon.wait_state("alice/main", "running");
        assert_eq!(marked(daemon), "mine\n", "{what}");
    };

    daemon.hearth(&["rebuild", "alice/main"]).ok();
    back(&daemon, "rebuild");
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    back(&daemon, "stop and start");
    docker(&["rm", "--force", "--volumes", &daemon.container("alice/main")]).ok();
    back(&daemon, "docker rm");
    reload(&daemon, &alice(&other));
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    back(&daemon, "another username");
    for (what, config) in [
        ("the workspace removed", alice(&image).replace("[users.alice.workspaces.main]\n", "")),
        ("the user removed", format!("[orgs.acme]\nimage = \"{image}\"\n")),
        ("the org removed", String::new()),
    ] {
        reload(&daemon, &config);
        gone(&daemon);
        assert_eq!(states(&daemon), pairs(&[("alice.main.home", "orphaned")]), "{what}");
        daemon.restart();
        assert!(exists(&volume), "{what}");
        reload(&daemon, &alice(&image));
        back(&daemon, what);
    }
    daemon.kill9();
    daemon.up();
    back(&daemon, "hearthd killed");
    daemon.lose_database();
    back(&daemon, "the database lost");
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.lose_database();
    back(&daemon, "the database lost while it was off");
}

#[test]
fn l10_a_deleted_home_can_be_had_back_and_its_successor_has_another_name() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice(&image));
    daemon.wait_state("alice/main", "running");
    mark(&daemon, "old");
    let refused = daemon.hearth(&["home", "delete", "alice/main", "--yes"]);
    assert_eq!(refused.code, 6, "{refused}");
    assert!(refused.stderr().contains("`hearth stop alice/main` first"), "{refused}");
    daemon.hearth(&["stop", "alice/main"]).ok();
    let wrong = daemon.hearth_with_input(&["home", "delete", "alice/main"], b"alice/other\n");
    assert_eq!(wrong.code, 1, "{wrong}");
    assert_eq!(daemon.hearth(&["home", "delete", "alice/main"]).code, 2, "nobody answers");
    assert_eq!(states(&daemon), pairs(&[("alice.main.home", "in-use")]));
    let told = daemon.hearth_with_input(&["home", "delete", "alice/main"], b"alice/main\n").ok();
    let volume = daemon.home_volume("alice/main");
    assert!(told.contains(&format!("{volume} is in the trash until 20")), "{told}");
    assert!(daemon.hearth(&["home", "list"]).ok().contains("in trash until 20"));

    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(marked(&daemon), "none\n");
    mark(&daemon, "new");
    assert_eq!(states(&daemon), pairs(&[("alice.main.home", "in-trash"), ("alice.main.home-2", "in-use")]));
    let label = docker(&["volume", "inspect", &format!("{volume}-2"), "--format", "{{index .Labels \"hearth.home\"}}"]);
    assert_eq!(label.ok(), "2\n");
    let refused = daemon.hearth(&["home", "restore", "alice/main"]);
    assert_eq!(refused.code, 6, "{refused}");
    assert!(refused.stderr().contains(&format!("`hearth home delete {volume}-2`")), "{refused}");

    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.hearth(&["home", "delete", "alice/main", "--yes"]).ok();
    assert_eq!(daemon.hearth(&["home", "restore", "alice/main"]).code, 2, "which one?");
    daemon.hearth(&["home", "restore", &volume]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(marked(&daemon), "old\n");
    assert_eq!(states(&daemon), pairs(&[("alice.main.home", "in-use"), ("alice.main.home-2", "in-trash")]));
    let audit = daemon.hearth(&["audit"]).ok();
    assert!(audit.contains("delete-home") && audit.contains("restore-home"), "{audit}");
}

/// What somebody else made and no sweep by label finds, removed at the end.
struct Foreign(&'static [&'static str], String);

impl Drop for Foreign {
    fn drop(&mut self) {
        docker_remove(&[self.0, &[self.1.as_str()]].concat());
    }
}

#[test]
fn l10_at_the_end_of_its_time_a_home_goes_only_if_it_is_ours_and_nothing_wants_it() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice_with(&image, "trash_keep = \"1s\"", ""));
    let volume = daemon.home_volume("alice/main");
    let round = |number: u32, meddle: &dyn Fn(&str)| {
        let volume = if number == 1 { volume.clone() } else { format!("{volume}-{number}") };
        daemon.hearth(&["start", "alice/main"]).ok();
        assert!(exists(&volume), "{volume}");
        daemon.hearth(&["stop", "alice/main"]).ok();
        meddle(&volume);
        daemon.hearth(&["home", "delete", &volume, "--yes"]).ok();
        volume
    };
    let kept = |volume: &str| {
        wait_for(&format!("{volume} to be kept"), || {
            let homes = homes(&daemon);
            let name = volume.replace(&format!("{}.", daemon.instance()), "");
            let of_it = homes.iter().find(|(home, ..)| *home == name);
            if of_it.is_some_and(|(.., note)| note.contains("deleted again")) {
                Ok(())
            } else {
                Err(format!("{homes:?}"))
            }
        });
        assert!(exists(volume));
    };
    let user = format!("{}-user", daemon.instance());
    let _volume = Foreign(&["volume", "rm", "--force"], format!("{volume}-2"));
    let _user = Foreign(&["rm", "--force"], user.clone());

    // A container that does not even run refers to it.
    let first = round(1, &|volume| {
        let mount = format!("{volume}:/mnt");
        docker(&["create", "--name", &user, "--volume", &mount, &image.tag, "/bin/true"]).ok();
    });
    kept(&first);
    assert!(daemon.log().contains("refers to it"), "{}", daemon.log());

    // Not ours: its labels are others'.
    let second = round(2, &|volume| {
        docker(&["volume", "rm", volume]).ok();
        docker(&["volume", "create", volume]).ok();
    });
    kept(&second);
    assert!(daemon.log().contains("not exactly ours"), "{}", daemon.log());
    docker(&["volume", "rm", &second]).ok();

    // Used by somebody after it went there.
    docker(&["rm", &user]).ok();
    let mount = format!("{first}:/mnt");
    reload(&daemon, &alice_with(&image, "trash_keep = \"8s\"", ""));
    daemon.hearth(&["home", "delete", &first, "--yes"]).ok();
    docker(&["run", "--rm", "--name", &user, "--volume", &mount, "--user", "0", &image.tag, "/bin/true"]).ok();
    kept(&first);
    assert!(daemon.log().contains("was mounted: it stays"), "{}", daemon.log());

    // Deleted again, nothing speaks for it any more.
    reload(&daemon, &alice_with(&image, "trash_keep = \"1s\"", ""));
    daemon.hearth(&["home", "delete", &first, "--yes"]).ok();
    wait_for("the end of its time", || if exists(&first) { Err("it is there".into()) } else { Ok(()) });
    wait_for("the list to forget it", || {
        let homes = homes(&daemon);
        if homes.iter().all(|(home, ..)| home != "alice.main.home") { Ok(()) } else { Err(format!("{homes:?}")) }
    });
    assert!(daemon.log().contains(&format!("home `{first}` is deleted for good")), "{}", daemon.log());
    assert!(daemon.hearth(&["audit"]).ok().contains("deleted for good"));
    assert_eq!(daemon.hearth(&["home", "restore", &first]).code, 5);
}

#[test]
fn l10_a_home_that_was_used_while_nobody_listened_is_kept() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&alice_with(&image, "trash_keep = \"4s\"", ""));
    daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["mkdir", "-p", "deep/below"]);
    daemon.hearth(&["stop", "alice/main"]).ok();
    let volume = daemon.home_volume("alice/main");
    daemon.hearth(&["home", "delete", "alice/main", "--yes"]).ok();
    daemon.kill9();
    // Not by a container: no event of it is there to be heard later. The root of the home does not change.
    let root = docker(&["volume", "inspect", &volume, "--format", "{{.Mountpoint}}"]).ok();
    std::fs::write(Path::new(root.trim()).join("deep/below/new"), "worth keeping").unwrap();
    daemon.up();
    wait_for("it to be kept", || match homes(&daemon) {
        homes if homes[0].2.contains("deleted again") => Ok(()),
        homes => Err(format!("{homes:?}")),
    });
    assert!(daemon.log().contains("it was used at"), "{}", daemon.log());
    // What hearth itself looked into it with is no use of it.
    daemon.hearth(&["home", "delete", &volume, "--yes"]).ok();
    wait_for("the end of its time", || if exists(&volume) { Err(daemon.log()) } else { Ok(()) });
    assert!(!daemon.log().contains("was mounted"), "{}", daemon.log());
    assert_eq!(daemon.containers(), Vec::<String>::new());
}

#[test]
fn l10_an_older_database_deletes_no_home_that_came_back_since() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&alice_with(&image, "trash_keep = \"4s\"", ""));
    daemon.wait_state("alice/main", "running");
    mark(&daemon, "mine");
    let (volume, data) = (daemon.home_volume("alice/main"), daemon.dir().join("data"));
    let backup = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for file in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if name.starts_with("state.db") {
                std::fs::copy(&file, to.join(name)).unwrap();
            }
        }
    };
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.hearth(&["home", "delete", "alice/main", "--yes"]).ok();
    daemon.down();
    copy(&data, backup.path());
    daemon.up();
    // Back in use, and off again: no container shows whose it is.
    daemon.hearth(&["home", "restore", &volume]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.down();
    for file in std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("state.db") {
            std::fs::remove_file(file).unwrap();
        }
    }
    copy(backup.path(), &data);
    daemon.up();
    wait_for("it to be kept", || match homes(&daemon) {
        homes if homes[0].2.contains("deleted again") => Ok(()),
        homes => Err(format!("{homes:?}")),
    });
    assert!(exists(&volume));
}

#[test]
fn l10_a_lost_database_deletes_nothing_and_guesses_nothing() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&alice_with(&image, "trash_keep = \"1h\"", ""));
    daemon.wait_state("alice/main", "running");
    mark(&daemon, "old");
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.hearth(&["home", "delete", "alice/main", "--yes"]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    mark(&daemon, "new");
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.lose_database();
    let volume = daemon.home_volume("alice/main");
    let failed = daemon.wait_state("alice/main", "failed");
    assert!(failed["failure"].as_str().unwrap().contains("hearth home restore"), "{failed}");
    assert_eq!(states(&daemon), pairs(&[("alice.main.home", "orphaned"), ("alice.main.home-2", "orphaned")]));
    let refused = daemon.hearth(&["home", "delete", &volume, "--yes"]);
    assert_eq!(refused.code, 6, "{refused}");
    daemon.hearth(&["home", "restore", &format!("{volume}-2")]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(marked(&daemon), "new\n");
    assert!(exists(&volume));
}

#[test]
fn l10_delete_names_the_file_that_declares_a_workspace() {
    let image = Image::coder().import();
    let both = format!("{}{}", alice(&image), and_bob());
    let daemon = Daemon::start(&both);
    for workspace in ["alice/main", "bob/main"] {
        daemon.wait_state(workspace, "running");
    }
    let refused = daemon.hearth(&["delete", "alice/main", "--yes"]);
    assert_eq!(refused.code, 6, "{refused}");
    let line = both.lines().position(|line| line == "[users.alice.workspaces.main]").unwrap() + 1;
    assert!(refused.stderr().contains(&format!("{}:{line}:", daemon.conf_d_file().display())), "{refused}");
    reload(&daemon, &alice(&image));
    wait_for("bob's container to go", || match daemon.containers().len() {
        1 => Ok(()),
        more => Err(format!("{more}")),
    });
    let told = daemon.hearth_with_input(&["delete", "bob/main"], b"bob/main\n").ok();
    assert!(told.contains("bob/main is deleted") && told.contains("in the trash until"), "{told}");
    assert!(!daemon.hearth(&["list"]).ok().contains("bob/main"));
    assert_eq!(daemon.hearth(&["delete", "bob/main", "--yes"]).code, 5);
    daemon.hearth(&["home", "restore", "bob/main"]).ok();
    reload(&daemon, &both);
    daemon.wait_state("bob/main", "running");
    assert_eq!(states(&daemon), pairs(&[("alice.main.home", "in-use"), ("bob.main.home", "in-use")]));
}
