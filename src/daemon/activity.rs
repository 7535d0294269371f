//! What the loop keeps of workspaces over its restarts: their ledgers, and when their containers ended without being
//! asked (rule L9).

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{error, warn};

use super::reconcile::Reconciler;
use super::workspaces::World;
use crate::activity::{Hold, HoldId, Ledger, SavedHold, SavedLedger};
use crate::model::{Now, SavedStamp, Stamp, WorkspaceId};
use crate::store::{Kept, Store};

/// How far apart ledgers are kept at least.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What the loop keeps of ledgers.
pub(super) struct Memory {
    /// What tells this boot from others.
    boot_id: String,
    /// As they are in the database.
    kept: BTreeMap<WorkspaceId, Ledger>,
    ends: BTreeMap<WorkspaceId, Vec<SavedStamp>>,
    kept_at: Option<Stamp>,
}

impl Memory {
    /// Returns what knows that the database has these ends.
    pub(super) fn new(boot_id: String, world: &World) -> Self {
        let saved = |ends: &[Stamp]| ends.iter().map(|end| SavedStamp::of(*end, &boot_id)).collect();
        let some = world.workspaces.iter().filter(|(_, tracked)| !tracked.ends.is_empty());
        let ends = some.map(|(id, tracked)| (id.clone(), saved(&tracked.ends))).collect();
        Self { boot_id, kept: BTreeMap::new(), ends, kept_at: None }
    }

    /// Returns what tells this boot of the host from every other.
    pub(super) fn boot_id(&self) -> &str {
        &self.boot_id
    }
}

impl Reconciler {
    /// Keeps what has changed of the ledgers, unless it did so a moment ago; returns how long it is not to be done.
    pub(super) async fn keep_ledgers_if_due(&mut self, now: Now) -> Duration {
        let left = self.memory.kept_at.map_or(Duration::ZERO, |at| KEEP_EVERY.saturating_sub(now.since(at)));
        if !left.is_zero() {
            return left;
        }
        // What the next report brings is kept at once.
        if self.keep_ledgers().await {
            self.memory.kept_at = Some(now.stamp());
        }
        Duration::MAX
    }

    /// Keeps the ends that were seen since, and forgets those that do not count any more.
    pub(super) async fn keep_ends(&mut self) {
        let Memory { boot_id, ends: kept, .. } = &mut self.memory;
        let mut changed = BTreeMap::new();
        for (id, tracked) in &*self.world.workspaces {
            let now = tracked.ends.iter().map(|end| SavedStamp::of(*end, boot_id)).collect::<Vec<_>>();
            if kept.get(id).map_or(&[][..], Vec::as_slice) != now {
                changed.insert(id.clone(), now);
            }
        }
        let json: Kept =
            changed.iter().filter_map(|(id, ends)| Some((id.clone(), serde_json::to_string(ends).ok()?))).collect();
        match self.executor.store().keep_ends(json).await {
            Ok(()) => kept.extend(changed),
            Err(error) => error!("cannot record how often containers ended: {error}"),
        }
    }

    /// Keeps what has changed of the ledgers, in one commit; returns whether anything had.
    pub(super) async fn keep_ledgers(&mut self) -> bool {
        let (Memory { boot_id, kept, .. }, now) = (&mut self.memory, self.executor.now());
        let all = self.world.workspaces.iter().map(|(id, tracked)| (id, &tracked.ledger));
        let changed = all.filter(|(id, ledger)| kept.get(*id).is_none_or(|kept| !kept.is_kept_as(ledger)));
        let changed: BTreeMap<_, _> = changed.map(|(id, ledger)| (id.clone(), ledger.clone())).collect();
        let json = |(id, ledger): (&WorkspaceId, &Ledger)| {
            Some((id.clone(), serde_json::to_string(&ledger.save(now, boot_id)).ok()?))
        };
        let any = !changed.is_empty();
        match self.executor.store().keep_ledgers(changed.iter().filter_map(json).collect()).await {
            Ok(()) => kept.extend(changed),
            Err(error) => error!("cannot record what is known of the workspaces' use: {error}"),
        }
        any
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

/// Takes up the ends that were seen before. What cannot be read counts for nothing.
pub(super) async fn remember_ends(
    store: &Store,
    now: Now,
    boot_id: &str,
) -> anyhow::Result<BTreeMap<WorkspaceId, Vec<Stamp>>> {
    let mut ends = BTreeMap::new();
    for (id, json) in store.ends().await? {
        match serde_json::from_str::<Vec<SavedStamp>>(&json) {
            Ok(saved) => drop(ends.insert(id, saved.iter().map(|end| end.stamp(now, boot_id)).collect())),
            Err(error) => warn!(workspace = %id, "cannot read how often the container of `{id}` ended: {error}"),
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Anew;
    use crate::model::{Evidence, EvidenceKind, Moment, Power};

    fn at(boot: u64) -> Now {
        let wall = Moment::from_second(1_800_000_000 + i64::try_from(boot).unwrap()).unwrap();
        Now { wall, boot: Duration::from_secs(boot) }
    }

    #[tokio::test]
    async fn p8_l11_ledgers_and_holds_go_on_where_they_were_and_what_cannot_be_read_begins_anew() {
        let store = Store::in_memory().unwrap();
        let ids: [WorkspaceId; 3] = ["alice/main", "bob/main", "carol/main"].map(|id| id.parse().unwrap());
        for id in &ids {
            store.declare(id, &"acme".parse().unwrap(), Power::On, at(1).wall).await.unwrap();
        }
        let [alice, bob, carol] = &ids;
        let mut ledger = Ledger::new(at(10));
        let who = Some("alice".to_owned());
        ledger.note(Evidence { at: at(20).wall, kind: EvidenceKind::Entry, who, from: None }, at(20).stamp());
        ledger.count_anew(Anew::BuildEnded, at(15).stamp());
        let hold = |id| Hold {
            id: HoldId(id),
            by: "alice".into(),
            from: "host".into(),
            message: Some("training".into()),
            since: at(30).stamp(),
            lasts: Duration::from_secs(3600),
            renewed: None,
        };
        let json = |hold: &Hold| serde_json::to_string(&SavedHold::of(hold, "a")).unwrap();
        let number = store.add_hold(alice, json(&hold(0))).await.unwrap();
        store.add_hold(alice, "{}".into()).await.unwrap();
        store.add_hold(carol, json(&hold(0))).await.unwrap();
        let saved = serde_json::to_string(&ledger.save(at(35), "a")).unwrap();
        store.keep_ledgers([(alice.clone(), saved), (bob.clone(), "{}".into())].into()).await.unwrap();

        let mut known = remember(&store, at(40), "a").await.unwrap();
        assert_eq!(known.remove(alice), Some(ledger.with_holds(vec![hold(number)])));
        assert_eq!(known.remove(bob), None);
        assert_eq!(known[carol].holds().len(), 1, "a hold without a ledger holds");
    }
}
