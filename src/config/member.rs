//! What members set for themselves (rule C7), as it is kept in the state database: nothing here was checked against
//! the org. [`effective`](super::effective) lays it over the files, bounded anew each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{AutoStart, Limit};
use crate::model::{Bytes, Cpus, PortMapping, UserName, WorkspaceId};

/// `hearth set WORKSPACE KEY=VALUE…`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberWorkspace {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_off: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_start: Option<AutoStart>,
    /// Laid over the file's, name by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<PortMapping>>,
}

/// `hearth set --me KEY=VALUE…`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberUser {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dotfiles: Option<String>,
    /// An IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_start: Option<AutoStart>,
}

/// Everything that members have set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members {
    pub users: BTreeMap<UserName, MemberUser>,
    pub workspaces: BTreeMap<WorkspaceId, MemberWorkspace>,
}
