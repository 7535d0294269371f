//! The state database: SQLite, one writer thread, WAL, every commit on disk.
//!
//! It holds what neither the files nor Docker can say. What can be derived is not stored: no states, no counters.
//! A lost database loses no home and disturbs no running workspace.

use crate::model::{BuildNumber, Moment, OrgName, Requester, WorkspaceId};

/// Whether a workspace should be up, as last asked for by a person, a schedule or auto-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    On,
    Off { why: crate::model::OffReason },
}

/// What is recorded of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRecord {
    /// Never used twice; names its socket directory and its log directory.
    pub number: u64,
    pub id: WorkspaceId,
    /// The org it was last declared in.
    pub org: OrgName,
    /// Absent from the files since then.
    pub removed_at: Option<Moment>,
    pub power: Power,
    pub power_since: Moment,
    pub container: Option<ContainerRecord>,
    pub home: Option<HomeRecord>,
}

/// The container that is a workspace's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    pub id: String,
    pub build: BuildNumber,
    pub image_id: String,
    pub username: String,
    pub uid: u32,
    pub gid: u32,
    /// blake3 of the token, hexadecimal.
    pub token_hash: String,
    /// `hearth.spec`: what it was made of, as JSON, for `outdated`.
    pub spec: String,
}

/// A workspace's current home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeRecord {
    pub volume: String,
    /// The last user that it was given to; `None` until its first build succeeded.
    pub owner: Option<(u32, u32)>,
}

/// One line of the audit log (rule X1).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    pub at: Moment,
    pub who: Requester,
    /// `host`, `inside alice/main`, `gateway 192.0.2.7`, `hearthd`.
    pub from: String,
    /// `start`, `stop`, `enter`, …
    pub what: String,
    pub workspace: Option<WorkspaceId>,
    pub before: Option<String>,
    pub after: Option<String>,
    /// `ok`, or the error's text.
    pub result: String,
}
