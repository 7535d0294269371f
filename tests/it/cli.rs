//! The command line against a hearthd that answers what a test tells it to.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::fake::{Answer, Fake, build, detail, status, workspace};
use crate::support::{run, wait_for};

const MAIN: &str = "/v1/workspaces/alice/main";

fn ran(fake: &Fake, args: &[&str]) -> crate::support::Ran {
    run(fake.hearth(args))
}

/// A stream that is open and says nothing until the process ends.
fn silent() -> Answer {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    Answer::Stream(Box::new(move || {
        let _open = &sender;
        receiver.recv().ok().map(|()| vec![])
    }))
}

fn pieces(pieces: &'static [&'static str]) -> Answer {
    let mut pieces = pieces.iter();
    Answer::Stream(Box::new(move || pieces.next().map(|piece| piece.as_bytes().to_vec())))
}

#[test]
fn list_is_a_table_names_alone_or_json_exactly_as_the_api_has_it() {
    let fake = Fake::start();
    let all = json!([workspace("alice/main", "running"), workspace("bob/web", "off")]);
    fake.says("GET /v1/workspaces", 200, all.clone());

    let table = ran(&fake, &["list"]).ok();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(rows[0], ["WORKSPACE", "STATE", "IMAGE"]);
    assert_eq!(rows[1], ["alice/main", "running", "debian:12"]);
    assert_eq!(rows[2], ["bob/web", "off", "debian:12"]);
    assert!(!table.contains('\x1b'), "colours only on a terminal: {table:?}");

    assert_eq!(ran(&fake, &["list", "-q"]).ok(), "alice/main\nbob/web\n");
    assert_eq!(ran(&fake, &["list", "--json"]).json(), all);
}

#[test]
fn an_empty_list_says_so_beside_the_data() {
    let fake = Fake::start();
    fake.says("GET /v1/workspaces", 200, json!([]));
    let empty = ran(&fake, &["list"]);
    assert_eq!((empty.ok().as_str(), empty.stderr().starts_with("no workspaces")), ("", true), "{empty}");
    assert_eq!(ran(&fake, &["list", "--json"]).ok(), "[]\n");
}

#[test]
fn each_error_of_the_api_has_its_exit_code_and_hint() {
    let fake = Fake::start();
    for (http, code, exit) in [
        (400, "bad_request", 2),
        (422, "bad_configuration", 2),
        (503, "docker_away", 3),
        (401, "unauthorized", 4),
        (403, "forbidden", 4),
        (404, "not_found", 5),
        (409, "conflict", 6),
        (429, "too_many", 1),
        (500, "internal", 1),
    ] {
        fake.refuses("GET /v1/workspaces", http, code, "what happened");
        let error = ran(&fake, &["list"]).fails(exit);
        assert_eq!(error, "error: what happened\nhint: the hint\n");

        let json = ran(&fake, &["list", "--json"]);
        let body: Value = serde_json::from_str(&json.fails(exit)).unwrap();
        assert_eq!(body["error"], json!({ "code": code, "message": "what happened", "hint": "the hint" }));
        assert_eq!(json.stdout(), "");
    }
}

#[test]
fn without_hearthd_it_is_3_and_says_what_to_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let hearth = |socket: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.env_clear().args(["--socket", socket, "list"]);
        run(command)
    };
    let missing = dir.path().join("none");
    assert!(hearth(missing.to_str().unwrap()).fails(3).contains("no socket at"), "missing");

    let dead = dir.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let error = hearth(dead.to_str().unwrap()).fails(3);
    assert!(error.contains("nobody listens on") && error.contains("\nhint: "), "{error}");

    let fake = Fake::start();
    fake.answers("GET /v1/workspaces", || Answer::Nothing);
    assert!(ran(&fake, &["list"]).fails(3).contains("hearthd broke off"), "cut off");
}

#[test]
fn an_answer_that_is_not_ours_is_no_panic() {
    let fake = Fake::start();
    fake.says("GET /v1/workspaces", 200, json!({ "surprise": true }));
    assert!(ran(&fake, &["list"]).fails(1).contains("hearth version"));
    fake.says("GET /v1/workspaces", 502, json!("bad gateway"));
    assert!(ran(&fake, &["list"]).fails(1).contains("hearthd answered 502"));
}

#[test]
fn usage_errors_are_2_before_anything_is_asked() {
    let fake = Fake::start();
    for args in [&["bogus"][..], &["stop", "Bad/Name"], &["logs", "main", "--build", "x"], &["stop"]] {
        ran(&fake, args).fails(2);
    }
    assert!(fake.asked("GET /v1/status").is_empty());
}

#[test]
fn a_bare_name_is_ones_own_and_an_ambiguous_one_is_listed() {
    let fake = Fake::start();
    fake.says(&format!("POST {MAIN}/stop"), 200, json!({ "workspace": "alice/main", "build": null }));
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "off", None));
    assert_eq!(ran(&fake, &["stop", "main"]).ok(), "alice/main is off\n");
    assert_eq!(ran(&fake, &["stop", "alice/main"]).ok(), "alice/main is off\n");

    fake.says("GET /v1/workspaces", 200, json!([workspace("alice/main", "off"), workspace("bob/main", "off")]));
    fake.says("GET /v1/status", 200, status(&["alice", "bob"]));
    assert!(ran(&fake, &["stop", "main"]).fails(2).contains("alice/main, bob/main"));
    fake.says("GET /v1/status", 200, status(&[]));
    assert!(ran(&fake, &["stop", "main"]).fails(2).contains("alice/main, bob/main"));
    assert_eq!(fake.asked(&format!("POST {MAIN}/stop")).len(), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let fake = Fake::start();
    let many: Vec<_> = (0..2_000).map(|n| workspace(&format!("alice/w{n}"), "off")).collect();
    fake.says("GET /v1/workspaces", 200, Value::from(many));
    let mut command = fake.hearth(&["list"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(0), vec![]));
}

/// A build that gets on by one step each time it is looked at.
fn building(fake: &Fake, verb: &str, steps: Vec<Value>) {
    fake.says(&format!("POST {MAIN}/{verb}"), 202, json!({ "workspace": "alice/main", "build": 17 }));
    fake.answers("GET /v1/events", || pieces(&["event: stage\ndata: {\"workspace\":\"alice/main\"}\n\n"; 3]));
    let looks = Arc::new(AtomicU32::new(0));
    fake.answers(&format!("GET {MAIN}/builds"), move || {
        let look = looks.fetch_add(1, Ordering::Relaxed) as usize;
        Answer::Json(200, json!([steps[look.min(steps.len() - 1)], build(16, Some("ok"), &[])]))
    });
}

#[test]
fn start_follows_the_build_with_a_line_per_stage() {
    let fake = Fake::start();
    let mut queued = build(17, None, &[]);
    queued["started_at"] = Value::Null;
    let done = [("pull", Some(3.21)), ("create", Some(0.01)), ("personalize", Some(1.5))];
    building(
        &fake,
        "start",
        vec![queued, build(17, None, &[("pull", None)]), build(17, None, &done[..2]), build(17, Some("ok"), &done)],
    );
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));

    let started = ran(&fake, &["start", "main"]);
    assert_eq!(started.ok(), "alice/main is running after 41 s\n");
    assert_eq!(
        started.stderr(),
        "alice/main: build 17\nbuild 17 waits for its turn\n  pull           3.2 s\n  create        0.01 s\n  \
         personalize    1.5 s\nenter it with: hearth ssh alice/main\n"
    );
    assert_eq!(fake.asked(&format!("POST {MAIN}/start"))[0].body, json!({ "reason": null, "interactive": false }));
}

#[test]
fn quiet_says_nothing_and_json_ends_with_the_workspace() {
    let fake = Fake::start();
    building(&fake, "start", vec![build(17, Some("ok"), &[("pull", Some(0.1))])]);
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));
    let quiet = ran(&fake, &["start", "main", "-q"]);
    assert_eq!((quiet.ok().as_str(), quiet.stderr().as_str()), ("alice/main is running after 41 s\n", ""));
    assert_eq!(ran(&fake, &["start", "main", "--json"]).json()["state"], "running");
}

#[test]
fn what_runs_already_is_no_failure() {
    let fake = Fake::start();
    fake.says(&format!("POST {MAIN}/start"), 200, json!({ "workspace": "alice/main", "build": null }));
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));
    assert_eq!(ran(&fake, &["start", "main"]).ok(), "alice/main is running\n");
}

#[test]
fn detach_returns_at_once() {
    let fake = Fake::start();
    fake.says(&format!("POST {MAIN}/rebuild"), 202, json!({ "workspace": "alice/main", "build": 17 }));
    assert_eq!(ran(&fake, &["rebuild", "main", "--detach"]).ok(), "alice/main: build 17 is on its way\n");
    let json = ran(&fake, &["rebuild", "main", "--detach", "--json"]).json();
    assert_eq!(json, json!({ "workspace": "alice/main", "build": 17 }));
    assert!(fake.asked(&format!("GET {MAIN}/builds")).is_empty());
}

#[test]
fn l8_a_hook_that_failed_is_a_warning_with_its_last_lines() {
    let fake = Fake::start();
    let mut done = build(17, Some("ok"), &[("configure", Some(1.0))]);
    done["warnings"] = json!([{ "hook": "configure", "kind": "exit", "exit_code": 7,
        "message": "configure ended with exit code 7", "tail": ["one", "two\u{1b}[2J"] }]);
    building(&fake, "start", vec![done]);
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));
    let started = ran(&fake, &["start", "main"]);
    started.ok();
    assert!(started.stderr().contains("warning: configure ended with exit code 7\n  | one\n  | two\n"), "{started}");
}

#[test]
fn l6_a_failed_rebuild_says_why_how_it_is_and_what_to_type() {
    let fake = Fake::start();
    let mut failed = build(17, Some("failed"), &[("pull", Some(2.0))]);
    failed["failure"] = "no such image".into();
    building(&fake, "rebuild", vec![failed]);
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", Some("no such image")));
    let log: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    fake.answers(&format!("GET {MAIN}/builds/17/log"), move || {
        let mut log = Some(log.clone().into_bytes());
        Answer::Stream(Box::new(move || log.take()))
    });
    let error = ran(&fake, &["rebuild", "main"]).fails(1);
    assert!(error.contains("  pull           2.0 s  failed\n  | line 11\n"), "{error}");
    assert!(!error.contains("line 10\n"), "only the last 20 lines: {error}");
    assert!(
        error.ends_with(
            "error: build 17 of `alice/main` failed in `pull`: no such image\nalice/main runs as it did before\n\
             hint: hearth logs alice/main --build 17; once it is mended: hearth rebuild alice/main\n"
        ),
        "{error}"
    );
}

#[test]
fn verbose_shows_all_of_the_log_harmless() {
    let fake = Fake::start();
    let done = [("pull", Some(0.1)), ("configure", Some(1.0))];
    building(&fake, "start", vec![build(17, None, &done[..1]), build(17, Some("ok"), &done)]);
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));
    fake.answers(&format!("GET {MAIN}/builds/17/log?follow=true"), || {
        pieces(&["2026-07-01T12:00:00Z configure   Get:1\r\nev", "il\x07\n", "no line end"])
    });
    let started = ran(&fake, &["start", "main", "-v"]);
    started.ok();
    let said = started.stderr();
    for line in ["configure   Get:1", "evil\\x07", "no line end"] {
        assert!(said.lines().any(|one| one == line), "{line:?} is not in {started}");
    }
}

#[test]
fn h4_personalize_is_followed_until_the_hook_has_ended() {
    let fake = Fake::start();
    fake.says(&format!("POST {MAIN}/personalize"), 200, json!({ "workspace": "alice/main", "build": 17 }));
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));
    let warning = |hook: &str| json!({ "hook": hook, "kind": "exit", "exit_code": 3, "message": hook, "tail": [] });
    let looks = Arc::new(AtomicU32::new(0));
    let failing = Arc::new(AtomicU32::new(0));
    let fails = failing.clone();
    fake.answers(&format!("GET {MAIN}/builds"), move || {
        let over = looks.fetch_add(1, Ordering::Relaxed) > 0;
        let mut seen = build(17, Some("ok"), &[("pull", Some(1.0)), ("personalize", over.then_some(2.5))]);
        seen["warnings"] = match fails.load(Ordering::Relaxed) {
            0 => json!([warning("configure")]),
            _ => json!([warning("personalize")]),
        };
        Answer::Json(200, json!([seen]))
    });
    let done = ran(&fake, &["personalize", "main"]);
    assert_eq!(done.ok(), "alice/main is personalized\n");
    assert_eq!(done.stderr(), "  personalize    2.5 s\n");

    failing.store(1, Ordering::Relaxed);
    let failed = ran(&fake, &["personalize", "main"]).fails(1);
    assert!(failed.contains("warning: personalize\n") && failed.contains("hint: "), "{failed}");
}

#[test]
fn ctrl_c_detaches_with_130_and_a_word() {
    let fake = Fake::start();
    building(&fake, "start", vec![build(17, None, &[("pull", None)])]);
    fake.answers("GET /v1/events", silent);
    let mut command = fake.hearth(&["start", "main"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the build to be looked at", || {
        (!fake.asked(&format!("GET {MAIN}/builds")).is_empty()).then_some(()).ok_or("not yet".into())
    });
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("detached: build 17 of alice/main goes on"), "{said}");
    assert!(fake.asked(&format!("POST {MAIN}/cancel")).is_empty());
}

#[test]
fn l11_a_restart_of_hearthd_does_not_end_the_following() {
    let fake = Fake::start();
    building(&fake, "start", vec![]);
    let looks = Arc::new(AtomicU32::new(0));
    fake.answers(&format!("GET {MAIN}/builds"), move || match looks.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Json(200, json!([build(17, None, &[("pull", None)])])),
        1 | 2 => Answer::Nothing,
        _ => Answer::Json(200, json!([build(17, Some("ok"), &[("pull", Some(9.0))])])),
    });
    fake.says(&format!("GET {MAIN}"), 200, detail("alice/main", "running", None));
    let started = ran(&fake, &["start", "main"]);
    started.ok();
    assert!(started.stderr().contains("hearthd went away"), "{started}");
}

#[test]
fn w2_ssh_builds_what_is_off_and_says_why_it_cannot_be_entered() {
    let fake = Fake::start();
    let enter = format!("POST {MAIN}/enter");
    fake.refuses(&enter, 403, "forbidden", "no");
    ran(&fake, &["ssh", "main", "--", "true"]).fails(4);

    fake.refuses(&enter, 409, "conflict", "`alice/main` is off");
    assert!(ran(&fake, &["ssh", "main", "--no-start"]).fails(6).contains("is off"));
    assert!(fake.asked(&format!("POST {MAIN}/start")).is_empty());

    let mut failed = build(17, Some("failed"), &[("pull", Some(2.0))]);
    failed["failure"] = "no such image".into();
    building(&fake, "start", vec![build(17, None, &[("pull", None)]), failed]);
    let entered = ran(&fake, &["ssh", "main", "--", "true"]);
    let error = entered.fails(1);
    assert!(error.contains("  pull           2.0 s  failed\n") && error.contains("no such image"), "{error}");
    assert_eq!(entered.stdout(), "", "stdout belongs to the command");
    assert_eq!(fake.asked(&format!("POST {MAIN}/start"))[0].body, json!({ "reason": "connect", "interactive": false }));
    let head = fake.asked(&enter)[0].head.clone();
    for line in ["connection: upgrade", "upgrade: hearth-enter/1"] {
        assert!(head.iter().any(|one| one == line), "{head:?}");
    }
}

#[test]
fn logs_print_the_newest_build_harmless_for_a_terminal() {
    let fake = Fake::start();
    fake.says(&format!("GET {MAIN}/builds"), 200, json!([build(17, Some("ok"), &[]), build(16, Some("ok"), &[])]));
    fake.answers(&format!("GET {MAIN}/builds/17/log"), || pieces(&["a\x1b[31mred\x1b]0;t\x07\nun", "broken\n"]));
    fake.answers(&format!("GET {MAIN}/builds/16/log?follow=true"), || pieces(&["old\n"]));
    assert_eq!(ran(&fake, &["logs", "main"]).ok(), "ared\\x1b]0;t\\x07\nunbroken\n");
    assert_eq!(ran(&fake, &["logs", "main", "--build", "16", "--follow"]).ok(), "old\n");

    fake.says(&format!("GET {MAIN}/builds"), 200, json!([]));
    assert!(ran(&fake, &["logs", "main"]).fails(5).contains("was never built"));
}

#[test]
fn version_and_status_know_the_server() {
    let fake = Fake::start();
    let versions = ran(&fake, &["version", "--json"]).json();
    assert_eq!(versions, json!({ "client": env!("CARGO_PKG_VERSION"), "server": "9.9.9" }));
    assert!(ran(&fake, &["status"]).ok().starts_with("hearthd     9.9.9, instance hearth"));

    let mut alone = Command::new(env!("CARGO_BIN_EXE_hearth"));
    alone.env_clear().args(["--socket", "/nonexistent", "version"]);
    assert_eq!(run(alone).exits(3), concat!("hearth ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn git_key_is_ones_own_unless_a_user_is_named() {
    let fake = Fake::start();
    for user in ["alice", "bob"] {
        let key = json!({ "user": user, "public_key": format!("ssh-ed25519 AAAA {user}") });
        fake.says(&format!("GET /v1/users/{user}/git-key"), 200, key);
    }
    assert_eq!(ran(&fake, &["git", "key"]).ok(), "ssh-ed25519 AAAA alice\n");
    assert_eq!(ran(&fake, &["git", "key", "bob"]).ok(), "ssh-ed25519 AAAA bob\n");
    fake.says("GET /v1/status", 200, status(&[]));
    ran(&fake, &["git", "key"]).fails(2);
}

#[test]
fn completion_knows_the_workspaces() {
    let fake = Fake::start();
    fake.says("GET /v1/workspaces", 200, json!([workspace("alice/main", "off"), workspace("bob/web", "off")]));
    let mut command = fake.hearth(&["--", "hearth", "stop", ""]);
    command.env("HEARTH_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
    let candidates = run(command).ok();
    let candidates: Vec<&str> = candidates.lines().collect();
    assert!(candidates.starts_with(&["main", "bob/web"]), "{candidates:?}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(ran(&fake, &["completion", shell]).ok().contains("HEARTH_COMPLETE"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let fake = Fake::start();
    let dir = tempfile::tempdir().unwrap();
    ran(&fake, &["man", "--dir", dir.path().to_str().unwrap()]).ok();
    let mut pages: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    for page in ["hearth.1", "hearth-start.1", "hearth-config-plan.1"] {
        assert!(pages.iter().any(|one| one == page), "{page} is not among {pages:?}");
    }
    assert!(ran(&fake, &["man", "config", "plan"]).ok().contains("hearth\\-config\\-plan"));
}

#[test]
fn c4_config_check_needs_no_daemon_and_tells_every_error() {
    let dir = tempfile::Builder::new().prefix("hearth-check-").tempdir().unwrap();
    let file = dir.path().join("hearth.toml");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.env_clear().args(["config", "check", file.to_str().unwrap()]).args(more);
        run(command)
    };
    let good = "[orgs.acme]\nimage = \"debian:12\"\n[users.alice]\norgs = [\"acme\"]\n";
    assert!(check(good, &[]).ok().ends_with("is in order: 1 org, 1 user, 0 workspaces\n"));
    assert_eq!(check(good, &["--json"]).json()["ok"], true);

    let bad = "[orgs.acme]\nimag = \"debian:12\"\n[users.alice]\norgs = [\"acne\"]\n";
    let errors = check(bad, &[]);
    let told = errors.fails(2);
    for place in ["hearth.toml:2:1: ", "hearth.toml:4:9: "] {
        assert!(
            told.lines().any(|line| line.starts_with(dir.path().to_str().unwrap()) && line.contains(place)),
            "{told}"
        );
    }
    let json: Value = serde_json::from_str(&check(bad, &["--json"]).exits(2)).unwrap();
    assert!(json["problems"].as_array().is_some_and(|problems| problems.len() >= 2), "{json}");
}

#[test]
fn c4_config_schema_is_a_json_schema() {
    let fake = Fake::start();
    let schema = ran(&fake, &["config", "schema"]).json();
    assert!(schema["properties"]["orgs"].is_object(), "{schema}");
    assert!(fake.asked("GET /v1/status").is_empty());
}
