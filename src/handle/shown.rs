//! What everybody sees of the loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Schedule;
use crate::config::Members;
use crate::model::{BuildRecord, Evidence, Moment, OrgName, State, WorkspaceId};

/// Everything that can be shown, as of the last turn of the loop. Never changes; the next turn makes another.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub workspaces: Arc<BTreeMap<WorkspaceId, Arc<View>>>,
    pub engine: EngineView,
    pub config: ConfigView,
    /// What members set by command.
    pub members: Arc<Members>,
    /// Of declared workspaces.
    pub schedules: Arc<BTreeMap<WorkspaceId, Arc<Schedule>>>,
    /// What is not ours and looks as if it were, each in a sentence: it is left alone.
    pub foreign: Vec<String>,
    /// Why connections into workspaces cannot be seen, where they cannot.
    pub blind: Option<String>,
    pub started_at: Moment,
}

/// One workspace as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub id: WorkspaceId,
    /// Names its socket directory and its log directory.
    pub number: u64,
    /// As declared; for a workspace that no file declares, as recorded.
    pub org: OrgName,
    /// Whether a file declares it.
    pub declared: bool,
    pub state: State,
    /// The last build, or the one that runs or waits.
    pub build: Option<BuildRecord>,
    /// What the container is entered as, while there is one.
    pub inside: Option<Inside>,
    /// Why the state is as it is and what comes next, in one sentence.
    pub because: String,
    pub activity: Activity,
}

/// What is known of a workspace's use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    pub last: Option<Evidence>,
    /// When it goes off unless it is used.
    pub off_at: Option<Moment>,
    pub held_until: Option<Moment>,
    /// From outside; `None` where it does not run or they cannot be seen.
    pub connections: Option<usize>,
    pub usage: Usage,
    /// How much disk its home takes, as last measured; `None` where that is not known.
    pub home_bytes: Option<u64>,
}

/// What a workspace uses of the machine, as far as that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Cores.
    pub cpu: Option<f64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// The inside of a container that may be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    pub container: String,
    pub username: String,
    pub uid: u32,
    pub gid: u32,
    /// blake3 of the token that a process inside shows, hexadecimal.
    pub token_hash: String,
    pub image_id: String,
    /// Whether `inject` is done, so that people may enter.
    pub open: bool,
}

/// How the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineView {
    /// No first look yet: the API does not answer before it.
    Unknown,
    Here {
        version: String,
        api: String,
    },
    Away {
        since: Moment,
        why: String,
    },
}

/// The configuration in force and the last one that was rejected.
#[derive(Debug, Clone)]
pub struct ConfigView {
    pub path: PathBuf,
    pub in_force_since: Moment,
    /// Whether it is the accepted copy of the data directory, because the files are bad.
    pub from_copy: bool,
    pub rejected: Option<Rejected>,
}

/// A configuration that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub since: Moment,
    /// `FILE:LINE:COL: …`, all of them.
    pub errors: String,
}
