//! The workspace sockets: one directory per workspace, what dials in, and which helper counts.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::line::{Connection, Line};
use super::{EnterError, Entry, EntrySpec, peer};
use crate::model::WorkspaceId;

/// The most connections of a workspace at one time; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 64;
/// How long a connection may stay without a first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// How long an entry waits for the helper of a container that has just started.
const HELPER: Duration = Duration::from_secs(5);
/// The least time between two log lines about the callers of one workspace.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// An HTTP connection from inside a workspace. It counts against the workspace's bound until it is dropped.
#[derive(Debug)]
pub struct Visitor {
    pub stream: UnixStream,
    pub workspace: WorkspaceId,
    pub permit: OwnedSemaphorePermit,
}

/// All workspace sockets. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Doors {
    shared: Arc<Shared>,
}

struct Shared {
    /// `<run_dir>/workspace`.
    directory: PathBuf,
    tracker: TaskTracker,
    stop: CancellationToken,
    visitors: mpsc::Sender<Visitor>,
    open: Mutex<BTreeMap<u64, Door>>,
}

/// A workspace's socket.
#[derive(Clone)]
struct Door {
    workspace: WorkspaceId,
    stop: CancellationToken,
    line: watch::Sender<Option<Line>>,
    connections: Arc<Semaphore>,
    /// The container whose helper counts, once that is known.
    container: Arc<Mutex<Option<String>>>,
    logged_at: Arc<Mutex<Option<Instant>>>,
}

impl Doors {
    /// Makes the owner of all sockets below `run_dir`. HTTP connections from inside go to `visitors`.
    pub fn new(run_dir: &Path, tracker: TaskTracker, stop: CancellationToken, visitors: mpsc::Sender<Visitor>) -> Self {
        let directory = run_dir.join("workspace");
        Self { shared: Arc::new(Shared { directory, tracker, stop, visitors, open: Mutex::default() }) }
    }

    /// Returns the token that ends all entries when hearthd ends.
    pub fn stopping(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Returns the directory in which those of all workspaces are.
    pub fn sockets(&self) -> &Path {
        &self.shared.directory
    }

    /// Returns the directory that is mounted, read-only, at `/run/hearth/workspace` of workspace `number`.
    pub fn directory(&self, number: u64) -> PathBuf {
        self.shared.directory.join(number.to_string())
    }

    /// Listens for workspace `number`; what listens already goes on.
    ///
    /// The directory is made if it is missing and never removed: containers that run have it mounted.
    pub fn listen(&self, number: u64, workspace: &WorkspaceId) -> Result<(), EnterError> {
        let mut open = self.shared.open();
        if let Some(door) = open.get(&number) {
            if door.workspace == *workspace {
                return Ok(());
            }
            door.stop.cancel();
        }
        // Of another container, which gave way.
        let others: Vec<u64> = open.iter().filter(|(_, door)| door.workspace == *workspace).map(|(n, _)| *n).collect();
        for other in others {
            if let Some(door) = open.remove(&other) {
                door.stop.cancel();
            }
        }
        let path = self.directory(number);
        let listener = bind(&self.shared.directory, &path);
        let listener = listener.map_err(|cause| EnterError::Listen { path, cause })?;
        let door = Door {
            workspace: workspace.clone(),
            stop: self.shared.stop.child_token(),
            line: watch::Sender::new(None),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            container: Arc::default(),
            logged_at: Arc::default(),
        };
        open.insert(number, door.clone());
        let visitors = self.shared.visitors.clone();
        let tracker = self.shared.tracker.clone();
        self.shared.tracker.spawn(accept(listener, door, visitors, tracker));
        Ok(())
    }

    /// Takes for the workspace's helper none but one of this container.
    pub fn pin(&self, workspace: &WorkspaceId, container: &str) {
        let Some(door) = self.shared.door(workspace) else { return };
        let mut pinned = door.container.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.as_deref() == Some(container) {
            return;
        }
        *pinned = Some(container.to_owned());
        if let Some(line) = door.line.send_replace(None) {
            line.hang_up();
        }
    }

    /// Stops listening for workspace `number` and ends its entries; the directory stays.
    pub fn close(&self, number: u64) {
        if let Some(door) = self.shared.open().remove(&number) {
            door.stop.cancel();
            let _ = std::fs::remove_file(self.directory(number).join("sock"));
        }
    }

    /// Starts a process in a workspace, waiting a little for the helper of a container that has just started.
    pub async fn open(&self, workspace: &WorkspaceId, spec: EntrySpec) -> Result<Entry, EnterError> {
        let door = self.shared.door(workspace).ok_or_else(|| EnterError::Closed(workspace.clone()))?;
        let deadline = Instant::now() + HELPER;
        loop {
            let line = tokio::select! {
                line = timeout_at(deadline, door.helper()) => line.map_err(|_| EnterError::NoHelper(workspace.clone()))?,
                () = door.stop.cancelled() => return Err(EnterError::Closed(workspace.clone())),
            };
            match line.open(workspace, spec.clone()).await {
                // It was killed meanwhile, and what it began with it: the next one is on its way.
                Err(EnterError::Silent(_)) if line.is_gone() => (),
                opened => return opened,
            }
        }
    }

    /// Returns how many entries are open in a workspace.
    pub fn entries(&self, workspace: &WorkspaceId) -> usize {
        let door = self.shared.door(workspace);
        door.and_then(|door| door.line.borrow().as_ref().map(Line::entries)).unwrap_or(0)
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Door>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self, workspace: &WorkspaceId) -> Option<Door> {
        self.open().values().find(|door| door.workspace == *workspace).cloned()
    }
}

/// Puts a socket in place of the one of an earlier hearthd. Only containers come here: on the host the way is barred,
/// inside any user may connect.
fn bind(parent: &Path, path: &Path) -> io::Result<UnixListener> {
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    std::fs::set_permissions(parent, Permissions::from_mode(0o700))?;
    DirBuilder::new().recursive(true).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o711))?;
    // By way of the descriptor, as the address of a socket has room for 107 bytes.
    let directory = File::open(path)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let fresh = short.join("sock.new");
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o666))?;
    std::fs::rename(&fresh, short.join("sock"))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, door: Door, visitors: mpsc::Sender<Visitor>, tracker: TaskTracker) {
    loop {
        let next = async {
            let permit = door.connections.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = door.stop.cancelled() => return,
        };
        match (permit, accepted) {
            (Some(permit), Ok((stream, _))) => {
                let (door, visitors) = (door.clone(), visitors.clone());
                tracker.spawn(async move {
                    let stop = door.stop.clone();
                    tokio::select! {
                        () = door.receive(stream, permit, visitors) => (),
                        () = stop.cancelled() => (),
                    }
                });
            }
            (_, accepted) => {
                let error = accepted.err().map(|error| error.to_string()).unwrap_or_default();
                warn!(workspace = %door.workspace, error, "cannot accept connections of `{}`", door.workspace);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl Door {
    /// Waits for a helper.
    async fn helper(&self) -> Line {
        let mut lines = self.line.subscribe();
        let there = lines.wait_for(|line| line.as_ref().is_some_and(|line| !line.is_gone())).await;
        match there.ok().and_then(|line| line.clone()) {
            Some(line) => line,
            // The sender is ours: it cannot be gone.
            None => std::future::pending().await,
        }
    }

    async fn receive(&self, stream: UnixStream, permit: OwnedSemaphorePermit, visitors: mpsc::Sender<Visitor>) {
        match timeout(FIRST_BYTE, first_byte(&stream)).await {
            Ok(Ok(Some(0))) => self.serve_helper(stream).await,
            Ok(Ok(Some(byte))) if byte.is_ascii_alphabetic() => {
                let visitor = Visitor { stream, workspace: self.workspace.clone(), permit };
                let _ = visitors.send(visitor).await;
            }
            Ok(Ok(Some(_))) => self.log(&"it speaks neither HTTP nor the helper's protocol"),
            Ok(Ok(None) | Err(_)) | Err(_) => (),
        }
    }

    async fn serve_helper(&self, stream: UnixStream) {
        let container = self.container.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(stranger) = peer::check(&stream, container.as_deref()) {
            return self.log(&stranger);
        }
        let (connection, line) = match Connection::greet(stream, self.stop.child_token()).await {
            Ok(greeted) => greeted,
            Err(broken) => return self.log(&broken),
        };
        if let Some(older) = self.line.send_replace(Some(line.clone())) {
            older.hang_up();
        }
        let why = connection.serve().await;
        debug!(workspace = %self.workspace, %why, "the helper of `{}` is gone", self.workspace);
        if let super::line::Broken::Frame(error) = &why {
            self.log(error);
        }
    }

    /// Logs what a caller did wrong, once a minute at most: whoever is inside could do it all day.
    fn log(&self, what: &dyn std::fmt::Display) {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if logged_at.is_none_or(|at| now - at >= LOG_INTERVAL) {
            *logged_at = Some(now);
            warn!(workspace = %self.workspace, "a caller from inside `{}` was turned away: {what}", self.workspace);
        }
    }
}

/// Looks at the first byte and leaves it there; `None` when the caller hung up.
async fn first_byte(stream: &UnixStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let seen = stream.async_io(Interest::READABLE, || {
        Ok(recv(stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)?)
    });
    Ok((seen.await? > 0).then_some(byte[0]))
}
