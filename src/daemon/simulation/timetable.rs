//! What the simulation itself knows of auto-start (S1–S4): which starts are allowed, by the calendar and by what is in
//! force, and which were. It shares nothing with the code that decides but the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};

use super::time::HostClock;
use crate::config::settings::{AutoStart, Day, Limit};
use crate::config::{InForce, Settings};
use crate::daemon::clock::Clock;
use crate::handle::{EngineView, Snapshot};
use crate::model::{BuildNumber, BuildReason, BuildRecord, BuildResult, Moment, UserName, WorkspaceId};

/// For how long after its time a start may begin.
const GRACE: SignedDuration = SignedDuration::from_hours(2);
/// How exactly clocks are kept.
const EXACT: SignedDuration = SignedDuration::from_secs(3);
/// When something was used is known to a look or two.
const ABOUT: SignedDuration = SignedDuration::from_mins(5);
/// A clock that goes back by so much may bring a start again.
const FAR: SignedDuration = SignedDuration::from_hours(24);

/// Clones are the same.
#[derive(Clone)]
pub(super) struct Timetable {
    clock: HostClock,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// What each build was for; nothing where it began unseen.
    begun: BTreeMap<(WorkspaceId, BuildNumber), Option<Moment>>,
    /// Starts that came to something.
    done: BTreeSet<(WorkspaceId, Moment)>,
    /// Days on which people may be back.
    away: BTreeMap<UserName, Vec<Option<Date>>>,
    /// When each was last used, or declared, at the latest.
    used: BTreeMap<WorkspaceId, Moment>,
    /// In whom somebody was at the last look.
    visited: BTreeSet<WorkspaceId>,
    /// What is in force, and the schedules by it.
    of: Option<InForce>,
    days: BTreeMap<WorkspaceId, Days>,
    /// When that was last so.
    seen_at: Option<Moment>,
    /// What schedules were, up to those moments.
    before: BTreeMap<WorkspaceId, Vec<(Moment, Option<Days>)>>,
    /// Begun and not told yet.
    news: Vec<WorkspaceId>,
    latest: Option<Moment>,
    /// The latest that the clock ever showed.
    ever: Option<Moment>,
    wrong: Option<String>,
}

/// When one starts.
#[derive(Debug, Clone, PartialEq)]
struct Days {
    time: Time,
    zone: TimeZone,
    days: BTreeSet<Day>,
    holidays: BTreeSet<Date>,
    pause_after: Limit,
}

impl Days {
    fn of(in_force: &InForce, id: &WorkspaceId) -> Option<Self> {
        let (wanted, org) = in_force.workspace(id)?;
        let AutoStart::At { time, days } = wanted.auto_start.value else { return None };
        let both = |day: &Day| days.as_ref().is_none_or(|days| days.contains(day));
        let days = org.auto_start_days.iter().filter(|day| both(day)).copied().collect();
        let (zone, pause_after) = (wanted.timezone.value.zone, org.auto_start_pause_after);
        Some(Self { time, zone, days, holidays: org.holidays.clone(), pause_after })
    }

    /// Returns the start of a day: the first minute at which the clock shows the time or later.
    fn on(&self, date: Date) -> Option<Moment> {
        if !self.days.contains(&Day(date.weekday())) || self.holidays.contains(&date) {
            return None;
        }
        let local = date.to_datetime(self.time);
        let mut at = local.to_zoned(self.zone.clone()).ok()?.timestamp();
        while self.zone.to_datetime(at - SignedDuration::from_mins(1)) >= local {
            at -= SignedDuration::from_mins(1);
        }
        Some(at)
    }

    /// Returns the starts of the days around a moment, with their days.
    fn around(&self, at: Moment) -> impl Iterator<Item = (Date, Moment)> {
        let today = self.zone.to_datetime(at).date();
        let days = [today.saturating_sub(1.day()), today, today.saturating_add(1.day())];
        days.into_iter().filter_map(|date| Some((date, self.on(date)?)))
    }
}

impl Timetable {
    pub(super) fn new(clock: &HostClock) -> Self {
        Self { clock: clock.clone(), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody used it, or may have.
    pub(super) fn used(&self, id: &WorkspaceId) {
        let now = self.clock.now().wall;
        self.known().used(id, now);
    }

    /// A look showed whether somebody is in: who has left was there until then.
    pub(super) fn looked(&self, id: &WorkspaceId, somebody: bool) {
        let now = self.clock.now().wall;
        let mut known = self.known();
        let was = if somebody { !known.visited.insert(id.clone()) } else { known.visited.remove(id) };
        if somebody || was {
            known.used(id, now);
        }
    }

    /// Somebody says until when a user is away.
    pub(super) fn away(&self, user: &UserName, until: Option<Date>) {
        self.known().away.entry(user.clone()).or_insert_with(|| vec![None]).push(until);
    }

    /// It is answered.
    pub(super) fn away_answered(&self, user: &UserName, until: Option<Date>, yes: bool) {
        let mut known = self.known();
        let Some(all) = known.away.get_mut(user) else { return };
        if let Some(at) = all.iter().rposition(|asked| *asked == until) {
            drop(if yes { all.drain(..at) } else { all.drain(at..=at) });
        }
    }

    /// Returns which have begun since this was asked last.
    pub(super) fn news(&self) -> Vec<WorkspaceId> {
        std::mem::take(&mut self.known().news)
    }

    /// Returns what was wrong first.
    pub(super) fn wrong(&self) -> Option<String> {
        self.known().wrong.clone()
    }

    /// Looks at a turn of the loop.
    pub(super) fn turned(&self, snapshot: &Snapshot, settings: &Arc<Settings>) {
        if !matches!(snapshot.engine, EngineView::Here { .. }) {
            return;
        }
        let now = self.clock.now().wall;
        let mut known = self.known();
        known.takes(&InForce { settings: settings.clone(), members: snapshot.members.clone() }, now);
        for (id, view) in snapshot.workspaces.iter() {
            let Some(build) = &view.build else { continue };
            match build.reason {
                BuildReason::User | BuildReason::Admin | BuildReason::Connect => known.used(id, build.queued_at),
                BuildReason::Create | BuildReason::Config | BuildReason::Recovery => {}
                BuildReason::AutoStart => {
                    // What an earlier hearthd had queued was right then.
                    let is_new = build.queued_at >= snapshot.started_at && build.result.is_none();
                    if let Err(wrong) = known.sees(id, build, is_new) {
                        known.wrong.get_or_insert(wrong);
                    }
                }
            }
        }
    }

    /// Returns what is surely to start from here to then, unless nobody used it for too long.
    pub(super) fn due(&self, until: Moment) -> Vec<(WorkspaceId, Moment)> {
        let known = self.known();
        // What the clock has shown before may have been.
        let now = known.ever.max(Some(self.clock.now().wall)).unwrap_or_default();
        let mut due = Vec::new();
        for (id, days) in &known.days {
            let here = |date: Date| {
                let away = known.away.get(&id.user).into_iter().flatten();
                away.clone().all(|until| until.is_none_or(|until| until <= date))
            };
            let starts = days.around(until).filter(|(date, at)| now < *at && *at <= until && here(*date));
            due.extend(starts.map(|(_, at)| (id.clone(), at)));
        }
        due
    }

    /// The clock steps: what was when is not known any more.
    pub(super) fn clock_steps(&self) {
        let mut known = self.known();
        known.seen_at = None;
        known.before.clear();
    }
}

impl Known {
    fn used(&mut self, id: &WorkspaceId, at: Moment) {
        let used = self.used.entry(id.clone()).or_insert(at);
        *used = at.max(*used);
    }

    /// Notes what is in force at a turn.
    fn takes(&mut self, in_force: &InForce, now: Moment) {
        if self.latest.is_some_and(|latest| latest.duration_since(now) > FAR) {
            self.latest = None;
            self.done.clear();
            // What was built for them is shown still.
            self.begun.values_mut().for_each(|start| *start = None);
        }
        (self.latest, self.ever) = (self.latest.max(Some(now)), self.ever.max(Some(now)));
        let same =
            |of: &InForce| Arc::ptr_eq(&of.settings, &in_force.settings) && Arc::ptr_eq(&of.members, &in_force.members);
        if !self.of.as_ref().is_some_and(same) {
            let ids = in_force.settings.workspaces.keys();
            let days: BTreeMap<_, _> =
                ids.clone().filter_map(|id| Some((id.clone(), Days::of(in_force, id)?))).collect();
            for id in ids {
                let declared = self.of.as_ref().is_some_and(|of| of.settings.workspaces.contains_key(id));
                if !declared {
                    self.used(id, now);
                }
                let was = self.days.get(id);
                if let Some(seen_at) = self.seen_at.filter(|_| was != days.get(id)) {
                    self.before.entry(id.clone()).or_default().push((seen_at, was.cloned()));
                }
            }
            self.days = days;
            self.of = Some(in_force.clone());
        }
        self.seen_at = Some(now);
    }

    /// Sees a build for a start, which may have begun in this turn.
    fn sees(&mut self, id: &WorkspaceId, build: &BuildRecord, is_new: bool) -> Result<(), String> {
        let key = (id.clone(), build.number);
        let begun = self.begun.get(&key).copied();
        if build.result == Some(BuildResult::Ok) {
            self.done.extend(begun.flatten().map(|start| (id.clone(), start)));
        }
        if begun.is_some() {
            return Ok(());
        }
        self.news.push(id.clone());
        let start = if is_new { Some(self.begins(id, build.queued_at)) } else { None };
        let start = start.transpose();
        self.begun.insert(key, start.as_ref().ok().copied().flatten());
        start.map(|_| ()).map_err(|why| format!("{id} begins at {}: {why}", build.queued_at))
    }

    /// Returns which start it is that begins at that moment.
    fn begins(&self, id: &WorkspaceId, at: Moment) -> Result<Moment, String> {
        let days = self.days.get(id).ok_or("it has no schedule")?;
        let in_time = |start: &Moment| *start <= at + EXACT && at <= *start + GRACE + EXACT;
        let (date, start) = days.around(at).filter(|(_, start)| in_time(start)).last().ok_or_else(|| {
            format!("no start is allowed then, which is {} there, by {days:?}", days.zone.to_datetime(at))
        })?;
        if let Some(all) = self.away.get(&id.user)
            && all.iter().all(|until| until.is_some_and(|until| date < until))
        {
            return Err(format!("its user is away on {date}: {all:?}"));
        }
        let used = self.used.get(id).copied().unwrap_or(at);
        if let Limit::After(span) = days.pause_after
            && start.duration_since(used) >= SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX) + ABOUT
        {
            return Err(format!("it is paused: nobody has used it since {used}, for {:?}", days.pause_after));
        }
        if self.done.contains(&(id.clone(), start)) {
            return Err(format!("the start of {start} has been already"));
        }
        // A schedule that is changed starts nothing that is past.
        let names = |was: &Option<Days>| was.as_ref().is_some_and(|was| was.around(start).any(|(_, at)| at == start));
        let before = self.before.get(id).into_iter().flatten();
        match before.rev().find(|(until, was)| *until > start + EXACT && !names(was)) {
            Some((until, was)) => Err(format!("until {until} it was not to start at {start}: {was:?}")),
            None => Ok(start),
        }
    }
}
