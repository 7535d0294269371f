//! What members set, and when their workspaces start by themselves.

use std::fmt;

use jiff::civil::Date;

use super::{Handle, Request, RequestError};
use crate::config::set::Edits;
use crate::config::settings::Limit;
use crate::config::show::Row;
use crate::model::{Moment, Requester, UserName, WorkspaceId};
use crate::schedule::{Last, NextStart, Plan};

/// Whose settings are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Workspace(WorkspaceId),
    User(UserName),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Workspace(id) => id.fmt(f),
            Owner::User(user) => user.fmt(f),
        }
    }
}

/// What a change of settings did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsChanged {
    /// Of the keys that were named: what was in force, and what is.
    pub before: Vec<Row>,
    pub after: Vec<Row>,
    pub effects: Vec<Effect>,
}

/// When a change of a workspace's settings counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    pub workspace: WorkspaceId,
    pub keys: Vec<String>,
    pub when: When,
}

/// See [`Effect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    AtOnce,
    NextBuild,
}

/// When a workspace starts by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub plan: Plan,
    /// The last use by a person, or the declaration (rule S2a).
    pub last_used: Moment,
    pub pause_after: Limit,
    pub next: NextStart,
    /// The start that is being carried out.
    pub due: Option<Moment>,
    /// What became of the last one.
    pub last: Option<Last>,
}

impl Handle {
    /// Changes what a member set; replies when running workspaces have been brought in line.
    ///
    /// # Errors
    /// [`RequestError::Setting`] where it cannot be set so.
    pub async fn set(&self, owner: Owner, edits: Edits, requester: Requester) -> Result<SettingsChanged, RequestError> {
        self.ask(|reply| Request::Set { owner, edits, requester, reply }).await
    }

    /// Notes that a user is away until a day, on which they are back, or is back at once.
    ///
    /// # Errors
    /// [`RequestError::Setting`] where the day is not to come.
    pub async fn away(&self, user: UserName, until: Option<Date>, requester: Requester) -> Result<(), RequestError> {
        self.ask(|reply| Request::Away { user, until, requester, reply }).await
    }
}
