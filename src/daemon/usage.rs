//! How much disk homes take: when whose is measured, and what is shown of it.
//!
//! One at a time on the whole server, each some minutes after it began to run and at most hourly from then on, with pauses
//! between them: whatever runs, measuring is a small part of what the disk does. Nothing runs, nothing is done. What was
//! measured is kept while hearthd runs, for a home that is off stays as it is.

use std::time::Duration;

use tracing::debug;

use super::execute::{Executor, Report};
use super::reconcile::Reconciler;
use super::world::Tracked;
use crate::build::{self, Unmeasured};
use crate::config::settings::Limit;
use crate::decide::Observed;
use crate::handle::EngineView;
use crate::helper::bundle::MEASURE_LIMIT;
use crate::model::{Now, WorkspaceId};
use crate::store::ContainerRecord;

/// How long one runs before its home is measured first: whoever comes in the morning gets the disk.
const FIRST: Duration = Duration::from_secs(5 * 60);
/// From one try of a home to the next, whatever came of it.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// From the end of one to the next, of any home.
const PAUSE: Duration = Duration::from_secs(2);
/// And so many times as long as it took, so that a tenth of the time goes by measuring at most.
const PAUSE_TIMES: u32 = 9;

/// What is known of one home. Times are of the boot clock.
#[derive(Debug, Default)]
pub(super) struct HomeUse {
    /// The volume, and its size.
    measured: Option<(String, u64)>,
    tried_at: Option<Duration>,
    /// The container that runs, and since when it is seen to.
    runs: Option<(String, Duration)>,
}

impl HomeUse {
    /// Returns how large the home is, if it is the one that was measured.
    pub(super) fn bytes(&self, volume: Option<&str>) -> Option<u64> {
        self.measured.as_ref().filter(|(of, _)| volume == Some(of)).map(|(_, bytes)| *bytes)
    }

    /// Returns when it is to be measured, while `container` runs; `first` is how long that one is left alone.
    fn due(&mut self, container: Option<&str>, first: Duration, now: Duration) -> Option<Duration> {
        let known = self.runs.take().filter(|(known, _)| container == Some(known));
        self.runs = known.or_else(|| Some((container?.to_owned(), now)));
        let (_, since) = self.runs.as_ref()?;
        let again = self.tried_at.map_or(Duration::ZERO, |at| at + EVERY);
        Some(again.max(*since + first))
    }

    /// Takes in what came of a try.
    fn tried(&mut self, volume: String, found: &Result<u64, Unmeasured>) {
        match found {
            Ok(bytes) => self.measured = Some((volume, *bytes)),
            // It may have become larger than what can be measured: the size of before would be taken for today's.
            Err(Unmeasured::Failed { .. } | Unmeasured::TooSlow | Unmeasured::Nonsense) => self.measured = None,
            Err(Unmeasured::CutOff | Unmeasured::Engine(_)) => {}
        }
    }
}

/// How long it is left alone that goes off after so long: it should be measured before it does.
fn first(auto_off: Limit) -> Duration {
    match auto_off {
        Limit::After(span) => FIRST.min(span / 4),
        Limit::Never => FIRST,
    }
}

/// Whose turn it is. Times are of the boot clock.
#[derive(Debug, Default)]
pub(super) struct Rota {
    /// Since when one is measured.
    under_way: Option<Duration>,
    /// When the next may be.
    free_at: Duration,
    /// When the next is due, of those that were known to run; `None` where it is to be looked who runs.
    next_at: Option<Duration>,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Measure(WorkspaceId),
    Wait(Duration),
}

impl Rota {
    /// Says that others may run than before.
    pub(super) fn look_again(&mut self) {
        self.next_at = None;
    }

    /// Returns how long it need not even be looked who runs.
    fn rests(&self, now: Duration) -> Option<Duration> {
        if self.under_way.is_some() {
            return Some(Duration::MAX);
        }
        self.next_at.and_then(|at| at.checked_sub(now)).filter(|left| !left.is_zero())
    }

    /// Chooses: whoever has waited longest.
    fn choose<'a>(&mut self, due: impl Iterator<Item = (Duration, &'a WorkspaceId)>, now: Duration) -> Turn {
        let Some((at, id)) = due.min() else {
            self.next_at = Some(Duration::MAX);
            return Turn::Wait(Duration::MAX);
        };
        let at = at.max(self.free_at);
        self.next_at = Some(at);
        if at <= now { Turn::Measure(id.clone()) } else { Turn::Wait(at - now) }
    }

    fn begin(&mut self, now: Duration) {
        self.under_way = Some(now);
    }

    fn end(&mut self, now: Duration) {
        if let Some(began) = self.under_way.take() {
            // The host may have been suspended meanwhile.
            let took = now.saturating_sub(began).min(MEASURE_LIMIT);
            self.free_at = now + PAUSE.max(took * PAUSE_TIMES);
            self.next_at = None;
        }
    }
}

/// What a task tells that measured.
#[derive(Debug)]
pub(super) struct Tried {
    workspace: WorkspaceId,
    volume: String,
    found: Result<u64, Unmeasured>,
}

impl Executor {
    fn measure(&self, workspace: WorkspaceId, volume: String, container: ContainerRecord) {
        let executor = self.clone();
        self.tasks.spawn(async move {
            let found = tokio::select! {
                biased;
                () = executor.stopping.cancelled() => return,
                found = build::measure(&*executor.tools.engine, &container) => found,
            };
            let _ = executor.reports.send(Report::Measured(Tried { workspace, volume, found })).await;
        });
    }
}

impl Reconciler {
    /// Starts to measure a home where one is due; returns how long none is.
    pub(super) fn measure_homes(&mut self, now: Now) -> Duration {
        if let Some(left) = self.rota.rests(now.boot) {
            return left;
        }
        if !matches!(self.engine, EngineView::Here { .. }) {
            return Duration::MAX;
        }
        let all = self.world.workspaces.quietly();
        let due = all.filter_map(|tracked| Some((due(tracked, now.boot)?, &tracked.record.id)));
        let id = match self.rota.choose(due, now.boot) {
            Turn::Measure(id) => id,
            Turn::Wait(left) => return left,
        };
        let Some(tracked) = self.world.workspaces.get_mut(&id) else { return Duration::MAX };
        tracked.home.tried_at = Some(now.boot);
        if let (Some(home), Some(container)) = (&tracked.record.home, &tracked.record.container) {
            self.rota.begin(now.boot);
            self.executor.measure(id, home.volume.clone(), container.clone());
        }
        Duration::MAX
    }

    /// Takes in what came of measuring one.
    pub(super) fn measured(&mut self, tried: Tried, now: Now) {
        self.rota.end(now.boot);
        let Tried { workspace, volume, found } = tried;
        if let Err(why) = &found {
            debug!(workspace = %workspace, "it cannot be told how large the home of `{workspace}` is: {why}");
        }
        if let Some(tracked) = self.world.workspaces.get_mut(&workspace) {
            tracked.home.tried(volume, &found);
        }
    }
}

/// When the home of a workspace is to be measured, if it runs and nothing is done to it.
fn due(tracked: &mut Tracked, now: Duration) -> Option<Duration> {
    let runs = matches!(tracked.observed, Observed::Running { .. }) && tracked.operation.is_none();
    let container = tracked.record.container.as_ref().filter(|_| runs && tracked.record.home.is_some());
    let terms = tracked.watch.terms.as_ref()?;
    tracked.home.due(container.map(|container| container.id.as_str()), first(terms.policy.auto_off), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn id(number: usize) -> WorkspaceId {
        format!("user-{number:03}/main").parse().unwrap()
    }

    /// Lets time go by with some workspaces that run from the start; returns when whose home was measured, each taking
    /// `took`.
    fn measured(workspaces: usize, took: Duration, until: Duration) -> Vec<(Duration, WorkspaceId)> {
        let mut homes: Vec<(WorkspaceId, HomeUse)> = (0..workspaces).map(|n| (id(n), HomeUse::default())).collect();
        let (mut rota, mut begun, mut now) = (Rota::default(), Vec::new(), HOUR);
        while now <= until + HOUR {
            if let Some(left) = rota.rests(now) {
                now += left;
                continue;
            }
            let due = homes.iter_mut().filter_map(|(id, home)| Some((home.due(Some("c"), FIRST, now)?, &*id)));
            match rota.choose(due, now) {
                Turn::Wait(left) => now = now.saturating_add(left),
                Turn::Measure(id) => {
                    rota.begin(now);
                    assert_eq!(rota.rests(now), Some(Duration::MAX), "one at a time");
                    let (_, home) = homes.iter_mut().find(|(of, _)| *of == id).unwrap();
                    home.tried_at = Some(now);
                    begun.push((now.checked_sub(HOUR).unwrap(), id));
                    now += took;
                    rota.end(now);
                }
            }
        }
        begun
    }

    #[test]
    fn one_home_is_measured_some_minutes_after_it_began_to_run_and_hourly_from_then_on() {
        let expected = [FIRST, FIRST + HOUR, FIRST + 2 * HOUR].map(|at| (at, id(0)));
        assert_eq!(measured(1, SECOND, 3 * HOUR), expected);
    }

    #[test]
    fn two_hundred_that_start_at_once_take_their_turns_with_pauses() {
        let all = measured(200, SECOND / 10, FIRST + 55 * MINUTE);
        let whose: std::collections::BTreeSet<_> = all.iter().map(|(_, id)| id).collect();
        assert_eq!((all.len(), whose.len()), (200, 200), "each once");
        assert_eq!(all[0].0, FIRST);
        assert!(all.windows(2).all(|two| two[1].0 >= two[0].0 + PAUSE));
    }

    #[test]
    fn large_homes_take_a_tenth_of_the_time_and_nobody_waits_for_ever() {
        let all = measured(200, 20 * SECOND, 24 * HOUR);
        let busy = 20 * SECOND * u32::try_from(all.len()).unwrap();
        assert!(busy <= 24 * HOUR / 10 && busy >= 24 * HOUR / 11, "{busy:?}");
        let times = |n| all.iter().filter(|(_, of)| *of == id(n)).count();
        let counts: Vec<_> = (0..200).map(times).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn p8_a_host_that_was_suspended_meanwhile_holds_nobody_up_for_days() {
        let mut rota = Rota::default();
        rota.begin(HOUR);
        rota.end(9 * HOUR);
        let home = id(0);
        let Turn::Wait(left) = rota.choose([(HOUR, &home)].into_iter(), 9 * HOUR) else { panic!("at once") };
        assert!(left <= 10 * MINUTE, "{left:?}");
    }

    #[test]
    fn whoever_is_off_is_not_measured_and_whoever_comes_back_is_left_alone_first_and_not_measured_twice_an_hour() {
        let mut home = HomeUse::default();
        assert_eq!(home.due(None, FIRST, HOUR), None);
        assert_eq!(home.due(Some("a"), FIRST, HOUR), Some(HOUR + FIRST));
        assert_eq!(home.due(Some("a"), FIRST, HOUR + MINUTE), Some(HOUR + FIRST));
        assert_eq!(home.due(None, FIRST, HOUR + 2 * MINUTE), None);
        assert_eq!(home.due(Some("a"), FIRST, HOUR + 3 * MINUTE), Some(HOUR + 3 * MINUTE + FIRST));
        home.tried_at = Some(HOUR + 10 * MINUTE);
        assert_eq!(home.due(Some("b"), FIRST, HOUR + 11 * MINUTE), Some(2 * HOUR + 10 * MINUTE));
        assert_eq!(home.due(Some("b"), FIRST, 3 * HOUR), Some(2 * HOUR + 10 * MINUTE));
    }

    #[test]
    fn one_that_goes_off_soon_is_measured_before() {
        assert_eq!(first(Limit::Never), FIRST);
        assert_eq!(first(Limit::After(8 * HOUR)), FIRST);
        assert_eq!(first(Limit::After(8 * SECOND)), 2 * SECOND);
    }

    #[test]
    fn others_that_run_are_seen_when_it_is_said_and_nothing_is_looked_at_before() {
        let mut rota = Rota::default();
        assert_eq!(rota.rests(HOUR), None);
        assert_eq!(rota.choose(std::iter::empty(), HOUR), Turn::Wait(Duration::MAX));
        assert!(rota.rests(100 * HOUR).is_some(), "nobody runs");
        rota.look_again();
        assert_eq!(rota.rests(100 * HOUR), None);
        let (one, other) = (id(1), id(2));
        let due = [(101 * HOUR, &other), (101 * HOUR, &one)];
        assert_eq!(rota.choose(due.into_iter(), 100 * HOUR), Turn::Wait(HOUR));
        assert_eq!(rota.rests(100 * HOUR + MINUTE), Some(59 * MINUTE));
        assert_eq!(rota.rests(101 * HOUR), None);
        assert_eq!(rota.choose(due.into_iter(), 101 * HOUR), Turn::Measure(one));
    }

    #[test]
    fn the_last_size_is_kept_until_it_may_be_wrong_and_is_of_that_home_alone() {
        let mut home = HomeUse::default();
        let volume = || "hearth.alice.main.home".to_owned();
        let shown = |home: &HomeUse| home.bytes(Some(&volume()));
        assert_eq!(shown(&home), None);
        home.tried(volume(), &Ok(4096));
        assert_eq!(shown(&home), Some(4096));
        assert_eq!((home.bytes(Some("hearth.alice.main.home-2")), home.bytes(None)), (None, None));
        home.tried(volume(), &Err(Unmeasured::CutOff));
        assert_eq!(shown(&home), Some(4096), "it went off meanwhile");
        home.tried(volume(), &Err(Unmeasured::TooSlow));
        assert_eq!(shown(&home), None);
    }
}
