//! auto-start (S1–S5) on a real clock, end to end.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::support::account::{BACKUP, GAMES, LIST, WWW_DATA};
use crate::support::config::{alice_with, and_bob};
use crate::support::{Daemon, Image, ImageTag, wait_at_most};

const ZONE: &str = "Asia/Kathmandu";

#[expect(clippy::disallowed_methods, reason = "the test sets an alarm by the real clock")]
fn local_now() -> jiff::Zoned {
    Timestamp::now().to_zoned(TimeZone::get(ZONE).unwrap())
}

/// Alice's workspace, off, with more lines for the org and for her.
fn daemon(image: &ImageTag, org: &str, user: &str) -> Daemon {
    let org = format!("build_on_create = false\nmanagers = [\"backup\"]\n{org}");
    let config = format!("{}{}", alice_with(image, &org, user), and_bob());
    let daemon = Daemon::start_with("auditors = [\"list\"]", &config);
    daemon.wait_state("alice/main", "off");
    daemon
}

fn schedule(daemon: &Daemon) -> Value {
    daemon.hearth(&["schedule", "alice/main", "--json"]).json()[0].clone()
}

#[test]
fn s1_a_workspace_that_is_off_starts_at_its_time() {
    let image = Image::coder().import();
    let daemon = daemon(&image, "", &format!("timezone = \"{ZONE}\""));
    // The next full minute that is not just about to begin.
    let next = local_now().checked_add(65.seconds()).unwrap();
    let at = format!("auto_start={}", next.strftime("%H:%M"));
    let minute = next.timestamp().as_second() / 60 * 60;
    daemon.hearth_as(GAMES, &["set", "main", &at]).ok();
    assert_eq!(daemon.show("alice/main")["state"], "off", "S3: a changed schedule starts nothing at once");
    let shown = daemon.show("alice/main");
    assert_eq!(shown["auto_start"]["next"], json!(Timestamp::from_second(minute).unwrap().to_string()), "{shown}");

    let shown = wait_at_most(Duration::from_secs(75), "the auto-start", || match daemon.show("alice/main") {
        shown if shown["state"] == "running" => Ok(shown),
        shown => Err(shown.to_string()),
    });
    let build = &shown["build"];
    assert_eq!((&build["reason"], &build["requester"]), (&json!("auto-start"), &json!("hearthd")), "{shown}");
    let started: Timestamp = build["started_at"].as_str().unwrap().parse().unwrap();
    assert!((0..20).contains(&(started.as_second() - minute)), "started at {started}");
    let schedule = schedule(&daemon);
    assert_eq!(schedule["last_start"]["outcome"], "started", "{schedule}");
    assert!(daemon.log().contains("has started `alice/main`"));
}

#[test]
fn s4_away_and_holidays_are_told_with_their_days() {
    let image = Image::coder().import();
    let today = local_now().date();
    let day = |n: i32| today.checked_add(n.days()).unwrap();
    let org = format!("holidays = [\"{}\"]", day(1));
    let user = format!("timezone = \"{ZONE}\"\nauto_start = \"09:00\"");
    let mut daemon = daemon(&image, &org, &user);

    let days = |daemon: &Daemon| schedule(daemon)["days"].as_array().unwrap().clone();
    assert_eq!(days(&daemon).len(), 14);
    assert_eq!(
        (&days(&daemon)[0]["date"], &days(&daemon)[1]["no_start"]),
        (&json!(today.to_string()), &json!("holiday"))
    );

    let away = |account, args: &[&str], code| daemon.hearth_as(account, &[&["away"], args].concat()).exits(code);
    away(GAMES, &["--until", &day(4).to_string()], 0);
    away(WWW_DATA, &["alice", "--until", &day(5).to_string()], 5);
    away(BACKUP, &["alice", "--until", &day(5).to_string()], 5);
    away(LIST, &["alice", "--until", &day(5).to_string()], 4);
    away(GAMES, &["--until", &today.to_string()], 2);
    away(GAMES, &["--until", "2027-02-30"], 2);
    assert!(away(GAMES, &[], 0).contains(&format!("alice is away until {}", day(4))));

    daemon.restart();
    let shown = days(&daemon);
    assert_eq!((&shown[3]["no_start"], &shown[4]["no_start"]), (&json!("away"), &Value::Null), "{shown:?}");
    let next: Timestamp = daemon.show("alice/main")["auto_start"]["next"].as_str().unwrap().parse().unwrap();
    let nine = day(4).at(9, 0, 0, 0).to_zoned(TimeZone::get(ZONE).unwrap()).unwrap();
    assert_eq!(next, nine.timestamp(), "back on the day itself");
    let text = daemon.hearth_as(GAMES, &["schedule"]).ok();
    assert!(text.contains("away until") && text.contains("09:00") && !text.contains("bob"), "{text}");

    daemon.hearth(&["away", "alice", "--back"]).ok();
    assert_eq!(schedule(&daemon)["away_until"], Value::Null);
    assert_eq!(days(&daemon)[2]["no_start"], Value::Null);
    let audit = daemon.hearth(&["audit", "--json"]).json().to_string();
    assert!(audit.contains(&format!("alice away until {}", day(4))), "{audit}");
}

#[test]
fn s5_where_no_day_has_an_auto_start_people_start_by_hand_and_by_connecting() {
    let image = Image::coder().import();
    let daemon = daemon(&image, "auto_start_days = []", "auto_start = \"09:00\"");
    let schedule = schedule(&daemon);
    let days = schedule["days"].as_array().unwrap();
    assert!(days.iter().all(|day| day["no_start"] == "org-forbids"), "{schedule}");
    assert_eq!((days.len(), &schedule["next"]), (14, &Value::Null), "{schedule}");
    let build = || {
        let shown = daemon.wait_state("alice/main", "running");
        (shown["build"]["number"].clone(), shown["build"]["reason"].clone())
    };
    daemon.hearth_as(GAMES, &["ssh", "main", "--", "true"]).ok();
    assert_eq!(build(), (json!(1), json!("connect")));
    daemon.hearth_as(GAMES, &["stop", "main"]).ok();
    daemon.hearth_as(GAMES, &["start", "main"]).ok();
    assert_eq!(build(), (json!(2), json!("user")));
}
