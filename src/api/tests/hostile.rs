//! Requests that make no sense: each gets the one shape of an error, none gets further.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::api::testing::{World, account, ask};
use crate::api::wire::{ReloadRequest, StartRequest};

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let world = World::new();
    let ops = account("ops");
    for (method, uri, status, code) in [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/workspaces/", 404, "not_found"),
        ("GET", "/v1/workspaces/alice", 404, "not_found"),
        ("GET", "/v1/workspaces/alice/main/whynot", 404, "not_found"),
        ("POST", "/v1/workspaces", 405, "bad_request"),
        ("DELETE", "/v1/workspaces/alice/main/stop", 405, "bad_request"),
        ("GET", "/v1/workspaces/alice/main/start", 405, "bad_request"),
        ("PUT", "/v1/openapi.json", 405, "bad_request"),
        ("GET", "/v1/workspaces/Alice/main", 400, "bad_request"),
        ("GET", "/v1/workspaces/alice/ma%2fin", 400, "bad_request"),
        ("GET", "/v1/workspaces/alice/%ff", 400, "bad_request"),
        ("GET", "/v1/workspaces/alice/..", 400, "bad_request"),
        ("GET", "/v1/users/a%00b/git-key", 400, "bad_request"),
        ("POST", "/v1/workspaces/alice/main/enter", 426, "bad_request"),
    ] {
        let answer = world.ask_as(&ops, method, uri, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {uri}: {}", answer.text);
    }
}

#[tokio::test]
async fn bodies_that_make_no_sense() {
    let world = World::new();
    let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(70_000));
    for (action, body, status, says) in [
        ("start", "{", 400, "EOF"),
        ("start", "[]", 400, "object"),
        ("start", r#"{"reasen": "connect"}"#, 400, "reasen"),
        ("start", r#"{"reason": "bored"}"#, 400, "bored"),
        ("start", r#"{"reason": "connect"} x"#, 400, "trailing"),
        ("stop", r#"{"yes": true}"#, 400, "yes"),
        ("stop", "null", 400, "object"),
        ("rebuild", &long, 413, "64 KiB"),
    ] {
        let answer = world.ask_as(&account("ops"), "POST", &format!("/v1/workspaces/alice/main/{action}"), body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, "bad_request"), "{action} {body:.40}");
        assert!(answer.text.contains(says) && answer.text.len() < 1000, "{}", answer.text);
    }
    assert!(world.asked.lock().unwrap().is_empty() && world.audited().await.is_empty());
}

#[tokio::test]
async fn x4_a_body_that_is_too_long_is_refused_on_the_socket_too() {
    let world = World::new();
    let path = world.serve();
    let answer = ask(&path, "POST", "/v1/config/reload", &" ".repeat(1 << 20)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "bad_request"));
    assert_eq!(ask(&path, "GET", "/v1/status", "").await.status, 200, "the next one is served");
}

#[test]
fn x4_arbitrary_bodies_and_paths_get_an_error_or_what_they_ask_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let world = World::new();
    let ops = account("ops");
    let text =
        prop_oneof![any::<String>(), r#"[\[\]{}":,a-z0-9 ]{0,40}"#, r#"\{"(reason|yes|x)": ?(true|"[a-z]{0,9}"|1)\}"#];
    let segment = "[ -~]{0,12}|[a-z]{1,8}|é";
    let mut runner = TestRunner::deterministic();
    runner
        .run(&(text, prop::collection::vec(segment, 0..6)), |(body, segments)| {
            let started: Result<StartRequest, _> = serde_json::from_str(&body);
            let answer = runtime.block_on(world.ask_as(&ops, "POST", "/v1/workspaces/alice/main/start", &body));
            let fine = |parsed| body.is_empty() || (parsed && body.trim_start().starts_with('{'));
            prop_assert!(
                answer.status == 400 || (answer.status == 200 && fine(started.is_ok())),
                "{} {}",
                answer.status,
                body
            );
            let reload: Result<ReloadRequest, _> = serde_json::from_str(&body);
            let answer = runtime.block_on(world.ask_as(&ops, "POST", "/v1/config/reload", &body));
            prop_assert_eq!(answer.status == 200, fine(reload.is_ok()), "{}", body);
            let encode = |segment: &String| segment.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let uri = format!("/v1/{}", segments.iter().map(encode).collect::<Vec<_>>().join("/"));
            let answer = runtime.block_on(world.ask_as(&ops, "GET", &uri, ""));
            prop_assert!([200, 400, 404, 405].contains(&answer.status), "{} {}", answer.status, uri);
            if answer.status != 200 {
                answer.code();
            }
            Ok(())
        })
        .unwrap();
}
