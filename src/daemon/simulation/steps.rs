//! What happens: one thing at a time, by chance.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};

use super::declared::{IMAGES, ZONES};
use super::faults::Weather;
use super::people::What;
use super::visitors::Manner;
use super::watchman::{Broken, Invariant, workspace_of};
use super::world::World;
use crate::config::set::Edits;
use crate::daemon::clock::Clock;
use crate::docker::labels::{self, BINARY};
use crate::docker::{Container, ContainerSpec, Labels, Limits, MountSpec, NetworkSpec, PullError, Status};
use crate::handle::Owner;
use crate::model::{BuildNumber, Moment, WorkspaceId};
use crate::schedule::Outcome;

/// After what members want to be off.
const OFF: [Option<&str>; 5] = [None, Some("20m"), Some("45m"), Some("2h"), Some("never")];

/// When members want a start.
const TIMES: [Option<&str>; 5] = [None, Some("09:00"), Some("02:30"), Some("17:45"), Some("never")];

/// What other people do, and builds fail of.
pub(super) const RUMMAGED: &str = "home mounted by hand";
pub(super) const NAME_TAKEN: &str = "container of our name made by hand";
pub(super) const VOLUME_MADE: &str = "volume of our name made by hand";

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    /// Lives through a stretch of trouble.
    pub(super) fn trouble(&mut self) -> Result<(), Broken> {
        self.starts_again();
        for _ in 0..self.size.steps {
            self.step();
            let most = match self.dice.below(10) {
                0..=3 => Duration::from_secs(2),
                4..=7 => Duration::from_secs(120),
                _ => self.size.between,
            };
            let span = self.dice.span(Duration::from_millis(1), most.min(self.size.between));
            self.pass(span)?;
        }
        Ok(())
    }

    /// Lives through days on which nothing goes wrong: people come and go, and what is to start starts.
    pub(super) fn calm_days(&mut self) -> Result<(), Broken> {
        self.starts_again();
        for _ in 0..24 * self.size.calm {
            if self.dice.thousandth(400) {
                self.somebody_comes();
            }
            if self.dice.thousandth(100) {
                self.somebody_plans();
            }
            self.pass(Duration::from_secs(1))?;
            let due = self.host.timetable.due(self.host.clock.now().wall + HOUR);
            self.pass(HOUR + Duration::from_secs(1))?;
            self.all_begun(due);
            self.watchman.verdict()?;
        }
        Ok(())
    }

    /// Lets schedules count that did not while it was looked at what all comes to.
    fn starts_again(&mut self) {
        if std::mem::take(&mut self.declared.nothing_starts) {
            self.write_files();
            self.ask(What::Reload(self.declared.clone()));
        }
    }

    /// What was due has begun, or ran already.
    fn all_begun(&self, due: Vec<(WorkspaceId, Moment)>) {
        let Some(hearthd) = &self.hearthd else { return };
        let schedules = hearthd.snapshot().schedules.clone();
        for (id, start) in due {
            let schedule = schedules.get(&id);
            let last = schedule.and_then(|schedule| schedule.last.as_ref()).filter(|last| last.at == start);
            let done = match last.map(|last| &last.outcome) {
                Some(Outcome::Started | Outcome::FoundRunning | Outcome::Stopped | Outcome::Paused { .. }) => true,
                Some(Outcome::Missed | Outcome::GaveUp { .. } | Outcome::Changed) => false,
                None => schedule.is_some_and(|schedule| schedule.due == Some(start)),
            };
            if !done {
                let what = format!("{id} was to start at {start}, and did not: {schedule:?}");
                self.watchman.broken(Invariant::StartsAsAllowed, what);
            }
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..=19 => self.somebody_asks(),
            20..=24 => self.somebody_plans(),
            25..=34 => self.somebody_comes(),
            35..=44 => self.files_change(),
            45..=59 => self.container_changes(),
            60..=69 => self.hearthd_ends(),
            70..=77 => self.engine_goes(),
            78..=82 => self.events_go_wrong(),
            83..=86 => self.clock_steps(),
            87..=91 => self.registry_changes(),
            92..=95 => self.somebody_elses(),
            _ => {
                let rough = self.dice.thousandth(600);
                self.note(if rough { "rough weather" } else { "calm weather" });
                self.set_weather(if rough { Weather::ROUGH } else { Weather::CALM });
            }
        }
    }

    fn a_workspace(&self) -> WorkspaceId {
        let ids: Vec<_> = self.declared.workspaces.keys().cloned().collect();
        let other = || "u9999/main".parse().expect("a good name");
        self.dice.pick(&ids).cloned().filter(|_| !self.dice.thousandth(30)).unwrap_or_else(other)
    }

    fn somebody_asks(&mut self) {
        let id = self.a_workspace();
        let what = match self.dice.below(17) {
            0..=2 => What::Start(id),
            3..=5 => What::Stop(id),
            6 | 7 => What::Rebuild(id),
            8 | 9 => What::Cancel(id),
            10 => What::Personalize(id),
            11 => What::Hold(id, self.passed() + self.dice.span(Duration::from_secs(60), 6 * HOUR)),
            12 => What::Release(id),
            13 => What::Why(id),
            14 | 15 => match self.a_home(&id) {
                Some(home) if self.dice.thousandth(600) => What::TrashHome(id, home),
                Some(home) => What::RestoreHome(id, home),
                None => What::Plan,
            },
            _ => What::Plan,
        };
        self.ask(what.clone());
        // Two at once, now and then.
        if self.dice.thousandth(200) {
            let again = match what {
                What::Start(id) => What::Stop(id),
                What::Stop(id) => What::Start(id),
                What::Rebuild(id) => What::Cancel(id),
                What::Cancel(_)
                | What::Personalize(_)
                | What::Hold(..)
                | What::Release(_)
                | What::Why(_)
                | What::Reload(_)
                | What::Plan
                | What::Set(..)
                | What::Away(..)
                | What::TrashHome(..)
                | What::RestoreHome(..)
                | What::AutoStart(_) => return,
            };
            self.ask(again);
        }
    }

    /// Returns a home of a workspace, current or not.
    fn a_home(&self, id: &WorkspaceId) -> Option<String> {
        let instance = "hearth".parse().expect("a name");
        let all = self.host.engine.all_volumes().into_iter();
        let homes: Vec<_> = all.filter(|volume| labels::home_number(volume, &instance, id).is_some()).collect();
        self.dice.pick(&homes).cloned()
    }

    fn somebody_plans(&mut self) {
        let id = self.a_workspace();
        let (key, value, owner) = match self.dice.below(6) {
            0 | 1 => {
                let days = 1 + i64::try_from(self.dice.below(6)).unwrap_or(0);
                let today = self.host.clock.now().wall.to_zoned(TimeZone::UTC).date();
                let until = self.dice.thousandth(600).then(|| today.saturating_add(days.days()));
                return self.ask(What::Away(id.user, until));
            }
            2 => ("timezone", self.dice.pick(&ZONES).copied().flatten(), Owner::User(id.user)),
            3 => ("auto_start", self.dice.pick(&TIMES).copied().flatten(), Owner::User(id.user)),
            4 => ("auto_off", self.dice.pick(&OFF).copied().flatten(), Owner::Workspace(id)),
            _ => ("auto_start", self.dice.pick(&TIMES).copied().flatten(), Owner::Workspace(id)),
        };
        let mut edits = Edits::default();
        match value {
            Some(value) => drop(edits.set.insert(key.to_owned(), value.into())),
            None => drop(edits.reset.insert(key.to_owned())),
        }
        self.ask(What::Set(owner, edits));
    }

    fn somebody_comes(&mut self) {
        let ours = self.watchman.ours();
        let running: Vec<_> = ours.iter().filter(|container| container.status == Status::Running).collect();
        let Some(container) = self.dice.pick(&running) else { return };
        let manner = match self.dice.below(5) {
            0 => Manner::Command,
            1 => Manner::Traffic(0),
            2 => Manner::Traffic(200),
            _ => Manner::Traffic(20_000),
        };
        let stay = self.dice.span(Duration::from_secs(20), if self.dice.thousandth(500) { HOUR / 2 } else { 6 * HOUR });
        self.host.visitors.come(&container.id.0, manner, stay);
        let name = container.name.clone();
        self.note(format!("somebody comes to {name} for {stay:.0?}: {manner:?}"));
    }

    fn files_change(&mut self) {
        // Who has just asked for a reload means the files as they are.
        let _ = self.pass(Duration::from_millis(1));
        if self.dice.thousandth(100) {
            self.files_are_good = !self.files_are_good;
            self.note(if self.files_are_good { "the files are in order" } else { "the files are broken" });
        }
        for _ in 0..1 + self.dice.below(3) {
            let what = self.declared.change(self.size.workspaces + 4, &self.dice);
            self.note(format!("files: {what}"));
        }
        self.write_files();
        match self.dice.below(10) {
            // Nobody tells hearthd.
            0 => {}
            1 => self.hang_up(),
            _ => self.ask(What::Reload(self.declared.clone())),
        }
    }

    fn container_changes(&mut self) {
        let ours = self.watchman.ours();
        let ours: Vec<Container> =
            ours.into_iter().filter(|container| workspace_of(&container.name).is_some()).collect();
        let Some(container) = self.dice.pick(&ours).cloned() else { return };
        let (engine, id) = (self.host.engine.clone(), container.id.0.as_str());
        let (what, done) = match self.dice.below(7) {
            0 | 1 => ("ends", engine.end(id, 137, self.dice.thousandth(300))),
            2 => {
                for _ in 0..5 {
                    let _ = engine.end(id, 1, false);
                    let _ = self.pass(Duration::from_secs(40));
                }
                ("ends again and again", Ok(()))
            }
            3 => ("is removed by hand", engine.remove_by_hand(id)),
            4 => ("is started by hand", engine.start_by_hand(id)),
            5 => ("is paused by hand", engine.set_paused(id, true)),
            _ => ("is unpaused by hand", engine.set_paused(id, false)),
        };
        if done.is_ok() {
            self.note(format!("container {} ({}) {what}", container.name, container.id));
            self.fault("container changed by hand or ended");
        }
    }

    fn hearthd_ends(&mut self) {
        match self.dice.below(10) {
            0..=5 => {
                let calls = 1 + self.dice.below(40);
                self.note(format!("hearthd is to be killed at its call {calls} from here"));
                if let Some(hearthd) = &self.hearthd {
                    hearthd.between.end_in(calls);
                }
            }
            6 => self.end(false),
            7 | 8 => {
                let most = if self.dice.thousandth(300) { 30 * HOUR } else { HOUR };
                let down = self.dice.span(Duration::ZERO, most);
                for _ in 0..4 {
                    // Where something took its time, it was started meanwhile.
                    self.end(true);
                    self.host.clock.pass(down / 4);
                    self.host.engine.set_now(self.host.clock.now().wall);
                    self.happens_unseen();
                }
            }
            _ => {
                self.end(false);
                self.boot();
            }
        }
    }

    /// What happens while hearthd is away.
    fn happens_unseen(&mut self) {
        match self.dice.below(10) {
            0..=2 => self.container_changes(),
            3 => self.clock_steps(),
            4 => self.somebody_comes(),
            5 => self.somebody_elses(),
            6 => self.boot(),
            7 => {
                self.note("Docker restarts");
                self.fault("engine restarts");
                self.host.engine.reboot();
                self.watchman.foreign_are_as_they_are();
            }
            _ => {}
        }
    }

    fn boot(&mut self) {
        self.note("the host boots");
        self.fault("host boots");
        self.host.engine.reboot();
        self.watchman.foreign_are_as_they_are();
        self.host.visitors.forget();
        self.host.clock.boot();
        self.host.clock.pass(Duration::from_secs(30));
    }

    fn engine_goes(&mut self) {
        let restarts = self.dice.thousandth(500);
        self.note(if restarts { "Docker restarts" } else { "Docker is away" });
        self.fault(if restarts { "engine restarts" } else { "engine away" });
        self.host.engine.set_away(Some("connect: no such file or directory"));
        if restarts {
            self.host.engine.echo(std::iter::repeat_n(0, self.host.engine.all_containers().len()));
            self.host.engine.reboot();
            self.watchman.foreign_are_as_they_are();
        }
        let most = if self.dice.thousandth(200) { HOUR } else { Duration::from_secs(20) };
        let span = self.dice.span(Duration::ZERO, most);
        if self.dice.thousandth(500) {
            self.somebody_asks();
        }
        let _ = self.pass(span);
        self.note("Docker is back");
        self.host.engine.set_away(None);
    }

    fn events_go_wrong(&mut self) {
        let times = *self.dice.pick(&[0, 0, 2, 3]).expect("it has some");
        let count = 1 + self.dice.below(20);
        self.note(format!("the next {count} events are told {times} times"));
        self.fault(if times == 0 { "events lost" } else { "events doubled" });
        self.host.engine.echo(std::iter::repeat_n(times, count));
    }

    fn clock_steps(&mut self) {
        let most = if self.dice.thousandth(300) { 72 } else { 6 } * 3600;
        let by = SignedDuration::from_secs(self.dice.below(2 * most) as i64 - most as i64);
        self.note(format!("the clock steps by {by:#}"));
        self.fault("clock stepped");
        self.step_clock(by);
    }

    fn registry_changes(&mut self) {
        let reference = *self.dice.pick(&IMAGES).expect("it has some");
        match self.dice.below(5) {
            0 | 1 => {
                self.note(format!("a new {reference} is pushed"));
                self.publish(reference);
            }
            2 => {
                self.note(format!("the registry is away for {reference}"));
                self.fault("registry away");
                self.registry(reference, Err(PullError::Unreachable("dial tcp: i/o timeout".into())));
            }
            3 => {
                self.note(format!("the registry has no {reference}"));
                self.fault("image not in the registry");
                self.registry(reference, Err(PullError::NotFound("manifest unknown".into())));
            }
            _ => {
                self.note(format!("{reference} is pruned"));
                self.fault("image pruned");
                self.host.engine.unload(&format!("docker.io/library/{reference}"));
            }
        }
    }

    /// Other people use Docker as well.
    fn somebody_elses(&mut self) {
        let id = self.a_workspace();
        let instance = "hearth".parse().expect("a name");
        let name = labels::container_name(&instance, &id);
        let ours = labels::container_labels(&instance, &id, &"acme".parse().expect("a name"), BuildNumber(1), "{}");
        match self.dice.below(7) {
            // One that looks like ours, under another name.
            0 => self.foreign(&format!("{name}-copy"), ours, None),
            // One that has our name, and labels, but was never ours.
            1 => {
                self.fault(NAME_TAKEN);
                self.foreign(&name, ours, None);
            }
            // Somebody looks into a home.
            2 => {
                self.fault(RUMMAGED);
                self.foreign("rummage", Labels::new(), Some(labels::volume_name(&instance, &id, 1)));
            }
            3 => {
                let name = labels::volume_name(&instance, &format!("{}/other", id.user).parse().expect("a name"), 1);
                self.note(format!("somebody makes volume {name}"));
                self.fault(VOLUME_MADE);
                let _ = self.host.engine.make_by_hand(Some((&name, Labels::new())), None);
                self.watchman.foreign_volume(&name);
            }
            4 => {
                let spec = NetworkSpec {
                    name: format!("hearth.{}", id.user),
                    labels: Labels::from([(labels::INSTANCE.to_owned(), "hearth".to_owned())]),
                    subnet: None,
                    icc: true,
                };
                self.note(format!("somebody makes network {}", spec.name));
                if self.host.engine.make_by_hand(None, Some(&spec)).is_ok() {
                    self.watchman.foreign_network(&spec.name);
                }
            }
            _ => {
                let ids = self.watchman.foreign_containers();
                if let Some(id) = self.dice.pick(&ids).cloned() {
                    self.note(format!("somebody removes their container {}", &id[..12]));
                    self.watchman.foreign_is_gone(&id);
                    let _ = self.host.engine.remove_by_hand(&id);
                }
            }
        }
    }

    fn foreign(&mut self, name: &str, labels: Labels, home: Option<String>) {
        let mounts = home.into_iter().filter(|home| self.host.engine.all_volumes().contains(home));
        let mount = |name| MountSpec::Volume { name, target: "/mnt".into(), read_only: false };
        let spec = ContainerSpec {
            name: name.to_owned(),
            hostname: "theirs".into(),
            image: format!("docker.io/library/{}", IMAGES[0]),
            user: String::new(),
            groups: Vec::new(),
            entrypoint: vec![BINARY.into()],
            env: Vec::new(),
            working_dir: "/".into(),
            labels,
            mounts: mounts.map(mount).collect(),
            network: None,
            ports: Vec::new(),
            limits: Limits { nano_cpus: None, memory: None, pids: 1 },
            shm: 0,
            gpus: 0,
            runtime: None,
            stop_timeout: Duration::ZERO,
        };
        if let Ok(id) = self.host.engine.run_by_hand(&spec) {
            self.note(format!("somebody runs container {name} ({id})"));
            self.watchman.foreign_container(&id.0, name, Status::Running);
        }
    }
}
