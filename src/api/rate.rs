//! How much of hearthd anybody may use at once and per second (rule X4).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Requester, WorkspaceId};

/// A leaky bucket: `burst` at once, then `per_second`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: f64,
    pub(super) per_second: f64,
}

/// Requests from inside one workspace.
pub(super) const REQUESTS: Rate = Rate { burst: 100.0, per_second: 50.0 };
/// Changes asked for from inside one workspace: the audit log is bounded, and none may wash others' lines away.
pub(super) const CHANGES: Rate = Rate { burst: 30.0, per_second: 1.0 };
/// Wrong tokens on one workspace's socket.
pub(super) const WRONG_TOKENS: Rate = Rate { burst: 10.0, per_second: 0.2 };
/// Refusals of one person that are written to the audit log.
pub(super) const REFUSALS: Rate = Rate { burst: 100.0, per_second: 0.2 };
/// So many have a bucket of their own; all others share one, so that made-up uids take no memory.
const REFUSED: usize = 1024;

/// What is left of a [`Rate`].
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, left: rate.burst, at: None }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.left = (self.left + passed.as_secs_f64() * self.rate.per_second).min(self.rate.burst);
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }
}

/// A number of places, shared fairly: no one key may have more than its part.
#[derive(Debug)]
pub(super) struct Places<K> {
    all: usize,
    each: usize,
    taken: Mutex<BTreeMap<K, usize>>,
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Ord + Clone> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Ord + Clone> Places<K> {
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// Takes a place, if there is one for `key`.
    pub(super) fn take(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (sum, own) = (taken.values().sum::<usize>(), taken.get(&key).copied().unwrap_or(0));
        if sum >= self.all || own >= self.each {
            return None;
        }
        taken.insert(key.clone(), own + 1);
        Some(Place { places: Arc::clone(self), key })
    }
}

impl<K: Ord + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

/// What is limited for each workspace that calls from inside, and for all together.
#[derive(Debug)]
pub(super) struct Guests {
    limits: Mutex<BTreeMap<(WorkspaceId, Kind), Bucket>>,
    refusals: Mutex<BTreeMap<Option<Requester>, Bucket>>,
    pub(super) connections: Arc<Places<WorkspaceId>>,
}

/// What is counted from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Request,
    Change,
    WrongToken,
}

/// Connections from inside: of all workspaces together, and of one.
const GUESTS: usize = 4096;
const GUESTS_EACH: usize = 32;

impl Default for Guests {
    fn default() -> Self {
        Self { limits: Mutex::default(), refusals: Mutex::default(), connections: Places::new(GUESTS, GUESTS_EACH) }
    }
}

impl Guests {
    /// Returns whether the workspace may do one more of `kind`. The map has as many entries as there are workspaces.
    pub(super) fn may(&self, workspace: &WorkspaceId, kind: Kind, now: Instant) -> bool {
        let rate = match kind {
            Kind::Request => REQUESTS,
            Kind::Change => CHANGES,
            Kind::WrongToken => WRONG_TOKENS,
        };
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry((workspace.clone(), kind)).or_insert_with(|| Bucket::new(rate)).take(now)
    }

    /// Returns whether one more refusal of a person may be written to the audit log.
    pub(super) fn may_note_refusal(&self, who: &Requester, now: Instant) -> bool {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let who = Some(who.clone());
        let who = if refusals.len() < REFUSED || refusals.contains_key(&who) { who } else { None };
        refusals.entry(who).or_insert_with(|| Bucket::new(REFUSALS)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x4_a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { burst: 3.0, per_second: 2.0 });
        let taken = |bucket: &mut Bucket, millis| {
            (0..10).filter(|_| bucket.take(start + Duration::from_millis(millis))).count()
        };
        assert_eq!(taken(&mut bucket, 0), 3);
        assert_eq!(taken(&mut bucket, 499), 0);
        assert_eq!(taken(&mut bucket, 1000), 2);
        assert_eq!(taken(&mut bucket, 3_600_000), 3, "it never holds more than the burst");
    }

    #[test]
    fn x4_no_one_has_more_than_their_places() {
        let places = Places::new(3, 2);
        let (a, b) = (places.take("alice"), places.take("alice"));
        assert!(a.is_some() && b.is_some() && places.take("alice").is_none());
        let c = places.take("bob");
        assert!(c.is_some() && places.take("dana").is_none(), "all are taken");
        drop(a);
        assert!(places.take("dana").is_some());
        drop((b, c));
        assert!(places.taken.lock().unwrap().is_empty(), "who left is forgotten");
    }
}
