//! The state database: SQLite, one writer thread, WAL, every commit on disk.
//!
//! It holds what neither the files nor Docker can say. What can be derived is not stored: no states, no counters.
//! A lost database loses no home and disturbs no running workspace.
//!
//! ```text
//!   Store (any number of clones) ──closure + oneshot──▶ thread `store`, owns the connection and the directory's lock
//! ```
//!
//! Every method is one transaction. What was answered `Ok` is on disk; what was sent is done even when the caller
//! goes away before the answer.

mod activity;
mod audit;
mod builds;
mod error;
mod open;
mod row;
mod settings;
mod trash;
mod workspaces;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub(crate) mod inline;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::model::{BuildNumber, Moment, OrgName, Requester, WorkspaceId};

pub use activity::{Kept, KeptHold};
pub use audit::AuditFilter;
pub use builds::BUILDS_KEPT;
pub use error::StoreError;
pub use settings::{AcceptedConfig, MemberSettings};

/// How many requests may wait for the thread; more wait in their callers.
const QUEUE: usize = 64;

enum Job {
    Work(Box<dyn FnOnce(&mut Connection) + Send>),
    Close(oneshot::Sender<()>),
}

/// The open database, as anybody may hold it.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    path: Arc<Path>,
    #[cfg(test)]
    inline: Option<inline::Inline>,
}

impl Store {
    /// Opens or creates the database, and the directory that it is in, for this process alone.
    ///
    /// # Errors
    /// As [`StoreError`] says; the database is left as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::serve(open::open(path)?, path)
    }

    /// Opens a database that is gone with its last handle.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::serve(open::in_memory()?, Path::new(":memory:"))
    }

    /// Closes the database and gives the directory back, after everything that was sent before.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    fn serve(opened: open::Opened, path: &Path) -> Result<Self, StoreError> {
        let (jobs, mut queue) = mpsc::channel(QUEUE);
        let serve = move || {
            let mut opened = opened;
            let mut closing = None;
            while let Some(job) = queue.blocking_recv() {
                match job {
                    Job::Work(work) => work(&mut opened.connection),
                    Job::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
            }
            drop(opened);
            closing.map(|done| done.send(()))
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(serve)
            .map_err(|source| StoreError::Unusable { path: path.to_owned(), source })?;
        Ok(Self {
            jobs,
            path: path.into(),
            #[cfg(test)]
            inline: None,
        })
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.transact(TransactionBehavior::Immediate, work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.transact(TransactionBehavior::Deferred, work).await
    }

    async fn transact<T, F>(&self, behavior: TransactionBehavior, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        #[cfg(test)]
        if let Some(inline) = &self.inline {
            return inline.transact(behavior, work).await;
        }
        let (reply, answer) = oneshot::channel();
        let work = move |connection: &mut Connection| {
            let result = connection.transaction_with_behavior(behavior).map_err(StoreError::from).and_then(|tx| {
                let value = work(&tx)?;
                tx.commit()?;
                Ok(value)
            });
            let _ = reply.send(result);
        };
        self.jobs.send(Job::Work(Box::new(work))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?.map_err(|error| error.at(&self.path))
    }
}

pub use crate::model::Power;

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
    /// When hearthd last started it, as the engine says; `None` until then.
    pub started_at: Option<Moment>,
    /// The number of the socket directory that it mounts, where that is not its workspace's.
    pub door: Option<u64>,
    /// Stands for what was last brought into it besides the token; `None` where that is not known.
    pub injected: Option<String>,
}

impl WorkspaceRecord {
    /// Returns the number of the socket directory that its container mounts, or will.
    pub fn door(&self) -> u64 {
        self.container.as_ref().and_then(|container| container.door).unwrap_or(self.number)
    }
}

/// A workspace's current home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeRecord {
    pub volume: String,
    /// The last user that it was given to; `None` until its first build succeeded.
    pub owner: Option<(u32, u32)>,
}

/// One line of the audit log (rule X1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
