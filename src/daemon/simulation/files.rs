//! Histories by hand: files that lose most workspaces, and get them back (rule L10), with the watcher looking.

use std::time::Duration;

use tokio::sync::oneshot;

use super::declared::Declared;
use super::found::state;
use super::world::{Size, World};
use crate::config;
use crate::daemon::watch::Seen;
use crate::docker::EngineError;
use crate::docker::fake::Fault;
use crate::handle::{ConfigView, Event, RequestError};
use crate::model::{Requester, StateName};

const SIZE: Size = Size { workspaces: 1, stretches: 0, steps: 0, between: Duration::ZERO, rest: MINUTE, calm: 0 };
const MINUTE: Duration = Duration::from_secs(60);

/// A world with ten workspaces that run, and files that declare one of them.
fn world() -> (World, Declared) {
    let mut world = World::new(1, SIZE, false);
    let one = world.declared.clone();
    let workspace = one.workspaces.values().next().unwrap();
    for n in 1..10 {
        world.declared.workspaces.insert(format!("u{n}/main").parse().unwrap(), workspace.clone());
    }
    world.write_files();
    world.pass(5 * MINUTE).unwrap();
    assert_eq!(running(&world), 10);
    (world, one)
}

fn write(world: &World, declared: &Declared) {
    std::fs::write(world.host.config(), declared.toml(&world.host.dir)).unwrap();
}

fn write_broken(world: &World) {
    std::fs::write(world.host.config(), "[server\n").unwrap();
}

fn running(world: &World) -> usize {
    let is_running = |id: &&_| state(world, id).name() == StateName::Running;
    world.declared.workspaces.keys().filter(is_running).count()
}

fn config(world: &World) -> ConfigView {
    world.hearthd.as_ref().unwrap().snapshot().config.clone()
}

/// Reloads as `hearth config reload` does; returns whether it was refused.
fn is_guarded(world: &World) -> bool {
    let hearthd = world.hearthd.as_ref().unwrap();
    let reloaded = hearthd.block_on(hearthd.handle.reload(false, Requester("root".into())));
    matches!(reloaded, Err(RequestError::Guarded(_)))
}

/// Asserts that the copy is in force, and the files are refused.
fn is_refused(world: &World) {
    let config = config(world);
    assert!(config.from_copy, "{config:?}");
    assert!(config.rejected.is_some_and(|rejected| rejected.errors.contains("9 of 10")));
}

#[test]
fn l10_what_a_start_refused_stays_refused_while_docker_is_away_and_when_it_is_back() {
    for asked in [false, true] {
        let (mut world, one) = world();
        world.end(true);
        write(&world, &one);
        world.host.engine.set_away(Some("connect: no such file or directory"));
        world.start();
        world.watch_files();
        is_refused(&world);
        if asked {
            assert!(is_guarded(&world));
        } else {
            std::fs::write(world.host.config(), one.toml(&world.host.dir) + "# so they are other files\n").unwrap();
        }
        world.pass(2 * MINUTE).unwrap();
        is_refused(&world);
        world.host.engine.set_away(None);
        world.pass(2 * MINUTE).unwrap();
        is_refused(&world);
        assert_eq!(running(&world), 10);
    }
}

#[test]
fn l10_what_would_remove_many_is_refused_although_docker_has_another_disk() {
    let (mut world, one) = world();
    world.host.engine.change_disk();
    world.pass(Duration::from_secs(1)).unwrap();
    write(&world, &one);
    assert!(is_guarded(&world));
}

#[test]
fn l10_what_was_removed_before_is_not_removed_again() {
    let (mut world, one) = world();
    for nth in 1..10 {
        world.host.engine.order("stop", nth, Fault::Before(EngineError::Refused("no room".into())));
    }
    write(&world, &one);
    let hearthd = world.hearthd.as_ref().unwrap();
    hearthd.block_on(hearthd.handle.reload(true, Requester("root".into()))).unwrap();
    world.pass(Duration::from_secs(1)).unwrap();
    assert!(running(&world) > 1, "they are being stopped");
    assert!(!is_guarded(&world));
}

#[test]
fn l10_files_that_are_put_back_at_once_are_rejected_no_more() {
    for (broken, at_start) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut world, one) = world();
        let write = |world: &World| if broken { write_broken(world) } else { write(world, &one) };
        if at_start {
            world.end(true);
            write(&world);
            world.start();
            world.watch_files();
        } else {
            world.watch_files();
            write(&world);
            assert_eq!(is_guarded(&world), !broken);
        }
        let refused = config(&world);
        assert!(refused.rejected.is_some() && refused.from_copy == at_start, "{refused:?}");
        world.pass(Duration::from_secs(5)).unwrap();
        world.write_files();
        world.pass(Duration::from_secs(33)).unwrap();
        let config = config(&world);
        assert!(config.rejected.is_none() && !config.from_copy, "{broken} {at_start}: {config:?}");
        assert_eq!(running(&world), 10);
    }
}

#[test]
fn c5_what_was_judged_already_is_not_judged_again() {
    let (mut world, one) = world();
    world.watch_files();
    world.pass(Duration::from_secs(1)).unwrap();
    let mut events = world.hearthd.as_ref().unwrap().handle.events();
    let mut judged =
        || std::iter::from_fn(|| events.try_recv().ok()).filter(|event| matches!(event, Event::Config { .. })).count();
    for refused in [false, true] {
        if refused {
            write(&world, &one);
        }
        assert_eq!(is_guarded(&world), refused);
        assert_eq!(judged(), 1);
        let since = config(&world).in_force_since;
        world.pass(2 * MINUTE).unwrap();
        assert_eq!((judged(), config(&world).in_force_since), (0, since), "{refused}");
    }
}

#[test]
fn c5_a_sighup_is_heard_although_the_watcher_has_just_seen_older_files() {
    let (mut world, _) = world();
    let (dealt_with, _answer) = oneshot::channel();
    let watching = &world.hearthd.as_ref().unwrap().watching;
    let since = watching.judged.borrow().clone();
    watching.seen.try_send(Seen { files: config::load(&world.host.config()), since, dealt_with }).unwrap();
    let workspace = world.declared.workspaces.values().next().unwrap().clone();
    world.declared.workspaces.insert("u10/main".parse().unwrap(), workspace);
    world.write_files();
    world.hang_up();
    world.pass(MINUTE).unwrap();
    assert_eq!(running(&world), 11);
}
