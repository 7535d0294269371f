//! What a container was made of, kept with it as `hearth.spec`, and what of it the configuration says otherwise (rule C6).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::effective::Effective;
use super::image::Reference;
use super::settings::{Org, Sourced};
use crate::model::{Bytes, Cpus, OrgName, Outdated, PortMapping};

/// What a container is made of, as far as the configuration says it. Values of the environment are in it as hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpecSummary {
    pub org: OrgName,
    /// The reference in full, not what it resolved to.
    pub image: String,
    pub user: Option<String>,
    pub cpus: Option<Cpus>,
    pub memory: Option<Bytes>,
    pub pids: u32,
    pub shm: Bytes,
    pub gpus: u32,
    pub runtime: Option<String>,
    /// By name: the first half of the value's blake3.
    pub env: BTreeMap<String, String>,
    pub ports: BTreeSet<PortMapping>,
    /// By target.
    pub mounts: BTreeMap<String, MountSummary>,
    pub network_isolation: bool,
    pub subnet: Option<String>,
}

/// A mount of [`SpecSummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSummary {
    pub source: String,
    pub read_only: bool,
}

impl SpecSummary {
    /// Returns what a container made of this would be.
    pub fn of(workspace: &Effective, org: &Org) -> Self {
        let hash = |value: &Sourced<String>| blake3::hash(value.value.as_bytes()).to_hex()[..32].to_owned();
        let mount = |mount: &super::settings::Mount| {
            let source = mount.source.to_string_lossy().into_owned();
            (mount.target.clone(), MountSummary { source, read_only: mount.read_only })
        };
        Self {
            org: workspace.org.clone(),
            image: workspace
                .image
                .parse::<Reference>()
                .map_or_else(|_| workspace.image.value.clone(), |full| full.to_string()),
            user: org.user.as_ref().map(|user| user.value.clone()),
            cpus: workspace.resources.cpus.value,
            memory: workspace.resources.memory.value,
            pids: workspace.resources.pids.value,
            shm: workspace.resources.shm.value,
            gpus: workspace.resources.gpus.value,
            runtime: org.runtime.clone(),
            env: workspace.env.iter().map(|(name, value)| (name.clone(), hash(value))).collect(),
            ports: workspace.ports.value.iter().copied().collect(),
            mounts: org.mounts.iter().map(mount).collect(),
            network_isolation: org.network_isolation,
            subnet: org.subnet.map(|subnet| subnet.to_string()),
        }
    }
}

/// Returns what differs, in the order of [`Outdated`]. Of these `cpus`, `memory` and `pids` can be changed while the
/// container runs; whether `memory` may be is for whoever knows how much is in use.
pub fn outdated(running: &SpecSummary, wanted: &SpecSummary) -> Vec<Outdated> {
    let network = |spec: &SpecSummary| (spec.network_isolation, spec.subnet.clone());
    let differs = [
        (running.image != wanted.image, Outdated::Image),
        (running.env != wanted.env, Outdated::Env),
        (running.mounts != wanted.mounts, Outdated::Mounts),
        (running.ports != wanted.ports, Outdated::Ports),
        (running.cpus != wanted.cpus, Outdated::Cpus),
        (running.memory != wanted.memory, Outdated::Memory),
        (running.pids != wanted.pids, Outdated::Pids),
        (running.shm != wanted.shm, Outdated::Shm),
        (running.gpus != wanted.gpus, Outdated::Gpus),
        (running.runtime != wanted.runtime, Outdated::Runtime),
        (running.user != wanted.user, Outdated::User),
        (network(running) != network(wanted), Outdated::Network),
        (running.org != wanted.org, Outdated::Org),
    ];
    differs.into_iter().filter_map(|(differs, what)| differs.then_some(what)).collect()
}

/// Returns whether a change of it is made at once, by updating the running container.
pub fn is_live(what: Outdated) -> bool {
    matches!(what, Outdated::Cpus | Outdated::Memory | Outdated::Pids)
}
