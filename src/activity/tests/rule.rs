//! Holds, warnings and clocks (P2, P5–P8).

use super::*;

#[test]
fn p5_a_hold_keeps_it_on_until_it_ends_and_idle_counts_from_there() {
    let mut world = World::new(HOUR);
    world.hold(4 * HOUR, false);
    assert!(world.run(3 * HOUR));
    let why = world.ledger.why(&world.policy, world.now);
    assert_eq!(why.because, "it is kept on by a hold of alice until 2026-11-24T12:00:00Z (training)");
    let without = why.without_holds.unwrap();
    assert_eq!(without.off, Off::At { at: world.now.wall + 10 * MINUTE }, "at once, but for the warning (P6, P7)");
    assert_eq!(without.idle_from, IdleFrom::Anew(Anew::FirstSeen));
    assert!(!world.run(4 * HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(5 * HOUR));
    assert_eq!(world.done_at(Step::Warn), Some(5 * HOUR - 10 * MINUTE));
    assert_eq!(world.ledger.expire(24 * HOUR, world.now).len(), 1);
    assert_eq!(world.outlook().idle_from, IdleFrom::HoldEnded);
    assert_eq!(world.ledger.last_activity().unwrap().kind, EvidenceKind::Hold);
}

#[test]
fn p5_longer_than_the_org_allows_is_refused_naming_it_and_a_lowered_one_cuts_with_a_warning() {
    let mut world = World::new(HOUR);
    assert_eq!(granted(&world.policy, Some(24 * HOUR)), Ok(24 * HOUR));
    assert_eq!(granted(&world.policy, None), Ok(24 * HOUR), "a command may take as long");
    let refused = granted(&world.policy, Some(25 * HOUR)).unwrap_err().to_string();
    assert_eq!(refused, "1d1h is longer than org `acme` allows (`hold_max = \"1d\"`)");
    world.hold(8 * HOUR, false);
    assert!(world.run(5 * HOUR));
    world.policy.hold_max = 2 * HOUR;
    assert!(!world.run(HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(5 * HOUR + 10 * MINUTE), "P7");
    world.policy.hold_max = Duration::ZERO;
    assert!(matches!(granted(&world.policy, Some(SECOND)), Err(HoldRefused::Forbidden { .. })));
}

#[test]
fn p5_a_command_holds_for_as_long_as_somebody_says_that_it_runs() {
    let mut world = World::new(HOUR);
    world.hold(24 * HOUR, true);
    for _ in 0..180 {
        assert!(world.run(MINUTE));
        assert!(world.ledger.renew(HoldId(1), world.now));
    }
    let because = world.ledger.why(&world.policy, world.now).because;
    assert!(because.contains("until its command ends, at most until 2026-11-25T08:00:00Z"), "{because}");
    // Whoever ran it was killed.
    assert!(!world.run(2 * HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(4 * HOUR + LEASE));
    assert!(!world.ledger.renew(HoldId(2), world.now));
}

#[test]
fn p5_released_it_counts_idle_from_the_release() {
    let mut world = World::new(HOUR);
    world.hold(20 * HOUR, false);
    assert!(world.run(90 * MINUTE));
    assert_eq!(world.ledger.release(Some(HoldId(9)), 24 * HOUR, world.now), []);
    assert_eq!(world.ledger.release(None, 24 * HOUR, world.now).len(), 1);
    assert!(!world.run(2 * HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(150 * MINUTE));
}

#[test]
fn p7_a_threshold_shortened_never_stops_it_sooner_than_its_warning() {
    for (before, to, lead) in [(2 * HOUR, 30 * MINUTE, 10 * MINUTE), (2 * HOUR, 5 * SECOND, 2500 * SECOND / 1000)] {
        for idle in [HOUR, 115 * MINUTE] {
            let mut world = World::new(before);
            assert!(world.run(idle));
            world.policy.auto_off = Limit::After(to);
            let at = world.now.boot;
            assert!(!world.run(HOUR));
            // Told anew, even where the old warning was out.
            assert_eq!(world.done_at(Step::Stop), Some(idle + lead), "{to:?} {:?}", world.now.boot - at);
        }
    }
}

#[test]
fn p7_a_use_takes_the_warning_back() {
    let mut world = World::new(2 * HOUR);
    assert!(world.run(115 * MINUTE));
    assert_eq!(world.done_at(Step::Warn), Some(110 * MINUTE));
    let evidence = Evidence { at: world.now.wall, kind: EvidenceKind::Exec, who: None, from: None };
    world.ledger.note(evidence, world.now.stamp());
    assert!(!world.run(3 * HOUR));
    assert_eq!(world.done_at(Step::Warn), Some(225 * MINUTE));
    assert_eq!(world.done_at(Step::Stop), Some(235 * MINUTE));
}

#[test]
fn p2_never_is_never_and_says_whose_rule_it_is() {
    let mut world = World::new(HOUR);
    world.policy.auto_off = Limit::Never;
    assert!(world.run(100 * 24 * HOUR));
    let because = world.ledger.why(&world.policy, world.now).because;
    assert_eq!(because, "it stays on: `auto_off` is never (by default, org `acme`)");
    // The org forbids what a member had chosen: from idle for months to off, with its warning.
    world.policy.auto_off = Limit::After(HOUR);
    assert!(!world.run(HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(100 * 24 * HOUR + 10 * MINUTE));
}

#[test]
fn p8_down_for_longer_than_the_threshold_a_look_and_the_warning_come_first() {
    for (rate, on) in [(0, false), (5000, true)] {
        for boot in ["a", "b"] {
            let mut world = World::new(HOUR);
            world.connect(1, 5000, rate);
            assert!(world.run(30 * MINUTE));
            world.pass(5 * HOUR);
            world.restart(boot);
            let back = world.now.boot;
            assert_eq!(world.run(3 * HOUR), on, "{rate} {boot}");
            if !on {
                let stopped = world.done_at(Step::Stop).unwrap() + world.began.boot - back;
                assert_eq!(stopped, 10 * MINUTE, "{boot}");
            }
        }
    }
}

#[test]
fn p8_a_short_restart_changes_nothing() {
    let mut world = World::new(HOUR);
    for _ in 0..60 {
        if !world.run(MINUTE) {
            break;
        }
        world.restart("a");
    }
    assert!(!world.run(MINUTE));
    assert_eq!(world.done_at(Step::Stop), Some(HOUR));
    assert_eq!(world.done.iter().filter(|(step, _)| *step == Step::Warn).count(), 1, "told once");
}

#[test]
fn p8_a_step_of_the_wall_clock_neither_stops_early_nor_keeps_on() {
    for hours in [-30, -3, 3, 30] {
        let mut world = World::new(2 * HOUR);
        world.connect(1, 5000, 0);
        assert!(world.run(HOUR));
        world.now.wall += SignedDuration::from_hours(hours);
        assert!(!world.run(2 * HOUR), "{hours}");
        let at = world.done_at(Step::Stop).unwrap();
        assert!(at >= 2 * HOUR && at <= 2 * HOUR + MINUTE, "{hours}: {at:?}");
    }
}

#[test]
fn p8_a_boot_with_a_wrong_clock_starts_the_idle_clock_at_worst() {
    let mut world = World::new(2 * HOUR);
    assert!(world.run(HOUR));
    // The host boots with a clock that is a day behind.
    world.boot(Now { wall: world.now.wall - SignedDuration::from_hours(24), boot: MINUTE });
    assert!(!world.run(3 * HOUR));
    assert_eq!(world.done, [(Step::Warn, 110 * MINUTE), (Step::Stop, 2 * HOUR)]);
}

#[test]
fn p8_a_boot_after_a_step_of_the_wall_clock_counts_what_has_passed() {
    for minutes in [90, -30] {
        let mut world = World::new(2 * HOUR);
        assert!(world.run(HOUR));
        world.now.wall += SignedDuration::from_mins(minutes);
        assert!(world.run(MINUTE));
        world.boot(Now { wall: world.now.wall + MINUTE, boot: 20 * SECOND });
        assert!(!world.run(3 * HOUR));
        assert_eq!(world.done, [(Step::Warn, 48 * MINUTE), (Step::Stop, 58 * MINUTE)], "{minutes}");
    }
}

#[test]
fn p7_p8_a_warning_of_another_boot_is_given_anew_whatever_the_wall_clock_did_meanwhile() {
    for hours in [0, 3] {
        let mut world = World::new(2 * HOUR);
        assert!(world.run(111 * MINUTE));
        assert_eq!(world.done_at(Step::Warn), Some(110 * MINUTE));
        world.now.wall += SignedDuration::from_hours(hours);
        assert!(world.run(MINUTE));
        // The host boots within a minute.
        world.boot(Now { wall: world.now.wall + MINUTE, boot: 20 * SECOND });
        assert!(!world.run(3 * HOUR));
        assert_eq!(world.done, [(Step::Warn, Duration::ZERO), (Step::Stop, 10 * MINUTE)], "{hours}");
    }
}

#[test]
fn p1_p8_what_went_through_a_connection_while_hearthd_restarted_counts() {
    for (used, boot) in [(true, "a"), (false, "a"), (true, "b")] {
        let mut world = World::new(2 * HOUR);
        world.connect(1, 5000, 0);
        assert!(world.run(2 * HOUR - 2 * SECOND));
        // Somebody heeds the warning at the last moment, in which nobody looks.
        world.connect(1, if used { 15_000 } else { 5000 }, 0);
        world.pass(3 * SECOND);
        world.restart(boot);
        world.restart(boot);
        let on = world.run(MINUTE);
        let counted = used && boot == "a";
        // After a boot it is no more the same connection, and the warning comes first.
        assert_eq!(on, counted || boot == "b", "{used} {boot}: {:?}", world.outlook());
        assert_eq!(world.ledger.last_activity().is_some(), counted, "{used} {boot}");
    }
}

#[test]
fn p8_a_suspended_host_counts_as_idle_but_looks_and_warns_first() {
    for (rate, on) in [(0, false), (5000, true)] {
        let mut world = World::new(2 * HOUR);
        world.connect(1, 5000, rate);
        assert!(world.run(HOUR));
        // Asleep: the boot clock goes on, no byte does.
        world.now = Now { wall: world.now.wall + 12 * HOUR, boot: world.now.boot + 12 * HOUR };
        assert_eq!(world.run(3 * HOUR), on, "{rate}");
        if !on {
            assert_eq!(world.done_at(Step::Stop), Some(13 * HOUR + 10 * MINUTE));
        }
    }
    // Asleep between the warning and its end: told again.
    let mut world = World::new(2 * HOUR);
    assert!(world.run(112 * MINUTE));
    world.now = Now { wall: world.now.wall + 12 * HOUR, boot: world.now.boot + 12 * HOUR };
    assert!(!world.run(3 * HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(112 * MINUTE + 12 * HOUR + 10 * MINUTE));
}

#[test]
fn p8_a_hold_goes_on_over_restarts_and_boots() {
    for boot in ["a", "b"] {
        let mut world = World::new(HOUR);
        world.hold(5 * HOUR, false);
        assert!(world.run(HOUR));
        world.pass(2 * HOUR);
        world.restart(boot);
        assert!(matches!(world.outlook().off, Off::Kept { .. }));
        assert!(!world.run(5 * HOUR));
        assert_eq!(world.done_at(Step::Stop), Some(6 * HOUR), "{boot}");
    }
}

#[test]
fn p3_who_cannot_see_connections_does_not_turn_off() {
    let mut world = World::new(HOUR);
    world.blind = true;
    assert!(world.run(5 * HOUR));
    assert_eq!(world.done, []);
    let because = world.ledger.why(&world.policy, world.now).because;
    assert_eq!(because, "it stays on, because connections cannot be seen: no CAP_SYS_ADMIN");
    world.blind = false;
    assert!(!world.run(HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(5 * HOUR + 10 * MINUTE));
}

#[test]
fn l9_a_container_that_ended_after_its_time_is_overdue() {
    let mut world = World::new(HOUR);
    assert!(!world.ledger.is_overdue(&world.policy, world.now));
    world.pass(HOUR);
    assert!(world.ledger.is_overdue(&world.policy, world.now));
    world.hold(HOUR, false);
    assert!(!world.ledger.is_overdue(&world.policy, world.now));
}

#[test]
fn l9_p7_one_that_was_watched_is_overdue_only_when_it_was_seen_idle_and_warned_of() {
    let mut world = World::new(HOUR);
    world.look();
    // Looks failed for hours, and people may have worked.
    world.pass(3 * HOUR);
    assert!(!world.ledger.is_overdue(&world.policy, world.now));
    // A threshold that is lowered under it stops nothing before its warning's time.
    world.look();
    assert!(!world.ledger.is_overdue(&world.policy, world.now), "nobody was warned");
    world.ledger.warned(&world.policy, world.now);
    assert!(!world.ledger.is_overdue(&world.policy, world.now), "warned a moment ago");
    for _ in 0..10 {
        world.pass(MINUTE);
        world.look();
    }
    assert!(world.ledger.is_overdue(&world.policy, world.now));
    world.blind = true;
    world.look();
    assert!(!world.ledger.is_overdue(&world.policy, world.now), "nothing can be seen");
}

#[test]
fn p8_a_first_look_does_not_take_an_old_connections_whole_traffic_for_use() {
    let mut world = World::new(HOUR);
    world.connect(1, 50 << 20, 0);
    world.look();
    assert!(world.ledger.last_activity().is_none(), "{:?}", world.ledger.last_activity());
}

#[test]
fn p3_nor_does_one_after_a_look_that_was_blind() {
    for known in [false, true] {
        let mut world = World::new(HOUR);
        world.connect(1, 50 << 20, 0);
        if known {
            world.look();
            world.pass(MINUTE);
        }
        for blind in [true, false, true, true, false] {
            world.blind = blind;
            world.look();
            world.pass(10 * MINUTE);
        }
        assert!(world.ledger.last_activity().is_none(), "{:?}", world.ledger.last_activity());
        // What went through while nobody saw counts.
        world.blind = true;
        world.look();
        world.connections.get_mut(&1).unwrap().payload += 50 << 20;
        world.pass(10 * MINUTE);
        world.blind = false;
        world.look();
        assert!(world.ledger.last_activity().is_some());
    }
}

#[test]
fn p3_samples_are_an_eighth_of_the_shortest_threshold_apart() {
    let after = |span| Limit::After(span);
    assert_eq!(sampling([after(5 * SECOND), Limit::Never]), SECOND);
    assert_eq!(sampling([after(HOUR), after(80 * SECOND)]), 10 * SECOND);
    assert_eq!(sampling([after(30 * 24 * HOUR)]), MINUTE);
    assert_eq!(sampling([Limit::Never]), MINUTE);
    assert_eq!(sampling([]), MINUTE);
}
