//! The configuration in force: checked, whole, every value present and knowing where it came from.
//!
//! A `Settings` never changes; a reload makes another. Member's own settings (rule C7) are not in here: they
//! are laid over it each time they are evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::host::FileStamp;
pub use super::subnet::Subnet;
use super::text;
use crate::model::{Bytes, Cpus, InstanceName, OrgName, PortMapping, PortRange, UserName, WorkspaceId};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// `FILE:LINE:COLUMN`, 1-based, columns in characters.
    File { path: Arc<str>, line: u32, column: u32 },
    /// A member's own setting, kept in the state database.
    Member,
    /// A member's own setting, cut to what the org allows.
    Bounded,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Origin::Member => f.write_str("hearth set"),
            Origin::Bounded => f.write_str("hearth set, bounded by the org"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// Returns a value that nobody set.
    pub fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}

impl<T> std::ops::Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Where the keys that a table says itself stand; a key that is not here has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written(pub BTreeMap<&'static str, Origin>);

impl Written {
    /// Returns where the key stands.
    pub fn origin(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Returns whether the table says the key itself.
    pub fn says(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// Everything that the files say.
#[derive(Debug, Clone)]
pub struct Settings {
    pub server: Server,
    pub ssh: Option<Ssh>,
    pub metrics: Option<Metrics>,
    pub orgs: BTreeMap<OrgName, Org>,
    pub users: BTreeMap<UserName, User>,
    /// Every declared workspace: those of `[users.X.workspaces.Y]` and each member's `default_workspace`.
    pub workspaces: BTreeMap<WorkspaceId, Workspace>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Path of the engine's Unix socket.
    pub docker: PathBuf,
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub timezone: Sourced<Zone>,
    pub admins: Vec<Principal>,
    pub auditors: Vec<Principal>,
    pub max_builds: usize,
    pub instance: InstanceName,
}

/// An IANA zone with its name.
#[derive(Debug, Clone)]
pub struct Zone {
    pub name: String,
    pub zone: TimeZone,
}

/// The database has one zone of a name, whose rules it may change. To compare what a zone is made of takes a hundred times as long.
impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// `[ssh]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    pub listen: SocketAddr,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    pub listen: SocketAddr,
}

/// A host account, or every account of a host group (`@group`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    Account(String),
    Group(String),
}

/// When to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    Always,
    Missing,
    Never,
}

/// A span that may be endless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Limit {
    After(Duration),
    Never,
}

/// What members may do to their own auto-off (rule P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    Deny,
    Modify,
    Disable,
}

/// What makes a connection count (rule P3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityKind {
    Open,
    Traffic,
}

/// A source address or a container port that is nobody's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    Source(std::net::IpAddr),
    Port(u16),
}

/// `[orgs.X]`, defaults filled in.
#[derive(Debug, Clone)]
pub struct Org {
    pub name: OrgName,
    pub declared_at: Origin,
    pub written: Written,
    pub managers: Vec<Principal>,
    pub image: Sourced<String>,
    /// Patterns that members may choose from; the org's own image is always permitted besides.
    pub images: Vec<String>,
    pub pull: Pull,
    pub auto_off: Sourced<Limit>,
    pub auto_off_override: Override,
    pub auto_off_max: Option<Duration>,
    pub activity: ActivityKind,
    pub activity_floor: Bytes,
    pub activity_ignore: Vec<Ignored>,
    pub auto_start_days: BTreeSet<Day>,
    pub auto_start_pause_after: Limit,
    pub holidays: BTreeSet<Date>,
    pub hold_max: Duration,
    pub trash_keep: Duration,
    pub build_on_create: bool,
    pub user: Option<Sourced<String>>,
    pub stop_grace: Duration,
    pub hook_timeout: Duration,
    pub default_workspace: Option<crate::model::WorkspaceName>,
    pub network_isolation: bool,
    pub runtime: Option<String>,
    pub subnet: Option<Subnet>,
    pub resources: Resources,
    pub limits: Limits,
    pub env: BTreeMap<String, Sourced<String>>,
    pub mounts: Vec<Mount>,
    /// By host name; each with the lines that pin its keys.
    pub git_hosts: BTreeMap<String, Vec<String>>,
    /// By registry host.
    pub registries: BTreeMap<String, Registry>,
    /// By name.
    pub secrets: BTreeMap<String, SecretFile>,
}

/// The host file that holds a secret, as it was when the configuration was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretFile {
    pub path: PathBuf,
    pub stamp: FileStamp,
}

/// A day of the week, ordered from Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(pub Weekday);

impl Ord for Day {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_monday_zero_offset().cmp(&other.0.to_monday_zero_offset())
    }
}

impl PartialOrd for Day {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a workspace gets. `None` is unlimited.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    pub cpus: Sourced<Option<Cpus>>,
    pub memory: Sourced<Option<Bytes>>,
    pub pids: Sourced<u32>,
    pub shm: Sourced<Bytes>,
    pub gpus: Sourced<u32>,
}

/// Ceilings; `None` is no ceiling.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    pub cpus: Option<Cpus>,
    pub memory: Option<Bytes>,
    pub pids: Option<u32>,
    pub shm: Option<Bytes>,
    pub gpus: Option<u32>,
    pub workspaces_per_user: Option<u32>,
    pub ports: Vec<PortRange>,
}

/// A host path mounted into every workspace of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// Credentials for a registry. The password is read from its file when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    pub username: String,
    pub password_file: PathBuf,
}

/// `[users.X]`
#[derive(Debug, Clone)]
pub struct User {
    pub name: UserName,
    pub declared_at: Origin,
    pub written: Written,
    pub account: String,
    pub orgs: Vec<OrgName>,
    pub full_name: Option<String>,
    pub email: Option<String>,
    pub timezone: Option<Sourced<Zone>>,
    pub ssh_keys: Vec<String>,
    /// Whether the host account's own `authorized_keys` file counts too.
    pub authorized_keys: bool,
    pub dotfiles: Option<String>,
    pub auto_start: Option<Sourced<AutoStart>>,
}

/// When a workspace starts by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "text::AutoStartText", into = "text::AutoStartText")]
pub enum AutoStart {
    Never,
    At { time: Time, days: Option<BTreeSet<Day>> },
}

/// A declared workspace, defaults of user and org laid under it.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub org: OrgName,
    pub declared_at: Origin,
    /// The keys of its own table; all else comes from the user, the org or nobody.
    pub written: Written,
    pub image: Sourced<String>,
    pub resources: Resources,
    pub auto_off: Sourced<Limit>,
    pub auto_start: Sourced<AutoStart>,
    pub timezone: Sourced<Zone>,
    pub ports: Sourced<Vec<PortMapping>>,
    /// The org's, with the workspace's laid over it.
    pub env: BTreeMap<String, Sourced<String>>,
}

impl Settings {
    /// Returns the org of a declared workspace.
    ///
    /// # Panics
    /// Never for a workspace of the same `Settings`: the check refuses one of an unknown org.
    pub fn org_of(&self, workspace: &Workspace) -> &Org {
        &self.orgs[&workspace.org]
    }

    /// Returns the users whose host account is `account`; normally none or one.
    pub fn users_of_account<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a User> {
        self.users.values().filter(move |user| user.account == account)
    }
}
