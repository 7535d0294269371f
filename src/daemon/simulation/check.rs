//! What is looked at after each step, and when nothing goes wrong any more.

use std::collections::BTreeSet;
use std::time::Duration;

use super::faults::Weather;
use super::hearthd::Hearthd;
use super::people::Expected;
use super::steps::{NAME_TAKEN, RUMMAGED, VOLUME_MADE};
use super::watchman::{Broken, Invariant, workspace_of};
use super::world::World;
use crate::config::Settings;
use crate::config::effective::effective;
use crate::config::settings::Limit;
use crate::docker::Status;
use crate::docker::labels;
use crate::handle::{EngineView, Snapshot, View};
use crate::model::{BuildResult, OffReason, State, WorkspaceId};

/// After which nothing of before goes on: a hook that hangs takes longest.
const SETTLED: Duration = Duration::from_secs(75 * 60);

/// How long what nobody tells of may go unnoticed.
const UNTOLD: Duration = Duration::from_secs(90);

/// Of looks and of what they come to.
const SLACK: Duration = Duration::from_secs(180);

/// What a failed build may have as its reason here: what was made to go wrong.
const CAUSES: [&str; 13] = [
    "no room for",
    "inject failed",
    "within ten minutes",
    "cannot be pulled",
    "is not on this host",
    "cannot be a workspace",
    "pulled and is gone again",
    "No such image",
    "the look at an image was cut off",
    "could not be given",
    "is not running",
    "No such container",
    "pull was cut off",
];

/// Those that only other people cause.
const OTHERS: [(&str, &str); 3] =
    [("mounts the home", RUMMAGED), ("already in use", NAME_TAKEN), ("is not the home of", VOLUME_MADE)];

impl World {
    /// Looks at what must hold at any moment.
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        self.watchman.look();
        let now = self.passed();
        if let Some(what) = self.host.timetable.wrong() {
            self.watchman.broken(Invariant::StartsAsAllowed, what);
        }
        if let Some(what) = self.hearthd.as_ref().and_then(Hearthd::unseen) {
            self.watchman.broken(Invariant::Because, what);
        }
        if let Some(what) = self.people.overdue(now, self.away_since()) {
            self.watchman.broken(Invariant::Answered, what);
        }
        self.watchman.verdict()
    }

    /// Lets nothing go wrong any more, and looks at what it comes to.
    pub(super) fn quiesce(&mut self) -> Result<(), Broken> {
        self.note("nothing goes wrong any more");
        self.set_weather(Weather::CALM);
        self.host.engine.set_away(None);
        self.host.engine.echo_once();
        if let Some(hearthd) = &self.hearthd {
            hearthd.between.never_end();
        }
        self.files_are_good = true;
        self.declared.nothing_starts = true;
        self.write_files();
        self.pass(Duration::from_secs(1))?;
        // One that has just started answers nobody before its first look.
        let begun = self.passed();
        while self.hearthd.as_ref().is_none_or(|hearthd| hearthd.snapshot().engine == EngineView::Unknown)
            && self.passed() < begun + SLACK
        {
            self.pass(Duration::from_secs(1))?;
        }
        self.ask(super::people::What::Reload(self.declared.clone()));
        self.release();
        self.host.visitors.leave();
        let settled = SETTLED.min(self.size.rest / 2);
        self.pass(settled)?;
        // Also those from before a boot, which are shown when the container runs again.
        if self.release() {
            self.pass(Duration::from_secs(1))?;
        }
        self.watchman.predict();
        self.pass(self.size.rest - settled)?;
        if let Some(id) = self.watchman.still_on().filter(|_| settled == SETTLED) {
            self.watchman.broken(Invariant::FixedPoint, format!("{id} was to go off and did not"));
        }
        self.at_rest()?;
        let changes = self.watchman.changes();
        self.pass(self.size.rest / 8)?;
        if self.watchman.changes() != changes {
            let calls = self.host.engine.calls();
            let what = format!("something is still done: {:?}", &calls[calls.len().saturating_sub(12)..]);
            self.watchman.broken(Invariant::FixedPoint, what);
        }
        self.at_rest()?;
        self.nobody_tells()
    }

    /// Has all holds released; returns whether there were any.
    fn release(&mut self) -> bool {
        let mut held: BTreeSet<_> = self.host.visitors.held().into_iter().collect();
        if let Some(hearthd) = &self.hearthd {
            let snapshot = hearthd.snapshot();
            let all = snapshot.workspaces.values();
            held.extend(all.filter(|view| view.activity.held_until.is_some()).map(|view| view.id.clone()));
        }
        for id in &held {
            self.ask(super::people::What::Release(id.clone()));
        }
        !held.is_empty()
    }

    /// What nobody tells of is noticed all the same, a little later.
    fn nobody_tells(&mut self) -> Result<(), Broken> {
        let ours = self.watchman.ours();
        let Some(container) = ours.iter().find(|container| container.status == Status::Running) else { return Ok(()) };
        self.note(format!("container {} ends, and nobody tells", container.name));
        self.host.engine.echo([0]);
        let _ = self.host.engine.end(&container.id.0, 137, false);
        self.host.engine.echo_once();
        self.pass(UNTOLD)?;
        self.at_rest()
    }

    fn at_rest(&mut self) -> Result<(), Broken> {
        let Some(hearthd) = &self.hearthd else { return Ok(()) };
        let (snapshot, settings) = (hearthd.snapshot(), hearthd.settings());
        if !matches!(snapshot.engine, EngineView::Here { .. }) {
            self.watchman.broken(Invariant::FixedPoint, format!("the engine is back and {:?}", snapshot.engine));
        }
        if let Some(what) = self.people.unanswered() {
            self.watchman.broken(Invariant::Answered, what);
        }
        let expected = self.people.all_expected();
        if let Some(id) = settings.workspaces.keys().find(|id| !expected.contains_key(id)) {
            self.watchman.broken(Invariant::FixedPoint, format!("{id} is declared and nobody knows"));
        }
        if self.size.rest >= SETTLED * 2
            && let Some(id) = self.is_on_unused(&snapshot, &settings)
        {
            self.watchman.broken(Invariant::FixedPoint, format!("nobody uses {id} any more, and it is on"));
        }
        for (id, expected) in &expected {
            let Some(view) = snapshot.workspaces.get(id) else {
                self.watchman.broken(Invariant::FixedPoint, format!("{id} is declared and not there"));
                continue;
            };
            if let Err((invariant, why)) = self.rests(id, view, Some(*expected)) {
                let what = format!("{id} should be {expected:?} and is {:?} ({}): {why}", view.state, view.because);
                self.watchman.broken(invariant, what);
            }
        }
        for (id, view) in snapshot.workspaces.iter().filter(|(id, _)| !expected.contains_key(*id)) {
            if let Err((invariant, why)) = self.rests(id, view, None) {
                let what = format!("{id} is not declared and is {:?} ({}): {why}", view.state, view.because);
                self.watchman.broken(invariant, what);
            }
        }
        let unfinished = hearthd.block_on(self.host.database.open(super::faults::open_gate()).unfinished_builds());
        for (id, build) in unfinished.expect("the database can be read") {
            let what = format!("build {} of {id} never ended", build.number);
            self.watchman.broken(Invariant::BuildsEnd, what);
        }
        self.watchman.verdict()
    }

    /// Returns one that nobody uses since nothing goes wrong any more, and that is on although its time is over.
    fn is_on_unused(&self, snapshot: &Snapshot, settings: &Settings) -> Option<WorkspaceId> {
        let unused = self.size.rest - SETTLED;
        let is_over = |id: &WorkspaceId| {
            let declared = settings.workspaces.get(id)?;
            match effective(settings, declared, &snapshot.members).auto_off.value {
                Limit::After(threshold) => Some(threshold + threshold / 2 + SLACK < unused),
                Limit::Never => None,
            }
        };
        let on = snapshot.workspaces.values().filter(|view| matches!(view.state, State::Running { .. }));
        on.map(|view| &view.id).find(|id| is_over(id) == Some(true)).cloned()
    }

    /// Says what is wrong with how a workspace rests.
    fn rests(&self, id: &WorkspaceId, view: &View, expected: Option<Expected>) -> Result<(), (Invariant, String)> {
        let ours = self.watchman.ours();
        let instance = "hearth".parse().expect("a name");
        let mut containers = ours.iter().filter(|container| workspace_of(&container.name).as_ref() == Some(id));
        let container = containers.next();
        let wrong = |why: &str| Err((Invariant::FixedPoint, format!("{why}; container {container:?}")));
        let lies = |why: &str| Err((Invariant::Because, why.to_owned()));
        match &view.state {
            State::Running { .. } => {
                if !container.is_some_and(|container| matches!(container.status, Status::Running | Status::Paused)) {
                    return wrong("no container runs");
                }
                if !matches!(expected, Some(Expected::On | Expected::Either)) {
                    return wrong("it is not wanted");
                }
                let own = container.and_then(|container| container.labels.get(labels::BUILD));
                let built = view.build.as_ref().filter(|build| own == Some(&build.number.to_string()));
                if built.is_some_and(|build| build.result != Some(BuildResult::Ok)) {
                    return wrong("its build did not come to its end");
                }
                let spec = self.host.engine.spec(&labels::container_name(&instance, id));
                if spec.is_none_or(|spec| spec.labels.is_empty()) || view.inside.is_none() {
                    return wrong("nobody can enter it");
                }
                let paused = container.is_some_and(|container| container.status == Status::Paused);
                let name = labels::container_name(&instance, id);
                let mail = self.mails.lock().unwrap().get(&name).cloned().flatten();
                if !paused && mail != self.declared.mail(&id.user) {
                    return wrong(&format!("the address {mail:?} is in it"));
                }
                if paused != view.because.contains("paused") || !paused && view.because != "it runs" {
                    return lies("it runs");
                }
            }
            State::Off { why, .. } => {
                if container.is_some() {
                    return wrong("it has a container");
                }
                if expected == Some(Expected::On) && *why != OffReason::AutoOff {
                    return wrong("it is wanted");
                }
                if (*why == OffReason::Removed) != expected.is_none() {
                    return lies("whether it is declared");
                }
            }
            State::Failed { failure, .. } => {
                if container.is_some() {
                    return wrong("it has a container");
                }
                let others = OTHERS.iter().filter(|(_, trouble)| self.faults.contains_key(trouble));
                let mut causes = others.map(|(cause, _)| cause).chain(&CAUSES);
                if !causes.any(|cause| failure.contains(cause)) {
                    return wrong("nothing went wrong that explains it");
                }
                if view.because != *failure {
                    return lies("its failure");
                }
            }
            State::Queued { .. } | State::Building { .. } | State::Stopping { .. } => return wrong("it does not rest"),
        }
        Ok(())
    }
}
