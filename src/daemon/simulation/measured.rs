//! How much disk homes take, in the real loop.

use std::time::Duration;

use super::found::{state, world};
use super::people::What;
use super::world::World;
use crate::docker::EngineError;
use crate::docker::fake::Fault;
use crate::model::{StateName, WorkspaceId};

const MINUTE: Duration = Duration::from_secs(60);

/// How often a home was measured, what is shown, and how the workspace is.
fn seen(world: &World, id: &WorkspaceId) -> (usize, Option<u64>, StateName) {
    let calls = world.host.engine.calls();
    let times = calls.iter().filter(|call| call.starts_with("exec") && call.contains(" measure /home/coder")).count();
    let snapshot = world.hearthd.as_ref().unwrap().snapshot();
    (times, snapshot.workspaces[id].activity.home_bytes, state(world, id).name())
}

#[test]
fn a_home_is_measured_hourly_while_it_runs_whatever_container_it_runs_in() {
    let (mut world, id) = world();
    world.pass(3 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (0, None, StateName::Running));
    world.pass(3 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (1, Some(4096), StateName::Running));
    world.pass(48 * MINUTE).unwrap();
    world.ask(What::Rebuild(id.clone()));
    world.pass(8 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (1, Some(4096), StateName::Running), "it is the same home");
    world.pass(8 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (2, Some(4096), StateName::Running));
    // Its threshold is an hour.
    world.pass(49 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (2, Some(4096), StateName::Off));
    world.pass(300 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (2, Some(4096), StateName::Off), "nothing is done for one that is off");
    world.end(true);
    world.start();
    world.pass(MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (2, None, StateName::Off));
}

#[test]
fn l12_an_engine_that_does_not_answer_holds_up_nobody_else_and_takes_no_size_away() {
    let (mut world, id) = world();
    let engine = world.host.engine.clone();
    engine.order("exec", 1, Fault::Hang);
    world.pass(20 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (1, None, StateName::Running));
    world.ask(What::Rebuild(id.clone()));
    world.pass(50 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (2, Some(4096), StateName::Running), "an hour later it is tried again");
    world.ask(What::Rebuild(id.clone()));
    world.pass(MINUTE).unwrap();
    engine.order("exec", 1, Fault::Before(EngineError::Away("reset".into())));
    world.pass(55 * MINUTE).unwrap();
    assert_eq!(seen(&world, &id), (3, Some(4096), StateName::Running));
}
