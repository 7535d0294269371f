//! The JSON of the API, shared by hearthd and the command line (design section 8).
//!
//! Times are RFC 3339 in UTC, durations in seconds, sizes in bytes; what is absent is `null`, never left out.

mod audit;
mod settings;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use audit::{AUDIT_LINES, AUDIT_LINES_AT_MOST, AuditLine};
pub use settings::{
    Away, LastStart, NoStart, Schedule, ScheduleDay, Setting, SettingsChanged, SettingsEffect, SettingsRequest,
    TakesEffect,
};

use crate::model::{
    BuildNumber, BuildReason, BuildResult, Moment, OrgName, Outdated, Stage, StateName, UserName, Warning, WorkspaceId,
    WorkspaceName,
};

/// One workspace, as `hearth list --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    #[schema(value_type = String, example = "alice/main")]
    pub workspace: WorkspaceId,
    #[schema(value_type = String)]
    pub user: UserName,
    #[schema(value_type = String)]
    pub name: WorkspaceName,
    #[schema(value_type = String)]
    pub org: OrgName,
    /// The image of its next build; null where no file declares it and it was never built.
    pub image: Option<String>,
    #[schema(value_type = String)]
    pub state: StateName,
    #[schema(value_type = String, format = DateTime)]
    pub since: Moment,
    #[schema(value_type = Vec<Object>)]
    pub warnings: Vec<Warning>,
    #[schema(value_type = Vec<String>)]
    pub outdated: Vec<Outdated>,
    pub build: Option<Build>,
    pub last_activity: Option<LastActivity>,
    pub auto_off: AutoOff,
    pub auto_start: AutoStart,
    pub resources: Resources,
    pub usage: Usage,
    /// Open connections; null where they are not looked at.
    pub connections: Option<u32>,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    #[schema(value_type = u32)]
    pub number: BuildNumber,
    #[schema(value_type = String)]
    pub reason: BuildReason,
    #[schema(value_type = Option<String>)]
    pub stage: Option<Stage>,
    pub requester: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Moment>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Moment>,
    #[schema(value_type = Option<String>)]
    pub result: Option<BuildResult>,
}

/// The last evidence of use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastActivity {
    #[schema(value_type = String, format = DateTime)]
    pub at: Moment,
    pub kind: String,
    pub who: Option<String>,
    pub from: Option<String>,
}

/// When it goes off by itself. `threshold` is null for "never".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AutoOff {
    pub threshold: Option<u64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Moment>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub held_until: Option<Moment>,
}

/// When it starts by itself. `at` is the local time, null for "never".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AutoStart {
    pub at: Option<String>,
    pub zone: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Moment>,
}

/// What it gets; null is unlimited. All are null where no file declares the workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    pub cpus: Option<f64>,
    pub memory: Option<u64>,
    pub pids: Option<u32>,
}

/// What it uses, as of the last sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Cores. Null where it does not run, or is not known yet.
    pub cpu: Option<f64>,
    /// Bytes, caches that can be given back not counted. Null where it does not run, or is not known yet.
    pub memory: Option<u64>,
    /// Bytes of disk that its home takes, measured at most hourly while it runs and kept while it is off. Null where that
    /// was not done since hearthd started, or where the home cannot be seen whole: it holds millions of files, or some that
    /// its user may not look at.
    pub home_bytes: Option<u64>,
}

/// One workspace in full: what `hearth show --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceDetail {
    #[serde(flatten)]
    pub summary: Workspace,
    /// Whether a file declares it.
    pub declared: bool,
    pub home: Option<String>,
    pub container: Option<String>,
    pub username: Option<String>,
    pub image_digest: Option<String>,
    /// Why the last build failed.
    pub failure: Option<String>,
    /// Why the state is as it is, and what comes next.
    pub because: String,
    pub stages: Vec<StageTime>,
    pub ports: Vec<String>,
}

/// How long a stage took, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageTime {
    #[schema(value_type = String)]
    pub stage: Stage,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Moment,
    pub seconds: Option<f64>,
}

/// A build with its stages and warnings, as `GET …/builds` lists them, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BuildDetail {
    #[serde(flatten)]
    pub build: Build,
    #[schema(value_type = String, format = DateTime)]
    pub queued_at: Moment,
    pub image: String,
    pub image_digest: Option<String>,
    pub failure: Option<String>,
    #[schema(value_type = Vec<Object>)]
    pub warnings: Vec<Warning>,
    pub stages: Vec<StageTime>,
}

/// A home, as `hearth home list --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Home {
    /// The volume's name.
    pub home: String,
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Null where the workspace is not known.
    #[schema(value_type = Option<String>)]
    pub org: Option<OrgName>,
    #[schema(value_type = String)]
    pub state: HomeState,
    /// While it is in the trash: until when it can be restored for sure; null where it stays.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Moment>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Moment>,
    pub deleted_by: Option<String>,
    /// What it takes on disk, where that is known.
    pub bytes: Option<u64>,
    /// What is unusual about it.
    pub note: Option<String>,
}

/// What a home is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HomeState {
    /// The current one of a workspace that a file declares.
    InUse,
    /// No file declares its workspace, or the database does not know it.
    Orphaned,
    InTrash,
}

/// The body of `start` and `rebuild`; empty is a person's request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StartRequest {
    /// `connect` when somebody is about to enter.
    #[schema(value_type = Option<String>)]
    pub reason: Option<BuildReason>,
    /// Whether somebody who connects sits at a terminal. One who does not, such as an IDE that connects again, does
    /// not start what was stopped a moment ago (rule W2).
    pub interactive: bool,
}

/// The reply to `start`, `rebuild`, `cancel`, `personalize`; `build` is null where nothing had to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    #[schema(value_type = Option<u32>)]
    pub build: Option<BuildNumber>,
}

/// The body of `hold`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HoldRequest {
    /// How long; null is as long as the org allows.
    pub seconds: Option<u64>,
    /// It stands only while it is renewed: for somebody who holds until a command ends.
    pub until_command_ends: bool,
    /// Renews this one instead of asking for another.
    pub renew: Option<u64>,
    pub message: Option<String>,
}

/// A hold that was granted or renewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Holding {
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Its number.
    pub hold: u64,
    /// When it ends at the latest.
    #[schema(value_type = String, format = DateTime)]
    pub until: Moment,
    /// After how many seconds without being renewed it ends; null for one that needs no renewing.
    pub renew_within: Option<u64>,
}

/// The body of `release`; empty ends all holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReleaseRequest {
    pub hold: Option<u64>,
}

/// How many holds were ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    pub released: usize,
}

/// Why a workspace is on or goes off: `GET …/why`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    #[schema(value_type = String)]
    pub org: OrgName,
    #[schema(value_type = String)]
    pub state: StateName,
    #[schema(value_type = String, format = DateTime)]
    pub since: Moment,
    /// In one sentence, times in UTC.
    pub because: String,
    /// Null where it does not run, like all that follows but holds.
    pub rule: Option<AutoOffRule>,
    pub outlook: Option<WhyOutlook>,
    /// What would be without the holds; null where there are none.
    pub without_holds: Option<WhyOutlook>,
    pub holds: Vec<HoldOf>,
    /// What is open, and what counts of it.
    pub evidence: Vec<SeenUse>,
    /// Its own connections to elsewhere, which never count.
    pub outgoing: Vec<OutgoingTo>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub looked_at: Option<Moment>,
}

/// The threshold in force, and where it was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AutoOffRule {
    /// Null for "never".
    pub threshold: Option<u64>,
    /// `FILE:LINE:COL`, `default` or `hearth set`.
    pub said_in: String,
}

/// Whether and when a workspace goes off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyOutlook {
    /// `at` a time, `kept` on, `never`, or `blind`: it stays on because connections cannot be seen.
    pub off: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Moment>,
    pub kept_by: Vec<String>,
    pub blind: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub idle_since: Moment,
    pub idle_from: String,
}

/// A hold that stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HoldOf {
    pub hold: u64,
    pub by: String,
    pub from: String,
    pub message: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub since: Moment,
    #[schema(value_type = String, format = DateTime)]
    pub until: Moment,
    pub until_command_ends: bool,
}

/// Something that is open, and whether it counts as use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeenUse {
    /// `entry exec connection`
    pub kind: String,
    pub who: Option<String>,
    pub from: Option<String>,
    /// Of a connection: the container's.
    pub port: Option<u16>,
    pub counts: bool,
    pub how: String,
}

/// A connection of the workspace's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutgoingTo {
    pub protocol: String,
    pub peer: String,
}

/// The body of a reload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadRequest {
    pub yes: bool,
}

/// What a reload did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    pub changes: Vec<String>,
}

/// `GET /v1/status`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Moment,
    pub instance: String,
    /// Whom hearthd takes the caller for.
    pub you: You,
    pub docker: DockerStatus,
    pub config: ConfigStatus,
    /// How many workspaces the caller may see, by state.
    pub workspaces: std::collections::BTreeMap<String, u32>,
    /// What is worth knowing and not an error: foreign objects, a missing capability.
    pub notes: Vec<String>,
}

/// Whom hearthd takes the caller for. A workspace named without its user is one of `users`' own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct You {
    /// The host account, or the workspace that a process inside one calls from; as the audit log has it.
    pub name: String,
    /// The users whose account it is: normally one, none for an account that has no `[users]` entry.
    #[schema(value_type = Vec<String>)]
    pub users: Vec<UserName>,
    pub admin: bool,
    /// For a process inside a workspace: which one.
    #[schema(value_type = Option<String>)]
    pub inside: Option<WorkspaceId>,
}

/// The engine's part of the status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DockerStatus {
    pub reachable: bool,
    pub version: Option<String>,
    pub api: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub away_since: Option<Moment>,
    pub error: Option<String>,
}

/// The configuration's part of the status. The rejected text is shown to admins and auditors only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigStatus {
    pub path: String,
    #[schema(value_type = String, format = DateTime)]
    pub in_force_since: Moment,
    pub from_copy: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rejected_since: Option<Moment>,
    pub rejected: Option<String>,
}

/// One effective value, as `hearth config show` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveValue {
    pub key: String,
    pub value: String,
    /// `FILE:LINE:COL`, `default` or `hearth set`.
    pub origin: String,
}

/// A user's public Git key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GitKey {
    #[schema(value_type = String)]
    pub user: UserName,
    pub public_key: String,
}

/// Every error's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    pub code: ErrorCode,
    pub message: String,
    /// The next command to type, or what to look at.
    pub hint: Option<String>,
}

/// What kind of error it is; the command line's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense (400).
    BadRequest,
    /// The configuration is not accepted (422).
    BadConfiguration,
    /// The token is missing or wrong (401).
    Unauthorized,
    /// Not permitted (403).
    Forbidden,
    /// No such workspace, build or user (404).
    NotFound,
    /// It is in another state than the request needs (409).
    Conflict,
    /// Too many requests (429).
    TooMany,
    /// Docker is away (503).
    DockerAway,
    /// hearthd is starting or stopping (503).
    Unavailable,
    /// hearthd itself failed (500).
    Internal,
}

impl ErrorCode {
    /// Returns the HTTP status that goes with it.
    pub fn http_status(self) -> u16 {
        match self {
            ErrorCode::BadRequest => 400,
            ErrorCode::Unauthorized => 401,
            ErrorCode::Forbidden => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::Conflict => 409,
            ErrorCode::BadConfiguration => 422,
            ErrorCode::TooMany => 429,
            ErrorCode::Internal => 500,
            ErrorCode::DockerAway | ErrorCode::Unavailable => 503,
        }
    }

    /// Returns the exit code of `hearth` that goes with it (design section 8).
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorCode::BadRequest | ErrorCode::BadConfiguration => 2,
            ErrorCode::DockerAway | ErrorCode::Unavailable => 3,
            ErrorCode::Unauthorized | ErrorCode::Forbidden => 4,
            ErrorCode::NotFound => 5,
            ErrorCode::Conflict => 6,
            ErrorCode::TooMany | ErrorCode::Internal => 1,
        }
    }
}
