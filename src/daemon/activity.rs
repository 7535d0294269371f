//! The loop's part in activity: ledgers are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{error, warn};

use super::reconcile::Reconciler;
use crate::activity::{Hold, HoldId, Ledger, SavedHold, SavedLedger};
use crate::model::{Now, Stamp, WorkspaceId};
use crate::store::{Kept, Store};

/// How far apart ledgers are kept: what a crash loses at most is as much as one sample tells.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What the loop keeps of ledgers.
pub(super) struct Memory {
    /// What tells this boot from others.
    boot_id: String,
    /// As they are in the database.
    kept: BTreeMap<WorkspaceId, SavedLedger>,
    kept_at: Option<Stamp>,
}

impl Memory {
    pub(super) fn new(boot_id: String) -> Self {
        Self { boot_id, kept: BTreeMap::new(), kept_at: None }
    }

    /// Returns what tells this boot of the host from every other.
    pub(super) fn boot_id(&self) -> &str {
        &self.boot_id
    }
}

impl Reconciler {
    /// Keeps what has changed of the ledgers, unless it did so a moment ago.
    pub(super) async fn keep_ledgers_if_due(&mut self, now: Now) {
        if self.memory.kept_at.is_none_or(|at| now.since(at) >= KEEP_EVERY) {
            self.memory.kept_at = Some(now.stamp());
            self.keep_ledgers().await;
        }
    }

    /// Keeps what has changed of the ledgers, in one commit.
    pub(super) async fn keep_ledgers(&mut self) {
        let Memory { boot_id, kept, .. } = &mut self.memory;
        let now = self.world.workspaces.iter().map(|(id, tracked)| (id, tracked.ledger.save(boot_id)));
        let changed: BTreeMap<_, _> =
            now.filter(|(id, saved)| kept.get(*id) != Some(saved)).map(|(id, saved)| (id.clone(), saved)).collect();
        let json: Kept =
            changed.iter().filter_map(|(id, saved)| Some((id.clone(), serde_json::to_string(saved).ok()?))).collect();
        match self.executor.store().keep_ledgers(json).await {
            Ok(()) => kept.extend(changed),
            Err(error) => error!("cannot record what is known of the workspaces' use: {error}"),
        }
    }
}

/// Takes up the ledgers and holds that the database has. What cannot be read is as if it were new: the idle clock
/// then counts from the start of hearthd.
pub(super) async fn remember(store: &Store, now: Now, boot_id: &str) -> anyhow::Result<BTreeMap<WorkspaceId, Ledger>> {
    let mut holds: BTreeMap<WorkspaceId, Vec<Hold>> = BTreeMap::new();
    for (number, id, json) in store.holds().await? {
        match serde_json::from_str::<SavedHold>(&json) {
            Ok(saved) => holds.entry(id).or_default().push(saved.hold(HoldId(number), now, boot_id)),
            Err(error) => warn!(workspace = %id, "cannot read a hold of `{id}`: {error}"),
        }
    }
    let mut ledgers = BTreeMap::new();
    for (id, json) in store.ledgers().await? {
        match serde_json::from_str::<SavedLedger>(&json) {
            Ok(saved) => {
                let held = holds.remove(&id).unwrap_or_default();
                ledgers.insert(id, saved.ledger(now, boot_id).with_holds(held));
            }
            Err(error) => warn!(workspace = %id, "cannot read what is known of the use of `{id}`: {error}"),
        }
    }
    ledgers.extend(holds.into_iter().map(|(id, held)| (id, Ledger::new(now).with_holds(held))));
    Ok(ledgers)
}
