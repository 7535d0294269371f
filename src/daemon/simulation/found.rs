//! Histories by hand: hearthd killed at each call of the commonest things (rule L11), and what the simulation has found.

use std::time::Duration;

use futures_util::FutureExt;

use super::declared::TRASH_KEEP;
use super::people::What;
use super::watchman::Broken;
use super::world::{Size, World};
use crate::access::{self, Person, Verb};
use crate::daemon::clock::Clock;
use crate::docker::fake::Fault;
use crate::docker::{EngineError, PullError, Status};
use crate::handle::{HoldAsked, RequestError};
use crate::model::{BuildReason, State, StateName, WorkspaceId};

const SIZE: Size = Size { workspaces: 1, stretches: 0, steps: 0, between: Duration::ZERO, rest: MINUTE, calm: 0 };
const MINUTE: Duration = Duration::from_secs(60);

/// A world with one workspace, which runs.
pub(super) fn world() -> (World, WorkspaceId) {
    world_of(1)
}

/// A world with so many, of which the first runs.
pub(super) fn world_of(workspaces: usize) -> (World, WorkspaceId) {
    let mut world = World::new(1, Size { workspaces, ..SIZE }, false);
    world.pass(MINUTE).unwrap();
    let id = world.declared.workspaces.keys().next().unwrap().clone();
    assert_eq!(state(&world, &id).name(), StateName::Running);
    (world, id)
}

pub(super) fn state(world: &World, id: &WorkspaceId) -> State {
    world.hearthd.as_ref().unwrap().snapshot().workspaces[id].state.clone()
}

/// Kills hearthd at each of its calls after `begin`, until one history has fewer.
fn killed_at_each_call(begin: impl Fn(&mut World, &WorkspaceId)) {
    for nth in 1.. {
        let (mut world, id) = world();
        if let Some(hearthd) = &world.hearthd {
            hearthd.between.end_in(nth);
        }
        begin(&mut world, &id);
        let lived = world.pass(MINUTE / 2).and_then(|()| world.quiesce());
        lived.unwrap_or_else(|Broken { invariant, what }| panic!("killed at call {nth}: {invariant:?}: {what}"));
        let killed = world.faults.contains_key("hearthd killed");
        assert!(nth > 3 || killed, "nothing is called");
        if !killed {
            return;
        }
    }
}

#[test]
fn l11_killed_at_each_call_of_a_rebuild() {
    killed_at_each_call(|world, id| world.ask(What::Rebuild(id.clone())));
}

#[test]
fn l11_killed_at_each_call_of_a_first_build() {
    killed_at_each_call(|world, id| {
        let workspace = world.declared.workspaces[id].clone();
        world.declared.workspaces.insert("u0/side".parse().unwrap(), workspace);
        world.write_files();
        world.ask(What::Reload(world.declared.clone()));
    });
}

#[test]
fn l10_l11_killed_at_each_call_of_the_end_of_a_home() {
    killed_at_each_call(|world, id| {
        let between = world.hearthd.as_ref().unwrap().between.clone();
        let calls = between.never_end();
        world.ask(What::Stop(id.clone()));
        world.pass(MINUTE / 2).unwrap();
        world.ask(What::TrashHome(id.clone(), format!("hearth.{}.{}.home", id.user, id.name)));
        // A margin of an eighth comes to what the files say.
        world.pass(TRASH_KEEP.mul_f64(1.125) - MINUTE / 2).unwrap();
        assert_eq!(world.host.engine.all_volumes().len(), 1);
        calls.into_iter().for_each(|calls| between.end_in(calls));
        world.pass(MINUTE).unwrap();
    });
}

#[test]
fn l11_killed_at_each_call_of_a_stop() {
    killed_at_each_call(|world, id| world.ask(What::Stop(id.clone())));
}

#[test]
fn l11_killed_at_each_call_of_a_recovery() {
    killed_at_each_call(|world, id| {
        let name = format!("hearth.{}.{}", id.user, id.name);
        world.host.engine.end(&name, 137, true).unwrap();
    });
}

#[test]
fn l11_killed_at_each_call_of_a_reload_that_removes_and_of_one_that_brings_back() {
    for back in [false, true] {
        killed_at_each_call(|world, id| {
            let workspace = world.declared.workspaces.remove(id).unwrap();
            if back {
                let before = world.hearthd.as_ref().map(|hearthd| hearthd.between.clone());
                let before = before.and_then(|between| between.never_end());
                world.write_files();
                world.ask(What::Reload(world.declared.clone()));
                world.pass(MINUTE / 2).unwrap();
                world.declared.workspaces.insert(id.clone(), workspace);
                if let Some((hearthd, calls)) = world.hearthd.as_ref().zip(before) {
                    hearthd.between.end_in(calls);
                }
            }
            world.write_files();
            world.ask(What::Reload(world.declared.clone()));
        });
    }
}

#[test]
fn l9_one_that_is_gone_and_cannot_be_built_anew_fails_once() {
    let (mut world, id) = world();
    let builds = |world: &World| world.host.engine.calls().iter().filter(|call| call.starts_with("pull")).count();
    world.registry("dev:1", Err(PullError::NotFound("manifest unknown".into())));
    let before = builds(&world);
    world.host.engine.remove_by_hand(&format!("hearth.{}.{}", id.user, id.name)).unwrap();
    world.pass(10 * MINUTE).unwrap();
    assert!(matches!(state(&world, &id), State::Failed { .. }), "{:?}", state(&world, &id));
    assert_eq!(builds(&world) - before, 1);
}

#[test]
fn l9_one_that_comes_back_with_the_disk_of_the_engine_runs_again_as_it_was() {
    comes_back(|_| {});
}

#[test]
fn l9_l11_so_it_does_although_hearthd_is_restarted_meanwhile() {
    comes_back(|world| {
        for kindly in [true, false] {
            world.end(kindly);
            world.start();
            world.pass(MINUTE).unwrap();
        }
    });
}

/// A workspace whose engine is without its disk for a time, in which something else happens.
fn comes_back(meanwhile: impl Fn(&mut World)) {
    let (mut world, id) = world();
    let containers =
        |world: &World| world.host.engine.all_containers().into_iter().map(|one| one.id).collect::<Vec<_>>();
    let homes =
        |world: &World| world.host.engine.volumes_with_labels().into_iter().map(|one| one.name).collect::<Vec<_>>();
    let before = (containers(&world), homes(&world));
    let pulls = |world: &World| world.host.engine.calls().iter().filter(|call| call.starts_with("pull")).count();
    let pulled = pulls(&world);
    world.host.engine.change_disk();
    world.pass(MINUTE).unwrap();
    assert_eq!(pulls(&world), pulled, "an image was pulled onto the disk below");
    let State::Failed { failure, .. } = state(&world, &id) else { panic!("{:?}", state(&world, &id)) };
    assert!(failure.contains("is gone from Docker; no empty one is put in its place"), "{failure}");
    meanwhile(&mut world);
    assert_eq!((containers(&world), homes(&world)), (vec![], vec![]));
    world.host.engine.change_disk();
    world.pass(MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Running);
    assert_eq!((containers(&world), homes(&world)), before);
}

#[test]
fn l10_one_whose_home_was_deleted_meanwhile_does_not_come_back_on_it() {
    for restarted in [false, true] {
        let (mut world, id) = world();
        let home = world.host.engine.volumes_with_labels()[0].name.clone();
        world.host.engine.change_disk();
        world.pass(MINUTE).unwrap();
        if restarted {
            world.ask(What::Stop(id.clone()));
            world.pass(MINUTE).unwrap();
            world.end(true);
            world.start();
            world.pass(MINUTE).unwrap();
        }
        world.ask(What::TrashHome(id.clone(), home.clone()));
        world.pass(MINUTE).unwrap();
        if restarted {
            world.registry("dev:1", Err(PullError::NotFound("manifest unknown".into())));
            world.ask(What::Start(id.clone()));
            world.pass(MINUTE).unwrap();
        }
        world.host.engine.change_disk();
        world.pass(MINUTE).unwrap();
        assert_eq!((state(&world, &id).name(), world.watchman.ours()), (StateName::Failed, vec![]), "{restarted}");
        assert_eq!(world.host.engine.volumes_with_labels()[0].name, home);
    }
}

#[test]
fn l9_l11_one_that_ends_again_and_again_fails_although_hearthd_is_restarted_meanwhile() {
    for kindly in [true, false] {
        let (mut world, id) = world();
        for nth in 1..=5 {
            assert_eq!(state(&world, &id).name(), StateName::Running, "before end {nth}");
            world.host.engine.end(&format!("hearth.{}.{}", id.user, id.name), 137, true).unwrap();
            world.pass(MINUTE).unwrap();
            world.end(kindly);
            world.start();
            world.pass(MINUTE / 4).unwrap();
        }
        let State::Failed { failure, .. } = state(&world, &id) else { panic!("{:?}", state(&world, &id)) };
        assert!(failure.contains("ended 5 times"), "{failure}");
    }
}

#[test]
fn l9_one_that_was_given_up_stays_so_although_it_could_not_be_removed_at_once() {
    let (mut world, id) = world();
    for nth in 1..=5 {
        assert_eq!(state(&world, &id).name(), StateName::Running, "before end {nth}");
        if nth == 5 {
            world.host.engine.order("remove", 1, Fault::Before(EngineError::Away("reset".into())));
        }
        world.host.engine.end(&format!("hearth.{}.{}", id.user, id.name), 137, true).unwrap();
        world.pass(if nth == 5 { MINUTE / 60 } else { MINUTE }).unwrap();
    }
    world.host.engine.set_away(Some("connect: no such file or directory"));
    world.pass(11 * MINUTE).unwrap();
    world.host.engine.set_away(None);
    world.pass(MINUTE).unwrap();
    let State::Failed { failure, .. } = state(&world, &id) else { panic!("{:?}", state(&world, &id)) };
    assert!(failure.contains("ended 5 times"), "{failure}");
    assert!(world.watchman.ours().is_empty());
}

#[test]
fn l9_ends_while_hearthd_is_down_count_where_the_engine_lived_on() {
    for engine_restarts in [false, true] {
        let mut world = World::new(1, Size { workspaces: 2, ..SIZE }, false);
        world.pass(MINUTE).unwrap();
        let ids: Vec<_> = world.declared.workspaces.keys().cloned().collect();
        let [id, other] = &ids[..] else { panic!("{ids:?}") };
        world.ask(What::Start(other.clone()));
        world.pass(MINUTE).unwrap();
        for nth in 1..=5 {
            for id in [id, other] {
                assert_eq!(state(&world, id).name(), StateName::Running, "before end {nth}");
            }
            world.end(true);
            world.host.engine.set_now(world.host.clock.now().wall);
            for ended in ids.iter().take(if engine_restarts { 2 } else { 1 }) {
                world.host.engine.end(&format!("hearth.{}.{}", ended.user, ended.name), 137, true).unwrap();
            }
            world.host.clock.pass(MINUTE / 4);
            world.start();
            world.pass(MINUTE / 2).unwrap();
        }
        let expected = if engine_restarts { StateName::Running } else { StateName::Failed };
        assert_eq!((state(&world, id).name(), state(&world, other).name()), (expected, StateName::Running));
    }
}

#[test]
fn l9_one_that_is_started_by_hand_while_hearthd_is_away_is_adopted_with_a_fresh_idle_clock() {
    for ended_before in [true, false] {
        let (mut world, id) = world();
        let name = format!("hearth.{}.{}", id.user, id.name);
        world.end(true);
        if ended_before {
            world.host.engine.end(&name, 137, false).unwrap();
        }
        world.host.clock.pass(120 * MINUTE);
        world.host.engine.set_now(world.host.clock.now().wall);
        if !ended_before {
            world.host.engine.end(&name, 137, false).unwrap();
        }
        world.host.engine.start_by_hand(&name).unwrap();
        let before = world.watchman.ours()[0].id.clone();
        world.start();
        world.pass(58 * MINUTE).unwrap();
        assert_eq!(state(&world, &id).name(), StateName::Running, "{:?}", state(&world, &id));
        assert_eq!(world.watchman.ours()[0].id, before);
        world.pass(4 * MINUTE).unwrap();
        assert_eq!(state(&world, &id).name(), StateName::Off, "its threshold is an hour");
    }
}

#[test]
fn l12_what_the_list_of_an_engine_without_room_says_is_not_believed() {
    let (mut world, id) = world();
    let name = format!("hearth.{}.{}", id.user, id.name);
    let starts = |world: &World| world.host.engine.calls().iter().filter(|call| call.starts_with("start")).count();
    let before = starts(&world);
    world.host.engine.list_as(&name, Status::Created);
    world.pass(10 * MINUTE).unwrap();
    assert_eq!((state(&world, &id).name(), starts(&world)), (StateName::Running, before));
    // And one that ended is noticed although it is listed as running, and started once.
    world.host.engine.list_as(&name, Status::Running);
    world.host.engine.end(&name, 137, false).unwrap();
    world.pass(MINUTE).unwrap();
    assert_eq!((state(&world, &id).name(), starts(&world)), (StateName::Running, before + 1));
}

#[test]
fn l12_a_container_that_docker_has_no_room_for_is_started_when_there_is() {
    let (mut world, id) = world();
    let full = EngineError::Refused("write config.v2.json: no space left on device".into());
    for nth in 1..=8 {
        world.host.engine.order("start", nth, Fault::Before(full.clone()));
    }
    world.host.engine.end(&format!("hearth.{}.{}", id.user, id.name), 137, true).unwrap();
    world.pass(MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Queued);
    world.pass(MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Running);
}

#[test]
fn l8_a_hook_that_the_engine_refuses_to_run_is_a_warning() {
    let (mut world, id) = world();
    // The second command of a build is configure.
    world.host.engine.order("exec", 2, Fault::Before(EngineError::Refused("no room".into())));
    world.ask(What::Rebuild(id.clone()));
    world.pass(MINUTE).unwrap();
    let State::Running { warnings, .. } = state(&world, &id) else { panic!("{:?}", state(&world, &id)) };
    assert!(warnings.iter().any(|warning| warning.message.contains("no room")), "{warnings:?}");
}

#[test]
fn l12_what_was_given_up_before_docker_answered_is_not_done_afterwards() {
    let (mut world, id) = world();
    let root = Person::Account { uid: 0, account: "root".into(), groups: Vec::new() };
    let may = |world: &World, verb| {
        let settings = world.hearthd.as_ref().unwrap().settings();
        access::check(&settings, &root, verb, &id, &"acme".parse().unwrap()).unwrap()
    };
    let build =
        |world: &World| world.hearthd.as_ref().unwrap().snapshot().workspaces[&id].build.clone().unwrap().number;
    let (before, rebuild, start, stop) =
        (build(&world), may(&world, Verb::Rebuild), may(&world, Verb::Start), may(&world, Verb::Stop));
    // Asked, and given up before the look that it waits for is over.
    let hearthd = world.hearthd.as_ref().unwrap();
    assert!(hearthd.handle.rebuild(&rebuild, BuildReason::User).now_or_never().is_none());
    world.pass(MINUTE).unwrap();
    assert_eq!(build(&world), before);
    // Who asks for a stop is told only that it is done, or done later.
    let hearthd = world.hearthd.as_ref().unwrap();
    assert!(hearthd.handle.stop(&stop).now_or_never().is_none());
    world.pass(MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Off);
    let hearthd = world.hearthd.as_ref().unwrap();
    assert!(hearthd.handle.start(&start, BuildReason::User).now_or_never().is_none());
    world.pass(MINUTE).unwrap();
    assert_eq!((state(&world, &id).name(), build(&world)), (StateName::Off, before));
}

#[test]
fn l12_an_engine_that_is_back_does_at_once_what_is_asked() {
    let (mut world, id) = world();
    let build = |world: &World| world.hearthd.as_ref().unwrap().snapshot().workspaces[&id].build.clone().unwrap();
    let before = build(&world).number;
    world.host.engine.set_away(Some("connect: no such file or directory"));
    world.pass(MINUTE + Duration::from_millis(500)).unwrap();
    // `systemctl restart docker` has returned, and hearthd has not asked it again yet.
    world.host.engine.echo([0]);
    world.host.engine.set_away(None);
    world.ask(What::Rebuild(id.clone()));
    world.pass(MINUTE).unwrap();
    assert_eq!((state(&world, &id).name(), build(&world).number), (StateName::Running, before.next()));
}

#[test]
fn l13_a_stop_that_somebody_takes_back_at_once_is_answered() {
    let cases = [(What::Start as fn(_) -> _, 500), (What::Rebuild, 500), (What::Start, 0), (What::Rebuild, 0)];
    for (again, after) in cases {
        let (mut world, id) = world();
        world.host.engine.order("stop", 1, Fault::Before(EngineError::Refused("no room".into())));
        world.ask(What::Stop(id.clone()));
        // It is tried again soon.
        if after > 0 {
            world.pass(Duration::from_millis(after)).unwrap();
        }
        world.ask(again(id.clone()));
        world.pass(10 * MINUTE).unwrap();
        assert_eq!(state(&world, &id).name(), StateName::Running);
        assert_eq!(world.people.unanswered(), None);
    }
}

#[test]
fn p5_a_hold_whose_client_vanishes_lapses_and_one_that_is_renewed_ends_at_hold_max() {
    let (mut world, id) = world();
    let may = {
        let root = Person::Account { uid: 0, account: "root".into(), groups: Vec::new() };
        let settings = world.hearthd.as_ref().unwrap().settings();
        access::check(&settings, &root, Verb::Hold, &id, &"acme".parse().unwrap()).unwrap()
    };
    let hold = |world: &World| {
        let (by, from) = ("root".to_owned(), "host".to_owned());
        let asked = HoldAsked { lasts: None, until_command_ends: true, message: None, by, from };
        let hearthd = world.hearthd.as_ref().unwrap();
        hearthd.block_on(hearthd.handle.hold(&may, asked)).unwrap().id
    };
    let renew = |world: &World, hold| {
        let hearthd = world.hearthd.as_ref().unwrap();
        hearthd.block_on(hearthd.handle.renew(&may, hold))
    };
    let holds = |world: &World| {
        let hearthd = world.hearthd.as_ref().unwrap();
        hearthd.block_on(hearthd.handle.why(&may)).unwrap().holds.len()
    };
    let second = Duration::from_secs(1);
    let number = hold(&world);
    // Over a hearthd that is killed, too.
    world.pass(60 * second).unwrap();
    world.end(false);
    world.pass(55 * second).unwrap();
    assert_eq!(holds(&world), 1);
    renew(&world, number).unwrap();
    world.pass(119 * second).unwrap();
    assert_eq!(holds(&world), 1);
    world.pass(2 * second).unwrap();
    assert_eq!(holds(&world), 0);
    assert!(matches!(renew(&world, number), Err(RequestError::Conflict(_))));

    // An org's `hold_max` is a day.
    let number = hold(&world);
    for _ in 0..14 * 60 + 23 {
        world.pass(100 * second).unwrap();
        renew(&world, number).unwrap();
    }
    world.pass(101 * second).unwrap();
    assert!(matches!(renew(&world, number), Err(RequestError::Conflict(_))));
    assert_eq!(state(&world, &id).name(), StateName::Running);
    world.pass(62 * MINUTE).unwrap();
    assert_eq!(state(&world, &id).name(), StateName::Off, "its threshold is an hour");
}
