//! A change of the configuration is seen however it is written (C5).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::config::alice_with;
use crate::support::{Daemon, run, took, wait_for};

/// A configuration that differs from the others in one value, and builds nothing.
fn with_auto_off(hours: u32) -> String {
    alice_with("busybox", &format!("build_on_create = false\nauto_off = \"{hours}h\""), "")
}

/// Waits until the value is in force, with nobody having asked for a reload.
#[track_caller]
fn in_force(daemon: &Daemon, hours: u32, how: &str) {
    wait_for(&format!("auto_off to be {hours} h after {how}"), || {
        let shown = daemon.show("alice/main");
        if shown["auto_off"]["threshold"] == u64::from(hours) * 3600 { Ok(()) } else { Err(shown.to_string()) }
    });
}

/// Waits until hearthd says that the files are not accepted, or that they are.
#[track_caller]
fn rejected(daemon: &Daemon, is: bool) -> String {
    wait_for(&format!("rejected to be {is}"), || {
        let status = daemon.hearth(&["status", "--json"]).json();
        match status["config"]["rejected"].as_str() {
            Some(why) if is => Ok(why.to_owned()),
            None if !is => Ok(String::new()),
            Some(_) | None => Err(status.to_string()),
        }
    })
}

fn shell(script: &str, directory: &Path) {
    let mut command = Command::new("sh");
    run({
        command.args(["-ec", script]).current_dir(directory);
        command
    })
    .ok();
}

/// A path beside the configuration that hearthd does not read.
fn beside(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.dir().join(name)
}

#[test]
fn c5_every_way_of_writing_a_file_is_seen() {
    let daemon = Daemon::start(&with_auto_off(1));
    let (file, drop_ins) = (daemon.conf_d_file(), daemon.dir().join("conf.d"));
    in_force(&daemon, 1, "the start");

    daemon.write_config(&with_auto_off(2));
    in_force(&daemon, 2, "a write in place");
    shell("sed -i 's/\"2h\"/\"3h\"/' test.toml", &drop_ins);
    in_force(&daemon, 3, "sed -i");
    fs::write(drop_ins.join(".new"), with_auto_off(4)).unwrap();
    fs::rename(drop_ins.join(".new"), &file).unwrap();
    in_force(&daemon, 4, "a rename over it");
    // vim with `backupcopy=no`, and emacs: the old file is moved away, and a new one has its name.
    fs::write(beside(&daemon, "new"), with_auto_off(5)).unwrap();
    shell(
        "touch .test.toml.swp 4913; rm 4913; mv test.toml test.toml~; cat ../new > test.toml; rm test.toml~ .test.toml.swp",
        &drop_ins,
    );
    in_force(&daemon, 5, "vim's dance");
    fs::write(beside(&daemon, "new"), with_auto_off(6)).unwrap();
    shell(
        "ln -s me@host.1 .#test.toml; cp ../new '#test.toml#'; mv test.toml test.toml~; mv '#test.toml#' test.toml; rm .#test.toml",
        &drop_ins,
    );
    in_force(&daemon, 6, "emacs's dance");
    fs::remove_file(drop_ins.join("test.toml~")).unwrap();

    // A link to a file elsewhere: swapped, and written through.
    let (seven, eight) = (beside(&daemon, "seven.toml"), beside(&daemon, "eight.toml"));
    fs::write(&seven, with_auto_off(7)).unwrap();
    fs::write(&eight, with_auto_off(8)).unwrap();
    shell("ln -s ../seven.toml new; mv -T new test.toml", &drop_ins);
    in_force(&daemon, 7, "a link in its place");
    shell("ln -s ../eight.toml new; mv -T new test.toml", &drop_ins);
    in_force(&daemon, 8, "another link");
    fs::write(&eight, with_auto_off(9)).unwrap();
    in_force(&daemon, 9, "a write through the link");

    // The directory is a link, as configuration management makes it.
    let generation = |name: &str, hours| {
        let directory = beside(&daemon, name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("test.toml"), with_auto_off(hours)).unwrap();
    };
    generation("first", 10);
    generation("second", 11);
    shell("mv conf.d old; ln -s first conf.d", daemon.dir());
    in_force(&daemon, 10, "a link in the directory's place");
    shell("ln -s second swap; mv -T swap conf.d", daemon.dir());
    in_force(&daemon, 11, "another link to a directory");
    fs::write(beside(&daemon, "second/test.toml"), with_auto_off(12)).unwrap();
    in_force(&daemon, 12, "a write behind the link");
}

#[test]
fn c5_drop_ins_come_and_a_directory_that_is_gone_for_a_moment_changes_nothing() {
    let daemon = Daemon::start(&with_auto_off(1));
    let drop_ins = daemon.dir().join("conf.d");
    fs::write(drop_ins.join("more.toml"), "[users.alice.workspaces.two]\n").unwrap();
    wait_for("alice/two to be there", || {
        let shown = daemon.hearth(&["show", "alice/two"]);
        if shown.code == 0 { Ok(()) } else { Err(shown.to_string()) }
    });
    // L10: what is removed waits, and what comes back in time was never gone.
    shell("mv conf.d away; sleep 0.7; mv away conf.d", daemon.dir());
    daemon.write_config(&with_auto_off(2));
    in_force(&daemon, 2, "a directory that was gone for a moment");
    daemon.hearth(&["show", "alice/two"]).ok();
}

#[test]
fn c5_a_drop_in_that_is_added_or_removed_is_seen() {
    let daemon = Daemon::start(&with_auto_off(1));
    let file = daemon.dir().join("conf.d/people.toml");
    let carol = |is: bool| {
        wait_for(&format!("carol to be known: {is}"), || match daemon.hearth(&["away", "carol"]) {
            ran if ran.code == if is { 0 } else { 5 } => Ok(()),
            ran => Err(ran.to_string()),
        });
    };
    carol(false);
    fs::write(&file, "[users.carol]\norgs = [\"acme\"]\n").unwrap();
    carol(true);
    fs::remove_file(&file).unwrap();
    carol(false);
    in_force(&daemon, 1, "another file's end");
}

/// How many reloads nobody asked for there were so far.
fn reloads(daemon: &Daemon) -> usize {
    let audit = daemon.hearth(&["audit", "--json"]).json();
    let reload = |line: &&serde_json::Value| line["what"] == "reload" && line["who"] == "watcher";
    audit.as_array().unwrap().iter().filter(reload).count()
}

#[test]
fn c5_a_burst_of_writes_is_one_reload() {
    let daemon = Daemon::start(&with_auto_off(1));
    let mut hours = 1;
    // On a busy machine the writes may come too far from each other to be a burst.
    wait_for("20 writes in a burst", || {
        let before = reloads(&daemon);
        let mut write = || {
            hours += 1;
            daemon.write_config(&with_auto_off(hours));
            // Something that takes its time.
            daemon.get("/v1/status").unwrap();
        };
        let times = [(); 20].map(|()| took(&mut write).1);
        in_force(&daemon, hours, "a burst");
        let after = wait_for("the audit log", || match reloads(&daemon) {
            after if after > before => Ok(after),
            none => Err(none.to_string()),
        });
        let (longest, all) = (times.iter().max().unwrap(), times.iter().sum::<Duration>());
        if *longest > Duration::from_millis(200) || all > Duration::from_millis(1600) {
            return Err(format!("{times:?}"));
        }
        assert_eq!(after - before, 1, "{times:?}");
        Ok(())
    });
}

#[test]
fn c5_permissions_that_are_lost_are_an_error_until_they_are_back() {
    let daemon = Daemon::start(&with_auto_off(1));
    let file = daemon.conf_d_file();
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o646);
    let why = rejected(&daemon, true);
    assert!(why.contains("test.toml") && why.contains("write"), "{why}");
    in_force(&daemon, 1, "a mode that lets others write");
    mode(0o644);
    rejected(&daemon, false);
    daemon.write_config(&with_auto_off(2));
    in_force(&daemon, 2, "a mode that is right again");
}

#[test]
fn c5_what_cannot_be_read_is_an_error_and_changes_nothing() {
    let daemon = Daemon::start(&with_auto_off(1));
    let file = daemon.conf_d_file();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let why = rejected(&daemon, true);
    assert!(why.contains("test.toml"), "{why}");
    in_force(&daemon, 1, "a file that cannot be read");
    fs::remove_dir(&file).unwrap();
    symlink("/nowhere/at/all.toml", &file).unwrap();
    in_force(&daemon, 1, "a link to nowhere");
    fs::remove_file(&file).unwrap();
    daemon.write_config(&with_auto_off(2));
    in_force(&daemon, 2, "a file that is back");
    rejected(&daemon, false);
}
