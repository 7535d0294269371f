//! auto-start in the real loop (rules S1–S5): days and weeks of it on a clock that is turned.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::dice::Dice;
use super::faults::{Between, Weather};
use super::hearthd::{Hearthd, Left};
use super::world::{Size, World, command};
use crate::access::{Allowed, Person, Verb, check};
use crate::config::set::Edits;
use crate::daemon::clock::Clock;
use crate::docker::PullError;
use crate::docker::fake::Ran;
use crate::handle::{Owner, Schedule};
use crate::model::{BuildReason, BuildResult, Moment, Requester, StateName, WorkspaceId};
use crate::schedule::{NextStart, Outcome};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SIZE: Size = Size { workspaces: 0, stretches: 0, steps: 0, between: Duration::ZERO, rest: HOUR, calm: 0 };

/// A host with one hearthd and no trouble. It is Monday, 19 October 2026, 08:00 in Berlin, six days before its clocks
/// go back.
struct Calm {
    world: World,
    hearthd: Option<Hearthd>,
    /// When containers began.
    starts: Arc<Mutex<Vec<Moment>>>,
}

impl Calm {
    fn new(org: &str, users: usize) -> Self {
        Self::of(org, users, users)
    }

    /// Has that many users, of whom the first have a start.
    fn of(org: &str, users: usize, starting: usize) -> Self {
        let world = World::new(1, SIZE, false);
        let dir = world.host.dir.display();
        let mut text = format!(
            "[server]\ndata_dir = \"{dir}/data\"\nrun_dir = \"{dir}/run\"\ntimezone = \"Europe/Berlin\"\n\
             [orgs.acme]\nimage = \"dev:1\"\nbuild_on_create = false\n{org}\n"
        );
        for n in 0..users {
            let start = if n < starting { "09:00" } else { "never" };
            text +=
                &format!("[users.u{n}]\norgs = [\"acme\"]\nauto_start = \"{start}\"\n[users.u{n}.workspaces.main]\n");
        }
        std::fs::write(world.host.config(), text).unwrap();
        let mut calm = Self { world, hearthd: None, starts: Arc::default() };
        calm.up();
        calm
    }

    fn up(&mut self) {
        let (starts, clock) = (self.starts.clone(), self.world.host.clock.clone());
        let told = move |call: &super::faults::Call, done| {
            if call.name == "start" && done {
                starts.lock().unwrap().push(clock.now().wall);
            }
        };
        let between = Between::new(Dice::new(1), Weather::CALM, Box::new(told));
        self.hearthd = Some(Hearthd::start(&self.world.host, between).map_err(|why| panic!("{why}")).unwrap());
    }

    /// Ends hearthd and lets time pass without one.
    fn down_for(&mut self, span: Duration) {
        self.hearthd.take().unwrap().terminate();
        self.world.host.clock.pass(span);
        self.up();
    }

    fn pass(&mut self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let piece = left.min(HOUR);
            self.world.host.engine.set_now(self.world.host.clock.now().wall);
            assert_eq!(self.hearthd.as_mut().unwrap().run(piece), Left::Time);
            left -= piece;
        }
    }

    fn state(&self, id: &WorkspaceId) -> (StateName, Option<(BuildReason, Option<BuildResult>)>) {
        let view = self.hearthd.as_ref().unwrap().snapshot().workspaces[id].clone();
        (view.state.name(), view.build.as_ref().map(|build| (build.reason, build.result)))
    }

    /// Lets root do something to the first workspace.
    fn may(&self, verb: Verb) -> (&Hearthd, Allowed) {
        let hearthd = self.hearthd.as_ref().unwrap();
        let root = Person::Account { uid: 0, account: "root".into(), groups: Vec::new() };
        let allowed = check(&hearthd.settings(), &root, verb, &first(), &"acme".parse().unwrap());
        (hearthd, allowed.unwrap())
    }

    fn schedule(&self, id: &WorkspaceId) -> Arc<Schedule> {
        self.hearthd.as_ref().unwrap().snapshot().schedules[id].clone()
    }

    fn last(&self, id: &WorkspaceId) -> Option<Outcome> {
        self.schedule(id).last.as_ref().map(|last| last.outcome.clone())
    }

    /// How often an image was pulled.
    fn pulls(&self) -> usize {
        self.world.host.engine.calls().iter().filter(|call| call.starts_with("pull")).count()
    }

    /// When containers began, to the minute.
    fn starts(&self) -> Vec<String> {
        self.starts.lock().unwrap().iter().map(|at| at.strftime("%m-%d %H:%M").to_string()).collect()
    }
}

fn first() -> WorkspaceId {
    "u0/main".parse().unwrap()
}

const STARTED: (StateName, Option<(BuildReason, Option<BuildResult>)>) =
    (StateName::Running, Some((BuildReason::AutoStart, Some(BuildResult::Ok))));

#[test]
fn s1_weeks_with_forbidden_days_a_holiday_and_a_change_of_the_clock() {
    let org = "auto_off = \"2h\"\nauto_start_days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\n\
               auto_start_pause_after = \"never\"\nholidays = [\"2026-10-22\"]";
    let mut calm = Calm::new(org, 1);
    calm.pass(9 * DAY);
    // At 09:00 in Berlin, which is 07:00 in summer.
    let expected = ["10-19 07:00", "10-20 07:00", "10-21 07:00", "10-23 07:00", "10-26 08:00", "10-27 08:00"];
    assert_eq!(calm.starts(), expected);
}

#[test]
fn s3_a_hundred_at_nine_each_once() {
    let mut calm = Calm::new("", 100);
    calm.pass(HOUR - MINUTE);
    assert!(calm.starts().is_empty(), "{:?}", calm.starts());
    calm.pass(5 * MINUTE);
    let ids: Vec<WorkspaceId> = (0..100).map(|n| format!("u{n}/main").parse().unwrap()).collect();
    for id in &ids {
        assert_eq!(calm.state(id), STARTED, "{id}");
        assert_eq!(calm.last(id), Some(Outcome::Started), "{id}");
    }
    assert_eq!(calm.starts().len(), 100);
    assert_eq!(calm.pulls(), 1, "the image that they share is pulled once");
    // What is asked for later is not served by that.
    calm.pass(5 * MINUTE);
    let (hearthd, may) = calm.may(Verb::Rebuild);
    hearthd.block_on(hearthd.handle.rebuild(&may, BuildReason::User)).unwrap();
    calm.pass(MINUTE);
    assert_eq!(calm.pulls(), 2);
}

#[test]
fn s3_hooks_that_hang_hold_up_a_storm_for_minutes_and_no_person() {
    let mut calm = Calm::new("", 12);
    let dice = Dice::new(1);
    calm.world.host.engine.script(move |_, spec| match spec.argv.get(2).is_some_and(|hook| hook == "configure") {
        true => Ran { output: Vec::new(), end: None },
        false => command(spec, &dice, 0),
    });
    calm.pass(HOUR + MINUTE);
    assert_eq!(calm.starts().len(), 4, "max_builds");
    // Who comes in now waits for nobody's hooks, although a schedule has asked already.
    let asked: WorkspaceId = "u9/main".parse().unwrap();
    assert_eq!(calm.state(&asked).0, StateName::Queued);
    let root = Person::Account { uid: 0, account: "root".into(), groups: Vec::new() };
    let hearthd = calm.hearthd.as_ref().unwrap();
    let may = check(&hearthd.settings(), &root, Verb::Start, &asked, &"acme".parse().unwrap()).unwrap();
    hearthd.block_on(hearthd.handle.start(&may, BuildReason::User)).unwrap();
    calm.pass(MINUTE);
    assert_eq!((calm.state(&asked).0, calm.starts().len()), (StateName::Building, 5));
    calm.pass(4 * MINUTE);
    assert_eq!(calm.starts().len(), 9);
    calm.pass(5 * MINUTE);
    assert_eq!(calm.starts().len(), 12);
}

#[test]
fn s2_with_hearthd_down_at_nine_it_is_made_up_until_eleven() {
    let mut calm = Calm::new("", 1);
    calm.pass(MINUTE);
    calm.down_for(2 * HOUR);
    calm.pass(MINUTE);
    assert_eq!(calm.state(&first()), STARTED);
    calm.pass(DAY);
    assert_eq!((calm.last(&first()), calm.starts().len()), (Some(Outcome::FoundRunning), 1));

    let mut calm = Calm::new("", 1);
    calm.pass(MINUTE);
    calm.down_for(4 * HOUR);
    calm.pass(MINUTE);
    assert_eq!(calm.state(&first()).0, StateName::Off);
    assert_eq!(calm.last(&first()), Some(Outcome::Missed));
    calm.pass(DAY);
    assert_eq!(calm.state(&first()), STARTED, "the next day is unaffected");
}

#[test]
fn s2a_unused_for_a_week_it_waits_for_somebody() {
    let mut calm = Calm::new("auto_off = \"1h\"", 1);
    calm.pass(6 * DAY + 3 * HOUR);
    assert_eq!(calm.starts().len(), 7);
    calm.pass(3 * DAY);
    assert_eq!(calm.starts().len(), 7, "{:?}", calm.starts());
    assert!(matches!(calm.last(&first()), Some(Outcome::Paused { .. })));
    assert!(matches!(calm.schedule(&first()).next, NextStart::Paused { .. }));

    let (hearthd, may) = calm.may(Verb::Start);
    hearthd.block_on(hearthd.handle.start(&may, BuildReason::User)).unwrap();
    calm.down_for(MINUTE);
    calm.pass(DAY);
    assert_eq!(calm.starts().len(), 9, "its use counts, also over a restart: {:?}", calm.starts());
}

#[test]
fn s3_a_changed_schedule_starts_nothing_at_once_and_one_that_was_stopped_stays_off() {
    let mut calm = Calm::new("", 1);
    calm.pass(2 * HOUR);
    assert_eq!(calm.state(&first()), STARTED);
    let (hearthd, may) = calm.may(Verb::Stop);
    hearthd.block_on(hearthd.handle.stop(&may)).unwrap();
    for at in ["09:30", "09:59", "08:00"] {
        let edits = Edits { set: [("auto_start".to_owned(), at.into())].into(), ..Edits::default() };
        let hearthd = calm.hearthd.as_ref().unwrap();
        let set = hearthd.handle.set(Owner::Workspace(first()), edits, Requester("u0".into()));
        hearthd.block_on(set).unwrap();
        calm.pass(MINUTE);
        assert_eq!(calm.state(&first()).0, StateName::Off, "{at}");
    }
    calm.pass(22 * HOUR);
    assert_eq!(calm.starts(), ["10-19 07:00", "10-20 06:00"]);
}

#[test]
fn s2_a_start_that_fails_is_tried_again_until_it_is_too_late_and_the_next_day_is_another() {
    let mut calm = Calm::new("pull = \"always\"", 1);
    calm.world.registry("dev:1", Err(PullError::NotFound("manifest unknown".into())));
    calm.world.host.engine.unload("docker.io/library/dev:1");
    calm.pass(90 * MINUTE);
    let tries = calm.pulls();
    assert!((3..10).contains(&tries), "{tries} in half an hour");
    calm.pass(2 * HOUR);
    assert!(matches!(calm.last(&first()), Some(Outcome::GaveUp { .. })), "{:?}", calm.last(&first()));
    let tries = calm.pulls();
    calm.pass(20 * HOUR);
    assert_eq!(calm.pulls(), tries, "it is too late");
    calm.world.publish("dev:1");
    calm.pass(2 * HOUR);
    assert_eq!((calm.state(&first()).0, calm.last(&first())), (StateName::Running, Some(Outcome::Started)));
}

#[test]
fn l9_those_that_ended_with_the_host_come_back_as_many_at_a_time_as_builds_may_run() {
    let mut calm = Calm::new("auto_off = \"never\"", 12);
    calm.pass(90 * MINUTE);
    let count = |calm: &Calm, state| {
        let snapshot = calm.hearthd.as_ref().unwrap().snapshot();
        snapshot.workspaces.values().filter(|view| view.state.name() == state).count()
    };
    assert_eq!(count(&calm, StateName::Running), 12);
    let engine = calm.world.host.engine.clone();
    engine.script(|_, spec| match spec.argv.get(1).map(String::as_str) {
        Some("inject") => Ran { output: Vec::new(), end: None },
        _ => command(spec, &Dice::new(1), 0),
    });
    engine.set_away(Some("connect: no such file or directory"));
    engine.reboot();
    calm.pass(MINUTE / 10);
    engine.set_away(None);
    calm.pass(MINUTE / 10);
    assert_eq!((count(&calm, StateName::Building), count(&calm, StateName::Running)), (4, 0));
    engine.script(|_, spec| command(spec, &Dice::new(1), 0));
    calm.pass(10 * MINUTE);
    assert_eq!(count(&calm, StateName::Running), 12);
}

#[test]
#[ignore = "measures: `cargo test --profile sim --lib thousand -- --ignored --nocapture`"]
fn what_a_turn_of_a_thousand_costs_of_which_two_hundred_run() {
    let mut calm = Calm::of("auto_off = \"8h\"", 1000, 200);
    calm.pass(2 * HOUR);
    assert_eq!(calm.starts().len(), 200);
    let spent = || getrusage(UsageWho::RUSAGE_THREAD).map(|used| used.user_time().num_microseconds()).unwrap();
    let turns = |calm: &Calm| *calm.hearthd.as_ref().unwrap().turns.lock().unwrap();
    let before = (spent(), turns(&calm));
    calm.pass(HOUR);
    let (spent, turns) = (spent() - before.0, turns(&calm) - before.1);
    println!(
        "{turns} turns in an hour, {:.2} ms of CPU each, with the engine's part",
        spent as f64 / turns as f64 / 1000.0
    );
}
