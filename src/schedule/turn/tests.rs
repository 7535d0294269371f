//! Each start is begun once, made up in time, or said to be missed; with clocks that step and hosts that sleep.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::schedule::calendar::tests::{ALL, at, plan};

const WEEK: Limit = Limit::After(Duration::from_secs(7 * 86_400));

fn facts(workspace: Workspace) -> Facts {
    Facts { workspace, last_used: at("2026-11-01T00:00:00Z"), pause_after: Limit::Never }
}

/// What is known after a look at `when`, with the workspace off.
fn looked(plan: &Plan, when: &str) -> Known {
    turn(Known::new(plan.clone(), at(when)), plan, facts(Workspace::Off), at(when)).known
}

fn outcomes(turn: &Turn) -> Vec<(String, Outcome)> {
    turn.happened.iter().map(|last| (last.at.to_string(), last.outcome.clone())).collect()
}

#[test]
fn s1_it_starts_at_its_time_once() {
    let plan = plan("09:00", ALL, "UTC");
    let known = looked(&plan, "2026-11-24T08:00:00Z");
    let early = turn(known, &plan, facts(Workspace::Off), at("2026-11-24T08:59:59Z"));
    assert!(!early.start);
    assert_eq!(early.ask_again_at, Some(at("2026-11-24T09:00:00Z")));
    let mut due = turn(early.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert!(due.start);
    due.known.began();
    let building = turn(due.known, &plan, facts(Workspace::Starting), at("2026-11-24T09:00:01Z"));
    assert!(!building.start && building.happened.is_empty());
    let done = turn(building.known, &plan, facts(Workspace::Running), at("2026-11-24T09:01:00Z"));
    assert_eq!(outcomes(&done), [("2026-11-24T09:00:00Z".into(), Outcome::Started)]);
    assert_eq!((done.idle_anew_at, done.ask_again_at), (None, Some(at("2026-11-25T09:00:00Z"))));
    // Somebody stops it a minute later, and it stays off.
    let after = turn(done.known, &plan, facts(Workspace::Off), at("2026-11-24T09:02:00Z"));
    assert!(!after.start && after.happened.is_empty());
}

#[test]
fn s2_missed_by_at_most_two_hours_is_made_up_and_later_is_skipped_and_said() {
    let plan = plan("09:00", ALL, "UTC");
    for (back, starts, last) in [
        ("2026-11-24T10:59:00Z", true, None),
        ("2026-11-24T11:00:00Z", true, None),
        ("2026-11-24T11:00:01Z", false, Some(("2026-11-24T09:00:00Z", Outcome::Missed))),
        // Down for a week, and back within two hours of the last one.
        ("2026-12-01T10:00:00Z", true, None),
        ("2026-12-01T12:00:00Z", false, Some(("2026-12-01T09:00:00Z", Outcome::Missed))),
    ] {
        let turn = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at(back));
        assert_eq!(turn.start, starts, "{back}");
        let expected: Vec<_> = last.into_iter().map(|(at, outcome)| (at.to_owned(), outcome)).collect();
        assert_eq!(outcomes(&turn), expected, "{back}");
    }
}

#[test]
fn s2_a_failed_start_is_tried_again_with_growing_pauses_until_two_hours_after_its_time() {
    let plan = plan("09:00", ALL, "UTC");
    let mut now = at("2026-11-24T09:00:00Z");
    let mut known = looked(&plan, "2026-11-24T08:00:00Z");
    let mut minutes = Vec::new();
    let outcome = loop {
        let mut due = turn(known, &plan, facts(Workspace::Failed), now);
        if let Some(last) = due.happened.last() {
            break last.outcome.clone();
        }
        if due.start {
            minutes.push(now.duration_since(at("2026-11-24T09:00:00Z")).as_mins());
            due.known.began();
            due.ask_again_at = Some(now + Duration::from_secs(1));
        }
        (known, now) = (due.known, due.ask_again_at.unwrap());
    };
    assert_eq!(minutes, [0, 1, 3, 7, 15, 31, 61, 91]);
    assert_eq!(outcome, Outcome::GaveUp { tries: 8 });
    let next = turn(looked(&plan, "2026-11-24T12:00:00Z"), &plan, facts(Workspace::Failed), at("2026-11-25T09:00:00Z"));
    assert!(next.start, "the next day is unaffected");
}

#[test]
fn s2a_unused_for_too_long_it_pauses_until_it_is_used_again() {
    let plan = plan("09:00", ALL, "UTC");
    let with = |last_used: &str| Facts { workspace: Workspace::Off, last_used: at(last_used), pause_after: WEEK };
    let look = |last_used: &str| {
        turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, with(last_used), at("2026-11-24T09:00:00Z"))
    };
    assert!(look("2026-11-17T09:00:01Z").start);
    let paused = look("2026-11-17T09:00:00Z");
    let since = at("2026-11-17T09:00:00Z");
    assert_eq!(outcomes(&paused), [("2026-11-24T09:00:00Z".into(), Outcome::Paused { since })]);
    // Its use brings the schedule back, and starts nothing at once.
    let used = turn(paused.known, &plan, with("2026-11-24T09:30:00Z"), at("2026-11-24T09:31:00Z"));
    assert!(!used.start && used.happened.is_empty());
    assert!(turn(used.known, &plan, with("2026-11-24T09:30:00Z"), at("2026-11-25T09:00:00Z")).start);
}

#[test]
fn s2a_one_that_is_tried_again_pauses_where_the_org_pauses_sooner_since() {
    let plan = plan("09:00", ALL, "UTC");
    let mut due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert!(due.start);
    due.known.began();
    let failed = turn(due.known, &plan, facts(Workspace::Failed), at("2026-11-24T09:01:00Z"));
    let sooner = Facts { pause_after: WEEK, ..facts(Workspace::Failed) };
    let again = turn(failed.known, &plan, sooner, at("2026-11-24T10:00:00Z"));
    let since = at("2026-11-01T00:00:00Z");
    assert!(!again.start);
    assert_eq!(outcomes(&again), [("2026-11-24T09:00:00Z".into(), Outcome::Paused { since })]);
}

#[test]
fn s3_found_running_the_idle_clock_counts_anew_and_nothing_else() {
    let plan = plan("09:00", ALL, "UTC");
    for workspace in [Workspace::Running, Workspace::Starting] {
        let due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(workspace), at("2026-11-24T09:00:07Z"));
        assert_eq!((due.start, due.idle_anew_at), (false, Some(at("2026-11-24T09:00:00Z"))));
        assert_eq!(outcomes(&due), [("2026-11-24T09:00:00Z".into(), Outcome::FoundRunning)]);
        assert_eq!(due.known.due, None);
    }
}

#[test]
fn s3_a_workspace_that_is_just_stopping_starts_when_it_is_off() {
    let plan = plan("09:00", ALL, "UTC");
    let known = looked(&plan, "2026-11-24T08:00:00Z");
    let stopping = turn(known, &plan, facts(Workspace::Stopping), at("2026-11-24T09:00:00Z"));
    assert!(!stopping.start);
    assert!(stopping.ask_again_at.unwrap() > at("2026-11-24T09:00:30Z"), "nothing to do but wait");
    assert!(turn(stopping.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:04Z")).start);
}

#[test]
fn s3_stopped_by_hand_while_it_starts_it_stays_off() {
    let plan = plan("09:00", ALL, "UTC");
    let mut due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    due.known.began();
    let off = turn(due.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:30Z"));
    assert_eq!(outcomes(&off), [("2026-11-24T09:00:00Z".into(), Outcome::Stopped)]);
    assert!(!off.start && off.known.due.is_none());
}

#[test]
fn s3_a_changed_schedule_never_starts_anything_at_once() {
    let (eleven, nine) = (plan("11:00", ALL, "UTC"), plan("09:00", ALL, "UTC"));
    // While hearthd runs, and while it was down.
    for last_look in ["2026-11-24T09:29:00Z", "2026-11-24T08:00:00Z"] {
        let changed = turn(looked(&eleven, last_look), &nine, facts(Workspace::Off), at("2026-11-24T09:30:00Z"));
        assert!(!changed.start && changed.happened.is_empty(), "{last_look}");
        assert_eq!(changed.ask_again_at, Some(at("2026-11-25T09:00:00Z")));
        let later = turn(changed.known, &nine, facts(Workspace::Off), at("2026-11-24T09:31:00Z"));
        assert!(!later.start, "{last_look}");
    }
    // A zone moved under the same time of day; a holiday taken back; an absence ended early.
    let mut holiday = nine.clone();
    holiday.holidays.insert(date(2026, 11, 24));
    let mut away = nine.clone();
    away.away_until = Some(date(2026, 12, 1));
    for before in [plan("09:00", ALL, "America/New_York"), holiday, away] {
        let turn =
            turn(looked(&before, "2026-11-24T08:00:00Z"), &nine, facts(Workspace::Off), at("2026-11-24T09:30:00Z"));
        assert!(!turn.start);
    }
    // A holiday put on another day takes nothing from what was missed.
    let mut other = nine.clone();
    other.holidays.insert(date(2026, 12, 25));
    assert!(
        turn(looked(&nine, "2026-11-24T08:00:00Z"), &other, facts(Workspace::Off), at("2026-11-24T09:30:00Z")).start
    );
}

#[test]
fn s4_away_while_tries_go_on_ends_them() {
    let plan = plan("09:00", ALL, "UTC");
    let mut due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    due.known.began();
    let failed = turn(due.known, &plan, facts(Workspace::Failed), at("2026-11-24T09:00:10Z"));
    let mut away = plan.clone();
    away.away_until = Some(date(2027, 1, 7));
    let ended = turn(failed.known, &away, facts(Workspace::Failed), at("2026-11-24T09:05:00Z"));
    assert_eq!(outcomes(&ended), [("2026-11-24T09:00:00Z".into(), Outcome::Changed)]);
    assert!(!ended.start);
    assert_eq!(ended.ask_again_at, Some(at("2027-01-07T09:00:00Z")));
}

#[test]
fn s2_a_build_still_running_at_the_next_start_serves_it() {
    let plan = plan("09:00", ALL, "UTC");
    let mut due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    due.known.began();
    let next = turn(due.known, &plan, facts(Workspace::Starting), at("2026-11-25T09:00:00Z"));
    let expected = [("2026-11-24T09:00:00Z", Outcome::Started), ("2026-11-25T09:00:00Z", Outcome::FoundRunning)];
    assert_eq!(outcomes(&next), expected.map(|(at, outcome)| (at.to_owned(), outcome)));
    assert!(!next.start);
}

#[test]
fn p8_a_clock_that_steps_back_starts_nothing_twice_and_one_that_was_years_ahead_blocks_nothing() {
    let plan = plan("09:00", ALL, "UTC");
    let mut due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    due.known.began();
    let known = turn(due.known, &plan, facts(Workspace::Running), at("2026-11-24T09:01:00Z")).known;
    let back = turn(known, &plan, facts(Workspace::Off), at("2026-11-24T06:00:00Z"));
    let again = turn(back.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert!(!again.start);
    assert_eq!(again.ask_again_at, Some(at("2026-11-25T09:00:00Z")));
    let wrong = looked(&plan, "2035-01-01T00:00:00Z");
    let right = turn(wrong, &plan, facts(Workspace::Off), at("2026-11-24T08:00:00Z"));
    assert_eq!(right.ask_again_at, Some(at("2026-11-24T09:00:00Z")));
    assert!(turn(right.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z")).start);
}

#[test]
fn p8_a_clock_that_steps_forward_by_hours_and_back_again_starts_nothing_twice() {
    let plan = plan("09:00", ALL, "UTC");
    // By one hour: it is made up, and counts when the clock comes back.
    let mut ahead =
        turn(looked(&plan, "2026-11-24T08:30:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:30:00Z"));
    assert!(ahead.start);
    ahead.known.began();
    let back = turn(ahead.known, &plan, facts(Workspace::Running), at("2026-11-24T08:31:00Z"));
    assert_eq!(outcomes(&back), [("2026-11-24T09:00:00Z".into(), Outcome::Started)]);
    let again = turn(back.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert!(!again.start && again.happened.is_empty());
    // By five hours: it is skipped and said so, until the clock comes back.
    let ahead = turn(looked(&plan, "2026-11-24T08:30:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T13:30:00Z"));
    assert_eq!(outcomes(&ahead), [("2026-11-24T09:00:00Z".into(), Outcome::Missed)]);
    let back = turn(ahead.known, &plan, facts(Workspace::Off), at("2026-11-24T08:31:00Z"));
    let right = turn(back.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert!(right.start && right.happened.is_empty(), "its time has come only now");
}

#[test]
fn p8_a_clock_that_steps_back_past_when_it_was_looked_at_leaves_what_has_not_been_to_come() {
    let plan = plan("09:00", ALL, "UTC");
    let back = turn(looked(&plan, "2026-11-24T12:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T08:00:00Z"));
    assert_eq!(back.ask_again_at, Some(at("2026-11-24T09:00:00Z")));
    assert!(turn(back.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z")).start);
}

#[test]
fn p8_one_that_is_tried_again_waits_for_its_time_where_the_clock_stepped_back_before_it() {
    let plan = plan("09:00", ALL, "UTC");
    let mut known = looked(&plan, "2026-11-24T08:00:00Z");
    known = turn(known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z")).known;
    known.began();
    known = turn(known, &plan, facts(Workspace::Failed), at("2026-11-24T08:20:00Z")).known;
    let early = turn(known, &plan, facts(Workspace::Failed), at("2026-11-24T08:59:59Z"));
    assert_eq!((early.start, early.ask_again_at), (false, Some(at("2026-11-24T09:00:00Z"))));
    assert!(turn(early.known, &plan, facts(Workspace::Failed), at("2026-11-24T09:00:00Z")).start);
}

#[test]
fn p8_a_host_that_was_suspended_makes_up_what_is_not_two_hours_old() {
    let plan = plan("09:00", ALL, "UTC");
    for (woken, starts) in
        [("2026-11-24T10:59:00Z", true), ("2026-11-24T11:30:00Z", false), ("2026-11-26T09:10:00Z", true)]
    {
        let woken = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at(woken));
        assert_eq!(woken.start, starts, "{woken:?}");
        assert!(woken.happened.len() <= 1, "one line, however many days were slept through");
    }
}

#[test]
fn s3_a_start_a_minute_before_auto_off_finds_it_running_and_one_a_minute_after_starts_it() {
    let plan = plan("09:00", ALL, "UTC");
    let known = looked(&plan, "2026-11-24T08:00:00Z");
    let before = turn(known.clone(), &plan, facts(Workspace::Running), at("2026-11-24T09:00:00Z"));
    assert_eq!((before.start, before.idle_anew_at), (false, Some(at("2026-11-24T09:00:00Z"))));
    let after = turn(known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert_eq!((after.start, after.idle_anew_at), (true, None));
}

#[test]
fn s2_02_30_in_berlin_starts_once_on_both_nights_of_the_year_that_are_not_like_others() {
    let plan = plan("02:30", ALL, "Europe/Berlin");
    for (from, minutes, expected) in [
        // 02:30 does not exist: 03:00 of summer time is the first moment after the gap.
        ("2026-03-28T22:00:00Z", 8 * 60, "2026-03-29T01:00:00Z"),
        // 02:30 exists twice: the first one counts.
        ("2026-10-24T22:00:00Z", 8 * 60, "2026-10-25T00:30:00Z"),
    ] {
        let (mut known, mut started) = (looked(&plan, from), Vec::new());
        for minute in 0..minutes {
            let now = at(from) + SignedDuration::from_mins(minute);
            let running = known.due.as_ref().is_some_and(|due| due.trying);
            let workspace = if running { Workspace::Running } else { Workspace::Off };
            let mut turn = turn(known, &plan, facts(workspace), now);
            if turn.start {
                started.push(now.to_string());
                turn.known.began();
            }
            known = turn.known;
        }
        assert_eq!(started, [expected]);
    }
}

#[test]
fn s1_with_no_days_nothing_is_ever_due() {
    let plan = plan("09:00", "", "UTC");
    let turn = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
    assert_eq!((turn.start, turn.ask_again_at, turn.happened.len()), (false, None, 0));
}

#[test]
fn what_is_known_is_kept_as_it_is() {
    let plan = plan("09:00", "mon fri", "Europe/Berlin");
    let mut known = looked(&plan, "2026-11-24T08:00:00Z");
    known.due = Some(Due {
        at: at("2026-11-24T08:00:00Z"),
        tries: 2,
        trying: false,
        failed_at: Some(at("2026-11-24T08:10:00Z")),
    });
    known.last = Some(Last { at: at("2026-11-23T08:00:00Z"), outcome: Outcome::GaveUp { tries: 3 } });
    let json = serde_json::to_string(&known).unwrap();
    assert_eq!(serde_json::from_str::<Known>(&json).unwrap(), known);
}

proptest! {
    /// However often and late it is asked, with hearthd going away now and then: a start for each named moment at
    /// most, none later than two hours, none that was not named.
    #[test]
    fn s2_every_start_is_begun_once_in_time_or_said_to_be_missed(gaps in prop::collection::vec(1..500i64, 1..60)) {
        let plan = plan("09:00", "mon tue wed thu fri", "Europe/Berlin");
        let mut now = at("2026-11-01T00:00:00Z");
        let mut known = Known::new(plan.clone(), now);
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for gap in gaps {
            let running = known.due.as_ref().is_some_and(|due| due.trying);
            now += SignedDuration::from_mins(gap);
            let workspace = if running { Workspace::Running } else { Workspace::Off };
            let mut turn = turn(known, &plan, facts(workspace), now);
            ended.extend(turn.happened.iter().cloned());
            if turn.start {
                let at = turn.known.due.as_ref().unwrap().at;
                prop_assert!(plan.names(at) && now.duration_since(at).unsigned_abs() <= GRACE);
                begun.push(at);
                turn.known.began();
            }
            prop_assert!(turn.ask_again_at.is_some_and(|at| at > now));
            known = turn.known;
        }
        let mut once = begun.clone();
        once.dedup();
        prop_assert_eq!(&once, &begun);
        let named = std::iter::successors(plan.next(at("2026-11-01T00:00:00Z")), |at| plan.next(*at));
        let dealt = |at: &Moment| begun.contains(at) || ended.iter().any(|last| last.at == *at);
        // Those before the last look that no later one overtook between two looks.
        for at in named.take_while(|at| *at <= now) {
            let overtaken = plan.next(at).is_some_and(|next| next <= now);
            prop_assert!(dealt(&at) || overtaken, "{at}");
        }
    }
}

#[test]
fn s1_a_zone_whose_rules_changed_counts_as_it_is_now() {
    let old = plan("09:00", ALL, "UTC");
    let mut new = old.clone();
    // As after an update of the zone database: another offset under the same name.
    new.zone.zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
    let known = looked(&old, "2026-11-24T07:00:00Z");
    let due = turn(known, &new, facts(Workspace::Off), at("2026-11-24T08:00:00Z"));
    assert!(due.start, "{:?}", outcomes(&due));
    let still = turn(due.known, &new, facts(Workspace::Off), at("2026-11-24T08:00:01Z"));
    assert!(still.start, "{:?}", outcomes(&still));
}
