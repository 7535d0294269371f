//! A build: the stages that make a running workspace, one file each; their order comes from [`run`]. And what else is
//! done to its container and its home by hearth's own binary.
//!
//! Stages use the engine and the model; what happens next is decided by who called them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;

mod apart;
mod create;
mod environment;
pub mod hooks;
mod image;
pub mod keys;
mod lines;
pub mod log;
mod measure;
mod network;
mod own;
mod prepare;
mod pull;
mod request;
mod run;
mod stop;
mod tend;
mod user;
mod volume;
mod warnings;

use crate::docker::{Container, Engine, labels};
use crate::enter::Doors;
use crate::model::{InstanceName, Warning, WorkspaceId};
use crate::store::Store;

pub use image::{ImageError, Images, Refusal, ResolvedImage};
pub use measure::{Unmeasured, measure};
pub use network::remove_unused as remove_unused_networks;
pub use own::{HandOver, HandOverError, hand_over};
pub use pull::Pulls;
pub use request::fingerprint;
pub use run::{Job, Progress, Tell, inside, run};
pub use stop::stop;
pub use tend::{Unrecovered, personalize_again, recover, renew_secrets, take_over, update_limits};
pub use user::{ImageUser, UserRefusal};
pub use volume::{Emptied, Undecided, delete_for_good};

/// What builds work with; one for all of them.
pub struct Tools {
    pub engine: Arc<dyn Engine>,
    pub store: Store,
    pub doors: Doors,
    pub logs: log::Logs,
    pub images: Images,
    pub pulls: Pulls,
    /// Held while a network is made.
    pub networks: tokio::sync::Mutex<()>,
    pub instance: InstanceName,
    pub data_dir: PathBuf,
    /// The static `hearth` on the host that every container runs.
    pub hearth: PathBuf,
    pub tasks: TaskTracker,
    /// Where the engine keeps what it has, as it said last.
    pub disks: Mutex<Vec<PathBuf>>,
}

impl Tools {
    /// Returns a disk of the engine that has no room for another build. It may be on another host: then none.
    fn low_disk(&self) -> Option<PathBuf> {
        let disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        disks.into_iter().find(|disk| disk.exists() && log::disk_is_low(disk))
    }

    /// Returns whether a disk of the engine may be full.
    fn lacks_room(&self) -> bool {
        let here = self.disks.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|disk| disk.exists());
        !here || self.low_disk().is_some()
    }

    /// Returns whether a container is the workspace's own. `recorded` is the id in the database.
    pub fn is_ours(&self, container: &Container, workspace: &WorkspaceId, recorded: Option<&str>) -> bool {
        labels::is_our_container(container, &self.instance, self.doors.sockets(), workspace, recorded)
    }
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The workspace runs, perhaps with warnings (rule L8).
    Running { warnings: Vec<Warning> },
    /// It does not; `kept` says that the container of before runs as it did (rule L6).
    Failed { failure: String, warnings: Vec<Warning>, kept: bool },
    /// Somebody cancelled it.
    Cancelled { kept: bool },
    /// The engine went away or hearthd is stopping: it is taken up again (rules L11, L12).
    Interrupted { why: String },
}
