//! What idle time counts from, and what counts as use (P1–P4).

use super::*;

#[test]
fn p1_idle_for_the_threshold_goes_off_after_a_warning_and_one_fresh_look() {
    for threshold in [5 * SECOND, 20 * MINUTE, 2 * HOUR, 30 * 24 * HOUR] {
        let mut world = World::new(threshold);
        assert!(!world.run(threshold * 2), "{threshold:?}");
        assert_eq!(world.done_at(Step::Stop), Some(threshold));
        let lead = (10 * MINUTE).min(threshold / 2);
        assert_eq!(world.done_at(Step::Warn), Some(threshold - lead), "P7");
        assert_eq!(world.ledger.seen.as_ref().unwrap().at, world.now.stamp(), "the look was fresh");
    }
}

#[test]
fn p1_idle_counts_from_the_latest_of_use_build_and_auto_start() {
    let mut world = World::new(2 * HOUR);
    world.run(HOUR);
    world.ledger.count_anew(Anew::BuildEnded, world.now.stamp());
    assert_eq!(world.outlook().idle_from, IdleFrom::Anew(Anew::BuildEnded));
    world.pass(MINUTE);
    world.ledger.count_anew(Anew::AutoStart, world.now.stamp());
    assert_eq!(world.outlook().idle_from, IdleFrom::Anew(Anew::AutoStart));
    world.ledger.count_anew(Anew::BuildEnded, world.now.stamp().before(HOUR));
    assert_eq!(world.outlook().idle_from, IdleFrom::Anew(Anew::AutoStart), "an earlier one changes nothing");
    world.pass(MINUTE);
    world.connect(1, 50_000, 0);
    world.look();
    assert!(matches!(world.outlook().idle_from, IdleFrom::Activity(_)));
    assert!(!world.run(3 * HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(3 * HOUR + 2 * MINUTE));
}

#[test]
fn s3_an_auto_start_one_minute_before_auto_off_keeps_it_on_for_another_threshold() {
    let mut world = World::new(HOUR);
    assert!(world.run(59 * MINUTE));
    world.ledger.count_anew(Anew::AutoStart, world.now.stamp());
    assert!(!world.run(2 * HOUR));
    assert_eq!(world.done_at(Step::Stop), Some(59 * MINUTE + HOUR));
    assert_eq!(world.done_at(Step::Warn), Some(59 * MINUTE + 50 * MINUTE), "the old warning is void");
}

#[test]
fn p3_traffic_counts_at_the_floor_and_nothing_below() {
    for (rate, on) in [(0, false), (1, false), (1000, false), (1024, true), (1_000_000, true)] {
        let mut world = World::new(HOUR);
        world.connect(1, 5000, rate);
        assert_eq!(world.run(3 * HOUR), on, "{rate} bytes a minute");
        if !on {
            // Its opening carried payload enough, within the first sample.
            assert!(world.done_at(Step::Stop).unwrap() <= HOUR + MINUTE, "{rate}");
        }
    }
}

#[test]
fn p3_the_floor_is_by_the_minute_whatever_the_distance_of_samples() {
    for threshold in [5 * SECOND, 40 * SECOND, 8 * MINUTE] {
        for (rate, on) in [(500, false), (2000, true)] {
            let mut world = World::new(threshold);
            world.connect(1, 0, rate);
            world.connections.get_mut(&1).unwrap().payload = 1;
            assert_eq!(world.run(threshold * 20), on, "{threshold:?} at {rate} bytes a minute");
        }
    }
}

#[test]
fn p3_asking_why_in_between_makes_no_trickle_count() {
    let mut world = World::new(HOUR);
    world.connect(1, 100, 100);
    let mut on = true;
    for _ in 0..2 * 3600 {
        world.look();
        on = on && world.act();
        world.pass(SECOND);
    }
    assert!(!on, "a hundred bytes a minute");
    assert!(world.done_at(Step::Stop).unwrap() <= HOUR + MINUTE);
}

#[test]
fn p3_open_counts_while_it_is_open_until_it_is_dead() {
    let mut world = World::new(HOUR).open();
    world.connect(1, 100, 0);
    // Its keep-alives are acknowledged: an idle SSH session.
    for _ in 0..10 {
        assert!(world.run(HOUR));
        world.connections.get_mut(&1).unwrap().heard_at = world.now.stamp();
    }
    assert!(matches!(&world.outlook().off, Off::Kept { by } if by.len() == 1));
    // The laptop went away without a word: dead after two hours, and idle from then.
    assert!(!world.run(5 * HOUR));
    let at = world.done_at(Step::Stop).unwrap();
    assert!(at > 13 * HOUR && at <= 13 * HOUR + 2 * MINUTE, "{at:?}");
}

#[test]
fn p4_a_port_scanner_and_what_is_ignored_count_in_neither_mode() {
    for open in [false, true] {
        for ignored in [None, Some(Ignored::Source(PEER.parse::<IpAddr>().unwrap())), Some(Ignored::Port(22))] {
            let mut world = World::new(HOUR);
            if open {
                world = world.open();
            }
            world.policy.ignore.extend(ignored);
            // Prometheus, every 15 seconds a new one: under the floor or not, it is nobody's use.
            let payload = if ignored.is_some() { 100_000 } else { 0 };
            let mut on = true;
            for cookie in 0..8 * 60 {
                world.connections.clear();
                world.connect(cookie, payload, 0);
                on = on && world.run(15 * SECOND);
            }
            assert!(!on, "open: {open}, {ignored:?}");
            assert_eq!(world.done_at(Step::Stop), Some(HOUR));
        }
    }
}

#[test]
fn p3_the_idle_clock_starts_when_the_last_of_them_ends() {
    let mut world = World::new(HOUR).open();
    world.connect(1, 100, 10);
    world.others.push(entry(1));
    assert!(world.run(2 * HOUR));
    world.connections.clear();
    assert!(world.run(2 * HOUR), "the entry is still open");
    world.others.clear();
    assert!(!world.run(2 * HOUR));
    let at = world.done_at(Step::Stop).unwrap();
    assert!(at >= 5 * HOUR && at <= 5 * HOUR + MINUTE, "{at:?}");
    let last = world.ledger.last_activity().unwrap();
    assert_eq!((last.kind, last.who.as_deref()), (EvidenceKind::Entry, Some("alice")));
}

#[test]
fn p3_an_exec_is_as_idle_as_its_terminal() {
    let mut world = World::new(HOUR);
    for _ in 0..120 {
        world.others = vec![terminal(world.now.stamp())];
        assert!(world.run(MINUTE));
    }
    assert!(!world.run(2 * HOUR), "it is open, and nobody types");
    let at = world.done_at(Step::Stop).unwrap();
    assert!(at >= 3 * HOUR - MINUTE && at <= 3 * HOUR + MINUTE, "{at:?}");
    assert_eq!(world.ledger.last_activity().unwrap().kind, EvidenceKind::Exec);
}

#[test]
fn p3_a_terminal_in_use_keeps_a_threshold_shorter_than_its_coarse_clock() {
    let mut world = World::new(5 * SECOND);
    // The kernel moves a terminal's times every eight seconds at most.
    for second in 0..60 {
        if second % 8 == 0 {
            world.others = vec![terminal(world.now.stamp())];
        }
        assert!(world.run(SECOND), "after {second} seconds");
    }
    assert!(!world.run(20 * SECOND));
}

#[test]
fn l1_two_containers_in_turn_do_not_share_what_was_seen() {
    let mut world = World::new(HOUR);
    world.connect(7, 1_000_000, 0);
    world.run(30 * MINUTE);
    // A new container, whose kernel gives out the same cookies again.
    (world.container, world.connections) = ("c2", BTreeMap::new());
    world.ledger.count_anew(Anew::BuildEnded, world.now.stamp());
    world.look();
    world.pass(MINUTE);
    world.connect(7, 5000, 0);
    world.look();
    let at = world.now.wall;
    assert_eq!(world.ledger.last_activity().unwrap().at, at, "5000 bytes are new, though fewer than before");
}
