//! What workspaces use of the machine, as `hearth list --json` has it.

use crate::support::config::alice_with;
use crate::support::{Daemon, Image, ImageTag, docker, wait_for};

const MIB: u64 = 1 << 20;

fn files(image: &ImageTag, auto_off: &str) -> String {
    alice_with(image, &format!("auto_off = \"{auto_off}\""), "")
}

fn home_bytes(daemon: &Daemon) -> Option<u64> {
    daemon.hearth(&["list", "--json"]).json()[0]["usage"]["home_bytes"].as_u64()
}

#[track_caller]
fn wait_measured(daemon: &Daemon) -> u64 {
    wait_for("the home to be measured", || home_bytes(daemon).ok_or_else(|| daemon.log()))
}

#[test]
fn p4_a_home_is_measured_before_it_goes_off_and_that_is_nobodys_use() {
    let image = Image::coder().configure("dd if=/dev/urandom of=large bs=1M count=5; ln -s / everything").import();
    // It is left alone for a quarter of its time.
    let mut daemon = Daemon::start(&files(&image, "24s"));
    daemon.wait_state("alice/main", "running");
    let bytes = wait_measured(&daemon);
    assert!((5 * MIB..6 * MIB).contains(&bytes), "{bytes}");
    assert!(daemon.hearth(&["show", "alice/main"]).ok().contains(" MiB home"));
    let listed = daemon.hearth(&["list", "--json"]).json();
    assert_eq!(listed[0]["last_activity"], serde_json::Value::Null, "{listed}");
    daemon.wait_state("alice/main", "off");
    assert!(daemon.log().contains("`alice/main` goes off: it was not used since"), "{}", daemon.log());
    assert_eq!(home_bytes(&daemon), Some(bytes), "the home is there still");
    let listed = daemon.hearth(&["list", "--json"]).json();
    assert_eq!(listed[0]["last_activity"], serde_json::Value::Null, "{listed}");
    daemon.restart();
    assert_eq!(home_bytes(&daemon), None);
}

#[test]
fn x4_what_cannot_be_seen_whole_has_no_size() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&files(&image, "never"));
    daemon.wait_state("alice/main", "running");
    let container = daemon.container("alice/main");
    let sh = |script: &str| docker(&["exec", &container, "/bin/sh", "-c", script]);
    let measure = || sh("exec /usr/local/bin/hearth measure /home/coder");
    let before = measure().ok();
    sh("mkdir closed; dd if=/dev/zero of=closed/file bs=1M count=1; chmod 0 closed").ok();
    let said = measure().fails(2);
    assert!(said.contains("cannot tell how large /home/coder is") && said.contains("denied"), "{said}");
    sh("chmod 700 closed; rm -r closed").ok();
    assert_eq!(measure().ok(), before);
}
