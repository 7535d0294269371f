//! The engine in our words: the dozen verbs that hearth needs of Docker.
//!
//! [`Engine`] is the interface; [`BollardEngine`] is the real one, and `bollard/` the only place that names the crate;
//! [`fake`] is one in memory, with faults; [`labels`] says what on the engine is ours. Nothing here decides anything else.

mod bollard;
pub mod fake;
mod process_group;

pub use process_group::is_of_container;

pub mod labels;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes as Chunk;
use secrecy::SecretString;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::model::{Moment, PortMapping};

pub use bollard::BollardEngine;

/// The id of a container, as the engine gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// Docker labels.
pub type Labels = BTreeMap<String, String>;

/// What can go wrong with the engine. "Away" is never "not found" and never "stopped" (rule L12).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine does not answer, or its answer makes no sense.
    #[error("Docker does not answer: {0}")]
    Away(String),
    #[error("Docker did not answer to `{call}` within {after:?}")]
    Slow { call: &'static str, after: Duration },
    #[error("{0}")]
    NotFound(String),
    /// A name is taken, a container runs that should not, a port is in use.
    #[error("{0}")]
    Conflict(String),
    /// The engine refuses the request: the text is its own.
    #[error("{0}")]
    Refused(String),
}

impl EngineError {
    /// Returns what is behind it, for those who say themselves that Docker does not answer.
    pub fn reason(&self) -> String {
        if let Self::Away(why) = self { why.clone() } else { self.to_string() }
    }
}

/// Why an image was not pulled. A registry that is away is its own case (rule L6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The registry does not answer, answers with an error of its own, or has us wait.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// It wants credentials, or others than these.
    #[error("the registry refuses access: {0}")]
    Denied(String),
    #[error("the registry does not have it: {0}")]
    NotFound(String),
    /// The engine's own text: a bad reference, no room, a damaged layer.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineVersion {
    pub version: String,
    pub api: String,
    pub runtimes: Vec<String>,
    /// Where it keeps images, containers and volumes, on its host.
    pub disks: Vec<PathBuf>,
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…` of the image's configuration.
    pub id: String,
    /// `name@sha256:…`, where it came from a registry.
    pub digest: Option<String>,
    /// The raw `USER`; empty when there is none.
    pub user: String,
    pub env: Vec<String>,
    /// Paths of `VOLUME`.
    pub volumes: Vec<String>,
    pub labels: Labels,
}

/// A container as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub image_id: String,
    pub labels: Labels,
    pub status: Status,
    pub mounts: Vec<MountPoint>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// A mount as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The volume's name, where it is one.
    pub volume: Option<String>,
    pub source: String,
    pub target: String,
}

/// A container in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDetail {
    pub container: Container,
    /// As it was made: `uid:gid`.
    pub user: String,
    /// The host's pid of its first process; `None` when it does not run.
    pub pid: Option<u32>,
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    /// The engine's own error text of the last start, where there is one.
    pub error: Option<String>,
}

/// Limits that can be changed while a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Billionths of a CPU; `None` is unlimited.
    pub nano_cpus: Option<u64>,
    /// Bytes; swap is set to the same, so that it is a limit of both.
    pub memory: Option<u64>,
    pub pids: u32,
}

/// A mount to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSpec {
    /// A named volume, which must exist.
    Volume {
        name: String,
        target: String,
        read_only: bool,
    },
    Bind {
        source: String,
        target: String,
        read_only: bool,
    },
    /// A tmpfs owned by `uid:gid`, mode 0700, of `size` bytes, executable nothing.
    Tmpfs {
        target: String,
        uid: u32,
        gid: u32,
        size: u64,
    },
}

/// All that a container is made of. Security (rule X2) is not in here: every container gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    pub name: String,
    pub hostname: String,
    /// The image's id, so that what was resolved is what runs.
    pub image: String,
    /// `uid:gid`.
    pub user: String,
    /// Supplementary groups: with `uid:gid` the engine gives none of its own.
    pub groups: Vec<u32>,
    /// Replaces the image's.
    pub entrypoint: Vec<String>,
    pub env: Vec<String>,
    pub working_dir: String,
    pub labels: Labels,
    pub mounts: Vec<MountSpec>,
    /// `None` is no network at all.
    pub network: Option<String>,
    pub ports: Vec<PortMapping>,
    pub limits: Limits,
    pub shm: u64,
    pub gpus: u32,
    pub runtime: Option<String>,
    pub stop_timeout: Duration,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub labels: Labels,
    pub created_at: Option<Moment>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub labels: Labels,
    pub subnets: Vec<String>,
    /// Whether its containers can reach each other.
    pub icc: bool,
    /// Those that were made for it, running or not, and others that are attached.
    pub containers: usize,
}

/// A network to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    pub name: String,
    pub labels: Labels,
    pub subnet: Option<String>,
    pub icc: bool,
}

/// A command to run by `docker exec`.
#[derive(Clone)]
pub struct ExecSpec {
    pub argv: Vec<String>,
    /// `uid:gid`, or `0:0`.
    pub user: String,
    pub env: Vec<String>,
    pub working_dir: String,
    /// Written to its standard input, which is then closed. It may hold secrets: nothing prints it.
    pub stdin: Zeroizing<Vec<u8>>,
    /// Past it the process group is ended.
    pub deadline: Duration,
}

impl std::fmt::Debug for ExecSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { argv, user, env: _, working_dir, stdin: _, deadline } = self;
        let mut shown = f.debug_struct("ExecSpec");
        shown.field("argv", argv).field("user", user).field("working_dir", working_dir).field("deadline", deadline);
        shown.finish_non_exhaustive()
    }
}

/// Which stream a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A piece of a command's output.
#[derive(Debug, Clone)]
pub struct Output {
    pub stream: Stream,
    pub bytes: Chunk,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecEnd {
    /// Its exit code; 128 + n where a signal ended it.
    Exited(i64),
    /// The deadline passed and it was ended.
    TimedOut,
}

/// A command that somebody started by `docker exec`, without its arguments: they may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecDetail {
    pub running: bool,
    /// The host's pid of its process, while there is one.
    pub pid: Option<u32>,
    pub program: String,
    /// It has a terminal.
    pub terminal: bool,
    /// Its standard input is open.
    pub stdin: bool,
    /// Somebody reads its output: it was not started with `-d`.
    pub attached: bool,
}

/// Progress of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The layer, where it is about one.
    pub layer: Option<String>,
    pub status: String,
    pub current: Option<u64>,
    pub total: Option<u64>,
}

/// Credentials for a pull.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub username: String,
    pub password: SecretString,
}

/// "Look again": something happened to a container, or the stream broke and everything must be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    Container {
        id: ContainerId,
    },
    /// A command started by `docker exec` ended: whoever's, a health check's too.
    ExecEnded {
        id: ContainerId,
        exec: String,
        at: Moment,
    },
    /// A container with this volume was started: whoever's, but one of ours that only lives for a moment. Those that
    /// the engine remembers are told again at each connection.
    Mounted {
        volume: String,
        at: Moment,
    },
    /// The stream was (re)connected: list everything.
    Connected,
    /// The engine went away.
    Disconnected(String),
}

/// The engine, as hearth uses it.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    async fn version(&self) -> Result<EngineVersion, EngineError>;

    /// Lists all containers, running or not, that carry the label `hearth.instance=<instance>`.
    async fn containers(&self, instance: &str) -> Result<Vec<Container>, EngineError>;
    /// Looks at one, by id or by name; `None` where there is none.
    async fn container(&self, id: &str) -> Result<Option<ContainerDetail>, EngineError>;
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError>;
    async fn start(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Sends SIGTERM, waits for `grace`, kills; done when it does not run. No error if it is gone.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError>;
    /// Removes it by force with its anonymous volumes, never a named one. No error if it is gone.
    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError>;
    async fn update(&self, id: &ContainerId, limits: &Limits) -> Result<(), EngineError>;
    /// Returns the bytes of memory that a running container uses, caches that can be given back not counted.
    async fn memory_in_use(&self, id: &ContainerId) -> Result<u64, EngineError>;
    /// Reads a regular file of a container that never ran, at most `limit` bytes; `None` where there is none.
    /// Symbolic links are followed within the container's root.
    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Result<Option<Vec<u8>>, EngineError>;
    /// Says what lies at a path of a container that never ran. Links on the way are followed, one at the end is not.
    async fn file_kind(&self, id: &ContainerId, path: &str) -> Result<FileKind, EngineError>;
    /// Runs a command; its output goes to `output` in the order of arrival, and the call always drains it.
    /// A full channel holds the command back, one whose receiver is dropped does not. Dropping the call ends the
    /// command like its deadline does. A missing command is an end with 126 or 127.
    async fn exec(
        &self,
        id: &ContainerId,
        spec: ExecSpec,
        output: mpsc::Sender<Output>,
    ) -> Result<ExecEnd, EngineError>;

    /// Looks at one that the engine has, by reference or by id.    /// Lists the commands of `docker exec` that run in a container; `None` where there is no such container.
    async fn execs(&self, id: &ContainerId) -> Result<Option<Vec<String>>, EngineError>;
    /// Looks at one, also for a while after its end; `None` where there is none.
    async fn exec_detail(&self, exec: &str) -> Result<Option<ExecDetail>, EngineError>;

    async fn image(&self, reference: &str) -> Result<Option<Image>, EngineError>;
    /// Pulls; given up only when nothing has moved for minutes. Progress that nobody takes is dropped.
    async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        progress: mpsc::Sender<PullProgress>,
    ) -> Result<(), PullError>;

    async fn volume(&self, name: &str) -> Result<Option<Volume>, EngineError>;
    /// Lists the volumes that carry the label `hearth.instance=<instance>`.
    async fn volumes(&self, instance: &str) -> Result<Vec<Volume>, EngineError>;
    /// Lists all containers, running or not, that mount a volume.
    async fn containers_with_volume(&self, name: &str) -> Result<Vec<Container>, EngineError>;
    /// Makes a volume. The engine's own call is get-or-create: compare the labels of what comes back.
    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<Volume, EngineError>;
    /// Returns when the root of a volume was last changed: entries made or removed in it, its owner, its mode. `None`
    /// where there is no such volume, or where that cannot be told.
    async fn volume_changed_at(&self, name: &str) -> Result<Option<Moment>, EngineError>;
    /// Removes a volume and everything in it, for good; a container that refers to it, running or not, is a
    /// [`EngineError::Conflict`]. Nothing else in this interface removes a named volume.
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;

    async fn network(&self, name: &str) -> Result<Option<Network>, EngineError>;
    async fn networks(&self, instance: &str) -> Result<Vec<Network>, EngineError>;
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError>;
    async fn remove_network(&self, id: &str) -> Result<(), EngineError>;

    /// Delivers events from now on until the receiver is dropped, reconnecting by itself.
    fn watch(&self, instance: &str) -> mpsc::Receiver<EngineEvent>;
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    Missing,
    File {
        executable: bool,
    },
    Directory,
    /// Where it leads in the end, absolute, within the container's root.
    Symlink {
        target: String,
    },
    Other,
}
