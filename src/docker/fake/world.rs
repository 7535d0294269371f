//! What the engine in memory has, and the rules that a real one keeps. No I/O, no async: a call is a change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::mpsc;

use super::{FakeEngine, FakeImage, Fault, of_instance};
use crate::docker::labels::{HOME_APART, INSTANCE};
use crate::docker::{
    Container, ContainerDetail, ContainerId, ContainerSpec, EngineError, EngineEvent, Image, Labels, MountPoint,
    MountSpec, Network, NetworkSpec, Status, Volume,
};
use crate::model::Moment;

/// So many calls are remembered.
const REMEMBERED: usize = 10_000;

pub(super) type Reply<T> = Result<T, EngineError>;

/// A container and what it was made of.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) spec: ContainerSpec,
    pub(super) detail: ContainerDetail,
}

impl FakeEngine {
    /// Has the list of containers show one as it was before, as it does when nothing can be written down.
    pub fn list_as(&self, name: &str, status: Status) {
        self.world().listed_as.insert(name.to_owned(), status);
    }

    /// Restarts on another disk, at first an empty one with the same images, or on the one of before.
    pub fn change_disk(&self) {
        self.reboot();
        self.set_away(Some("it restarts"));
        let mut world = self.world();
        let World { containers, volumes, unmounted, .. } = &mut *world;
        std::mem::swap(containers, &mut unmounted.0);
        std::mem::swap(volumes, &mut unmounted.1);
        drop(world);
        self.set_away(None);
    }
}

#[derive(Debug, Default)]
pub(super) struct World {
    /// What the list says of containers, by name, where that is not so.
    pub(super) listed_as: BTreeMap<String, Status>,
    pub(super) away: Option<String>,
    pub(super) now: Moment,
    /// By id.
    pub(super) images: BTreeMap<String, FakeImage>,
    /// Reference to id.
    pub(super) tags: BTreeMap<String, String>,
    pub(super) containers: BTreeMap<String, Made>,
    pub(super) volumes: BTreeMap<String, Volume>,
    /// What is on the disk that is not mounted.
    pub(super) unmounted: (BTreeMap<String, Made>, BTreeMap<String, Volume>),
    /// When a volume's root was last changed, by its name: a start of a container with it is such a change.
    pub(super) changed: BTreeMap<String, Moment>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) watchers: Vec<(String, mpsc::Sender<EngineEvent>)>,
    pub(super) calls: VecDeque<String>,
    counts: BTreeMap<&'static str, usize>,
    pub(super) faults: Vec<(&'static str, usize, Fault)>,
    pub(super) echoes: VecDeque<usize>,
    next: u64,
}

impl World {
    /// Notes a call, and returns the fault that was ordered for it.
    pub(super) fn called(&mut self, call: &'static str, what: &str) -> Option<Fault> {
        if self.calls.len() == REMEMBERED {
            self.calls.pop_front();
        }
        self.calls.push_back(format!("{call} {what}").trim_end().to_owned());
        let count = self.counts.entry(call).or_default();
        *count += 1;
        let due = self.faults.iter().position(|(name, nth, _)| *name == call && *nth == *count);
        due.map(|at| self.faults.remove(at).2)
    }

    /// Returns how often a call was made.
    pub(super) fn count(&self, call: &str) -> usize {
        self.counts.get(call).copied().unwrap_or_default()
    }

    pub(super) fn new_id(&mut self) -> String {
        self.next += 1;
        format!("{:012x}{:052x}", self.next, 0)
    }

    /// Tells those who watch the container's instance. One that is slow misses it: it looks again anyway.
    pub(super) fn tell(&mut self, labels: &Labels, id: &str) {
        let instance = labels.get(INSTANCE).cloned().unwrap_or_default();
        let event = EngineEvent::Container { id: ContainerId(id.to_owned()) };
        for _ in 0..self.echoes.pop_front().unwrap_or(1) {
            self.watchers.retain(|(watched, sender)| {
                *watched != instance
                    || !matches!(sender.try_send(event.clone()), Err(mpsc::error::TrySendError::Closed(_)))
            });
        }
    }

    fn tell_mounted(&mut self, volume: String, at: Moment) {
        for (watched, sender) in &self.watchers {
            if volume.strip_prefix(watched.as_str()).is_some_and(|rest| rest.starts_with('.')) {
                let _ = sender.try_send(EngineEvent::Mounted { volume: volume.clone(), at });
            }
        }
    }

    pub(super) fn tell_all(&mut self, event: &EngineEvent) {
        let gone = |sender: &mpsc::Sender<EngineEvent>| {
            matches!(sender.try_send(event.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        };
        for _ in 0..self.echoes.pop_front().unwrap_or(1) {
            self.watchers.retain(|(_, sender)| !gone(sender));
        }
    }

    /// Lists the containers of an instance.
    pub(super) fn listed(&self, instance: &str) -> Vec<Container> {
        let all = self.containers.values().map(|made| made.detail.container.clone());
        let ours = all.filter(|container| of_instance(&container.labels, instance));
        let shown = |container: Container| {
            let status = self.listed_as.get(&container.name).copied().unwrap_or(container.status);
            Container { status, ..container }
        };
        ours.map(shown).collect()
    }

    /// Finds an image by id or reference.
    pub(super) fn image(&self, reference: &str) -> Option<&FakeImage> {
        self.images.get(reference).or_else(|| self.images.get(self.tags.get(reference)?))
    }

    /// Gives an image to the engine under a reference, which another one may have had before.
    pub(super) fn tag(&mut self, reference: &str, image: FakeImage) {
        self.tags.insert(reference.to_owned(), image.image.id.clone());
        self.images.insert(image.image.id.clone(), image);
    }

    /// Finds a container by id or name.
    pub(super) fn find(&self, key: &str) -> Option<&Made> {
        self.containers.get(key).or_else(|| self.containers.values().find(|made| made.detail.container.name == key))
    }

    fn known(&mut self, key: &str) -> Reply<&mut Made> {
        let id = self.find(key).map(|made| made.detail.container.id.0.clone());
        let made = id.and_then(|id| self.containers.get_mut(&id));
        made.ok_or_else(|| EngineError::NotFound(format!("No such container: {key}")))
    }

    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Reply<ContainerId> {
        if let Some(other) = self.find(&spec.name) {
            let id = &other.detail.container.id.0;
            let text = format!("the container name \"/{}\" is already in use by container \"{id}\"", spec.name);
            return Err(EngineError::Conflict(text));
        }
        let image = self.image(&spec.image).map(|image| image.image.clone());
        let image = image.ok_or_else(|| EngineError::NotFound(format!("No such image: {}", spec.image)))?;
        let id = self.new_id();
        let container = self.container(&id, spec, &image);
        for mount in &spec.mounts {
            // The real one makes what is missing, without any label.
            if let MountSpec::Volume { name, .. } = mount {
                self.create_volume(name, &Labels::new());
            }
        }
        let detail = ContainerDetail {
            container,
            user: spec.user.clone(),
            pid: None,
            exit_code: None,
            oom_killed: false,
            started_at: None,
            finished_at: None,
            error: None,
        };
        self.tell(&detail.container.labels, &id);
        self.containers.insert(id.clone(), Made { spec: spec.clone(), detail });
        Ok(ContainerId(id))
    }

    fn container(&self, id: &str, spec: &ContainerSpec, image: &Image) -> Container {
        let mut labels = image.labels.clone();
        labels.extend(spec.labels.clone());
        let mount = |mount: &MountSpec| match mount {
            MountSpec::Volume { name, target, .. } => {
                Some(MountPoint { volume: Some(name.clone()), source: name.clone(), target: target.clone() })
            }
            MountSpec::Bind { source, target, .. } => {
                Some(MountPoint { volume: None, source: source.clone(), target: target.clone() })
            }
            MountSpec::Tmpfs { .. } => None,
        };
        Container {
            id: ContainerId(id.to_owned()),
            name: spec.name.clone(),
            image_id: image.id.clone(),
            labels,
            status: Status::Created,
            mounts: spec.mounts.iter().filter_map(mount).collect(),
        }
    }

    pub(super) fn start(&mut self, key: &str) -> Reply<()> {
        let spec = self.known(key)?.spec.clone();
        match self.known(key)?.detail.container.status {
            Status::Running | Status::Restarting => return Ok(()),
            Status::Paused => return Err(EngineError::Conflict("cannot start a paused container".to_owned())),
            Status::Created | Status::Exited | Status::Dead | Status::Removing => {}
        }
        if let Some(network) = spec.network.filter(|network| !self.networks.contains_key(network)) {
            return Err(EngineError::NotFound(format!("network {network} not found")));
        }
        let taken: BTreeSet<_> = self
            .containers
            .values()
            .filter(|made| is_up(made.detail.container.status))
            .flat_map(|made| made.spec.ports.iter().map(|port| (port.host, port.host_port, port.protocol)))
            .collect();
        if let Some(port) = spec.ports.iter().find(|port| taken.contains(&(port.host, port.host_port, port.protocol))) {
            return Err(EngineError::Conflict(format!(
                "Bind for {}:{} failed: port is already allocated",
                port.host, port.host_port
            )));
        }
        self.next += 1;
        let (now, pid) = (self.now, u32::try_from(self.next % 4_000_000).unwrap_or(1) + 1);
        let detail = &mut self.known(key)?.detail;
        detail.container.status = Status::Running;
        (detail.pid, detail.started_at, detail.exit_code) = (Some(pid), Some(now), None);
        let (labels, id) = (detail.container.labels.clone(), detail.container.id.0.clone());
        // What hearth itself looks into is not told, and not changed.
        let mounts = detail.container.mounts.iter().filter(|mount| mount.target != HOME_APART);
        let mounted: Vec<_> = mounts.filter_map(|mount| mount.volume.clone()).collect();
        self.tell(&labels, &id);
        for volume in mounted {
            self.changed.insert(volume.clone(), now);
            self.tell_mounted(volume, now);
        }
        Ok(())
    }

    /// Ends a container's first process; nothing happens to one that does not run.
    pub(super) fn end(&mut self, key: &str, code: i64, oom_killed: bool) -> Reply<()> {
        let now = self.now;
        let detail = &mut self.known(key)?.detail;
        if !is_up(detail.container.status) {
            return Ok(());
        }
        detail.container.status = Status::Exited;
        (detail.pid, detail.exit_code, detail.finished_at) = (None, Some(code), Some(now));
        detail.oom_killed = oom_killed;
        let (labels, id) = (detail.container.labels.clone(), detail.container.id.0.clone());
        self.tell(&labels, &id);
        Ok(())
    }

    pub(super) fn set_paused(&mut self, key: &str, paused: bool) -> Reply<()> {
        let detail = &mut self.known(key)?.detail;
        match (detail.container.status, paused) {
            (Status::Running, true) => detail.container.status = Status::Paused,
            (Status::Paused, false) => detail.container.status = Status::Running,
            _ => return Err(EngineError::Conflict(format!("container {key} does not run"))),
        }
        let (labels, id) = (detail.container.labels.clone(), detail.container.id.0.clone());
        self.tell(&labels, &id);
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) -> Reply<()> {
        let id = self.known(key)?.detail.container.id.0.clone();
        if let Some(made) = self.containers.remove(&id) {
            self.tell(&made.detail.container.labels, &id);
        }
        Ok(())
    }

    /// Get or create, as the real one: what comes back may have other labels.
    pub(super) fn create_volume(&mut self, name: &str, labels: &Labels) -> Volume {
        let now = self.now;
        let new = || Volume { name: name.to_owned(), labels: labels.clone(), created_at: Some(now) };
        self.changed.entry(name.to_owned()).or_insert(now);
        self.volumes.entry(name.to_owned()).or_insert_with(new).clone()
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Reply<()> {
        let mounts = |made: &&Made| {
            made.spec
                .mounts
                .iter()
                .any(|mount| matches!(mount, MountSpec::Volume { name: mounted, .. } if mounted == name))
        };
        if let Some(user) = self.containers.values().find(mounts) {
            let id = &user.detail.container.id.0;
            return Err(EngineError::Conflict(format!("remove {name}: volume is in use - [{id}]")));
        }
        self.changed.remove(name);
        self.volumes.remove(name);
        Ok(())
    }

    pub(super) fn network(&self, key: &str) -> Option<Network> {
        let network = self.networks.get(key).or_else(|| self.networks.values().find(|network| network.id == key))?;
        let attached = |made: &&Made| made.spec.network.as_ref() == Some(&network.name);
        Some(Network { containers: self.containers.values().filter(attached).count(), ..network.clone() })
    }

    pub(super) fn create_network(&mut self, spec: &NetworkSpec) -> Reply<()> {
        if self.networks.contains_key(&spec.name) {
            return Err(EngineError::Conflict(format!("network with name {} already exists", spec.name)));
        }
        let overlap = |network: &Network| spec.subnet.as_ref().is_some_and(|subnet| network.subnets.contains(subnet));
        if self.networks.values().any(overlap) {
            return Err(EngineError::Refused("Pool overlaps with other one on this address space".to_owned()));
        }
        let network = Network {
            id: self.new_id(),
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            subnets: spec.subnet.iter().cloned().collect(),
            icc: spec.icc,
            containers: 0,
        };
        self.networks.insert(spec.name.clone(), network);
        Ok(())
    }

    pub(super) fn remove_network(&mut self, key: &str) -> Reply<()> {
        let network = self.network(key).ok_or_else(|| EngineError::NotFound(format!("No such network: {key}")))?;
        let uses =
            |made: &Made| made.spec.network.as_ref() == Some(&network.name) && is_up(made.detail.container.status);
        if self.containers.values().any(uses) {
            return Err(EngineError::Refused(format!("network {} has active endpoints", network.name)));
        }
        self.networks.remove(&network.name);
        Ok(())
    }
}

pub(super) fn is_up(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused | Status::Restarting)
}
