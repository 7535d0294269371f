//! A build: one run of the pipeline that makes a running workspace (rule L2).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Moment;

/// The number of a build within its workspace, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildNumber(pub u32);

impl fmt::Display for BuildNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a build was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildReason {
    Create,
    User,
    Admin,
    AutoStart,
    Connect,
    Config,
    Recovery,
}

impl fmt::Display for BuildReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::User => "user",
            Self::Admin => "admin",
            Self::AutoStart => "auto-start",
            Self::Connect => "connect",
            Self::Config => "config",
            Self::Recovery => "recovery",
        })
    }
}

/// The stages of a build, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Pull,
    Create,
    Start,
    Inject,
    Configure,
    Personalize,
}

impl Stage {
    /// All stages, in the order in which they run.
    pub const ALL: [Stage; 6] =
        [Stage::Pull, Stage::Create, Stage::Start, Stage::Inject, Stage::Configure, Stage::Personalize];

    /// Returns the stage's name as it stands in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Pull => "pull",
            Stage::Create => "create",
            Stage::Start => "start",
            Stage::Inject => "inject",
            Stage::Configure => "configure",
            Stage::Personalize => "personalize",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildResult {
    Ok,
    Failed,
    Cancelled,
}

/// Who asked for something: a host account, a user from inside a workspace, or hearthd itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requester(pub String);

impl Requester {
    /// Returns the requester of what hearthd does of itself.
    pub fn hearthd() -> Self {
        Self("hearthd".into())
    }
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    pub stage: Stage,
    pub started_at: Moment,
    /// Absent while the stage runs.
    pub took: Option<Duration>,
}

/// Where a warning comes from. Not every one is a hook's: a fallback image or a missing `git` warn too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    Pull,
    Inject,
    Configure,
    Dotfiles,
    Personalize,
    Container,
}

/// What kind of trouble a warning tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarningKind {
    /// The hook ended with a code other than 0.
    Exit,
    /// The hook was ended by a signal; `exit_code` is 128 + the signal.
    Signal,
    /// The hook ran longer than `hook_timeout`.
    Timeout,
    /// The file is there but cannot be executed (mode, interpreter, CRLF).
    NotExecutable,
    /// A program that the step needs is not in the image.
    Missing,
    /// The home has no room left.
    HomeFull,
    /// The image could not be pulled; the local one was used.
    StaleImage,
    /// The container is paused.
    Paused,
    /// Anything else; `message` says what.
    Other,
}

/// Something that went wrong without locking the user out (rule L8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub hook: Hook,
    pub kind: WarningKind,
    pub exit_code: Option<i32>,
    pub message: String,
    /// The last lines of the hook's output, at most 20, control characters neutralised.
    pub tail: Vec<String>,
}

/// One build as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub number: BuildNumber,
    pub reason: BuildReason,
    pub requester: Requester,
    pub queued_at: Moment,
    pub started_at: Option<Moment>,
    pub ended_at: Option<Moment>,
    /// The stage that runs, or the last one that ran.
    pub stage: Option<Stage>,
    pub stages: Vec<StageTiming>,
    /// Absent while it is queued or runs.
    pub result: Option<BuildResult>,
    /// Why it failed, for a person, with what to do next.
    pub failure: Option<String>,
    pub warnings: Vec<Warning>,
    pub image: String,
    pub image_digest: Option<String>,
}

impl BuildNumber {
    /// Returns the number of the build after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
