//! Holds, and why a workspace is on or goes off: what the loop does with requests about them (P5, P6).

use std::time::Duration;

use super::reconcile::{Reconciler, failed};
use crate::activity::{Hold, HoldId, LEASE, SavedHold, granted};
use crate::handle::{Explained, Held, HoldAsked, RequestError};
use crate::model::{Now, Requester, WorkspaceId};

/// The most holds of one workspace that stand: whoever is inside could ask for them all day.
const MOST: usize = 32;

impl Reconciler {
    /// Grants a hold.
    pub(super) async fn hold(
        &mut self,
        id: &WorkspaceId,
        asked: HoldAsked,
        requester: &Requester,
    ) -> Result<Held, RequestError> {
        let now = self.executor.now();
        self.foresee(now).await;
        let tracked = self.tracked(id)?;
        let Some(terms) = &tracked.watch.terms else { return Err(RequestError::NotDeclared(id.clone())) };
        if tracked.is_off() {
            return Err(RequestError::Conflict(format!(
                "`{id}` does not run, and a hold keeps on what runs: `hearth start {id}` builds it"
            )));
        }
        if tracked.ledger.holds().len() >= MOST {
            return Err(RequestError::Conflict(format!(
                "`{id}` has {MOST} holds already, which is the most: `hearth release {id}` ends them"
            )));
        }
        let hold_max = terms.policy.hold_max;
        let lasts = granted(&terms.policy, asked.lasts)?;
        let hold = Hold {
            id: HoldId(0),
            by: asked.by,
            from: asked.from,
            message: asked.message,
            since: now.stamp(),
            lasts,
            renewed: asked.until_command_ends.then(|| now.stamp()),
        };
        let json = self.json_of(&hold)?;
        let number = self.executor.store().add_hold(id, json).await.map_err(|error| failed(&error))?;
        let hold = Hold { id: HoldId(number), ..hold };
        let held = held(&hold, hold_max, now);
        tracing::info!(workspace = %id, requester = %requester, "`{id}` is held until {:.0}", held.until);
        self.tracked(id)?.ledger.hold(hold);
        Ok(held)
    }

    /// Renews a hold that lasts until a command ends.
    pub(super) async fn renew(&mut self, id: &WorkspaceId, number: HoldId) -> Result<Held, RequestError> {
        let now = self.executor.now();
        self.foresee(now).await;
        let tracked = self.tracked(id)?;
        let hold_max = tracked.watch.terms.as_ref().map_or(Duration::ZERO, |terms| terms.policy.hold_max);
        let is_lease = |hold: &&Hold| hold.id == number && hold.renewed.is_some();
        let found = tracked.ledger.holds().iter().find(is_lease).cloned();
        let Some(hold) = found.map(|hold| Hold { renewed: Some(now.stamp()), ..hold }) else {
            return Err(RequestError::Conflict(format!("the hold of `{id}` is over")));
        };
        tracked.ledger.renew(number, now);
        let json = self.json_of(&hold)?;
        self.executor.store().update_hold(number.0, json).await.map_err(|error| failed(&error))?;
        Ok(held(&hold, hold_max, now))
    }

    /// Ends a hold, or all of them; returns how many.
    pub(super) async fn release(
        &mut self,
        id: &WorkspaceId,
        number: Option<HoldId>,
        requester: &Requester,
    ) -> Result<usize, RequestError> {
        let now = self.executor.now();
        self.foresee(now).await;
        let tracked = self.tracked(id)?;
        let hold_max = tracked.watch.terms.as_ref().map_or(Duration::ZERO, |terms| terms.policy.hold_max);
        let ended = tracked.ledger.release(number, hold_max, now);
        if !ended.is_empty() {
            tracing::info!(workspace = %id, requester = %requester, "{} holds of `{id}` are released", ended.len());
        }
        let count = ended.len();
        self.forget_holds(ended.into_iter().map(|hold| hold.id.0).collect()).await;
        Ok(count)
    }

    /// Ends the holds of a workspace that is off: there is nothing to hold any more.
    pub(super) async fn drop_holds(&mut self, id: &WorkspaceId, now: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let hold_max = tracked.watch.terms.as_ref().map_or(Duration::ZERO, |terms| terms.policy.hold_max);
        let ended = tracked.ledger.release(None, hold_max, now);
        self.forget_holds(ended.into_iter().map(|hold| hold.id.0).collect()).await;
    }

    /// Says why it is on or when it goes off, as far as is known.
    pub(super) fn why(&mut self, id: &WorkspaceId) -> Result<Explained, RequestError> {
        let now = self.executor.now();
        let tracked = self.tracked(id)?;
        let Some(terms) = &tracked.watch.terms else { return Ok(Explained::default()) };
        let hold_max = terms.policy.hold_max;
        let until = |hold: &Hold| (hold.clone(), now.shown_at(hold.ends_at_most(hold_max)), now.shown_at(hold.since));
        let standing = tracked.ledger.holds().iter().filter(|hold| hold.stands(hold_max, now));
        let why = tracked.watch.outlook.as_ref().map(|_| tracked.ledger.why(&terms.policy, now));
        Ok(Explained { why, holds: standing.map(until).collect() })
    }

    fn json_of(&self, hold: &Hold) -> Result<String, RequestError> {
        let saved = SavedHold::of(hold, self.memory.boot_id());
        serde_json::to_string(&saved).map_err(|error| RequestError::Failed(format!("cannot write a hold: {error}")))
    }
}

fn held(hold: &Hold, hold_max: Duration, now: Now) -> Held {
    let lease = hold.renewed.map(|_| LEASE);
    Held { id: hold.id, until: now.shown_at(hold.ends_at_most(hold_max)), lease }
}
