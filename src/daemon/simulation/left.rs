//! What a failed build leaves is no workspace, and it is not built again by itself (rules L8, L11).

use std::time::Duration;

use super::dice::Dice;
use super::found::{state, world};
use super::people::What;
use super::world::{World, command};
use crate::docker::EngineError;
use crate::docker::fake::{Fault, Ran};
use crate::model::{BuildNumber, BuildResult, StateName};

const MINUTE: Duration = Duration::from_secs(60);

/// A rebuild whose inject fails and that cannot remove what it made, for the `nth` call of that name breaks.
fn cannot_remove(call: &'static str, nth: usize) {
    let (mut world, id) = world();
    let engine = &world.host.engine;
    engine.order("exec", 1, Fault::Before(EngineError::Refused("no room".into())));
    engine.order(call, nth, Fault::Before(EngineError::Away("reset".into())));
    world.ask(What::Rebuild(id.clone()));
    world.pass(10 * MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Failed, "{:?}", state(&world, &id));
    assert!(world.watchman.ours().is_empty());
}

#[test]
fn l8_what_a_failed_build_could_not_remove_is_removed_when_it_can_be() {
    // The old one by id, by name; then the new one by name.
    cannot_remove("container", 3);
}

#[test]
fn l8_what_a_failed_build_left_running_is_removed_and_not_taken_over() {
    // The old one is removed, the new one is not.
    cannot_remove("remove", 2);
}

#[test]
fn l8_l11_what_an_earlier_try_of_a_failed_build_made_is_removed() {
    let mut failed = 0;
    for nth in 1.. {
        let (mut world, id) = world();
        if let Some(hearthd) = &world.hearthd {
            hearthd.between.end_in(nth);
        }
        world.host.engine.order("pull", 2, Fault::Before(EngineError::Refused("no route to the registry".into())));
        world.ask(What::Rebuild(id.clone()));
        world.pass(MINUTE).unwrap_or_else(|broken| panic!("killed at call {nth}: {broken:?}"));
        if state(&world, &id).name() == StateName::Failed {
            assert!(world.watchman.ours().is_empty(), "killed at call {nth}");
            failed += 1;
        }
        if !world.faults.contains_key("hearthd killed") {
            break;
        }
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn l8_what_two_failed_builds_could_not_remove_is_not_taken_over() {
    let (mut world, id) = world();
    let engine = &world.host.engine;
    engine.order("exec", 1, Fault::Before(EngineError::Refused("no room".into())));
    engine.order("pull", 2, Fault::Before(EngineError::Refused("no route to the registry".into())));
    let stuck = || Fault::Before(EngineError::Refused("did not receive an exit event".into()));
    for nth in 2..20 {
        engine.order("stop", nth, stuck());
        engine.order("remove", nth, stuck());
    }
    world.ask(What::Rebuild(id.clone()));
    world.pass(MINUTE / 30).unwrap();
    assert!(!world.watchman.ours().is_empty(), "it cannot be removed");
    world.ask(What::Start(id.clone()));
    for _ in 0..120 {
        world.pass(MINUTE / 60).unwrap();
        assert_ne!(state(&world, &id).name(), StateName::Running);
    }
    world.pass(10 * MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Failed);
    assert!(world.watchman.ours().is_empty());
}

#[test]
fn l11_a_build_whose_end_could_not_be_recorded_is_not_taken_up_again() {
    let (mut world, id) = world();
    let (database, dice) = (world.host.database.clone(), Dice::new(1));
    // The disk fills during its last hook.
    world.host.engine.script(move |_, spec| {
        database.refuse_writes(spec.argv.ends_with(&["personalize".to_owned()]));
        command(spec, &dice, 0)
    });
    world.ask(What::Rebuild(id.clone()));
    world.pass(MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Failed);
    world.host.database.refuse_writes(false);
    world.pass(2 * MINUTE).unwrap();
    let pulls = |world: &World| world.host.engine.calls().iter().filter(|call| call.starts_with("pull ")).count();
    let before = pulls(&world);
    world.end(false);
    world.pass(2 * MINUTE).unwrap();
    assert_eq!((state(&world, &id).name(), pulls(&world)), (StateName::Failed, before));
}

/// A rebuild that Docker cuts off at a call, and that is cancelled while it waits to be taken up again.
fn cut_off_and_cancelled(call: &'static str, to: StateName) {
    let (mut world, id) = world();
    world.host.engine.order(call, 1, Fault::Before(EngineError::Away("reset".into())));
    world.ask(What::Rebuild(id.clone()));
    world.pass(MINUTE / 60).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Queued);
    world.ask(What::Cancel(id.clone()));
    world.pass(MINUTE).unwrap();
    let build = world.hearthd.as_ref().unwrap().snapshot().workspaces[&id].build.clone().unwrap();
    assert_eq!((build.number, build.result), (BuildNumber(2), Some(BuildResult::Cancelled)), "{call}");
    let on = usize::from(to == StateName::Running);
    assert_eq!((state(&world, &id).name(), world.watchman.ours().len()), (to, on), "{call}");
    assert_eq!(world.people.unanswered(), None, "{call}");
}

#[test]
fn l6_l8_one_that_was_cut_off_and_cancelled_is_over_and_what_it_made_is_removed() {
    // The old one still runs; nothing does; the new one does, with nothing in it.
    cut_off_and_cancelled("pull", StateName::Running);
    cut_off_and_cancelled("create", StateName::Off);
    cut_off_and_cancelled("exec", StateName::Off);
}

/// A rebuild that hearthd is killed in, perhaps with another one that waits, and what waits then is perhaps cancelled while
/// Docker is away; returns how it ends.
fn killed_and_cancelled(rebuilds: usize, cancels: bool, begin: impl Fn(&mut World)) -> (StateName, usize) {
    let (mut world, id) = world();
    begin(&mut world);
    for _ in 0..rebuilds {
        world.ask(What::Rebuild(id.clone()));
        world.pass(MINUTE / 60).unwrap();
    }
    world.end(false);
    world.host.engine.set_away(Some("connect: no such file or directory"));
    world.pass(MINUTE / 6).unwrap();
    if cancels {
        world.ask(What::Cancel(id.clone()));
        world.pass(MINUTE / 60).unwrap();
        assert_eq!(world.people.unanswered(), None);
    }
    let dice = Dice::new(1);
    world.host.engine.script(move |_, spec| command(spec, &dice, 0));
    world.host.engine.set_away(None);
    world.pass(MINUTE).unwrap();
    (state(&world, &id).name(), world.watchman.ours().len())
}

#[test]
fn l8_l11_so_it_is_where_hearthd_was_cut_off() {
    for (rebuilds, cancels) in [(1, true), (2, true), (2, false)] {
        let at_inject = killed_and_cancelled(rebuilds, cancels, |world| {
            world.host.engine.script(|_, _| Ran { output: Vec::new(), end: None });
        });
        let end = if cancels { (StateName::Off, 0) } else { (StateName::Running, 1) };
        assert_eq!(at_inject, end, "{rebuilds}");
    }
}

#[test]
fn l6_l11_and_what_runs_goes_on_although_it_was_not_seen_yet() {
    let at_pull = killed_and_cancelled(1, true, |world| {
        world.host.engine.order("pull", 1, Fault::Before(EngineError::Away("reset".into())));
    });
    assert_eq!(at_pull, (StateName::Running, 1));
}
