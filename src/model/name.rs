//! Names of orgs, users, workspaces and instances (rule C3): parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

const RULE: &str = "a lower-case letter, then at most 31 lower-case letters, digits or `-`";

fn is_valid(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 32
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, text: text.chars().take(64).collect(), rule: RULE })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// The name of an org.
    OrgName,
    "org name"
);
name!(
    /// The name of a user; the host account may have another.
    UserName,
    "user name"
);
name!(
    /// The name of a workspace among its owner's.
    WorkspaceName,
    "workspace name"
);
name!(
    /// What tells several hearthds on one engine apart; the first part of every Docker name we make.
    InstanceName,
    "instance name"
);

/// A workspace, written `alice/main`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceId {
    pub user: UserName,
    pub name: WorkspaceName,
}

impl WorkspaceId {
    /// Returns the workspace `name` of `user`.
    pub fn new(user: UserName, name: WorkspaceName) -> Self {
        Self { user, name }
    }
}

impl FromStr for WorkspaceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((user, name)) = text.split_once('/') else {
            let text = text.chars().take(80).collect();
            return Err(NameError { what: "workspace", text, rule: "write it as `user/name`" });
        };
        Ok(Self { user: user.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for WorkspaceId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<WorkspaceId> for String {
    fn from(id: WorkspaceId) -> String {
        id.to_string()
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.user, self.name))
    }
}

impl fmt::Debug for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}/{}\"", self.user, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_names_are_lower_case_and_short() {
        for good in ["a", "alice", "a-1", "a2345678901234567890123456789012"] {
            assert_eq!(good.parse::<UserName>().unwrap().as_str(), good);
        }
        for bad in ["", "A", "1a", "-a", "a.b", "a_b", "a/b", "é", "a23456789012345678901234567890123"] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_workspace_is_user_slash_name() {
        let id: WorkspaceId = "alice/main".parse().unwrap();
        assert_eq!(id.to_string(), "alice/main");
        assert!("alice".parse::<WorkspaceId>().is_err());
        assert!("alice/main/x".parse::<WorkspaceId>().is_err());
    }
}
