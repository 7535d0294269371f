//! The loop's part in activity: when running workspaces are looked at, and what is made of it (P1, P3, P7).
//!
//! Looks are taken by tasks that report back, all running workspaces at once, as often as the shortest threshold asks;
//! some of them in between, where the rule or somebody who asks why wants a fresh look. Nothing runs, nothing is done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::audit::Deed;
use super::reconcile::Reconciler;
use super::sensors::{Asked, Findings, Found, Subject};
use super::world::Tracked;
use crate::activity::{self, Off, Outlook, Policy};
use crate::config::settings::Zone;
use crate::config::{InForce, Members, Settings, SpecSummary};
use crate::decide::{Doing, Observed};
use crate::docker::{ContainerId, EngineError};
use crate::evidence::{Consumption, Execs, Scope};
use crate::handle::{EngineView, Event, Reply, Usage};
use crate::model::{Moment, Now, Power, Requester, Span, Stamp, WorkspaceId};
use crate::mutant;

/// How soon the same workspace is looked at again, whoever asks.
const AGAIN: Duration = Duration::from_secs(1);

/// What the loop keeps of looks.
#[derive(Default)]
pub(super) struct Sampling {
    pub(super) execs: Execs,
    under_way: bool,
    /// When all were looked at.
    all_at: Option<Stamp>,
    /// Those that are to be looked at before that is due again.
    wanted: BTreeSet<WorkspaceId>,
    /// Those who wait for a fresh look.
    waiters: Vec<(WorkspaceId, Reply<()>)>,
    /// What the terms of the workspaces were made of.
    terms_of: Option<(Arc<Settings>, Arc<Members>)>,
}

/// What the loop keeps of one workspace's use besides its ledger.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// `None` where no file declares it.
    pub(super) terms: Option<Terms>,
    /// What becomes of it, while it runs.
    pub(super) outlook: Option<Outlook>,
    /// Whether its time passed, where its container has ended.
    pub(super) overdue: bool,
    pub(super) meter: Meter,
    /// When somebody tried to look at it last.
    tried_at: Option<Stamp>,
}

/// What is in force for its use.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) policy: Policy,
    /// In which its owner reads times.
    zone: Zone,
}

impl Terms {
    fn of(in_force: &InForce, id: &WorkspaceId) -> Option<Self> {
        let (wanted, org) = in_force.workspace(id)?;
        let policy = Policy {
            org: org.name.clone(),
            auto_off: wanted.auto_off.value,
            said_in: wanted.auto_off.origin,
            activity: org.activity,
            floor: org.activity_floor.0,
            ignore: org.activity_ignore.clone(),
            hold_max: org.hold_max,
        };
        Some(Self { policy, zone: wanted.timezone.value })
    }
}

/// What a workspace uses, from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Meter {
    before: Option<(String, Stamp, Duration)>,
    pub(super) usage: Usage,
}

impl Meter {
    fn read(&mut self, container: &str, consumed: Option<Consumption>, now: Now) {
        let cpu = consumed.and_then(|consumed| consumed.cpu);
        let before = self.before.take().filter(|(of, ..)| of == container);
        let rate = before.zip(cpu).and_then(|((_, at, then), cpu)| {
            let over = now.since(at).as_secs_f64();
            (over > 0.0).then(|| cpu.saturating_sub(then).as_secs_f64() / over)
        });
        self.usage = Usage { cpu: rate, memory: consumed.and_then(|consumed| consumed.memory) };
        self.before = cpu.map(|cpu| (container.to_owned(), now.stamp(), cpu));
    }
}

impl Reconciler {
    /// Says for every workspace what becomes of it, and takes out the holds that are over.
    pub(super) async fn foresee(&mut self, now: Now) {
        self.take_terms();
        // Who cannot see connections does not know that nobody uses it.
        let sees = self.executor.sensors.blind().is_none();
        let (mut over, mut changed) = (Vec::new(), Vec::new());
        for tracked in self.world.workspaces.quietly() {
            let Tracked { ledger, watch, observed, record, .. } = tracked;
            let (mut outlook, mut overdue) = (None, false);
            if let Some(Terms { policy, .. }) = &watch.terms {
                over.extend(ledger.expire(policy.hold_max, now).into_iter().map(|hold| hold.id.0));
                let runs = matches!(observed, Observed::Running { .. } | Observed::Paused { .. });
                outlook = (runs && record.power == Power::On).then(|| ledger.outlook(policy, now));
                overdue = sees && *observed == Observed::Ended && ledger.is_overdue(policy, now);
            }
            if watch.outlook != outlook {
                changed.push(record.id.clone());
            }
            (watch.outlook, watch.overdue) = (outlook, overdue);
        }
        self.world.workspaces.touch(changed);
        self.forget_holds(over).await;
    }

    pub(super) async fn forget_holds(&self, numbers: Vec<u64>) {
        if numbers.is_empty() {
            return;
        }
        if let Err(error) = self.executor.store().remove_holds(numbers).await {
            error!("cannot record that holds are over: {error}");
        }
    }

    /// Works out what is in force for everybody's use, where that has changed.
    fn take_terms(&mut self) {
        let (settings, members) = (&self.settings, &self.members);
        let same = |(s, m): &(Arc<Settings>, Arc<Members>)| Arc::ptr_eq(s, settings) && Arc::ptr_eq(m, members);
        let known = self.sampling.terms_of.as_ref().is_some_and(same);
        let in_force = self.in_force();
        for tracked in self.world.workspaces.quietly() {
            if !known || tracked.watch.terms.is_none() {
                tracked.watch.terms = Terms::of(&in_force, &tracked.record.id);
            }
        }
        self.sampling.terms_of = Some((in_force.settings, in_force.members));
    }

    /// Asks for a fresh look at a workspace.
    pub(super) fn want_look(&mut self, id: &WorkspaceId) {
        self.sampling.wanted.insert(id.clone());
    }

    /// Answers when a fresh look has been taken, or at once where there is nothing to look at.
    pub(super) fn look_and_tell(&mut self, id: WorkspaceId, reply: Reply<()>) {
        self.want_look(&id);
        self.sampling.waiters.push((id, reply));
    }

    /// Starts a look where one is due or wanted; returns how long none is.
    pub(super) fn sample(&mut self, now: Now) -> Duration {
        if self.sampling.under_way {
            return Duration::MAX;
        }
        let subjects = self.subjects();
        self.sampling.wanted.retain(|id| subjects.contains(id));
        let here = matches!(self.engine, EngineView::Here { .. });
        let nothing = |id: &WorkspaceId| !here || !subjects.contains(id);
        for (_, waiter) in self.sampling.waiters.extract_if(.., |(id, _)| nothing(id)) {
            let _ = waiter.send(Ok(()));
        }
        if !here || subjects.is_empty() {
            return Duration::MAX;
        }
        let watches = subjects.iter().filter_map(|id| Some(&self.world.workspaces.get(id)?.watch));
        let every = activity::sampling(watches.filter_map(|watch| Some(watch.terms.as_ref()?.policy.auto_off)));
        let left = self.sampling.all_at.map_or(Duration::ZERO, |at| every.saturating_sub(now.since(at)));
        if left.is_zero() {
            self.begin_look(subjects, Scope::All, now);
            return Duration::MAX;
        }
        let throttle = |id: &WorkspaceId| match self.world.workspaces.get(id).and_then(|of| of.watch.tried_at) {
            None => Some(Duration::ZERO),
            Some(at) if self.sampling.wanted.contains(id) => Some(AGAIN.saturating_sub(now.since(at))),
            Some(_) => None,
        };
        let (ready, later): (Vec<_>, Vec<_>) =
            subjects.into_iter().filter_map(|id| Some((throttle(&id)?, id))).partition(|(wait, _)| wait.is_zero());
        if !ready.is_empty() {
            self.begin_look(ready.into_iter().map(|(_, id)| id), Scope::Some, now);
            return Duration::MAX;
        }
        later.iter().map(|(wait, _)| *wait).chain([left]).min().unwrap_or(left)
    }

    /// Returns the workspaces that can be looked at.
    fn subjects(&self) -> BTreeSet<WorkspaceId> {
        let is_one = |tracked: &Tracked| {
            let stopping = matches!(tracked.doing(), Some(Doing::Stopping { .. }));
            let runs = matches!(tracked.observed, Observed::Running { .. } | Observed::Paused { .. });
            runs && !stopping && tracked.record.container.is_some() && tracked.watch.terms.is_some()
        };
        self.world.workspaces.iter().filter(|(_, tracked)| is_one(tracked)).map(|(id, _)| id.clone()).collect()
    }

    fn subject(&self, workspace: WorkspaceId) -> Option<Subject> {
        let container = self.world.workspaces.get(&workspace)?.record.container.as_ref()?;
        let spec = serde_json::from_str::<SpecSummary>(&container.spec).ok();
        let ports = spec.map(|spec| spec.ports.into_iter().collect()).unwrap_or_default();
        Some(Subject { workspace, container: ContainerId(container.id.clone()), ports })
    }

    fn begin_look(&mut self, of: impl IntoIterator<Item = WorkspaceId>, scope: Scope, now: Now) {
        let subjects: Vec<_> = of.into_iter().filter_map(|id| self.subject(id)).collect();
        self.sampling.under_way = true;
        let containers: Vec<_> = subjects.iter().map(|subject| subject.container.clone()).collect();
        if scope == Scope::All {
            self.sampling.all_at = Some(now.stamp());
            self.sampling.execs.retain(&containers);
        }
        for Subject { workspace, .. } in &subjects {
            self.sampling.wanted.remove(workspace);
            if let Some(tracked) = self.world.workspaces.get_mut(workspace) {
                tracked.watch.tried_at = Some(now.stamp());
            }
        }
        let thorough = !self.sampling.waiters.is_empty();
        let execs = self.sampling.execs.take(&containers);
        self.executor.sample(Asked { subjects, scope, execs, thorough }, now);
    }

    /// Takes in a look that began at `began`.
    pub(super) fn sampled(&mut self, began: Now, asked: Thorough, found: Result<Findings, EngineError>) {
        self.sampling.under_way = false;
        let Thorough { workspaces, thorough } = asked;
        match found {
            Ok(findings) => {
                for (id, found) in findings {
                    self.take_in(&id, found, began);
                }
            }
            Err(why) => {
                warn!("it cannot be seen whether workspaces are used: {why}");
                self.looks.wanted = true;
            }
        }
        let answered = |id: &WorkspaceId| thorough && workspaces.contains(id);
        for (_, waiter) in self.sampling.waiters.extract_if(.., |(id, _)| answered(id)) {
            let _ = waiter.send(Ok(()));
        }
    }

    fn take_in(&mut self, id: &WorkspaceId, found: Found, began: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let Found { sample, passed, used } = found;
        for evidence in passed {
            let at = began.stamp_of(evidence.at);
            tracked.ledger.note(evidence, at);
        }
        let Some(terms) = &tracked.watch.terms else { return };
        // It may have given way to another meanwhile.
        if tracked.record.container.as_ref().is_some_and(|container| container.id == sample.container) {
            tracked.watch.meter.read(&sample.container, used, began);
            tracked.ledger.observe(sample, &terms.policy, began);
        }
    }

    /// Puts into the audit log that hearthd turns a workspace off.
    pub(super) async fn note_auto_off(&self, id: &WorkspaceId, because: &str) {
        let deed = Deed {
            who: Requester::hearthd(),
            what: "stop",
            workspace: Some(id),
            before: Some("running".into()),
            after: Some(format!("off: {because}")),
            result: "ok".into(),
        };
        self.executor.note(deed).await;
    }

    /// Tells everybody who is in that the workspace goes off unless it is used (P7).
    pub(super) fn warn_of_auto_off(&mut self, id: &WorkspaceId, now: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let Some(terms) = &tracked.watch.terms else { return };
        tracked.ledger.warned(&terms.policy, now);
        let outlook = tracked.ledger.outlook(&terms.policy, now);
        let Off::At { at: off_at } = outlook.off else { return };
        tracked.watch.outlook = Some(outlook);
        let message = warning(id, off_at, terms, now);
        info!(workspace = %id, "{message}");
        self.executor.entries.tell(id, &format!("\nhearth: {message}\n"));
        if mutant::is_on("nobody is warned") {
            return;
        }
        self.emit(Event::AutoOff { at: now.wall, workspace: id.clone(), off_at, message });
    }
}

/// Of which workspaces a look was, and whether for somebody who asks why.
#[derive(Debug)]
pub(super) struct Thorough {
    pub(super) workspaces: Vec<WorkspaceId>,
    pub(super) thorough: bool,
}

fn warning(id: &WorkspaceId, off_at: Moment, terms: &Terms, now: Now) -> String {
    let left = Span(Duration::from_secs(Duration::try_from(off_at - now.wall).unwrap_or_default().as_secs()));
    let at = off_at.to_zoned(terms.zone.zone.clone()).strftime("%H:%M:%S %Z");
    let most = terms.policy.hold_max.min(Duration::from_secs(4 * 3600));
    let hold = match most.is_zero() {
        true => String::new(),
        false => format!(", or type `hearth hold {id} {}`", Span(most)),
    };
    format!("`{id}` goes off in {left}, at {at}, because nobody uses it. To keep it on, use it{hold}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Policy;
    use crate::config::settings::{ActivityKind, Limit, Origin};

    fn terms(hold_max: u64) -> Terms {
        let policy = Policy {
            org: "acme".parse().unwrap(),
            auto_off: Limit::After(Duration::from_secs(7200)),
            said_in: Origin::Default,
            activity: ActivityKind::Traffic,
            floor: 1024,
            ignore: vec![],
            hold_max: Duration::from_secs(hold_max),
        };
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        Terms { policy, zone: Zone { name: "Europe/Berlin".into(), zone } }
    }

    #[test]
    fn p7_the_warning_says_when_and_what_to_type() {
        let now = Now { wall: "2026-07-01T12:00:00Z".parse().unwrap(), boot: Duration::from_secs(100) };
        let (id, at) = ("alice/main".parse().unwrap(), "2026-07-01T12:10:00Z".parse().unwrap());
        insta::assert_snapshot!(warning(&id, at, &terms(86_400), now), @"`alice/main` goes off in 10m, at 14:10:00 CEST, because nobody uses it. To keep it on, use it, or type `hearth hold alice/main 4h`");
        assert!(warning(&id, at, &terms(3600), now).ends_with("`hearth hold alice/main 1h`"));
        assert!(warning(&id, at, &terms(0), now).ends_with("To keep it on, use it"));
    }

    #[test]
    fn usage_is_counted_from_look_to_look_of_the_same_container() {
        let now = |boot| Now { wall: Moment::UNIX_EPOCH, boot: Duration::from_secs(boot) };
        let consumed =
            |seconds, memory| Some(Consumption { cpu: Some(Duration::from_secs(seconds)), memory: Some(memory) });
        let mut meter = Meter::default();
        meter.read("c1", consumed(100, 7), now(10));
        assert_eq!(meter.usage, Usage { cpu: None, memory: Some(7) });
        meter.read("c1", consumed(105, 8), now(20));
        assert_eq!(meter.usage, Usage { cpu: Some(0.5), memory: Some(8) });
        meter.read("c2", consumed(1, 9), now(30));
        assert_eq!(meter.usage, Usage { cpu: None, memory: Some(9) });
        meter.read("c2", None, now(40));
        assert_eq!(meter.usage, Usage::default());
    }
}
