//! What the API is given, and the few things outside the daemon's loop that it asks.

use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::rate::Guests;
use crate::handle::{EngineView, Handle, Inside};
use crate::model::{BuildNumber, Moment, OrgName, Requester, UserName, WorkspaceId};
use crate::store::Store;
use crate::trash::Trashed;

/// The API's surroundings; cheap to clone.
#[derive(Clone)]
pub struct ApiContext(Arc<Context>);

/// What an [`ApiContext`] is, once for all its clones.
pub struct Context {
    pub(super) handle: Handle,
    pub(super) outside: Outside,
    /// What must be waited for at the end.
    pub(super) tasks: TaskTracker,
    /// Ends streams and connections.
    pub(super) stop: CancellationToken,
    pub(super) guests: Guests,
}

/// What the daemon puts behind the API.
pub struct Outside {
    pub store: Store,
    pub logs: Arc<dyn Logs>,
    pub entrance: Arc<dyn Entrance>,
    pub keys: Arc<dyn GitKeys>,
    pub accounts: Arc<dyn Accounts>,
    pub homes: Arc<dyn Homes>,
    pub clock: Arc<dyn Fn() -> Moment + Send + Sync>,
}

impl ApiContext {
    /// Returns a context; `tasks` are those that an ending waits for, `stop` begins it.
    pub fn new(handle: Handle, outside: Outside, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self(Arc::new(Context { handle, outside, tasks, stop, guests: Guests::default() }))
    }
}

impl Deref for ApiContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

/// The logs of builds.
#[async_trait]
pub trait Logs: Send + Sync + 'static {
    /// Returns what a build printed so far, and with `follow` what it prints until it ends.
    async fn read(&self, number: u64, build: BuildNumber, follow: bool) -> anyhow::Result<BoxStream<'static, Bytes>>;
}

/// hearthd's ends of the workspaces' helpers.
#[async_trait]
pub trait Entrance: Send + Sync + 'static {
    /// Serves one entry to its end.
    async fn serve(&self, entering: Entering);
}

/// A stream that was upgraded to `hearth-enter/1`, access checked and audited.
#[derive(Debug)]
pub struct Entering {
    pub workspace: WorkspaceId,
    pub who: Requester,
    pub inside: Inside,
    pub stream: UnixStream,
    /// What the client sent right behind its request.
    pub early: Bytes,
    /// Told to the person when a terminal is asked for (rule L8).
    pub notices: Vec<String>,
}

/// The users' public Git keys.
#[async_trait]
pub trait GitKeys: Send + Sync + 'static {
    /// Returns the public key, made if there is none yet.
    async fn public_key(&self, user: &UserName) -> anyhow::Result<String>;
}

/// The homes that are there.
#[async_trait]
pub trait Homes: Send + Sync + 'static {
    /// Returns every home that the database or the engine knows; the engine is not asked while it is away.
    async fn list(&self, engine: &EngineView) -> anyhow::Result<Vec<KnownHome>>;
}

/// A home as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHome {
    pub volume: String,
    pub workspace: WorkspaceId,
    /// The org that its workspace was last declared in; `None` where the database does not know the workspace.
    pub org: Option<OrgName>,
    /// Whether the database knows it.
    pub recorded: bool,
    /// Whether it is its workspace's current one.
    pub current: bool,
    pub trashed: Option<Trashed>,
    /// Whether the engine has it; `None` where it could not be asked.
    pub present: Option<bool>,
}

/// The host's accounts.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Returns the account of a uid with all its groups, `None` where the host knows none.
    async fn account(&self, uid: u32) -> anyhow::Result<Option<HostAccount>>;
}

/// A host account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAccount {
    pub name: String,
    pub groups: Vec<String>,
}
