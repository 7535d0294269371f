//! Sees every call that hearthd makes on the engine, and what lies on it that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::declared::TRASH_KEEP;
use super::faults::Call;
use super::visitors::Visitors;
use crate::config::effective::effective;
use crate::config::settings::Limit;
use crate::docker::fake::FakeEngine;
use crate::docker::{Container, Status, labels};
use crate::handle::Handle;
use crate::model::{BuildNumber, BuildReason, BuildResult, Moment, State, StateName, StopReason, WorkspaceId};
use crate::trash::Trashed;

/// What must hold, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// At most one container of a workspace, no two on one home (L1).
    OneContainer,
    /// No home is removed.
    HomesStay,
    /// What is not ours is not touched.
    NotOurs,
    /// Every request is answered.
    Answered,
    /// When nothing goes wrong any more, what was asked for is so, and nothing more is done.
    FixedPoint,
    /// The reason that is given agrees with what happens.
    Because,
    /// Every build ends.
    BuildsEnd,
    /// hearthd runs until it is ended.
    Alive,
    /// What is used stays on, and nothing goes off unwarned (P1, P7).
    UsedStaysOn,
    /// Nothing starts by itself but on its day, in time, once, and for somebody who is there (S1–S4).
    StartsAsAllowed,
}

/// How exactly clocks are kept.
const EXACT: Duration = Duration::from_secs(3);
/// From one look at workspaces to the next, at most.
const SAMPLE: Duration = Duration::from_secs(60);

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) invariant: Invariant,
    pub(super) what: String,
}

/// Clones are the same.
#[derive(Clone)]
pub(super) struct Watchman {
    engine: FakeEngine,
    visitors: Visitors,
    /// Prints every call.
    aloud: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    handle: Option<Handle>,
    /// Not ours: container ids with their status, volumes, networks.
    containers: BTreeMap<String, (String, Status)>,
    volumes: BTreeSet<String>,
    networks: BTreeSet<String>,
    homes: BTreeSet<String>,
    /// When homes were deleted, by the wall clock: the trash keeps them from then on.
    trashed: BTreeMap<String, Moment>,
    /// The latest that the wall clock was.
    latest: Moment,
    broken: Option<Broken>,
    /// When each is said to go off, in time that passes.
    predicted: BTreeMap<WorkspaceId, Duration>,
    /// How far from what was said each went off, in seconds.
    off_by: Vec<f64>,
    /// What the last build of each failed of.
    failures: BTreeMap<WorkspaceId, (BuildNumber, Option<String>)>,
    /// Calls that change something.
    changes: usize,
    /// What this hearthd found decided: it goes off unused, after that build.
    decided: BTreeMap<WorkspaceId, Option<BuildNumber>>,
}

impl Watchman {
    pub(super) fn new(engine: &FakeEngine, visitors: &Visitors, aloud: bool) -> Self {
        Self { engine: engine.clone(), visitors: visitors.clone(), aloud, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An earlier hearthd has decided what goes off.
    pub(super) fn decided(&self, decided: BTreeMap<WorkspaceId, Option<BuildNumber>>) {
        self.seen().decided = decided;
    }

    pub(super) fn watch(&self, handle: Option<Handle>) {
        self.seen().handle = handle;
    }

    /// Returns how many calls changed something so far.
    pub(super) fn changes(&self) -> usize {
        self.seen().changes
    }

    /// Somebody asks for a home to be deleted, and may not hear that it was.
    pub(super) fn may_be_trashed(&self, volume: &str) {
        let now = self.visitors.wall();
        self.seen().trashed.entry(volume.to_owned()).or_insert(now);
    }

    /// It was, perhaps long before.
    pub(super) fn trashed(&self, home: &Trashed) {
        self.seen().trashed.insert(home.volume.clone(), home.trashed_at);
    }

    pub(super) fn restored(&self, volume: &str) {
        self.seen().trashed.remove(volume);
    }

    /// Notes what somebody else made.
    pub(super) fn foreign_container(&self, id: &str, name: &str, status: Status) {
        self.seen().containers.insert(id.to_owned(), (name.to_owned(), status));
    }

    pub(super) fn foreign_volume(&self, name: &str) {
        self.seen().volumes.insert(name.to_owned());
    }

    pub(super) fn foreign_network(&self, name: &str) {
        self.seen().networks.insert(name.to_owned());
    }

    /// Returns the ids of containers that are not ours.
    pub(super) fn foreign_containers(&self) -> Vec<String> {
        self.seen().containers.keys().cloned().collect()
    }

    /// Something else than hearthd changed them.
    pub(super) fn foreign_are_as_they_are(&self) {
        let mut seen = self.seen();
        for container in self.engine.all_containers() {
            if let Some((_, status)) = seen.containers.get_mut(&container.id.0) {
                *status = container.status;
            }
        }
    }

    pub(super) fn foreign_is_gone(&self, id: &str) {
        self.seen().containers.remove(id);
    }

    /// Returns the containers that are ours.
    pub(super) fn ours(&self) -> Vec<Container> {
        let seen = self.seen();
        let all = self.engine.all_containers();
        all.into_iter().filter(|container| !seen.containers.contains_key(&container.id.0)).collect()
    }

    /// Looks at a call that is about to be made, or was.
    pub(super) fn sees(&self, call: &Call, done: bool) {
        if !done {
            if call.name == "stop"
                && let Some(id) = workspace_of(&call.what)
            {
                self.may_go_off(call, &id);
                self.is_gone(call, &id);
            }
            return;
        }
        if self.aloud {
            println!("      {} {}", call.name, call.what);
        }
        let changes = ["create", "start", "stop", "remove", "update", "exec", "create volume", "create network"];
        // Homes are measured, and those in the trash come to their end.
        let measured = call.name == "exec" && call.what.contains(" measure ");
        let looks = measured || call.what.contains(".changed.");
        if looks || !changes.contains(&call.name) && call.name != "remove network" {
            return;
        }
        let foreign = self.seen().containers.values().any(|(name, _)| *name == call.what);
        self.seen().changes += 1;
        if foreign && matches!(call.name, "start" | "stop" | "remove" | "update") {
            return self.broken(Invariant::NotOurs, format!("`{} {}`", call.name, call.what));
        }
        if call.name == "create" {
            self.one_container();
        }
        if matches!(call.name, "stop" | "remove")
            && let Some(id) = workspace_of(&call.what)
        {
            self.says_so(call, &id);
        }
    }

    /// A container is ended only while the workspace is shown as being built or stopped.
    fn says_so(&self, call: &Call, id: &WorkspaceId) {
        let Some(snapshot) = self.seen().handle.as_ref().map(Handle::snapshot) else { return };
        let Some(view) = snapshot.workspaces.get(id) else { return };
        if !matches!(view.state.name(), StateName::Building | StateName::Stopping) {
            let what = format!("`{} {}` while it is shown as {:?}: {}", call.name, call.what, view.state, view.because);
            self.broken(Invariant::Because, what);
        }
    }

    /// What is built anew because it is gone does not run (L9, L12).
    fn is_gone(&self, call: &Call, id: &WorkspaceId) {
        let Some(snapshot) = self.seen().handle.as_ref().map(Handle::snapshot) else { return };
        let build = snapshot.workspaces.get(id).and_then(|view| view.build.as_ref());
        let Some(build) = build.filter(|build| build.reason == BuildReason::Recovery && build.result.is_none()) else {
            return;
        };
        let containers = self.engine.all_containers();
        let runs = |container: &&Container| container.name == call.what && container.status == Status::Running;
        // Its own from before it was cut off may run.
        let other = |container: &&Container| container.labels.get(labels::BUILD) != Some(&build.number.to_string());
        if let Some(container) = containers.iter().filter(runs).find(other) {
            let what = format!("{} ({}) runs and is built anew because it is gone", container.name, container.id);
            self.broken(Invariant::Because, what);
        }
    }

    /// What auto-off stops is not in use, and was warned (P1, P7).
    fn may_go_off(&self, call: &Call, id: &WorkspaceId) {
        let Some(handle) = self.seen().handle.clone() else { return };
        let snapshot = handle.snapshot();
        let Some(view) = snapshot.workspaces.get(id) else { return };
        if !matches!(view.state, State::Stopping { why: StopReason::AutoOff, .. })
            || self.seen().decided.get(id).is_some_and(|build| *build == view.build.as_ref().map(|build| build.number))
        {
            return;
        }
        let containers = self.engine.all_containers();
        let container = containers.iter().find(|container| container.name == call.what);
        let runs = |container: &&Container| matches!(container.status, Status::Running | Status::Paused);
        let Some(container) = container.filter(runs) else { return };
        let settings = handle.settings();
        let Some(declared) = settings.workspaces.get(id) else { return };
        match effective(&settings, declared, &snapshot.members).auto_off.value {
            Limit::Never => self.broken(Invariant::UsedStaysOn, format!("{id} goes off and never should")),
            Limit::After(threshold) => {
                if let Some(why) = self.visitors.objection(id, &container.id.0, threshold) {
                    self.broken(Invariant::UsedStaysOn, format!("{id} goes off: {why}"));
                }
            }
        }
        let predicted = self.seen().predicted.remove(id);
        let now = self.visitors.now();
        self.seen().off_by.extend(predicted.map(|at| now.as_secs_f64() - at.as_secs_f64()));
        if let Some(at) = predicted.filter(|at| now + EXACT < *at || *at + SAMPLE + EXACT < now) {
            let what = format!("{id} goes off at {now:?}, and it was said to be {at:?}");
            self.broken(Invariant::Because, what);
        }
    }

    /// Notes when each workspace is said to go off: nothing is to change that.
    pub(super) fn predict(&self) {
        let Some(handle) = self.seen().handle.clone() else { return };
        let (now, wall) = (self.visitors.now(), self.visitors.wall());
        let mut predicted = BTreeMap::new();
        for (id, view) in handle.snapshot().workspaces.iter() {
            if let (State::Running { .. }, Some(at)) = (&view.state, view.activity.off_at) {
                let left = Duration::try_from(at.duration_since(wall)).unwrap_or_default();
                predicted.insert(id.clone(), now + left);
            }
        }
        self.seen().predicted = predicted;
    }

    /// Returns one that was said to go off and did not.
    pub(super) fn still_on(&self) -> Option<WorkspaceId> {
        std::mem::take(&mut self.seen().predicted).into_keys().next()
    }

    /// Returns how far from what was said each went off, in seconds.
    pub(super) fn off_by(&self) -> Vec<f64> {
        self.seen().off_by.clone()
    }

    /// L1.
    fn one_container(&self) {
        let (mut homes, mut names) = (BTreeMap::new(), BTreeMap::new());
        for container in self.ours() {
            let volumes = container.mounts.iter().filter_map(|mount| mount.volume.clone());
            let workspace = workspace_of(&container.name).map(|id| id.to_string());
            let told = format!("{} ({})", container.name, container.id);
            for (key, map) in volumes.map(|volume| (volume, 0)).chain(workspace.map(|id| (id, 1))) {
                let map = if map == 0 { &mut homes } else { &mut names };
                if let Some(other) = map.insert(key.clone(), told.clone()) {
                    self.broken(Invariant::OneContainer, format!("{other} and {told} both have `{key}`"));
                }
            }
        }
    }

    /// What a build failed of stays what it failed of, and what it left is not taken for what was asked for.
    fn failures_stay(&self) {
        let Some(snapshot) = self.seen().handle.as_ref().map(Handle::snapshot) else { return };
        for view in snapshot.workspaces.values() {
            if view.state.name() == StateName::Failed && view.inside.is_some() {
                self.broken(Invariant::Because, format!("{} has failed, and may be entered", view.id));
            }
            let Some(build) = view.build.as_ref().filter(|build| build.result == Some(BuildResult::Failed)) else {
                continue;
            };
            let left = |container: &&Container| {
                container.labels.get(labels::BUILD) == Some(&build.number.to_string())
                    && workspace_of(&container.name).as_ref() == Some(&view.id)
            };
            // One that ended too often is failed before it is removed, whatever its last build failed of.
            let given_up = build.failure.as_ref().is_some_and(|failure| failure.contains("within ten minutes"));
            if !given_up
                && matches!(view.state.name(), StateName::Running | StateName::Building)
                && self.ours().iter().any(|container| left(&container))
            {
                let what = format!("{} is {:?}, and its build {} failed", view.id, view.state, build.number);
                self.broken(Invariant::Because, what);
            }
            let failed = (build.number, build.failure.clone());
            let before = self.seen().failures.insert(view.id.clone(), failed.clone());
            if let Some(before) = before.filter(|before| !given_up && before.0 == failed.0 && before.1 != failed.1) {
                self.broken(Invariant::Because, format!("{} failed of {before:?}, and now of {failed:?}", view.id));
            }
        }
    }

    /// Compares what is there with what was there.
    pub(super) fn look(&self) {
        self.failures_stay();
        let volumes: BTreeSet<String> = self.engine.all_volumes().into_iter().collect();
        let networks: BTreeSet<_> = self.engine.all_networks().into_iter().map(|network| network.name).collect();
        let containers: BTreeMap<_, _> =
            self.engine.all_containers().into_iter().map(|container| (container.id.0.clone(), container)).collect();
        let mut seen = self.seen();
        seen.latest = seen.latest.max(self.visitors.wall());
        let homes: BTreeSet<String> = volumes.iter().filter(|name| name.contains(".home")).cloned().collect();
        let is_over = |home: &String| seen.trashed.get(home).is_some_and(|at| *at + TRASH_KEEP <= seen.latest);
        let gone = seen.homes.difference(&homes).find(|home| !is_over(home));
        let gone = gone.map(|home| (Invariant::HomesStay, format!("`{home}` is gone: {:?}", seen.trashed.get(home))));
        let volume = seen.volumes.difference(&volumes).next();
        let volume = volume.map(|name| (Invariant::NotOurs, format!("volume `{name}` is gone")));
        let network = seen.networks.difference(&networks).next();
        let network = network.map(|name| (Invariant::NotOurs, format!("network `{name}` is gone")));
        let touched = seen
            .containers
            .iter()
            .find(|(id, (_, status))| containers.get(*id).is_none_or(|container| container.status != *status));
        let touched = touched.map(|(_, (name, _))| (Invariant::NotOurs, format!("container `{name}` was touched")));
        drop(seen);
        for (invariant, what) in [gone, volume, network, touched].into_iter().flatten() {
            self.broken(invariant, what);
        }
        self.seen().homes = homes;
        self.one_container();
    }

    pub(super) fn broken(&self, invariant: Invariant, what: String) {
        self.seen().broken.get_or_insert(Broken { invariant, what });
    }

    /// Returns what was broken first.
    pub(super) fn verdict(&self) -> Result<(), Broken> {
        self.seen().broken.clone().map_or(Ok(()), Err)
    }
}

/// Returns the workspace whose container has that name.
pub(super) fn workspace_of(name: &str) -> Option<WorkspaceId> {
    let (user, workspace) = name.strip_prefix("hearth.")?.split_once('.')?;
    format!("{user}/{workspace}").parse().ok()
}
