//! What members set by command (rule C7), the last accepted configuration (rule C1), and single values.
//!
//! Settings are JSON whose meaning is `config`'s.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::row::At;
use super::{Store, StoreError};
use crate::model::{Moment, UserName, WorkspaceId};

const ACCEPTED_AT: &str = "accepted-at";

/// Everything that members set, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberSettings {
    pub users: BTreeMap<UserName, String>,
    pub workspaces: BTreeMap<WorkspaceId, String>,
}

/// The last configuration that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedConfig {
    pub at: Moment,
    /// Path and text, in the order in which they were read.
    pub files: Vec<(String, String)>,
}

impl Store {
    /// Returns what members set, of all users and workspaces.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn all_settings(&self) -> Result<MemberSettings, StoreError> {
        self.read(|tx| {
            let mut all = MemberSettings::default();
            let mut statement = tx.prepare_cached("SELECT owner, settings FROM member_settings")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (owner, settings): (String, String) = (row.get(0)?, row.get(1)?);
                if let Ok(workspace) = owner.parse() {
                    all.workspaces.insert(workspace, settings);
                } else if let Ok(user) = owner.parse() {
                    all.users.insert(user, settings);
                }
            }
            Ok(all)
        })
        .await
    }

    /// Returns what was set for a workspace, as JSON.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn member_settings(&self, workspace: &WorkspaceId) -> Result<Option<String>, StoreError> {
        self.settings_of(workspace.to_string()).await
    }

    /// Replaces what is set for a workspace; `None` takes all of it back.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn set_member_settings(&self, workspace: &WorkspaceId, json: Option<String>) -> Result<(), StoreError> {
        self.set_settings_of(workspace.to_string(), json).await
    }

    /// Returns what a user set for themselves, as JSON.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn user_settings(&self, user: &UserName) -> Result<Option<String>, StoreError> {
        self.settings_of(user.to_string()).await
    }

    /// Replaces what a user set for themselves; `None` takes all of it back.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn set_user_settings(&self, user: &UserName, json: Option<String>) -> Result<(), StoreError> {
        self.set_settings_of(user.to_string(), json).await
    }

    async fn settings_of(&self, owner: String) -> Result<Option<String>, StoreError> {
        self.read(move |tx| {
            let sql = "SELECT settings FROM member_settings WHERE owner = ?1";
            Ok(tx.prepare_cached(sql)?.query_row([owner], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn set_settings_of(&self, owner: String, json: Option<String>) -> Result<(), StoreError> {
        self.write(move |tx| {
            match json {
                Some(json) => tx.execute("REPLACE INTO member_settings VALUES (?1, ?2)", [owner, json])?,
                None => tx.execute("DELETE FROM member_settings WHERE owner = ?1", [owner])?,
            };
            Ok(())
        })
        .await
    }

    /// Returns a single value, such as the boot id that the recorded spans belong to.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn meta(&self, key: &'static str) -> Result<Option<String>, StoreError> {
        self.read(move |tx| meta(tx, key)).await
    }

    /// Replaces a single value.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn set_meta(&self, key: &'static str, value: &str) -> Result<(), StoreError> {
        let value = value.to_owned();
        self.write(move |tx| {
            tx.execute("REPLACE INTO meta VALUES (?1, ?2)", params![key, value])?;
            Ok(())
        })
        .await
    }

    /// Returns the last configuration that was accepted, if there was one.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn accepted_config(&self) -> Result<Option<AcceptedConfig>, StoreError> {
        self.read(|tx| {
            let sql = "SELECT value FROM meta WHERE key = ?1";
            let at: Option<At> = tx.query_row(sql, [ACCEPTED_AT], |row| row.get(0)).optional()?;
            let Some(At(at)) = at else { return Ok(None) };
            let mut statement = tx.prepare("SELECT path, text FROM accepted_file ORDER BY position")?;
            let files = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            Ok(Some(AcceptedConfig { at, files }))
        })
        .await
    }

    /// Replaces the last accepted configuration.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn set_accepted_config(&self, files: Vec<(String, String)>, at: Moment) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM accepted_file", [])?;
            for (path, text) in files {
                tx.execute("INSERT INTO accepted_file (path, text) VALUES (?1, ?2)", [path, text])?;
            }
            tx.execute("REPLACE INTO meta VALUES (?1, ?2)", params![ACCEPTED_AT, At(at)])?;
            Ok(())
        })
        .await
    }
}

fn meta(tx: &Transaction<'_>, key: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    Ok(tx.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn c7_settings_of_a_workspace_and_of_its_user_are_apart() {
        let store = Store::in_memory().unwrap();
        let (workspace, user): (WorkspaceId, UserName) = ("alice/main".parse().unwrap(), "alice".parse().unwrap());
        store.set_member_settings(&workspace, Some(r#"{"cpus":2.0}"#.into())).await.unwrap();
        store.set_user_settings(&user, Some(r#"{"name":"A"}"#.into())).await.unwrap();
        store.set_user_settings(&user, Some(r#"{"name":"Alice"}"#.into())).await.unwrap();
        let all = store.all_settings().await.unwrap();
        assert_eq!(all.workspaces[&workspace], r#"{"cpus":2.0}"#);
        assert_eq!(all.users[&user], r#"{"name":"Alice"}"#);
        store.set_member_settings(&workspace, None).await.unwrap();
        assert_eq!(store.member_settings(&workspace).await.unwrap(), None);
        assert_eq!(store.user_settings(&user).await.unwrap().as_deref(), Some(r#"{"name":"Alice"}"#));
        assert!(store.set_user_settings(&user, Some("not json".into())).await.is_err());
    }

    #[tokio::test]
    async fn c1_the_last_accepted_configuration_is_kept_whole() {
        let store = Store::in_memory().unwrap();
        assert_eq!(store.accepted_config().await.unwrap(), None);
        let at = Moment::from_second(1_800_000_000).unwrap();
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let long = vec![file("/etc/z.toml", "a"), file("/etc/a.toml", "b"), file("/etc/m.toml", "c")];
        for files in [long, vec![file("/etc/hearth.toml", "[server]\n")]] {
            store.set_accepted_config(files.clone(), at).await.unwrap();
            assert_eq!(store.accepted_config().await.unwrap(), Some(AcceptedConfig { at, files }));
        }
    }

    #[tokio::test]
    async fn single_values_are_replaced() {
        let store = Store::in_memory().unwrap();
        assert_eq!(store.meta("boot").await.unwrap(), None);
        store.set_meta("boot", "a").await.unwrap();
        store.set_meta("boot", "b").await.unwrap();
        assert_eq!(store.meta("boot").await.unwrap().as_deref(), Some("b"));
    }
}
