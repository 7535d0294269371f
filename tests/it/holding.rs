//! `hearth hold -- COMMAND` and the renewing of its hold, against a hearthd that answers what a test tells it to, and
//! what one says of one's use from inside (rule P5).

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::config::alice_with;
use crate::support::fake::{Answer, Fake};
use crate::support::{Daemon, Image, wait_for};

const HOLD: &str = "POST /v1/workspaces/alice/main/hold";
const RELEASE: &str = "POST /v1/workspaces/alice/main/release";

fn over() -> Answer {
    Answer::Json(409, json!({ "error": { "code": "conflict", "message": "the hold is over", "hint": null } }))
}

/// Returns a hearthd that grants holds without end, to be renewed within so many seconds, and answers all else in turn.
fn granting(renew_within: u64, renewals: impl IntoIterator<Item = Answer>) -> Fake {
    let fake = Fake::start();
    let grant = move |number| {
        let hold = json!({ "workspace": "alice/main", "hold": number, "until": "2099-01-01T00:00:00Z", "renew_within": renew_within });
        Answer::Json(200, hold)
    };
    let mut answers = std::iter::once(grant(1)).chain(renewals).collect::<Vec<_>>().into_iter();
    fake.answers(HOLD, move || answers.next().unwrap_or_else(|| grant(2)));
    fake.says(RELEASE, 200, json!({ "workspace": "alice/main", "released": 0 }));
    fake
}

/// Returns which holds were to be renewed, and nothing where one was asked for.
fn asked(fake: &Fake) -> Vec<Value> {
    fake.asked(HOLD).into_iter().map(|asked| asked.body["renew"].clone()).collect()
}

#[test]
fn p5_one_that_was_released_is_not_asked_for_again_and_the_command_runs_on() {
    let fake = granting(8, [over()]);
    let mut command = fake.hearth(&["hold", "alice/main", "--", "/bin/cat"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "hearth: the hold is over; the command runs on without it\n");
    assert_eq!(asked(&fake), [Value::Null, json!(1)]);
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn p5_one_that_lapsed_while_hearthd_was_away_is_asked_for_again() {
    let fake = granting(1, [Answer::Nothing, over()]);
    let mut command = fake.hearth(&["hold", "alice/main", "--", "/bin/cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    wait_for("the second hold to be renewed", || {
        let asked = asked(&fake);
        if asked.len() > 4 { Ok(asked) } else { Err(format!("{asked:?}")) }
    });
    assert_eq!(asked(&fake)[..5], [Value::Null, json!(1), json!(1), Value::Null, json!(2)]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(fake.asked(RELEASE).last().unwrap().body["hold"], 2);
}

#[test]
fn p5_from_inside_one_holds_and_releases_and_says_that_one_is_away() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&alice_with(&image, "auto_off = \"1h\"", "auto_start = \"09:00\""));
    daemon.wait_state("alice/main", "running");
    let inside = |args: &[&str]| daemon.hearth(&[&["ssh", "alice/main", "--", "hearth"], args].concat());
    let json = |args: &[&str]| inside(&[args, &["--json"]].concat()).json();
    let shows = "hearth why --json; exit 7";
    let ran = inside(&["hold", "-m", "training", "--", "sh", "-c", shows]);
    let why: Value = serde_json::from_str(&ran.exits(7)).unwrap();
    let hold = &why["holds"][0];
    assert_eq!((&hold["by"], &hold["message"]), (&json!("alice"), &json!("training")), "{why}");
    assert_eq!((&hold["until_command_ends"], &why["outlook"]["off"]), (&json!(true), &json!("kept")), "{why}");
    assert_eq!(json(&["why"])["holds"], json!([]), "it ended with its command");
    assert_eq!(inside(&["hold", "--", "sh", "-c", "kill -TERM $$"]).code, 143);
    assert_eq!(inside(&["hold", "--", "nothing-such"]).code, 127);
    inside(&["hold", "1h"]).ok();
    assert_eq!(json(&["release"]), json!({ "workspace": "alice/main", "released": 1 }));

    let schedule = || json(&["schedule"])[0].clone();
    assert_eq!((&schedule()["workspace"], &schedule()["at"]), (&json!("alice/main"), &json!("09:00")));
    inside(&["away", "--until", "2199-01-07"]).ok();
    assert_eq!(schedule()["away_until"], "2199-01-07");
    assert!(daemon.hearth(&["away", "alice"]).ok().contains("away until 2199-01-07"));
    inside(&["away", "--back"]).ok();
    assert_eq!(schedule()["away_until"], Value::Null);
}
