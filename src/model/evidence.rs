//! What the sensors see of a workspace's use (rule P3): words that they and the ledger share.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Moment;

/// The kinds of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// `hearth ssh`, the gateway.
    Entry,
    /// `docker exec` with a terminal or an open standard input.
    Exec,
    /// A TCP connection from outside.
    Connection,
    Hold,
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EvidenceKind::Entry => "entry",
            EvidenceKind::Exec => "exec",
            EvidenceKind::Connection => "connection",
            EvidenceKind::Hold => "hold",
        })
    }
}

/// A piece of evidence that a person used a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub at: Moment,
    pub kind: EvidenceKind,
    /// The person or the host account, where it is known.
    pub who: Option<String>,
    /// An address, `host`, or `inside alice/main`.
    pub from: Option<String>,
}

/// What tells one open thing from all others of the same container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveKey {
    /// By its number in hearthd.
    Entry(u64),
    /// By Docker's id.
    Exec(String),
    /// By the kernel's cookie, in the container.
    Connection(u64),
    /// By the kernel's cookie, on the host: a connection to a published port.
    HostConnection(u64),
}

/// Something through which a person may be using a workspace at the moment of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub key: LiveKey,
    pub who: Option<String>,
    pub from: Option<String>,
    pub measure: Measure,
}

/// What is known of how an open thing is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// A TCP connection.
    Connection {
        peer: IpAddr,
        /// The container's.
        port: u16,
        /// Bytes both ways since it was opened.
        payload: u64,
        /// Since data went either way.
        data_idle: Duration,
        /// Since anything came, be it an acknowledgement.
        silent: Duration,
    },
    /// Counts while it is open.
    Open,
    /// As idle as its terminal. Only that `touched` moves tells of use, so that no step of a clock does.
    Terminal {
        touched: Moment,
        /// For how long after `touched` use may have gone unnoticed.
        unnoticed: Duration,
    },
}

impl Live {
    /// Returns what kind of evidence it is.
    pub fn kind(&self) -> EvidenceKind {
        match self.key {
            LiveKey::Entry(_) => EvidenceKind::Entry,
            LiveKey::Exec(_) => EvidenceKind::Exec,
            LiveKey::Connection(_) | LiveKey::HostConnection(_) => EvidenceKind::Connection,
        }
    }
}

/// A connection that the workspace itself made, or datagrams: never counted, but named (rule P6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outgoing {
    pub protocol: super::Protocol,
    /// `192.0.2.7:443`; for datagrams the port that is open.
    pub peer: String,
}

/// Everything that one look at a running workspace showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// The id of the container that was looked at.
    pub container: String,
    pub live: Vec<Live>,
    pub outgoing: Vec<Outgoing>,
    /// Why connections could not be seen, where they could not: nothing is concluded from their absence then.
    pub blind: Option<String>,
}
