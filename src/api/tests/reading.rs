//! Who sees what, and in which shape.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::testing::{World, account, at};
use crate::handle::EngineView;
use crate::model::{BuildNumber, BuildReason, BuildRecord, BuildResult, Requester, Stage, StageTiming, State};

async fn listed(world: &World, who: &str) -> Vec<String> {
    let answer = world.ask_as(&account(who), "GET", "/v1/workspaces", "").await;
    assert_eq!(answer.status, 200);
    let list: Vec<Value> = serde_json::from_str(&answer.text).unwrap();
    list.iter().map(|workspace| workspace["workspace"].as_str().unwrap().to_owned()).collect()
}

fn build() -> BuildRecord {
    BuildRecord {
        number: BuildNumber(3),
        reason: BuildReason::User,
        requester: Requester("alice.example".into()),
        queued_at: at(1),
        started_at: Some(at(2)),
        ended_at: None,
        stage: Some(Stage::Configure),
        stages: vec![StageTiming {
            stage: Stage::Pull,
            started_at: at(2),
            took: Some(std::time::Duration::from_millis(1500)),
        }],
        result: None,
        failure: None,
        warnings: vec![],
        image: "debian:12".into(),
        image_digest: Some("debian@sha256:0".into()),
    }
}

#[tokio::test]
async fn x1_everybody_lists_what_they_may_see() {
    let world = World::new();
    assert_eq!(listed(&world, "alice.example").await, ["alice/main", "alice/side"]);
    assert_eq!(listed(&world, "dana").await, ["alice/main", "alice/side", "carol/old", "dana/main"]);
    assert_eq!(listed(&world, "audrey").await.len(), 5);
    assert_eq!(listed(&world, "carol").await, [""; 0]);
}

#[tokio::test]
async fn a_workspace_has_every_field_of_section_8() {
    let world = World::new();
    world.change("alice/main", |view| {
        view.build = Some(build());
        view.state = State::Building { build: BuildNumber(3), stage: Stage::Configure, since: at(2) };
    });
    let answer = world.ask_as(&account("alice.example"), "GET", "/v1/workspaces", "").await;
    insta::assert_snapshot!("list", serde_json::to_string_pretty(&answer.json()[0]).unwrap());
}

#[tokio::test]
async fn a_workspace_that_no_file_declares_has_nulls() {
    let world = World::new();
    let answer = world.ask_as(&account("ops"), "GET", "/v1/workspaces/carol/old", "").await.json();
    assert_eq!(answer["image"], Value::Null);
    assert_eq!(answer["resources"], json!({"cpus": null, "memory": null, "pids": null}));
    assert_eq!(answer["auto_off"]["threshold"], Value::Null);
    assert_eq!((&answer["declared"], &answer["state"]), (&json!(false), &json!("off")));
}

#[tokio::test]
async fn show_has_what_list_has_and_more() {
    let world = World::new();
    world.record("alice/main").await;
    world.change("alice/main", |view| view.build = Some(build()));
    let alice = account("alice.example");
    let list = world.ask_as(&alice, "GET", "/v1/workspaces", "").await.json();
    let show = world.ask_as(&alice, "GET", "/v1/workspaces/alice/main", "").await.json();
    for (key, value) in list[0].as_object().unwrap() {
        assert_eq!(show[key], *value, "{key}");
    }
    assert_eq!(show["stages"], json!([{"stage": "pull", "started_at": at(2).to_string(), "seconds": 1.5}]));
    assert_eq!(show["ports"], json!(["127.0.0.1:8080:80"]));
    assert_eq!(
        (&show["username"], &show["because"], &show["home"]),
        (&json!("coder"), &json!("it runs"), &Value::Null)
    );
}

#[tokio::test]
async fn x1_what_is_hidden_looks_exactly_like_what_is_not_there() {
    let world = World::new();
    world.record("alice/main").await;
    for (method, rest) in [
        ("GET", ""),
        ("POST", "/start"),
        ("POST", "/rebuild"),
        ("POST", "/stop"),
        ("POST", "/cancel"),
        ("POST", "/personalize"),
        ("GET", "/builds"),
        ("GET", "/builds/1/log"),
        ("GET", "/config"),
    ] {
        let ask = async |name: &str| {
            let uri = format!("/v1/workspaces/{name}{rest}");
            let answer = world.ask_as(&account("bob"), method, &uri, "").await;
            (answer.status, answer.text.replace(name, "NAME"), answer.headers)
        };
        let (hidden, absent) = (ask("alice/main").await, ask("alice/none").await);
        assert_eq!(hidden, absent, "{method} {rest}");
        assert_eq!(hidden.0, 404, "{method} {rest}");
    }
    assert!(world.asked.lock().unwrap().is_empty());
    let ask = async |name: &str| {
        let answer = world.ask_as(&account("bob"), "GET", &format!("/v1/users/{name}/git-key"), "").await;
        (answer.status, answer.text.replace(name, "NAME"))
    };
    assert_eq!(ask("alice").await, ask("nobody").await);
}

/// The database is told first, what everybody sees a moment later: who asks both hears the same.
#[tokio::test]
async fn a_build_is_listed_as_the_workspace_is_shown() {
    let world = World::new();
    world.record("alice/main").await;
    let id = "alice/main".parse().unwrap();
    let store = &world.context.outside.store;
    let mut ended = store.build(&id, BuildNumber(1)).await.unwrap();
    let shown = BuildRecord { stage: Some(Stage::Personalize), ..ended.clone() };
    (ended.stage, ended.ended_at, ended.result) = (None, Some(at(9)), Some(BuildResult::Ok));
    store.update_build(&id, &ended).await.unwrap();
    world.change("alice/main", |view| view.build = Some(shown));
    let builds = async || world.ask_as(&account("dana"), "GET", "/v1/workspaces/alice/main/builds", "").await.json();
    let of = |builds: Value| (builds[0]["stage"].clone(), builds[0]["result"].clone());
    assert_eq!(of(builds().await), (json!("personalize"), Value::Null));
    world.change("alice/main", |view| view.build = Some(ended));
    assert_eq!(of(builds().await), (Value::Null, json!("ok")));
}

#[tokio::test]
async fn builds_are_listed_and_their_logs_read() {
    let world = World::new();
    world.record("alice/main").await;
    let dana = account("dana");
    let builds = world.ask_as(&dana, "GET", "/v1/workspaces/alice/main/builds", "").await.json();
    assert_eq!((&builds[0]["number"], &builds[0]["image"]), (&json!(1), &json!("debian:12")));
    let log = world.ask_as(&dana, "GET", "/v1/workspaces/alice/main/builds/1/log", "").await;
    assert_eq!((log.status, log.text.as_str()), (200, "log of 1, build 1\n"));
    assert_eq!(log.headers["content-type"], "text/plain; charset=utf-8");
    for (number, status) in [("2", 404), ("x", 400), ("-1", 400), ("99999999999", 400)] {
        let uri = format!("/v1/workspaces/alice/main/builds/{number}/log");
        assert_eq!(world.ask_as(&dana, "GET", &uri, "").await.status, status, "{number}");
    }
    let unknown = world.ask_as(&dana, "GET", "/v1/workspaces/alice/main/builds/1/log?folow=true", "").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "bad_request"));
    assert!(unknown.text.contains("folow"), "{}", unknown.text);
}

#[tokio::test]
async fn a_workspace_that_was_never_recorded_has_no_builds() {
    let world = World::new();
    let ops = account("ops");
    let builds = world.ask_as(&ops, "GET", "/v1/workspaces/alice/main/builds", "").await;
    assert_eq!(builds.json(), json!([]));
    let log = world.ask_as(&ops, "GET", "/v1/workspaces/alice/main/builds/1/log", "").await;
    assert_eq!((log.status, log.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn status_says_who_one_is_and_counts_what_one_sees() {
    let world = World::new();
    let status = world.ask_as(&account("alice.example"), "GET", "/v1/status", "").await.json();
    assert_eq!(status["you"], json!({"name": "alice.example", "users": ["alice"], "admin": false, "inside": null}));
    assert_eq!(status["workspaces"], json!({"running": 2}));
    assert_eq!(status["docker"]["version"], json!("20.10.24"));
    assert_eq!((&status["config"]["rejected"], status["config"]["rejected_since"].is_null()), (&Value::Null, false));
    for who in ["ops", "audrey"] {
        let status = world.ask_as(&account(who), "GET", "/v1/status", "").await.json();
        assert_eq!(status["config"]["rejected"], json!("hearth.toml:1:1: no"), "{who}");
    }
}

#[tokio::test]
async fn l12_while_docker_is_away_answers_come_from_the_last_look_and_say_so() {
    let world = World::new();
    world.engine(EngineView::Away { since: at(50), why: "connection refused".into() });
    let alice = account("alice.example");
    for uri in ["/v1/workspaces", "/v1/workspaces/alice/main", "/v1/workspaces/alice/main/why", "/v1/status"] {
        let answer = world.ask_as(&alice, "GET", uri, "").await;
        assert_eq!(
            (answer.status, answer.headers["hearth-docker-away-since"].to_str().unwrap()),
            (200, &*at(50).to_string())
        );
    }
    let status = world.ask_as(&alice, "GET", "/v1/status", "").await.json();
    assert_eq!(
        (&status["docker"]["reachable"], &status["docker"]["error"]),
        (&json!(false), &json!("connection refused"))
    );
}

#[tokio::test(start_paused = true)]
async fn l11_nothing_is_answered_before_the_first_look() {
    let world = World::new();
    let here = world.context.handle.snapshot().engine.clone();
    world.engine(EngineView::Unknown);
    let (ops, started) = (account("ops"), tokio::time::Instant::now());
    let answer = world.ask_as(&ops, "GET", "/v1/workspaces", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "docker_away"));
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(world.ask_as(&ops, "GET", "/v1/openapi.json", "").await.status, 200, "that needs no look");
    let (answer, ()) = tokio::join!(world.ask_as(&ops, "GET", "/v1/workspaces", ""), async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        world.engine(here);
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_audit_log_and_the_plan_are_not_for_everybody() {
    let world = World::new();
    for uri in ["/v1/audit", "/v1/config/plan"] {
        for (who, status) in [("ops", 200), ("audrey", 200), ("dana", 403), ("nobody", 403)] {
            assert_eq!(world.ask_as(&account(who), "GET", uri, "").await.status, status, "{who} {uri}");
        }
    }
    let plan = world.ask_as(&account("ops"), "GET", "/v1/config/plan", "").await.json();
    assert_eq!(plan["changes"], json!(["alice/main: cpus 2.0 → 4.0, at once"]));
}

#[tokio::test]
async fn the_audit_log_is_read_in_its_order_and_filtered() {
    let world = World::new();
    let ops = account("ops");
    for uri in ["/v1/workspaces/alice/main/stop", "/v1/workspaces/bob/main/start", "/v1/config/reload"] {
        assert_eq!(world.ask_as(&ops, "POST", uri, "").await.status, 200);
    }
    let what = async |query: &str| -> Vec<String> {
        let lines = world.ask_as(&ops, "GET", &format!("/v1/audit{query}"), "").await.json();
        lines.as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(what("").await, ["stop", "start", "reload"]);
    assert_eq!(what("?limit=1").await, ["reload"]);
    assert_eq!(what("?workspace=bob/main").await, ["start"]);
    assert_eq!(what("?since=2999-01-01T00:00:00Z").await, [""; 0]);
    for bad in ["?limit=x", "?workspace=bob", "?since=yesterday", "?foo=1"] {
        assert_eq!(world.ask_as(&ops, "GET", &format!("/v1/audit{bad}"), "").await.code(), "bad_request", "{bad}");
    }
}

#[tokio::test]
async fn a_git_key_is_shown_to_its_user() {
    let world = World::new();
    let key = world.ask_as(&account("alice.example"), "GET", "/v1/users/alice/git-key", "").await;
    assert_eq!(key.json(), json!({"user": "alice", "public_key": "ssh-ed25519 AAAA alice"}));
}

#[tokio::test]
async fn config_show_has_each_value_with_its_origin() {
    let world = World::new();
    let rows = world.ask_as(&account("alice.example"), "GET", "/v1/workspaces/alice/main/config", "").await.json();
    let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(row("auto_off"), json!({"key": "auto_off", "value": "2h", "origin": "hearth.toml:9:20"}));
    assert_eq!(row("pids"), json!({"key": "pids", "value": "4096", "origin": "default"}));
}

#[tokio::test]
async fn config_show_is_not_for_managers_nor_for_what_no_file_declares() {
    let world = World::new();
    let ask = async |who: &str, id: &str| {
        world.ask_as(&account(who), "GET", &format!("/v1/workspaces/{id}/config"), "").await.status
    };
    assert_eq!(ask("alice.example", "alice/main").await, 200);
    assert_eq!(ask("audrey", "alice/main").await, 200);
    assert_eq!(ask("dana", "alice/main").await, 403);
    assert_eq!(ask("ops", "carol/old").await, 409);
}

#[tokio::test]
async fn everybody_is_told_where_nothing_is_seen_of_connections() {
    let world = World::new();
    let notes = async |who: &str| world.ask_as(&account(who), "GET", "/v1/status", "").await.json()["notes"].clone();
    assert_eq!(notes("bob").await, json!([]));
    world.snapshot.send_modify(|snapshot| Arc::make_mut(snapshot).blind = Some("no capability".into()));
    let said = "no connection into a workspace can be seen, so auto-off turns nothing off: no capability";
    assert_eq!(notes("bob").await, json!([said]));
}
