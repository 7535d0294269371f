//! What members set for themselves (rule C7): remembered at the start, changed by request.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::reconcile::{Reconciler, failed};
use super::reload::LineWaiter;
use crate::config::change::{self, Changes};
use crate::config::set::{self, Edits};
use crate::config::settings::Origin;
use crate::config::show::{self, Row};
use crate::config::{InForce, Members};
use crate::decide::Observed;
use crate::handle::{Effect, Owner, Reply, RequestError, SettingsChanged, When};
use crate::model::{Requester, WorkspaceId};
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

impl Reconciler {
    /// Changes what a member set, and brings running workspaces in line with it (rules C6, C7): while Docker is away that
    /// is left for its return.
    pub(super) async fn set(
        &mut self,
        owner: Owner,
        edits: Edits,
        requester: &Requester,
        reply: Reply<SettingsChanged>,
    ) {
        match self.take_settings(&owner, &edits, requester).await {
            Ok(answer) => {
                let all = self.settings.workspaces.keys();
                let own: Vec<_> = match owner {
                    Owner::Workspace(id) => vec![id],
                    Owner::User(user) => all.filter(|id| id.user == user).cloned().collect(),
                };
                let workspaces = own.into_iter().filter(|id| self.bring_one_in_line(id)).collect();
                self.set_waiters.push(LineWaiter::new(workspaces, reply, answer, self.executor.now()));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    async fn take_settings(
        &mut self,
        owner: &Owner,
        edits: &Edits,
        requester: &Requester,
    ) -> Result<SettingsChanged, RequestError> {
        let was = self.in_force();
        let mut members = Members::clone(&was.members);
        let kept = match owner {
            Owner::Workspace(id) => {
                if !was.settings.workspaces.contains_key(id) {
                    return Err(RequestError::NotDeclared(id.clone()));
                }
                let own = set::workspace(&was, id, edits)?;
                let json = (!own.is_empty()).then(|| json(&own));
                let kept = self.executor.store().set_member_settings(id, json).await;
                members.workspaces.insert(id.clone(), own);
                members.workspaces.retain(|_, own| !own.is_empty());
                kept
            }
            Owner::User(user) => {
                let me = set::user(&was, user, edits)?;
                let json = (!me.is_empty()).then(|| json(&me));
                let kept = self.executor.store().set_user_settings(user, json).await;
                members.users.insert(user.clone(), me);
                members.users.retain(|_, me| !me.is_empty());
                kept
            }
        };
        kept.map_err(|error| failed(&error))?;
        self.members = Arc::new(members);
        let keys: Vec<&str> = edits.set.keys().chain(&edits.reset).map(String::as_str).collect();
        info!(requester = %requester, "{} of `{}` changed", keys.join(", "), owner);
        let changes = change::by_members(&was.settings, &was.members, &self.members);
        let effects = changes.into_iter().flat_map(|(id, changes)| self.effects(&id, changes)).collect();
        let after = named(&self.in_force(), owner, edits);
        Ok(SettingsChanged { before: named(&was, owner, edits), after, effects })
    }

    /// Says when changes count; what a running container takes over at once, it may yet refuse.
    fn effects(&self, id: &WorkspaceId, changes: Changes) -> Vec<Effect> {
        let runs = self.world.workspaces.get(id).is_some_and(|tracked| tracked.observed != Observed::None);
        let texts = |keys: Vec<&'static str>| keys.into_iter().map(str::to_owned);
        let names = |keys: Vec<crate::model::Outdated>| keys.into_iter().map(|key| key.to_string());
        let live = names(changes.live).chain(texts(changes.renewed));
        let outdated = names(changes.outdated).chain(texts(changes.next));
        let (at_once, next): (Vec<_>, Vec<_>) = match runs {
            true => (texts(changes.at_once).chain(live).collect(), outdated.collect()),
            false => (texts(changes.at_once).collect(), live.chain(outdated).collect()),
        };
        [(at_once, When::AtOnce), (next, When::NextBuild)]
            .into_iter()
            .filter(|(keys, _)| !keys.is_empty())
            .map(|(keys, when)| Effect { workspace: id.clone(), keys, when })
            .collect()
    }
}

/// What is in force of the keys that were named; a variable that is not there is said to be none.
fn named(in_force: &InForce, owner: &Owner, edits: &Edits) -> Vec<Row> {
    let all = match owner {
        Owner::Workspace(id) => show::settable(in_force, id),
        Owner::User(user) => show::of_user(in_force, user),
    };
    let mut rows = Vec::new();
    for key in edits.set.keys().chain(&edits.reset) {
        let before = rows.len();
        rows.extend(all.iter().filter(|row| row.key == *key || key == "env" && row.key.starts_with("env.")).cloned());
        if rows.len() == before {
            rows.push(Row { key: key.clone(), value: "none".into(), origin: Origin::Default });
        }
    }
    rows
}

fn json(settings: &impl Serialize) -> String {
    serde_json::to_string(settings).expect("settings are text, numbers and lists of them")
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
