//! Sees every call that hearthd makes on the engine, and what lies on it that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faults::Call;
use crate::docker::fake::FakeEngine;
use crate::docker::{Container, Status};
use crate::handle::Handle;
use crate::model::{StateName, WorkspaceId};

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
}

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
    broken: Option<Broken>,
    /// Calls that change something.
    changes: usize,
}

impl Watchman {
    pub(super) fn new(engine: &FakeEngine, aloud: bool) -> Self {
        Self { engine: engine.clone(), aloud, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, handle: Option<Handle>) {
        self.seen().handle = handle;
    }

    /// Returns how many calls changed something so far.
    pub(super) fn changes(&self) -> usize {
        self.seen().changes
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

    /// Looks at a call that was made.
    pub(super) fn made(&self, call: &Call) {
        if self.aloud {
            println!("      {} {}", call.name, call.what);
        }
        let changes = ["create", "start", "stop", "remove", "update", "exec", "create volume", "create network"];
        if !changes.contains(&call.name) && call.name != "remove network" {
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

    /// Compares what is there with what was there.
    pub(super) fn look(&self) {
        let volumes: BTreeSet<String> = self.engine.all_volumes().into_iter().collect();
        let networks: BTreeSet<_> = self.engine.all_networks().into_iter().map(|network| network.name).collect();
        let containers: BTreeMap<_, _> =
            self.engine.all_containers().into_iter().map(|container| (container.id.0.clone(), container)).collect();
        let seen = self.seen();
        let homes: BTreeSet<String> = volumes.iter().filter(|name| name.contains(".home")).cloned().collect();
        let gone = seen.homes.difference(&homes).next().map(|home| (Invariant::HomesStay, format!("`{home}` is gone")));
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
