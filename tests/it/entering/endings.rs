//! How things end: sessions whose client goes, a killed helper, signals from inside, and the container.

use std::time::{Duration, Instant};

use hearthd::enter::{Lost, Run};
use tokio::time::timeout;

use super::{SIZE, World, code, read_until, type_in};
use crate::support::{PATIENCE, docker, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn l2_nothing_of_a_session_stays_when_its_client_goes() {
    let world = World::new();
    for terminal in [None, Some(SIZE)] {
        let line = "trap '' HUP; sleep 3601 & (sleep 3602 &) ; setsid sleep 3603 & echo ready; sleep 3604";
        let mut entry = world.open(Run::Line(line.into()), terminal).await.unwrap();
        read_until(&mut entry, "ready").await;
        world.wait_until_there("sleep 3603");
        drop(entry);
        for number in ["3601", "3602", "3604"] {
            world.wait_until_gone(&format!("sleep {number}"));
        }
        // What made itself a session of its own (tmux, a daemon) is meant to stay.
        world.wait_until_there("sleep 3603");
        assert_eq!(world.say("killall sleep").await.0, code(0));
        world.wait_until_gone("sleep");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_background_process_stays_when_its_shell_ends_by_itself() {
    let world = World::new();
    let mut entry = world.sh("sleep 3601 & exit 0").await;
    assert_eq!(timeout(PATIENCE, &mut entry.exit).await.unwrap(), Ok(code(0)));
    drop(entry);
    drop(world.say("true").await);
    world.wait_until_there("sleep 3601");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_killed_helper_is_started_again_and_its_entries_end() {
    let world = World::new();
    let line = "trap '' HUP; echo ready; sleep 3601 & sleep 3602; sleep 3603";
    let mut entry = world.sh(line).await;
    let mut terminal = world.open(Run::Line(line.into()), Some(SIZE)).await.unwrap();
    read_until(&mut entry, "ready").await;
    read_until(&mut terminal, "ready").await;
    world.signal_helper("KILL");
    assert_eq!(timeout(PATIENCE, &mut entry.exit).await.unwrap(), Err(Lost));
    let (end, out, _) = timeout(Duration::from_secs(1), world.say("echo again")).await.expect("not within a second");
    assert_eq!((end, out.as_str()), (code(0), "again\n"));
    world.wait_until_gone("sleep 360");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_stopped_helper_goes_on() {
    let world = World::new();
    world.say("true").await;
    world.signal_helper("STOP");
    assert_eq!(timeout(PATIENCE, world.say("exit 3")).await.unwrap().0, code(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_what_the_user_kills_inside_does_not_end_the_container() {
    let world = World::new();
    for user in ["1000", "0"] {
        for kill in ["kill -TERM 1", "kill -INT 1", "kill -KILL 1", "kill -HUP 1", "kill -9 -1"] {
            let _ = world.exec(&["-u", user], &["sh", "-c", kill]);
            let (end, ..) = timeout(PATIENCE, world.say("exit 3")).await.expect("nobody can enter");
            assert_eq!(end, code(3), "after {kill} by {user}");
        }
    }
    assert!(world.runs());
}

/// Stops the container and says how long it took.
fn stopping(stop: impl FnOnce()) -> Duration {
    let start = Instant::now();
    stop();
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_a_stop_lets_handlers_run_and_ends_at_once() {
    let world = World::new();
    let trap = "trap 'sleep 0.3; echo saved > /tmp/saved; exit' TERM; echo ready; while :; do sleep 0.1; done";
    let mut entry = world.sh(trap).await;
    read_until(&mut entry, "ready").await;
    let mut shell = world.open(Run::LoginShell, Some(SIZE)).await.unwrap();
    type_in(&mut shell, "echo re''ady\n").await;
    read_until(&mut shell, "ready").await;
    let mut stopped = world.sh("kill -STOP $$").await;
    assert!(timeout(Duration::from_millis(200), &mut stopped.exit).await.is_err());
    let took = stopping(|| drop(docker(&["stop", "-t", "20", &world.container]).ok()));
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(docker(&["inspect", "--format", "{{.State.ExitCode}}", &world.container]).ok(), "0\n");
    let saved = docker(&["cp", &format!("{}:/tmp/saved", world.container), "-"]).ok();
    assert!(saved.contains("saved\n"), "the handler did not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_processes_of_others_are_not_waited_for() {
    let world = World::new();
    drop(world.exec(&["-u", "0", "-d"], &["sleep", "3601"]));
    world.wait_until_there("sleep 3601");
    let took = stopping(|| drop(docker(&["stop", "-t", "20", &world.container]).ok()));
    assert!(took < Duration::from_secs(8), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_docker_kill_with_term_is_a_stop_and_others_are_nothing() {
    let world = World::new();
    world.say("true").await;
    for signal in ["HUP", "USR1", "WINCH"] {
        docker(&["kill", "-s", signal, &world.container]).ok();
    }
    assert_eq!(world.say("exit 3").await.0, code(3));
    docker(&["kill", "-s", "TERM", &world.container]).ok();
    wait_for("its end", || if world.runs() { Err("it runs".into()) } else { Ok(()) });
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_orphans_are_reaped() {
    let world = World::new();
    world.say("for i in 1 2 3 4 5; do (sleep 0.1 &); done; (sh -c 'sleep 0.2 & exec sleep 0.1' &)").await;
    wait_for("no zombie and no sleep", || {
        let listed = world.exec(&[], &["ps", "-o", "pid,ppid,stat,args"]).ok();
        let left = listed.lines().any(|line| line.contains(" Z ") || line.contains("sleep"));
        if left { Err(listed) } else { Ok(()) }
    });
}
