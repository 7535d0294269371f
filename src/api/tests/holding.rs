//! Holds and `why`: who may, what is refused, what is audited (P5, P6).

use std::time::Duration;

use serde_json::json;

use crate::access::Person;
use crate::activity::HoldRefused;
use crate::api::testing::{World, account};
use crate::handle::{Request, RequestError};

const HOLD: &str = "/v1/workspaces/alice/main/hold";
const RELEASE: &str = "/v1/workspaces/alice/main/release";
const WHY: &str = "/v1/workspaces/alice/main/why";

#[tokio::test]
async fn p5_holds_are_asked_for_and_audited_and_renewing_is_no_change() {
    let world = World::new();
    let alice = account("alice.example");
    let inside = Person::Inside { workspace: "alice/main".parse().unwrap() };
    let body = r#"{"seconds": 14400, "message": "training\u001b[2J\nruns"}"#;
    let held = world.ask_as(&alice, "POST", HOLD, body).await.json();
    let expected = json!({"workspace": "alice/main", "hold": 7, "until": "2027-01-15T08:08:20Z", "renew_within": null});
    assert_eq!(held, expected);
    world.ask_as(&inside, "POST", HOLD, r#"{"until_command_ends": true}"#).await.json();
    world.ask_as(&inside, "POST", HOLD, r#"{"renew": 7}"#).await.json();
    assert_eq!(
        world.ask_as(&alice, "POST", RELEASE, "").await.json(),
        json!({"workspace": "alice/main", "released": 2})
    );
    assert_eq!(
        *world.asked.lock().unwrap(),
        [
            "hold alice/main Some(14400s) alice.example",
            "hold alice/main None alice (inside alice/main)",
            "renew alice/main 7",
            "release alice/main None alice.example",
        ]
    );
    assert_eq!(
        world.audited().await,
        [
            "alice.example, host: hold alice/main: running → held until 2027-01-15T08:08:20Z: training runs: ok",
            "alice (inside alice/main), inside alice/main: hold alice/main: running → held until its command ends, at \
             most until 2027-01-15T08:08:20Z: ok",
            "alice.example, host: release alice/main: running → 2 holds ended: ok",
        ]
    );
}

#[tokio::test]
async fn p5_what_the_org_does_not_allow_is_forbidden_and_names_hold_max() {
    let world = World::with(|request| {
        let Request::Hold { reply, .. } = request else { panic!("{request:?}") };
        let (asked, max) = (Duration::from_secs(172_800), Duration::from_secs(86_400));
        let refused = HoldRefused::TooLong { asked, max, org: "acme".parse().unwrap() };
        reply.send(Err(RequestError::Hold(refused))).unwrap();
    });
    let alice = account("alice.example");
    let answer = world.ask_as(&alice, "POST", HOLD, r#"{"seconds": 172800}"#).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert!(answer.text.contains(r#"2d is longer than org `acme` allows (`hold_max = \"1d\"`)"#), "{}", answer.text);
    for senseless in [r#"{"seconds": 0}"#, r#"{"seconds": -1}"#, r#"{"until": 3}"#] {
        assert_eq!(world.ask_as(&alice, "POST", HOLD, senseless).await.code(), "bad_request", "{senseless}");
    }
    let long = format!(r#"{{"message": "{}"}}"#, "x".repeat(201));
    assert_eq!(world.ask_as(&alice, "POST", HOLD, &long).await.code(), "bad_request");
}

#[tokio::test]
async fn x1_owners_admins_and_auditors_may_ask_why_and_only_who_owns_may_hold() {
    let world = World::new();
    for (who, why, hold) in [("alice.example", 200, 200), ("dana", 403, 403), ("audrey", 200, 403), ("bob", 404, 404)] {
        let person = account(who);
        assert_eq!(world.ask_as(&person, "GET", WHY, "").await.status, why, "{who}");
        assert_eq!(world.ask_as(&person, "POST", HOLD, "{}").await.status, hold, "{who}");
        assert_eq!(world.ask_as(&person, "POST", RELEASE, "{}").await.status, hold, "{who}");
    }
    let why = world.ask_as(&account("audrey"), "GET", WHY, "").await.json();
    assert_eq!((&why["state"], &why["because"], &why["outlook"]), (&json!("running"), &json!("it runs"), &json!(null)));
}
