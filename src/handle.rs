//! What the API and the gateway may ask of the daemon, and the replies.
//!
//! ```text
//!   api, gateway ──Request + oneshot──▶ reconcile loop (owns everything changeable)
//!        ▲                                   │
//!        └──────── watch<Snapshot> ──────────┘      broadcast<Event>: "look again", with what happened
//! ```
//!
//! A reply means *accepted as build n* or *done*, never a mix.

mod settings;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use settings::{Effect, Owner, Schedule, SettingsChanged, When};
pub use shown::{Activity, ConfigView, EngineView, Inside, Rejected, Snapshot, Usage, View};

use crate::access::Allowed;
use crate::activity::{Hold, HoldId, HoldRefused, Why};
use crate::config::Settings;
use crate::config::set::{self, Edits};
use crate::model::{BuildNumber, BuildReason, Moment, Requester, Stage, StateName, UserName, WorkspaceId};
use crate::schedule::Outcome;
use crate::trash::Trashed;

/// The hold that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldAsked {
    /// As long as the org allows, if nothing is said.
    pub lasts: Option<Duration>,
    /// It ends with a command, and stands while it is renewed.
    pub until_command_ends: bool,
    pub message: Option<String>,
    /// Whose it is, and where the request comes from.
    pub by: String,
    pub from: String,
}

/// A hold that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub id: HoldId,
    /// When it ends at the latest.
    pub until: Moment,
    /// How long it stands without being renewed.
    pub lease: Option<Duration>,
}

/// Why a workspace is on or goes off.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explained {
    /// `None` where it does not run.
    pub why: Option<Why>,
    /// Those that stand, each with when it ends at the latest and since when it stands.
    pub holds: Vec<(Hold, Moment, Moment)>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    State {
        at: Moment,
        workspace: WorkspaceId,
        state: StateName,
    },
    Stage {
        at: Moment,
        workspace: WorkspaceId,
        build: BuildNumber,
        stage: Stage,
    },
    Built {
        at: Moment,
        workspace: WorkspaceId,
        build: BuildNumber,
        result: crate::model::BuildResult,
    },
    /// What became of a start that a schedule named.
    AutoStart {
        at: Moment,
        workspace: WorkspaceId,
        due: Moment,
        #[serde(flatten)]
        outcome: Outcome,
    },
    Config {
        at: Moment,
        accepted: bool,
    },
    Engine {
        at: Moment,
        here: bool,
    },
    /// It goes off at `off_at` unless it is used (rule P7).
    AutoOff {
        at: Moment,
        workspace: WorkspaceId,
        off_at: Moment,
        message: String,
    },
}

/// The reply to `start` and `rebuild`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It runs, and nothing had to be done.
    AlreadyRunning,
    /// A build was queued, or one that was already on its way serves.
    Build(BuildNumber),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("there is no workspace `{0}`")]
    NoSuchWorkspace(WorkspaceId),
    /// It stands in no file: it can be looked at, not started.
    #[error("`{0}` is not in the configuration")]
    NotDeclared(WorkspaceId),
    #[error("{0}")]
    Conflict(String),
    #[error("Docker does not answer: {0}")]
    EngineAway(String),
    #[error("hearthd is stopping")]
    Stopping,
    #[error("the configuration is not accepted:\n{0}")]
    BadConfiguration(String),
    /// A reload that would remove too much without `--yes` (rule L10).
    #[error("{0}")]
    Guarded(String),
    /// A setting that a member may not have (rule C7).
    #[error(transparent)]
    Setting(#[from] set::Refused),
    #[error(transparent)]
    Hold(#[from] HoldRefused),
    #[error("{0}")]
    Failed(String),
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// A line per workspace and change, as `hearth config plan` prints them.
    pub changes: Vec<String>,
}

/// A request to the loop.
#[derive(Debug)]
pub enum Request {
    Start {
        workspace: WorkspaceId,
        reason: BuildReason,
        requester: Requester,
        reply: Reply<Started>,
    },
    Rebuild {
        workspace: WorkspaceId,
        reason: BuildReason,
        requester: Requester,
        reply: Reply<Started>,
    },
    Stop {
        workspace: WorkspaceId,
        requester: Requester,
        reply: Reply<()>,
    },
    Cancel {
        workspace: WorkspaceId,
        requester: Requester,
        reply: Reply<BuildNumber>,
    },
    Personalize {
        workspace: WorkspaceId,
        requester: Requester,
        reply: Reply<BuildNumber>,
    },
    Reload {
        yes: bool,
        requester: Requester,
        reply: Reply<Reloaded>,
    },
    Plan {
        reply: Reply<Reloaded>,
    },
    /// `home` is the volume; without it the workspace's current one is meant, and `None` answers that there is none.
    TrashHome {
        workspace: WorkspaceId,
        home: Option<String>,
        requester: Requester,
        reply: Reply<Option<Trashed>>,
    },
    RestoreHome {
        workspace: WorkspaceId,
        home: String,
        requester: Requester,
        reply: Reply<()>,
    },
    /// Until a day, on which the user is back; `None`: back at once.
    Away {
        user: UserName,
        until: Option<Date>,
        requester: Requester,
        reply: Reply<()>,
    },
    Set {
        owner: Owner,
        edits: Edits,
        requester: Requester,
        reply: Reply<SettingsChanged>,
    },
    /// Look whether it is used; the answer comes when that is done.
    Look {
        workspace: WorkspaceId,
        reply: Reply<()>,
    },
    Why {
        workspace: WorkspaceId,
        reply: Reply<Explained>,
    },
    Hold {
        workspace: WorkspaceId,
        asked: HoldAsked,
        requester: Requester,
        reply: Reply<Held>,
    },
    Renew {
        workspace: WorkspaceId,
        hold: HoldId,
        reply: Reply<Held>,
    },
    Release {
        workspace: WorkspaceId,
        hold: Option<HoldId>,
        requester: Requester,
        reply: Reply<usize>,
    },
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// The daemon, as the API and the gateway hold it.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    settings: watch::Receiver<Arc<Settings>>,
    events: broadcast::Sender<Event>,
}

impl Handle {
    /// Returns a handle on a loop that reads `requests`' other end.
    pub fn new(
        requests: mpsc::Sender<Request>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        settings: watch::Receiver<Arc<Settings>>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        Self { requests, snapshot, settings, events }
    }

    /// Returns how everything is.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Returns a receiver that wakes at each new snapshot.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Returns the configuration in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// Returns what happens from here on. A receiver that lags is told so and looks at the snapshot.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Asks for the workspace to run: nothing if it does, the build that is on its way if there is one, else a new one.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn start(&self, allowed: &Allowed, reason: BuildReason) -> Result<Started, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Start { workspace, reason, requester, reply }).await
    }

    /// Asks for a new build, whatever runs; one that is queued already serves.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn rebuild(&self, allowed: &Allowed, reason: BuildReason) -> Result<Started, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Rebuild { workspace, reason, requester, reply }).await
    }

    /// Stops the workspace, cancelling a build on its way; replies when it is off.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn stop(&self, allowed: &Allowed) -> Result<(), RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Stop { workspace, requester, reply }).await
    }

    /// Cancels the build that is queued or runs.
    ///
    /// # Errors
    /// [`RequestError::Conflict`] where there is none.
    pub async fn cancel(&self, allowed: &Allowed) -> Result<BuildNumber, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Cancel { workspace, requester, reply }).await
    }

    /// Runs `~/personalize` again in a running workspace; replies when it has begun, with the build whose log
    /// receives the output and whose warnings it replaces.
    ///
    /// # Errors
    /// [`RequestError::Conflict`] where it does not run.
    pub async fn personalize(&self, allowed: &Allowed) -> Result<BuildNumber, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Personalize { workspace, requester, reply }).await
    }

    /// Reads the files again; replies when they are in force and running workspaces have been brought in line.
    ///
    /// # Errors
    /// [`RequestError::BadConfiguration`] with every error, [`RequestError::Guarded`] without `yes`.
    pub async fn reload(&self, yes: bool, requester: Requester) -> Result<Reloaded, RequestError> {
        self.ask(|reply| Request::Reload { yes, requester, reply }).await
    }

    /// Returns what a reload of the files as they are would do.
    ///
    /// # Errors
    /// [`RequestError::BadConfiguration`] with every error.
    pub async fn plan(&self) -> Result<Reloaded, RequestError> {
        self.ask(|reply| Request::Plan { reply }).await
    }

    /// Moves a home of the workspace to the trash, the current one where none is named; replies with it and its date,
    /// or that there is none.
    ///
    /// # Errors
    /// [`RequestError::Conflict`] while the workspace has a container, or where the database does not know the home.
    pub async fn trash_home(&self, allowed: &Allowed, home: Option<String>) -> Result<Option<Trashed>, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::TrashHome { workspace, home, requester, reply }).await
    }

    /// Makes a home the workspace's current one again.
    ///
    /// # Errors
    /// [`RequestError::Conflict`] where it has one, or while it is built.
    pub async fn restore_home(&self, allowed: &Allowed, home: String) -> Result<(), RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::RestoreHome { workspace, home, requester, reply }).await
    }

    /// Has a look taken at how a workspace is used; replies when it was, or at once where there is nothing to see.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn look(&self, allowed: &Allowed) -> Result<(), RequestError> {
        let workspace = allowed.workspace().clone();
        self.ask(|reply| Request::Look { workspace, reply }).await
    }

    /// Says why a workspace is on or goes off, as of the last look.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn why(&self, allowed: &Allowed) -> Result<Explained, RequestError> {
        let workspace = allowed.workspace().clone();
        self.ask(|reply| Request::Why { workspace, reply }).await
    }

    /// Asks for a hold.
    ///
    /// # Errors
    /// [`RequestError::Hold`] where the org does not allow it.
    pub async fn hold(&self, allowed: &Allowed, asked: HoldAsked) -> Result<Held, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Hold { workspace, asked, requester, reply }).await
    }

    /// Renews a hold that lasts until a command ends.
    ///
    /// # Errors
    /// [`RequestError::Conflict`] where it is over.
    pub async fn renew(&self, allowed: &Allowed, hold: HoldId) -> Result<Held, RequestError> {
        let workspace = allowed.workspace().clone();
        self.ask(|reply| Request::Renew { workspace, hold, reply }).await
    }

    /// Ends a hold, or all of them; replies with how many.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn release(&self, allowed: &Allowed, hold: Option<HoldId>) -> Result<usize, RequestError> {
        let (workspace, requester) = (allowed.workspace().clone(), allowed.requester().clone());
        self.ask(|reply| Request::Release { workspace, hold, requester, reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| RequestError::Stopping)?;
        answer.await.map_err(|_| RequestError::Stopping)?
    }
}
