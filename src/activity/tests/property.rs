//! Anything may happen, in any order.

use proptest::prelude::*;

use super::*;

/// Something that happens to a workspace.
#[derive(Debug, Clone)]
enum Happening {
    Idle(u64),
    Use(u64),
    Hold(u64),
    Release,
    Threshold(u64),
    Restart,
    Down(u64),
    Step(i64),
    Suspend(u64),
    Build,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1..400u64).prop_map(Happening::Idle),
        3 => (1..200u64).prop_map(Happening::Use),
        1 => (1..300u64).prop_map(Happening::Hold),
        1 => Just(Happening::Release),
        1 => (1..300u64).prop_map(Happening::Threshold),
        1 => Just(Happening::Restart),
        1 => (1..400u64).prop_map(Happening::Down),
        1 => (-600..600i64).prop_map(Happening::Step),
        1 => (1..600u64).prop_map(Happening::Suspend),
        1 => Just(Happening::Build),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: a used workspace is never stopped, none is stopped without its warning, and an unused one is
    /// stopped at the threshold or its warning, whichever is later.
    #[test]
    fn p1_p7_p8_never_while_used_never_unwarned_never_late(happenings in prop::collection::vec(happening(), 1..25)) {
        let mut world = World::new(2 * HOUR);
        let (mut used, mut held) = (world.now.boot, world.now.boot);
        let mut reset = world.now.boot;
        for happening in happenings {
            world.connections.clear();
            let on = match happening {
                Happening::Idle(minutes) => world.run(MINUTE * minutes as u32),
                Happening::Use(minutes) => {
                    world.connect(minutes, 1, 4000);
                    let on = world.run(MINUTE * minutes as u32);
                    world.look();
                    prop_assert!(on || world.now.boot - reset < 11 * MINUTE + HOUR, "stopped while used: {:?}", world.done);
                    used = world.now.boot;
                    on
                }
                Happening::Hold(minutes) => {
                    world.hold(MINUTE * minutes as u32, false);
                    held = held.max(world.now.boot + MINUTE * minutes as u32);
                    true
                }
                Happening::Release => {
                    world.ledger.release(None, 24 * HOUR, world.now);
                    held = held.min(world.now.boot);
                    true
                }
                Happening::Threshold(minutes) => {
                    world.policy.auto_off = Limit::After(MINUTE * minutes as u32);
                    reset = world.now.boot;
                    true
                }
                Happening::Restart => { world.restart("a"); true }
                Happening::Down(minutes) => {
                    world.pass(MINUTE * minutes as u32);
                    world.restart("a");
                    reset = world.now.boot;
                    true
                }
                Happening::Step(minutes) => {
                    world.now.wall += SignedDuration::from_mins(minutes);
                    true
                }
                Happening::Suspend(minutes) => {
                    world.pass(MINUTE * minutes as u32);
                    reset = world.now.boot;
                    true
                }
                Happening::Build => {
                    world.ledger.count_anew(Anew::BuildEnded, world.now.stamp());
                    used = used.max(world.now.boot);
                    true
                }
            };
            let Limit::After(threshold) = world.policy.auto_off else { unreachable!() };
            let lead = (10 * MINUTE).min(threshold / 2);
            if !on {
                let used = used.max(held);
                let stopped = world.began.boot + world.done_at(Step::Stop).unwrap();
                let warned = world.began.boot + world.done_at(Step::Warn).unwrap();
                prop_assert!(stopped >= warned + lead, "unwarned");
                prop_assert!(stopped >= used + threshold, "early: {:?} after use", stopped - used);
                let latest = (used + threshold).max(reset + lead) + 2 * world.policy.window() + SECOND;
                prop_assert!(stopped <= latest, "late by {:?}", stopped.saturating_sub(latest));
                return Ok(());
            }
            // What it says is what happens, if nothing else does.
            let Off::At { at } = world.outlook().off else { continue };
            let mut future = world.clone();
            future.connections.clear();
            let said = at.duration_since(world.now.wall).unsigned_abs();
            let day = 24 * HOUR;
            prop_assert!(!future.run(said + lead + day));
            let happened = future.now.boot - world.now.boot;
            prop_assert!(happened >= said, "it said {said:?}, and it was {happened:?}");
            prop_assert!(happened <= said + lead + 2 * world.policy.window(), "it said {said:?}, and it was {happened:?}");
        }
    }
}
