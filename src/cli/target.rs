//! Which workspace a command is about: `user/name`, a `name` of the caller's own, or the one that we are in.

use std::str::FromStr;

use clap_complete::engine::ArgValueCandidates;

use super::client::Client;
use super::complete;
use super::endpoint::Endpoint;
use super::error::{Error, Kind, Result};
use crate::api::wire;
use crate::model::{NameError, UserName, WorkspaceId, WorkspaceName};

/// A workspace argument that may be left out inside a workspace.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct Target {
    /// Workspace: `name` of your own, or `user/name`; inside a workspace it can be left out
    #[arg(value_name = "WORKSPACE", add = ArgValueCandidates::new(complete::workspaces))]
    workspace: Option<Name>,
}

/// A workspace as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Own(WorkspaceName),
    Full(WorkspaceId),
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('/') { text.parse().map(Name::Full) } else { text.parse().map(Name::Own) }
    }
}

impl Target {
    /// Returns the argument that somebody else has read.
    pub(crate) fn of(workspace: Option<Name>) -> Self {
        Self { workspace }
    }

    /// Returns whether none is named.
    pub(crate) fn is_left_out(&self) -> bool {
        self.workspace.is_none()
    }

    /// Returns the workspace that is meant.
    pub(crate) async fn resolve(&self, client: &Client) -> Result<WorkspaceId> {
        match &self.workspace {
            Some(name) => name.resolve(client).await,
            None => this_one(client).await,
        }
    }
}

impl Name {
    /// Returns the workspace that is meant.
    pub(crate) async fn resolve(&self, client: &Client) -> Result<WorkspaceId> {
        let name = match self {
            Name::Full(id) => return Ok(id.clone()),
            Name::Own(name) => name,
        };
        let you = client.get::<wire::Status>("/v1/status").await?.you;
        if let [user] = &you.users[..] {
            return Ok(WorkspaceId::new(user.clone(), name.clone()));
        }
        let visible: Vec<wire::Workspace> = client.get("/v1/workspaces").await?;
        pick(name, &you, visible.into_iter().map(|workspace| workspace.workspace))
    }
}

/// Picks the caller's own workspace of that name, where hearthd knows the caller by no user's name or by several.
fn pick(name: &WorkspaceName, you: &wire::You, visible: impl Iterator<Item = WorkspaceId>) -> Result<WorkspaceId> {
    let own = |user: &UserName| you.users.is_empty() || you.users.contains(user);
    let candidates: Vec<WorkspaceId> = visible.filter(|id| id.name == *name && own(&id.user)).collect();
    let list = candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (&candidates[..], you.users.is_empty()) {
        ([], true) => {
            Err(Error::new(Kind::NotFound, format!("`{}` owns no workspaces, and sees none `{name}`", you.name))
                .hint("hearth list shows those that you may see"))
        }
        ([], false) => Err(Error::new(Kind::NotFound, format!("you have no workspace `{name}`"))
            .hint("hearth list shows what you have")),
        ([id], false) => Ok(id.clone()),
        (_, true) => Err(Error::new(Kind::Usage, format!("`{}` owns no workspaces: whose `{name}`?", you.name))
            .hint(format!("name its user too: {list}"))),
        (_, false) => Err(Error::new(Kind::Usage, format!("you have several workspaces `{name}`"))
            .hint(format!("name its user too: {list}"))),
    }
}

async fn this_one(client: &Client) -> Result<WorkspaceId> {
    let unnamed = || {
        Error::new(Kind::Usage, "which workspace? Outside of one it must be named")
            .hint("hearth list shows those that you may see")
    };
    match client.endpoint() {
        Endpoint::Host(_) => Err(unnamed()),
        Endpoint::Inside { .. } => match std::env::var("HEARTH_WORKSPACE").map(|text| text.parse()) {
            Ok(Ok(id)) => Ok(id),
            _ => client.get::<wire::Status>("/v1/status").await?.you.inside.ok_or_else(unnamed),
        },
    }
}

/// Returns the user that is meant: the caller, where none is named. `named` is how one would be.
pub(crate) async fn person(user: Option<UserName>, client: &Client, named: &str) -> Result<UserName> {
    match user {
        Some(user) => Ok(user),
        None => only_user(client.get::<wire::Status>("/v1/status").await?.you, named),
    }
}

fn only_user(you: wire::You, named: &str) -> Result<UserName> {
    let mut users = you.users.into_iter();
    match (users.next(), users.next()) {
        (Some(user), None) => Ok(user),
        (None, _) => {
            Err(Error::new(Kind::Usage, format!("`{}` is no user of hearth: who is meant?", you.name)).hint(named))
        }
        (Some(one), Some(other)) => Err(Error::new(Kind::Usage, "you are several users of hearth: who is meant?")
            .hint(format!("{named}, with {one} or {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(users: &[&str], visible: &[&str]) -> Result<String> {
        let users = users.iter().map(|user| user.parse().unwrap()).collect();
        let you = wire::You { name: "root".into(), users, admin: true, inside: None };
        let visible = visible.iter().map(|id| id.parse().unwrap());
        pick(&"main".parse().unwrap(), &you, visible).map(|id| id.to_string())
    }

    #[test]
    fn a_bare_name_means_ones_own_and_nobody_elses() {
        assert_eq!(picked(&["alice", "bob"], &["alice/main", "carol/main"]).unwrap(), "alice/main");

        let several = picked(&["alice", "bob"], &["alice/main", "bob/main", "carol/main"]).unwrap_err();
        assert_eq!(
            (several.kind, several.hint.unwrap().as_str()),
            (Kind::Usage, "name its user too: alice/main, bob/main")
        );

        let not_ours = picked(&[], &["alice/main", "alice/web"]).unwrap_err();
        assert_eq!((not_ours.kind, not_ours.hint.unwrap().as_str()), (Kind::Usage, "name its user too: alice/main"));

        assert_eq!(picked(&["alice", "bob"], &["carol/main"]).unwrap_err().kind, Kind::NotFound);
        assert_eq!(picked(&[], &["carol/web"]).unwrap_err().kind, Kind::NotFound);
    }

    #[test]
    fn a_name_is_checked_before_anything_is_asked() {
        assert_eq!("main".parse::<Name>().unwrap(), Name::Own("main".parse().unwrap()));
        assert_eq!("alice/main".parse::<Name>().unwrap(), Name::Full("alice/main".parse().unwrap()));
        for bad in ["", "Main", "a/b/c", "../x", "a/"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
