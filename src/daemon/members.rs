//! What members set for themselves (rule C7): remembered at the start, changed by request.

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Context;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::config::Members;
use crate::store::Store;

/// Returns what the database says. What cannot be read counts as not set, and the files hold.
pub(super) async fn remember(store: &Store) -> anyhow::Result<Members> {
    let kept = store.all_settings().await.context("cannot read what members set")?;
    Ok(Members { users: read(kept.users), workspaces: read(kept.workspaces) })
}

fn read<K: Ord + Display, V: DeserializeOwned>(kept: BTreeMap<K, String>) -> BTreeMap<K, V> {
    let mut read = BTreeMap::new();
    for (owner, json) in kept {
        match serde_json::from_str(&json) {
            Ok(settings) => drop(read.insert(owner, settings)),
            Err(error) => warn!("what was set for `{owner}` cannot be read and does not count: {error}"),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn c7_a_row_that_cannot_be_read_is_left_out_and_takes_no_other_with_it() {
        let store = Store::in_memory().unwrap();
        let (good, bad) = ("alice/main".parse().unwrap(), "bob/main".parse().unwrap());
        store.set_member_settings(&good, Some(r#"{"cpus":2.0,"auto_off":"4h"}"#.into())).await.unwrap();
        store.set_member_settings(&bad, Some(r#"{"cpus":"many"}"#.into())).await.unwrap();
        store.set_user_settings(&"bob".parse().unwrap(), Some(r#"{"email":"b@x"}"#.into())).await.unwrap();
        let members = remember(&store).await.unwrap();
        assert_eq!(members.workspaces.len(), 1);
        assert!(members.workspaces[&good].cpus.is_some());
        assert_eq!(members.users.len(), 1);
    }
}
