//! hearthd killed at each call of a build and of a stop, and a full disk (L11): it converges, and loses nothing.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::config::alice;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{Daemon, Image, run, wait_for};

fn mark(daemon: &Daemon) -> String {
    daemon.inside("alice/main", &["cat", "mark"])
}

fn entered(daemon: &Daemon) {
    wait_for("the door", || match daemon.hearth(&["ssh", "alice/main", "--", "true"]) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
}

#[test]
fn l11_killed_at_each_call_to_docker_it_converges() {
    let image = Image::coder().configure("true").import();
    let proxy = Proxy::start();
    let mut daemon = Daemon::start_with(&proxy.server(), &alice(&image));
    daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "echo mine > ~/mark"]);
    let mut met = 0;
    // What a rebuild asks of Docker, in its order: look for the home, stop, remove, make, start, inject and the hooks.
    for call in ["/volumes", "/stop", "force=true", "/containers/create", "/start", "/exec"] {
        let before = proxy.hits();
        proxy.set(Some(Fault::HangAt(call)));
        daemon.hearth(&["rebuild", "alice/main", "--detach"]).ok();
        wait_for(&format!("the rebuild to come to {call}"), || match proxy.hits() - before {
            0 => Err(daemon.show("alice/main").to_string()),
            _ => Ok(()),
        });
        met += 1;
        daemon.kill9();
        proxy.set(None);
        daemon.up();
        daemon.wait_state("alice/main", "running");
        entered(&daemon);
        assert_eq!(mark(&daemon), "mine\n", "{call}");
        assert_eq!(daemon.containers().len(), 1, "L1: {call}");
        assert_eq!(daemon.show("alice/main")["build"]["result"], "ok", "{call}");
    }
    for call in ["/stop", "force=true"] {
        let before = proxy.hits();
        proxy.set(Some(Fault::HangAt(call)));
        let mut stop = daemon.command(&["stop", "alice/main"]);
        let mut stopping = stop.spawn().unwrap();
        wait_for(
            &format!("the stop to come to {call}"),
            || if proxy.hits() > before { Ok(()) } else { Err("no".into()) },
        );
        daemon.kill9();
        stopping.wait().unwrap();
        proxy.set(None);
        daemon.up();
        daemon.wait_state("alice/main", "off");
        assert!(daemon.containers().is_empty(), "{call}");
        daemon.hearth(&["start", "alice/main"]).ok();
        assert_eq!(mark(&daemon), "mine\n", "{call}");
    }
    assert_eq!(met, 6);
}

#[test]
fn l11_told_to_end_in_mid_build_it_ends_in_time_and_takes_the_build_up_again() {
    let image = Image::coder().configure("while [ ! -e ~/go ]; do sleep 0.1; done").import();
    let mut daemon = Daemon::start(&alice(&image));
    wait_for("configure", || match daemon.show("alice/main") {
        shown if shown["build"]["stage"] == "configure" => Ok(()),
        shown => Err(shown.to_string()),
    });
    let ((), time) = crate::support::took(|| daemon.down());
    // Ten seconds is the limit; this machine may add to it.
    assert!(time.as_secs() < 15, "{time:?}");
    daemon.up();
    wait_for("the door", || match daemon.hearth(&["ssh", "alice/main", "--", "touch", "go"]) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    let shown = daemon.wait_state("alice/main", "running");
    assert_eq!((&shown["build"]["result"], &shown["build"]["number"]), (&"ok".into(), &1.into()), "{shown}");
}

/// A small disk that hearthd's data lies on.
struct Disk(PathBuf);

impl Disk {
    fn of(daemon: &Daemon) -> Self {
        let path = daemon.dir().join("data");
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"]).arg(&path);
        run(mount).ok();
        Self(path)
    }

    fn fill(&self) {
        let all = [0u8; 4096];
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &all).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("--lazy").arg(&self.0);
        let _ = run(umount);
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let image = Image::coder().import();
    let mut daemon = Daemon::prepare("", &alice(&image));
    let disk = Disk::of(&daemon);
    daemon.up();
    daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "echo mine > ~/mark"]);
    let before = daemon.show("alice/main");
    disk.fill();
    let refused = daemon.hearth(&["rebuild", "alice/main"]);
    assert_ne!(refused.code, 0, "{refused}");
    let said = format!("{}{}", refused.stdout(), refused.stderr());
    assert!(said.contains("no room on the file system") || said.contains("% of the disk"), "{refused}");
    // People go on: they see, and they enter.
    let during = daemon.wait_state("alice/main", "running");
    assert_eq!(before["container"], during["container"]);
    assert_eq!(mark(&daemon), "mine\n");
    assert!(daemon.hearth(&["list"]).ok().contains("running"));
    assert_eq!(daemon.hearth(&["config", "reload"]).code, 0);

    disk.free();
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    assert_eq!(mark(&daemon), "mine\n");
    // Again, with a hearthd that is killed while there is no room.
    disk.fill();
    daemon.signal(Signal::SIGHUP);
    daemon.kill9();
    disk.free();
    daemon.up();
    entered(&daemon);
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(mark(&daemon), "mine\n");
}

#[test]
fn an_older_hearthd_says_that_the_database_is_newer() {
    let mut daemon = Daemon::prepare("", "");
    daemon.up();
    daemon.down();
    let database = daemon.dir().join("data/state.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let ended = daemon.run_until_it_ends();
    assert_ne!(ended.code, 0, "{ended}");
    let said = format!("{}{}", ended.stdout(), ended.stderr());
    assert!(said.contains("newer hearth") && said.contains("state.db"), "{ended}");
}
