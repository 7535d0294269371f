//! The host's socket: who is at the other end, how many, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::api::bind_host;
use crate::api::testing::{World, account, ask, at};
use crate::handle::Event;
use crate::model::StateName;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_caller_is_the_account_of_the_peers_uid() {
    let world = World::new();
    let path = world.serve();
    let uid = nix::unistd::getuid().as_raw();
    let you = ask(&path, "GET", "/v1/status", "").await.json()["you"].clone();
    assert_eq!(you["name"], json!(format!("uid {uid}")), "an account that the host does not know");
    world.i_am("dana");
    let you = ask(&path, "GET", "/v1/status", "").await.json()["you"].clone();
    assert_eq!(you, json!({"name": "dana", "users": ["dana"], "admin": uid == 0, "inside": null}));
}

#[tokio::test]
async fn a_host_that_cannot_say_who_it_is_makes_nobody_a_nobody() {
    let world = World::new();
    world.around.accounts_away.store(true, Ordering::Relaxed);
    let answer = ask(&world.serve(), "GET", "/v1/status", "").await;
    if nix::unistd::getuid().is_root() {
        assert_eq!(answer.json()["you"]["name"], json!("root"));
    } else {
        assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    }
}

#[tokio::test]
async fn anybody_may_connect_to_the_hosts_socket() {
    let world = World::new();
    let path = world.serve();
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o666);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hearth.sock");
    drop(UnixListener::bind(&path).unwrap());
    let listener = bind_host(&path).unwrap();
    let error = bind_host(&path).unwrap_err().to_string();
    assert_eq!(error, format!("another hearthd answers on `{}`: stop it, or set another `run_dir`", path.display()));
    UnixStream::connect(&path).await.unwrap();
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(bind_host(&path).unwrap_err().to_string().contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert!(bind_host(&directory.path().join("none/hearth.sock")).unwrap_err().to_string().contains("cannot listen"));
}

#[tokio::test(start_paused = true)]
async fn x4_a_client_that_says_nothing_is_hung_up_on() {
    let world = World::new();
    let mut idle = UnixStream::connect(world.serve()).await.unwrap();
    idle.write_all(b"GET /v1/status HT").await.unwrap();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(60), idle.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn x4_one_account_does_not_take_every_place() {
    let world = World::new();
    let path = world.serve();
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(UnixStream::connect(&path).await.unwrap());
    }
    let mut text = String::new();
    UnixStream::connect(&path).await.unwrap().read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 429 ") && text.ends_with("}}"), "{text:?}");
    open.clear();
    let freed = async {
        loop {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
            let mut text = String::new();
            if stream.read_to_string(&mut text).await.is_ok() && text.starts_with("HTTP/1.1 404") {
                return;
            }
        }
    };
    timeout(SOON, freed).await.unwrap();
}

/// Opens a stream of some answer and hands its pieces over as they come.
async fn follow(world: &World, who: &str, uri: &str) -> impl futures_util::Stream<Item = String> + Unpin {
    use tower::Service;
    let request = hyper::Request::get(uri).extension(crate::api::caller::Caller(account(who)));
    let request = request.body(axum::body::Body::empty()).unwrap();
    let Ok(response) = crate::api::router(world.context.clone()).call(request).await;
    assert_eq!(response.status(), 200);
    Box::pin(response.into_body().into_data_stream().map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap()))
}

#[tokio::test]
async fn x1_events_are_those_of_what_one_may_see() {
    let world = World::new();
    let mut alice = follow(&world, "alice.example", "/v1/events").await;
    for id in ["bob/main", "alice/none", "alice/main"] {
        let event = Event::State { at: at(9), workspace: id.parse().unwrap(), state: StateName::Off };
        world.events.send(event).unwrap();
    }
    world.events.send(Event::Engine { at: at(10), here: false }).unwrap();
    let state = format!(
        "event: state\ndata: {{\"event\":\"state\",\"at\":\"{}\",\"workspace\":\"alice/main\",\"state\":\"off\"}}\n\n",
        at(9)
    );
    assert_eq!(timeout(SOON, alice.next()).await.unwrap().unwrap(), state);
    assert!(timeout(SOON, alice.next()).await.unwrap().unwrap().starts_with("event: engine\n"));
}

#[tokio::test]
async fn who_lags_is_told_so() {
    let world = World::new();
    let mut events = follow(&world, "ops", "/v1/events").await;
    for _ in 0..12 {
        world.events.send(Event::Engine { at: at(9), here: true }).unwrap();
    }
    assert_eq!(timeout(SOON, events.next()).await.unwrap().unwrap(), "event: lagged\ndata: {\"lost\":4}\n\n");
    assert!(timeout(SOON, events.next()).await.unwrap().unwrap().starts_with("event: engine\n"));
}

#[tokio::test]
async fn an_ending_ends_streams_and_connections() {
    let world = World::new();
    world.record("alice/main").await;
    world.i_am("ops");
    let path = world.serve();
    let mut bodies = Vec::new();
    for uri in ["/v1/events", "/v1/workspaces/alice/main/builds/1/log?follow=true"] {
        let stream = UnixStream::connect(&path).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        world.tasks.spawn(async move { drop(connection.await) });
        let request = hyper::Request::get(uri).header("host", "hearth").body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        bodies.push((sender, response.into_body()));
    }
    let idle = UnixStream::connect(&path).await.unwrap();
    world.stop.cancel();
    for (_sender, body) in bodies {
        timeout(SOON, body.collect()).await.unwrap().unwrap();
    }
    drop(idle);
    assert!(timeout(SOON, async { while UnixStream::connect(&path).await.is_ok() {} }).await.is_ok());
}

#[tokio::test]
async fn l11_a_request_that_is_on_its_way_when_it_ends_is_answered() {
    let world = World::new();
    let [mut asks, mut waits] = ["alice/main", "alice/main"].map(|id| world.call_inside(id));
    let others_go_on = || async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    };
    others_go_on().await;
    world.stop.cancel();
    others_go_on().await;
    asks.write_all(b"GET /v1/status HTTP/1.1\r\nhost: hearth\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, asks.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer:?}");
    // Who asks nothing holds the ending up no longer than a moment.
    assert_eq!(timeout(SOON, waits.read(&mut [0; 9])).await.unwrap().unwrap(), 0);
}
