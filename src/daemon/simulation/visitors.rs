//! Who uses the workspaces, as the host's sensors show it, and what is known of it for sure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::faults::Between;
use super::time::HostClock;
use super::timetable::Timetable;
use crate::daemon::clock::Clock;
use crate::daemon::sensors::{Asked, Findings, Found, Sensors, Subject};
use crate::docker::EngineError;
use crate::docker::fake::{Conductor, Fault};
use crate::model::{Live, LiveKey, Measure, Moment, Sample, WorkspaceId};

/// What is surely use when it is seen for so long.
const SURE: Duration = Duration::from_secs(60);
/// What every look that is taken in time shows.
const SEEN: Duration = Duration::from_secs(180);

/// How somebody uses a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// A connection with so many bytes a minute.
    Traffic(u64),
    /// A command that is open.
    Command,
}

#[derive(Debug, Clone)]
struct Visit {
    container: String,
    manner: Manner,
    from: Duration,
    until: Duration,
}

/// Clones are the same.
#[derive(Clone)]
pub(super) struct Visitors {
    clock: HostClock,
    known: Arc<Mutex<Known>>,
    timetable: Timetable,
}

#[derive(Default)]
struct Known {
    next: u64,
    visits: BTreeMap<u64, Visit>,
    /// Whether the host was booted: from then on nothing is known of the use before it.
    booted: bool,
    /// When a look last showed use that counts whatever else is so.
    used: BTreeMap<WorkspaceId, Duration>,
    warned: BTreeMap<WorkspaceId, Duration>,
    /// When the last look at each container began that was answered.
    looked: BTreeMap<String, Duration>,
    /// Until when.
    held: BTreeMap<WorkspaceId, Duration>,
}

impl Visit {
    fn is_use(&self, at: Duration, for_: Duration) -> bool {
        let counts = !matches!(self.manner, Manner::Traffic(rate) if rate < 4096);
        counts && self.from + for_ <= at && at < self.until
    }

    fn live(&self, key: u64, at: Duration) -> Live {
        let (key, measure) = match self.manner {
            Manner::Command => (LiveKey::Exec(key.to_string()), Measure::Open),
            Manner::Traffic(rate) => {
                let open = at.saturating_sub(self.from);
                let payload = 300 + u64::try_from(open.as_millis()).unwrap_or(0) * rate / 60_000;
                let data_idle = if rate == 0 { open } else { Duration::ZERO };
                let peer = std::net::IpAddr::from([192, 0, 2, 7]);
                let measure = Measure::Connection { peer, port: 22, payload, data_idle, silent: Duration::ZERO };
                (LiveKey::Connection(key), measure)
            }
        };
        Live { key, who: None, from: Some("192.0.2.7".into()), measure }
    }
}

impl Visitors {
    pub(super) fn new(clock: &HostClock, timetable: &Timetable) -> Self {
        Self { clock: clock.clone(), known: Arc::default(), timetable: timetable.clone() }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.passed()
    }

    pub(super) fn wall(&self) -> Moment {
        self.clock.now().wall
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody comes for some time.
    pub(super) fn come(&self, container: &str, manner: Manner, stay: Duration) {
        let from = self.clock.passed();
        let mut known = self.known();
        known.visits.retain(|_, visit| visit.until > from);
        known.next += 1;
        let key = known.next;
        known.visits.insert(key, Visit { container: container.to_owned(), manner, from, until: from + stay });
    }

    /// Everybody leaves.
    pub(super) fn leave(&self) {
        self.known().visits.clear();
    }

    /// What is known of times does not hold any more: the host was booted and its clock may have been stepped.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        (known.used, known.warned, known.held) = Default::default();
        known.booted = true;
    }

    pub(super) fn hold(&self, id: &WorkspaceId, until: Duration) {
        let mut known = self.known();
        let held = known.held.entry(id.clone()).or_default();
        *held = until.max(*held);
    }

    pub(super) fn release(&self, id: &WorkspaceId) {
        self.known().held.remove(id);
    }

    pub(super) fn held(&self) -> Vec<WorkspaceId> {
        self.known().held.keys().cloned().collect()
    }

    pub(super) fn warned(&self, id: &WorkspaceId) {
        let now = self.clock.passed();
        self.known().warned.insert(id.clone(), now);
    }

    /// Says what is wrong with turning a workspace off after `threshold`.
    pub(super) fn objection(&self, id: &WorkspaceId, container: &str, threshold: Duration) -> Option<String> {
        // Clocks are exact to the millisecond.
        let slack = Duration::from_secs(2);
        let (now, known) = (self.clock.passed(), self.known());
        let lead = Duration::from_secs(600).min(threshold / 2);
        if known.visits.values().any(|visit| visit.container == container && visit.is_use(now, SEEN)) {
            return Some("somebody uses it".into());
        }
        let is_known = !known.booted || known.used.contains_key(id);
        let used = known.used.get(id).copied().unwrap_or_default();
        if is_known && now + slack < used + threshold {
            return Some(format!("it was used {:?} ago, and its threshold is {threshold:?}", now - used));
        }
        if let Some(until) = known.held.get(id).filter(|until| **until > now + slack) {
            return Some(format!("it is held for another {:?}", *until - now));
        }
        let warned = known.warned.get(id).copied();
        let Some(warned) = warned.filter(|at| now + slack >= *at + lead && *at + slack >= used) else {
            let warned = warned.map(|at| now - at);
            return Some(format!("nobody was warned in time: {warned:?} ago, used {:?} ago", now - used));
        };
        let looked = known.looked.get(container).copied();
        let due = (used + threshold).max(warned + lead);
        if looked.is_none_or(|at| at + slack < due) {
            let (looked, due) = (looked.map(|at| now - at), now - due);
            return Some(format!("nobody looked again: {looked:?} ago, its time was over {due:?} ago"));
        }
        None
    }
}

/// The sensors of one hearthd.
pub(super) struct Eyes {
    pub(super) visitors: Visitors,
    pub(super) between: Between,
    /// When each container was looked at first. That shows no traffic: only the next look does.
    pub(super) since: Mutex<BTreeMap<String, Duration>>,
}

#[async_trait]
impl Sensors for Eyes {
    async fn look(&self, asked: Asked) -> Result<Findings, EngineError> {
        // What is seen counts from here, however long it takes to tell.
        let now = self.visitors.clock.passed();
        let fault = self.between.begin("sensors", "").await;
        if let Some(Fault::Before(error) | Fault::After(error)) = fault {
            return Err(error);
        }
        let mut known = self.visitors.known();
        let mut findings = BTreeMap::new();
        for Subject { workspace, container, .. } in asked.subjects {
            let here = known.visits.iter().filter(|(_, visit)| visit.container == container.0);
            let here: Vec<_> = here.filter(|(_, visit)| visit.from <= now && now < visit.until).collect();
            let live = here.iter().map(|(key, visit)| visit.live(**key, now)).collect();
            self.visitors.timetable.looked(&workspace, !here.is_empty());
            let since =
                *self.since.lock().unwrap_or_else(PoisonError::into_inner).entry(container.0.clone()).or_insert(now);
            if since + SURE <= now && here.iter().any(|(_, visit)| visit.is_use(now, SURE)) {
                known.used.insert(workspace.clone(), now);
            }
            known.looked.insert(container.0.clone(), now);
            let sample = Sample { container: container.0, live, ..Sample::default() };
            findings.insert(workspace, Found { sample, ..Found::default() });
        }
        Ok(findings)
    }

    fn blind(&self) -> Option<String> {
        None
    }
}
