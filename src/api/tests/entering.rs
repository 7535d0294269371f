//! The way in: upgrade, state, notices.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::api::testing::{Answer, World, account, at};
use crate::handle::EngineView;
use crate::model::{BuildNumber, Hook, OffReason, Stage, State, StopReason, Warning, WarningKind};

const HEAD: &str = "POST /v1/workspaces/alice/main/enter HTTP/1.1\r\nhost: hearth\r\nconnection: Upgrade\r\n\
                    upgrade: hearth-enter/1\r\ncontent-length: 2\r\n\r\n{}";

async fn enter(path: &Path, early: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(format!("{HEAD}{early}").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_ascii_lowercase(), stream)
}

/// Enters past all sockets, which ends before the upgrade.
async fn try_enter(world: &World, who: &str) -> Answer {
    let path = world.serve();
    world.i_am(who);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(HEAD.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        text.extend_from_slice(&buffer[..n]);
        let seen = String::from_utf8_lossy(&text);
        if n == 0 || seen.contains("\r\n\r\n{") && seen.ends_with("}}") {
            break;
        }
    }
    std::fs::remove_file(path).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head[9..12].parse().unwrap();
    Answer { status, headers: Default::default(), text: body.into() }
}

#[tokio::test]
async fn who_may_enter_gets_the_stream_with_what_was_sent_early() {
    let world = World::new();
    world.i_am("ops");
    let path = world.serve();
    let (head, mut stream) = enter(&path, "hello ").await;
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: hearth-enter/1\r\n"), "{head}");
    stream.write_all(b"world").await.unwrap();
    let mut echo = [0; 11];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"HELLO WORLD");
    assert_eq!(
        world.audited().await,
        ["ops, host: enter alice/main: running → as `coder` in container 0123456789ab: ok"]
    );
    assert_eq!(*world.around.entries.lock().unwrap(), [("alice/main".parse().unwrap(), vec![])]);
}

#[tokio::test]
async fn l8_the_warnings_of_the_last_build_are_told_at_login() {
    let world = World::new();
    world.i_am("ops");
    let warning = Warning {
        hook: Hook::Personalize,
        kind: WarningKind::Exit,
        exit_code: Some(1),
        message: "`~/personalize` ended with exit code 1".into(),
        tail: vec!["no such thing".into()],
    };
    world.change("alice/main", |view| {
        view.state = State::Running { since: at(1), warnings: vec![warning], outdated: vec![] };
    });
    let (_, mut stream) = enter(&world.serve(), "x").await;
    stream.read_u8().await.unwrap();
    assert_eq!(
        world.around.entries.lock().unwrap()[0].1,
        [
            "hearth: warning: `~/personalize` ended with exit code 1",
            "    no such thing",
            "hearth: `hearth show alice/main` has these warnings, `hearth logs alice/main` the whole log",
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_entered_says_what_to_do() {
    let world = World::new();
    let (since, failure) = (at(1), "no image".to_owned());
    for (state, hint) in [
        (State::Off { since, why: OffReason::Stopped }, "hearth start alice/main"),
        (State::Queued { build: BuildNumber(1), since }, "hearth start alice/main"),
        (State::Building { build: BuildNumber(1), stage: Stage::Pull, since }, "hearth logs alice/main"),
        (State::Running { since, warnings: vec![], outdated: vec![] }, "hearth show alice/main"),
        (State::Stopping { why: StopReason::Requested, since }, "hearth start alice/main"),
        (State::Failed { since, failure, retry_at: None }, "hearth rebuild alice/main"),
    ] {
        let name = state.name();
        world.change("alice/main", |view| {
            view.state = state;
            view.inside.as_mut().unwrap().open = false;
        });
        let answer = try_enter(&world, "ops").await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"), "{name}");
        assert!(answer.text.contains(hint), "{name}: {}", answer.text);
    }
    assert!(world.audited().await.is_empty(), "nobody entered, and nobody was refused");
    world.engine(EngineView::Away { since, why: "refused".into() });
    assert_eq!(try_enter(&world, "ops").await.code(), "docker_away");
    assert!(world.around.entries.lock().unwrap().is_empty());
}

#[tokio::test]
async fn l2_people_may_enter_while_the_hooks_run() {
    let world = World::new();
    world.i_am("ops");
    world.change("alice/main", |view| {
        view.state = State::Building { build: BuildNumber(1), stage: Stage::Configure, since: at(1) };
    });
    let (head, mut stream) = enter(&world.serve(), "x").await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    stream.read_u8().await.unwrap();
    let told = "hearth: the build is still at `configure`: `hearth logs alice/main` shows it";
    assert_eq!(world.around.entries.lock().unwrap()[0].1, [told]);
}

#[tokio::test]
async fn a_request_without_the_upgrade_says_what_is_missing() {
    let world = World::new();
    let answer = world.ask_as(&account("ops"), "POST", "/v1/workspaces/alice/main/enter", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (426, "bad_request"));
}
