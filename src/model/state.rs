//! The states of a workspace and what each carries (design section 4).
//!
//! ```text
//!            declared, start, connect            slot free
//!   off ───────────────────────────▶ queued ──────────────▶ building ──▶ running
//!    ▲                                  │ cancel                │  │        │
//!    └──────────────────────────────────┘◀──────────────────────┘  ▼        │ stop, auto-off, rebuild
//!    ▲                                                           failed     ▼
//!    └───────────────────────────────────────────────────────────────── stopping
//! ```
//!
//! A state is derived from what Docker shows, what was asked for and what runs at the moment; it is never stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BuildNumber, Moment, Stage, Warning};

/// Why a workspace is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OffReason {
    /// It was declared where `build_on_create = false`, or its first build was cancelled.
    NeverBuilt,
    /// Somebody stopped it.
    Stopped,
    /// auto-off stopped it.
    AutoOff,
    /// It was removed from the configuration.
    Removed,
}

/// Whether a workspace should be up, as last asked for by a person, a schedule or auto-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    On,
    Off { why: OffReason },
}

/// Why a workspace is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    Requested,
    AutoOff,
    Removed,
    /// It failed, and what is left of it is removed.
    Failed,
}

/// What differs between the running container and the configuration, as named in `outdated` (rule C6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outdated {
    Image,
    Env,
    Mounts,
    Ports,
    Cpus,
    Memory,
    Pids,
    Shm,
    Gpus,
    Runtime,
    User,
    Network,
    Org,
    /// They could not be brought in, which is tried again.
    Secrets,
}

impl Outdated {
    /// Returns its name as it stands in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Outdated::Image => "image",
            Outdated::Env => "env",
            Outdated::Mounts => "mounts",
            Outdated::Ports => "ports",
            Outdated::Cpus => "cpus",
            Outdated::Memory => "memory",
            Outdated::Pids => "pids",
            Outdated::Shm => "shm",
            Outdated::Gpus => "gpus",
            Outdated::Runtime => "runtime",
            Outdated::User => "user",
            Outdated::Network => "network",
            Outdated::Org => "org",
            Outdated::Secrets => "secrets",
        }
    }
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Off { since: Moment, why: OffReason },
    Queued { build: BuildNumber, since: Moment },
    Building { build: BuildNumber, stage: Stage, since: Moment },
    Running { since: Moment, warnings: Vec<Warning>, outdated: Vec<Outdated> },
    Stopping { why: StopReason, since: Moment },
    Failed { since: Moment, failure: String, retry_at: Option<Moment> },
}

/// The name of a state as it stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateName {
    Off,
    Queued,
    Building,
    Running,
    Stopping,
    Failed,
}

impl StateName {
    /// Returns the name as it stands in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Off => "off",
            StateName::Queued => "queued",
            StateName::Building => "building",
            StateName::Running => "running",
            StateName::Stopping => "stopping",
            StateName::Failed => "failed",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl State {
    /// Returns the state's name.
    pub fn name(&self) -> StateName {
        match self {
            State::Off { .. } => StateName::Off,
            State::Queued { .. } => StateName::Queued,
            State::Building { .. } => StateName::Building,
            State::Running { .. } => StateName::Running,
            State::Stopping { .. } => StateName::Stopping,
            State::Failed { .. } => StateName::Failed,
        }
    }

    /// Returns when the workspace came into this state.
    pub fn since(&self) -> Moment {
        match self {
            State::Off { since, .. }
            | State::Queued { since, .. }
            | State::Building { since, .. }
            | State::Running { since, .. }
            | State::Stopping { since, .. }
            | State::Failed { since, .. } => *since,
        }
    }
}
