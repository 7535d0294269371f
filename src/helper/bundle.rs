//! What hearthd and its binary inside a container say to each other around a build: one JSON document on standard
//! input, one JSON report back. Shared by both ends; unknown fields are passed over, for the two may be of
//! neighbouring versions.
//!
//! A report comes from inside a container: hearthd takes every text in it as hostile (rule X4).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::model::{Hook, Moment, WarningKind};

pub use crate::model::inside::{BINARY, RUN_DIR};

/// The image's own hook (rule H2).
pub const CONFIGURE: &str = "/coder/configure";

/// Bytes that nothing prints and that are wiped when dropped; base64 in JSON.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Returns the bytes as a secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretSlice::from(bytes))
    }

    /// Returns the bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(self.expose()));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The decoder's own error quotes a byte of the input.
        STANDARD.decode(&*text).map(Secret::new).map_err(|_| serde::de::Error::custom("a secret is not base64"))
    }
}

/// The image's user, as resolved from the image (rule L4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhabitant {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Where the home is mounted.
    pub home: String,
}

/// What `hearth inject` is told (rule H1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InjectRequest {
    pub user: Inhabitant,
    /// No build of this home succeeded yet: all of it is given to the user (rule L5).
    pub fresh_home: bool,
    /// None where the one that is there is to stay: programs that run hold it.
    pub token: Option<Secret>,
    pub git: Git,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
}

/// What git and ssh need.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Git {
    /// In OpenSSH's format.
    pub private_key: Secret,
    /// One line.
    pub public_key: String,
    /// Lines of a known_hosts file: the pinned hosts.
    pub known_hosts: Vec<String>,
    pub name: Option<String>,
    pub email: Option<String>,
}

/// What `hearth inject` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectReport {
    /// Why it failed: then the build fails (rule L8).
    #[serde(default)]
    pub failure: Option<String>,
    /// What could not be done and hinders nobody.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// How many files of the home changed their owner.
    #[serde(default)]
    pub given: u64,
    #[serde(default)]
    pub facts: Facts,
}

/// What `hearth own` answers: how many entries of a home changed their owner (rule L5).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owned {
    pub given: u64,
    /// Those that could not be changed, and why the first of them.
    #[serde(default)]
    pub failed: u64,
    #[serde(default)]
    pub error: Option<String>,
}

/// What `hearth changed` answers: when anything of a home was last changed (rule L10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub at: Moment,
    /// Those that could not be looked at, and why the first of them.
    pub failed: u64,
    pub error: Option<String>,
}

/// What `hearth measure` answers: the bytes of disk that a home takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub bytes: u64,
}

/// After which `hearth measure` has ended, whatever it looks at.
pub const MEASURE_LIMIT: Duration = Duration::from_secs(30);

/// Something to warn of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub kind: WarningKind,
    pub message: String,
}

impl Note {
    /// Returns a note of that kind.
    pub fn new(kind: WarningKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// How the container looks to its user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Whether there is a `/coder/configure`.
    pub configure: bool,
    pub personalize: Personalize,
    pub git: bool,
    pub ssh: bool,
    /// What people get; `None` where the image has no shell.
    pub shell: Option<String>,
    /// The one that passwd names, where it cannot be run.
    pub missing_shell: Option<String>,
    pub home: Home,
}

/// What lies at `~/personalize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personalize {
    #[default]
    Nothing,
    /// The default, as it was written: comments, nothing to run.
    Default,
    /// The user's own.
    Own,
}

/// Whether the user can write into the home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Home {
    #[default]
    Writable,
    Full,
    /// With the error's text.
    NotWritable(String),
}

/// What `hearth hook` is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRequest {
    pub home: String,
    /// What of the user's dotfiles is cloned; `personalize` alone looks at it.
    #[serde(default)]
    pub dotfiles: Option<String>,
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL once the timeout has passed.
    pub grace: Duration,
}

/// What `hearth hook` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    pub steps: Vec<StepReport>,
    pub facts: Facts,
}

/// How one hook went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub hook: Hook,
    pub end: StepEnd,
    #[serde(default)]
    pub notes: Vec<Note>,
    /// The last lines of output, as printed.
    #[serde(default)]
    pub tail: Vec<String>,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnd {
    /// There is no such hook.
    Nothing,
    Exited(i32),
    /// By that signal.
    Signalled(i32),
    TimedOut,
    /// It is there and could not be run.
    NotRun(Note),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_secrets_are_never_printed_and_survive_the_way() {
        let secret = Secret::new(b"hunter2\n\xff".to_vec());
        assert!(!format!("{secret:?}").contains("hunter2"));
        let json = serde_json::to_string(&secret).unwrap();
        assert!(!json.contains("hunter2"));
        assert_eq!(serde_json::from_str::<Secret>(&json).unwrap().expose(), b"hunter2\n\xff");
        let error = serde_json::from_str::<Secret>("\"hunter2!\"").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_report_of_another_version_is_read() {
        let report: InjectReport = serde_json::from_str(r#"{"novelty": 1, "given": 3}"#).unwrap();
        assert_eq!(report.given, 3);
    }
}
