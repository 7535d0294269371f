//! What only an engine of the test's own can be put through: a full disk, and its sudden end (L9, L12).

use crate::support::config::alice;
use crate::support::{Daemon, Image, OwnEngine, wait_for};

/// Has alice/main run on an engine of its own, with a file in its home.
fn running() -> (OwnEngine, Daemon) {
    let engine = OwnEngine::start();
    let image = Image::coder().import_into(&engine);
    let daemon = Daemon::start_with(&engine.server(), &alice(image));
    daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "echo mine > ~/mark"]);
    (engine, daemon)
}

#[track_caller]
fn entered(daemon: &Daemon) {
    let mark = wait_for("the door", || match daemon.hearth(&["ssh", "alice/main", "--", "cat", "mark"]) {
        ran if ran.code == 0 => Ok(ran.stdout()),
        ran => Err(ran.to_string()),
    });
    assert_eq!(mark, "mine\n");
}

#[test]
fn l12_a_full_disk_of_docker_is_said_and_nothing_is_lost() {
    let (engine, daemon) = running();
    let before = daemon.show("alice/main");
    engine.fill();
    // People go on, and see that there is no room.
    let write = daemon.hearth(&["ssh", "alice/main", "--", "sh", "-c", "echo more > ~/more"]);
    assert!(write.code != 0 && write.stderr().contains("No space left"), "{write}");
    let refused = daemon.hearth(&["rebuild", "alice/main"]);
    assert_eq!(refused.code, 1, "{refused}");
    let said = format!("{}{}", refused.stdout(), refused.stderr());
    assert!(said.contains("of Docker's disk is free") && said.contains("docker system df"), "{refused}");
    let during = daemon.wait_state("alice/main", "running");
    assert_eq!((&before["container"], &before["since"]), (&during["container"], &during["since"]));
    entered(&daemon);

    // What ends there cannot be started again before there is room, and then is.
    engine.docker(&["kill", &daemon.container("alice/main")]);
    wait_for("hearthd to say that it cannot be started", || match daemon.show("alice/main") {
        shown if shown["because"].to_string().contains("Docker's disk is full") => Ok(()),
        shown => Err(shown.to_string()),
    });
    engine.free();
    let again = daemon.wait_state("alice/main", "running");
    assert_eq!(before["container"], again["container"]);
    entered(&daemon);

    engine.fill();
    daemon.hearth(&["stop", "alice/main"]).ok();
    let refused = daemon.hearth(&["start", "alice/main"]);
    assert_eq!(refused.code, 1, "{refused}");
    engine.free();
    daemon.hearth(&["start", "alice/main"]).ok();
    entered(&daemon);
}

#[test]
fn l9_l12_docker_is_killed_and_workspaces_come_back_when_it_does() {
    let (mut engine, daemon) = running();
    engine.kill9();
    wait_for("hearthd to notice", || match daemon.hearth(&["status", "--json"]).json() {
        status if status["docker"]["reachable"] == false => Ok(()),
        status => Err(status.to_string()),
    });
    let shown = daemon.show("alice/main");
    assert_eq!(shown["state"], "running", "as it was seen last: {shown}");
    assert_eq!(daemon.hearth(&["rebuild", "alice/main"]).code, 3);
    engine.up();
    entered(&daemon);
    let shown = daemon.wait_state("alice/main", "running");
    assert_eq!(
        (&shown["build"]["number"], &shown["build"]["result"]),
        (&1.into(), &"ok".into()),
        "no new build: {shown}"
    );
    let listed = engine.docker(&["ps", "--all", "--quiet", "--filter", "label=hearth.workspace"]).ok();
    assert_eq!(listed.lines().count(), 1, "L1: {listed}");
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    entered(&daemon);
}
