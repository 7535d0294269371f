//! Requests that make no sense: each gets the one shape of an error, none gets further.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::api::testing::{World, account, ask};
use crate::api::wire::{Away, HoldRequest, ReleaseRequest, ReloadRequest, SettingsRequest, StartRequest};
use crate::model::BuildReason;

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

/// A change that takes a body: whether a body makes sense to it, which an empty one does to all of them.
type Change = (&'static str, &'static str, fn(&str) -> bool);

const CHANGES: &[Change] = &[
    ("POST", "/v1/workspaces/alice/main/start", |body| {
        let mine = |reason| matches!(reason, None | Some(BuildReason::User | BuildReason::Connect));
        parsed::<StartRequest>(body).is_some_and(|asked| mine(asked.reason))
    }),
    ("POST", "/v1/workspaces/alice/main/hold", |body| {
        let short = |message: Option<String>| message.is_none_or(|text| text.trim().chars().count() <= 200);
        parsed::<HoldRequest>(body).is_some_and(|asked| asked.seconds != Some(0) && short(asked.message))
    }),
    ("POST", "/v1/workspaces/alice/main/release", |body| parsed::<ReleaseRequest>(body).is_some()),
    ("POST", "/v1/workspaces/alice/main/personalize", is_nothing),
    ("PATCH", "/v1/workspaces/alice/main/settings", |body| parsed::<SettingsRequest>(body).is_some()),
    ("PATCH", "/v1/users/alice/settings", |body| parsed::<SettingsRequest>(body).is_some()),
    ("POST", "/v1/users/alice/away", |body| parsed::<Away>(body).is_some()),
    ("POST", "/v1/homes/hearth.alice.main.home/restore", is_nothing),
    ("POST", "/v1/config/reload", |body| parsed::<ReloadRequest>(body).is_some()),
];

fn parsed<T: serde::de::DeserializeOwned>(body: &str) -> Option<T> {
    serde_json::from_str(body).ok()
}

fn is_nothing(body: &str) -> bool {
    parsed::<serde_json::Map<_, _>>(body).is_some_and(|object| object.is_empty())
}

/// What some change takes, or nearly.
const FIELDS: &[&str] = &[
    r#""reason": "connect""#,
    r#""reason": "create""#,
    r#""interactive": true"#,
    r#""seconds": 0"#,
    r#""seconds": 60"#,
    r#""seconds": -1"#,
    r#""until_command_ends": true"#,
    r#""renew": 7"#,
    r#""message": "training""#,
    r#""hold": 7"#,
    r#""hold": "7""#,
    r#""set": {"cpus": 2}"#,
    r#""set": ["cpus"]"#,
    r#""reset": ["cpus"]"#,
    r#""until": "2099-01-07""#,
    r#""until": "2099-02-30""#,
    r#""yes": true"#,
    r#""x": null"#,
];

/// Bodies of which some make sense.
fn body() -> impl Strategy<Value = String> {
    let object = |fields: Vec<&str>| format!("{{{}}}", fields.join(", "));
    prop_oneof![
        1 => any::<String>(),
        1 => r#"[\[\]{}":,a-z0-9 ]{0,40}"#,
        1 => "[a-zé ]{150,250}".prop_map(|text| format!(r#"{{"message": "{text}"}}"#)),
        9 => prop::sample::subsequence(FIELDS, 0..3).prop_map(object),
    ]
}

#[test]
fn x4_arbitrary_bodies_and_paths_get_an_error_or_what_they_ask_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let world = World::new();
    let ops = account("ops");
    let ask = |method: &str, uri: &str, body: &str| runtime.block_on(world.ask_as(&ops, method, uri, body));
    let segment = "[ -~]{0,12}|[a-z]{1,8}|é";
    let encode = |segment: &String| segment.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    // How often each change was made and refused.
    let counts = std::cell::RefCell::new(vec![[0u32; 2]; CHANGES.len()]);
    let mut runner = TestRunner::deterministic();
    runner
        .run(&(body(), prop::collection::vec(segment, 0..6)), |(body, segments)| {
            for ((method, uri, makes_sense), count) in CHANGES.iter().zip(counts.borrow_mut().iter_mut()) {
                let fine = body.is_empty() || (makes_sense(&body) && body.trim_start().starts_with('{'));
                let answer = ask(method, uri, &body);
                prop_assert_eq!(answer.status, if fine { 200 } else { 400 }, "{} {} {}", method, uri, body);
                count[usize::from(!fine)] += 1;
                if !fine {
                    prop_assert_eq!(answer.code(), "bad_request");
                }
            }
            let uri = format!("/v1/{}", segments.iter().map(encode).collect::<Vec<_>>().join("/"));
            let answer = ask("GET", &uri, "");
            prop_assert!([200, 400, 404, 405].contains(&answer.status), "{} {}", answer.status, uri);
            if answer.status != 200 {
                answer.code();
            }
            // No home is called so, whatever else is said.
            let answer =
                ask("DELETE", &format!("/v1/homes/x{}", segments.iter().map(encode).collect::<String>()), &body);
            prop_assert_eq!((answer.status, answer.code()), (404, "not_found".to_owned()));
            Ok(())
        })
        .unwrap();
    for ((method, uri, _), [made, refused]) in CHANGES.iter().zip(counts.into_inner()) {
        assert!(made > 5 && refused > 5, "{method} {uri}: {made} made, {refused} refused");
    }
    assert!(!world.asked.lock().unwrap().iter().any(|asked| asked.starts_with("trash")));
}
