//! Changes: what the loop is asked, what is audited, which error becomes which code.

use serde_json::json;

use crate::api::testing::{World, account, at};
use crate::handle::{EngineView, Reply, Request, RequestError, Started};
use crate::model::BuildNumber;

const START: &str = "/v1/workspaces/alice/main/start";

#[tokio::test]
async fn each_action_is_asked_for_and_audited() {
    let world = World::new();
    let alice = account("alice.example");
    for (action, build) in [
        ("start", json!(17)),
        ("rebuild", json!(17)),
        ("stop", json!(null)),
        ("cancel", json!(17)),
        ("personalize", json!(17)),
    ] {
        let answer = world.ask_as(&alice, "POST", &format!("/v1/workspaces/alice/main/{action}"), "{}").await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"workspace": "alice/main", "build": build})),
            "{action}"
        );
    }
    let reload = world.ask_as(&account("ops"), "POST", "/v1/config/reload", r#"{"yes": true}"#).await;
    assert_eq!(reload.json(), json!({"changes": ["alice/main: cpus 2.0 → 4.0, at once"]}));
    assert_eq!(
        *world.asked.lock().unwrap(),
        [
            "start alice/main User alice.example",
            "rebuild alice/main User alice.example",
            "stop alice/main alice.example",
            "cancel alice/main alice.example",
            "personalize alice/main alice.example",
            "reload true ops",
        ]
    );
    assert_eq!(
        world.audited().await,
        [
            "alice.example, host: start alice/main: running → build 17: ok",
            "alice.example, host: rebuild alice/main: running → build 17: ok",
            "alice.example, host: stop alice/main: running → off: ok",
            "alice.example, host: cancel alice/main: running → build 17 cancelled: ok",
            "alice.example, host: personalize alice/main: running → in build 17: ok",
            "ops, host: reload : - → 1 changes: alice/main: cpus 2.0 → 4.0, at once: ok",
        ]
    );
}

#[tokio::test]
async fn the_reason_of_a_build_is_the_role_of_who_asks() {
    let world = World::new();
    for (who, action, body) in [
        ("alice.example", "start", r#"{"reason": "connect"}"#),
        ("alice.example", "start", r#"{"reason": null}"#),
        ("ops", "start", ""),
        ("dana", "rebuild", "{}"),
    ] {
        let uri = format!("/v1/workspaces/alice/main/{action}");
        assert_eq!(world.ask_as(&account(who), "POST", &uri, body).await.status, 200);
    }
    assert_eq!(
        *world.asked.lock().unwrap(),
        [
            "start alice/main Connect alice.example",
            "start alice/main User alice.example",
            "start alice/main Admin ops",
            "rebuild alice/main Admin dana",
        ]
    );
    for reason in ["create", "admin", "auto-start", "config", "recovery"] {
        let body = format!(r#"{{"reason": "{reason}"}}"#);
        assert_eq!(world.ask_as(&account("ops"), "POST", START, &body).await.code(), "bad_request", "{reason}");
    }
}

#[tokio::test]
async fn x1_what_is_refused_is_audited_and_what_is_not_there_is_not() {
    let world = World::new();
    assert_eq!(world.ask_as(&account("dana"), "POST", START, "").await.code(), "forbidden");
    assert_eq!(world.ask_as(&account("dana"), "POST", "/v1/config/reload", "").await.code(), "forbidden");
    assert_eq!(world.ask_as(&account("bob"), "POST", START, "").await.code(), "not_found");
    assert_eq!(world.ask_as(&account("bob"), "POST", "/v1/workspaces/no/such/start", "").await.code(), "not_found");
    assert_eq!(
        world.audited().await,
        [
            "dana, host: start alice/main: - → -: a manager may not start `alice/main`",
            "dana, host: reload : - → -: only an admin may reload the configuration",
            // Bob is told that there is no such workspace; the log knows better.
            "bob, host: start alice/main: - → -: there is no workspace `alice/main` that you may see",
        ]
    );
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn x4_refusals_cannot_wash_the_audit_log_away() {
    let world = World::new();
    for _ in 0..150 {
        world.ask_as(&account("dana"), "POST", START, "").await;
    }
    assert_eq!(world.audited().await.len(), 100);
    world.ask_as(&account("bob"), "POST", START, "").await;
    assert_eq!(world.audited().await.len(), 101, "and the refusals of others are noted still");
}

#[tokio::test]
async fn what_runs_already_is_no_change() {
    let world = World::with(|request| start_in(request).send(Ok(Started::AlreadyRunning)).unwrap());
    let answer = world.ask_as(&account("alice.example"), "POST", START, "").await;
    assert_eq!(answer.json(), json!({"workspace": "alice/main", "build": null}));
    assert!(world.audited().await.is_empty());
}

fn start_in(request: Request) -> Reply<Started> {
    let Request::Start { reply, .. } = request else { panic!("{request:?}") };
    reply
}

#[tokio::test]
async fn each_error_of_the_loop_has_its_code() {
    let id = || "alice/main".parse().unwrap();
    for (error, status, code) in [
        (RequestError::NoSuchWorkspace(id()), 404, "not_found"),
        (RequestError::NotDeclared(id()), 409, "conflict"),
        (RequestError::Conflict("no build".into()), 409, "conflict"),
        (RequestError::EngineAway("refused".into()), 503, "docker_away"),
        (RequestError::Stopping, 503, "unavailable"),
        (RequestError::BadConfiguration("hearth.toml:1:1".into()), 422, "bad_configuration"),
        (RequestError::Guarded("too much".into()), 409, "conflict"),
        (RequestError::Failed("disk".into()), 500, "internal"),
    ] {
        let answered = error.clone();
        let world = World::with(move |request| start_in(request).send(Err(answered.clone())).unwrap());
        let answer = world.ask_as(&account("alice.example"), "POST", START, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{error}");
    }
}

#[tokio::test]
async fn a_loop_that_is_gone_is_unavailable() {
    let world = World::with(drop);
    let answer = world.ask_as(&account("alice.example"), "POST", START, "").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
}

/// Keeps the requests and answers none of them.
fn silent() -> World {
    let kept = std::sync::Mutex::new(Vec::new());
    World::with(move |request| kept.lock().unwrap().push(request))
}

#[tokio::test(start_paused = true)]
async fn l12_nobody_waits_longer_than_5_s_for_a_docker_that_is_away() {
    let world = silent();
    world.engine(EngineView::Away { since: at(50), why: "connection refused".into() });
    let actions = ["start", "rebuild", "stop", "cancel", "personalize", "hold", "release"];
    let actions = actions.map(|action| ("POST", format!("/v1/workspaces/alice/main/{action}")));
    let others = [
        ("PATCH", "/v1/workspaces/alice/main/settings"),
        ("PATCH", "/v1/users/alice/settings"),
        ("POST", "/v1/users/alice/away"),
        ("DELETE", "/v1/homes/hearth.alice.main.home-2"),
        ("POST", "/v1/homes/hearth.alice.main.home/restore"),
    ];
    for (method, uri) in actions.into_iter().chain(others.map(|(method, uri)| (method, uri.to_owned()))) {
        let started = tokio::time::Instant::now();
        let answer = world.ask_as(&account("alice.example"), method, &uri, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "docker_away"), "{method} {uri}");
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{method} {uri}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn l12_a_stop_takes_as_long_as_it_takes_while_docker_is_there() {
    let answered = std::sync::Arc::new(std::sync::Mutex::new(None));
    let kept = answered.clone();
    let world = World::with(move |request| *kept.lock().unwrap() = Some(request));
    let here = world.context.handle.snapshot().engine.clone();
    let alice = account("alice.example");
    let (answer, ()) = tokio::join!(world.ask_as(&alice, "POST", "/v1/workspaces/alice/main/stop", ""), async {
        for _ in 0..10 {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            world.engine(EngineView::Away { since: at(50), why: "it blinks".into() });
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            world.engine(here.clone());
        }
        let Some(Request::Stop { reply, .. }) = answered.lock().unwrap().take() else { panic!("nobody asked") };
        reply.send(Ok(())).unwrap();
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn x1_a_change_is_audited_even_when_the_client_hangs_up() {
    let (taken, waits) = std::sync::mpsc::channel();
    let world = World::with(move |request| taken.send(request).unwrap());
    let alice = account("alice.example");
    let asked = world.ask_as(&alice, "POST", START, "");
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), asked).await.is_err());
    start_in(waits.try_recv().unwrap()).send(Ok(Started::Build(BuildNumber(4)))).unwrap();
    let audited = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while world.audited().await.is_empty() {
            tokio::task::yield_now().await;
        }
    });
    audited.await.unwrap();
    assert_eq!(world.audited().await, ["alice.example, host: start alice/main: running → build 4: ok"]);
}
