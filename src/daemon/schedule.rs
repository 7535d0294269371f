//! The loop's part in auto-start (rules S1–S5): each schedule is asked when its time has come, what it answers is done,
//! and what is known of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::reconcile::{Reconciler, failed};
use super::workspaces::Workspaces;
use super::world::Tracked;
use crate::activity::Anew;
use crate::config::set::Refused;
use crate::config::settings::{Limit, Zone};
use crate::config::{InForce, text};
use crate::decide;
use crate::handle::{Event, RequestError, Schedule};
use crate::model::{BuildReason, Moment, Now, Requester, State, UserName, WorkspaceId};
use crate::mutant;
use crate::schedule::{self, Facts, Known, Last, NextStart, Outcome, Plan, Workspace, next_start};
use crate::store::{Kept as Rows, Store};

/// All schedules.
#[derive(Debug)]
pub(super) struct Schedules {
    entries: BTreeMap<WorkspaceId, Entry>,
    /// Who is away, and on which day they are back.
    away: BTreeMap<UserName, Date>,
    /// What the plans were made of; none where they have to be made anew.
    made_of: Option<InForce>,
    shown: Arc<BTreeMap<WorkspaceId, Arc<Schedule>>>,
}

/// What is kept of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    known: Known,
    declared_at: Moment,
    /// When a person last asked for a build.
    asked_for_at: Option<Moment>,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// Whether that is what the database has.
    is_saved: bool,
    plan: Plan,
    pause_after: Limit,
    /// When it was asked last, and when its answer may be another although nothing happened.
    asked: Option<(Moment, Option<Moment>)>,
    shown: Option<Arc<Schedule>>,
    /// Whether that is as it was when it was last looked at.
    is_fresh: bool,
}

impl Schedules {
    /// Takes up what the database says. What cannot be read is as if it were new: nothing is made up.
    pub(super) async fn remember(store: &Store) -> anyhow::Result<Self> {
        let mut entries = BTreeMap::new();
        for (id, json) in store.schedules().await? {
            match serde_json::from_str::<Kept>(&json) {
                Ok(kept) => drop(entries.insert(id, Entry::new(kept, true))),
                Err(error) => warn!(workspace = %id, "cannot read what is known of the schedule of `{id}`: {error}"),
            }
        }
        Ok(Self { entries, away: store.away().await?, made_of: None, shown: Arc::default() })
    }

    /// Returns them as they are shown.
    pub(super) fn shown(&self) -> Arc<BTreeMap<WorkspaceId, Arc<Schedule>>> {
        self.shown.clone()
    }

    /// Returns the first moment at which one of them is to be asked again.
    pub(super) fn ask_again_at(&self) -> Option<Moment> {
        self.entries.values().filter_map(|entry| entry.asked.and_then(|(_, again)| again)).min()
    }

    /// Makes the plans of what is in force, where that has changed.
    pub(super) fn plan(&mut self, in_force: InForce, now: Moment) {
        let same = |made: &InForce| {
            Arc::ptr_eq(&made.settings, &in_force.settings) && Arc::ptr_eq(&made.members, &in_force.members)
        };
        if self.made_of.as_ref().is_some_and(same) {
            return;
        }
        self.entries.retain(|id, _| in_force.settings.workspaces.contains_key(id));
        for id in in_force.settings.workspaces.keys() {
            let Some((workspace, org)) = in_force.workspace(id) else { continue };
            let away = self.away.get(&id.user).copied();
            let own = !mutant::is_on("all zones are the server's");
            let zone = if own { &workspace.timezone.value } else { &in_force.settings.server.timezone.value };
            let plan = Plan::new(&workspace.auto_start, zone, &org.auto_start_days, &org.holidays, away);
            let entry = self.entries.entry(id.clone()).or_insert_with(|| {
                let known = Known::new(plan.clone(), now);
                Entry::new(Kept { known, declared_at: now, asked_for_at: None }, false)
            });
            (entry.plan, entry.asked) = (plan, None);
            (entry.pause_after, entry.is_fresh) = (org.auto_start_pause_after, false);
        }
        self.made_of = Some(in_force);
    }

    /// Notes what happened to workspaces, and what people have asked for.
    fn note_touched(&mut self, workspaces: &Workspaces) {
        for id in workspaces.touched() {
            if let Some((entry, tracked)) = self.entries.get_mut(id).zip(workspaces.get(id)) {
                entry.is_fresh = false;
                entry.note_request(tracked);
            }
        }
    }

    /// Brings what is shown in line, where anything has changed.
    pub(super) fn show(&mut self, workspaces: &Workspaces, now: Moment) {
        self.note_touched(workspaces);
        let mut changed = self.shown.len() != self.entries.len();
        for (id, entry) in &mut self.entries {
            let is_past = |shown: &Arc<Schedule>| matches!(shown.next, NextStart::At(at) if at <= now);
            if entry.is_fresh && entry.shown.as_ref().is_some_and(|shown| !is_past(shown)) {
                continue;
            }
            let Some(tracked) = workspaces.get(id) else { continue };
            let schedule = entry.schedule(tracked, now);
            entry.is_fresh = true;
            if entry.shown.as_ref().is_none_or(|shown| **shown != schedule) {
                entry.shown = Some(Arc::new(schedule));
                changed = true;
            }
        }
        if changed {
            let shown = |(id, entry): (&WorkspaceId, &Entry)| Some((id.clone(), entry.shown.clone()?));
            self.shown = Arc::new(self.entries.iter().filter_map(shown).collect());
        }
    }
}

impl Entry {
    fn new(kept: Kept, is_saved: bool) -> Self {
        let plan = kept.known.plan.clone();
        Self { kept, is_saved, plan, pause_after: Limit::Never, asked: None, shown: None, is_fresh: false }
    }

    /// Returns whether the answer may be another than the last one: its time has come, something is under way for it,
    /// or the clock went back.
    fn is_to_be_asked(&self, now: Moment) -> bool {
        let Some((asked, again)) = self.asked else { return true };
        self.kept.known.due.is_some() || now < asked || again.is_some_and(|again| again <= now)
    }

    fn last_used(&self, tracked: &Tracked) -> Moment {
        let uses = [tracked.ledger.last_used(), self.kept.asked_for_at];
        uses.into_iter().flatten().fold(self.kept.declared_at, Moment::max)
    }

    fn facts(&self, tracked: &Tracked) -> Facts {
        Facts { workspace: doing(tracked), last_used: self.last_used(tracked), pause_after: self.pause_after }
    }

    /// Notes when a person last asked for a build: that is use, too (S2a).
    fn note_request(&mut self, tracked: &Tracked) {
        let by_a_person = |reason| match reason {
            BuildReason::User | BuildReason::Admin | BuildReason::Connect => true,
            BuildReason::Create | BuildReason::AutoStart | BuildReason::Config | BuildReason::Recovery => false,
        };
        let builds = [&tracked.build, &tracked.queued].into_iter().flatten();
        let asked = builds.filter(|build| by_a_person(build.reason)).map(|build| build.queued_at).max();
        if asked > self.kept.asked_for_at {
            (self.kept.asked_for_at, self.is_saved) = (asked, false);
        }
    }

    /// Takes in what its schedule answered.
    fn knows(&mut self, known: Known) {
        if self.kept.known != known {
            (self.kept.known, self.is_saved, self.is_fresh) = (known, false, false);
        }
    }

    fn schedule(&self, tracked: &Tracked, now: Moment) -> Schedule {
        let (last_used, pause_after, known) = (self.last_used(tracked), self.pause_after, &self.kept.known);
        Schedule {
            plan: self.plan.clone(),
            last_used,
            pause_after,
            next: next_start(&self.plan, last_used, pause_after, now.max(known.evaluated_until)),
            due: known.due.as_ref().map(|due| due.at),
            last: known.last.clone(),
        }
    }
}

/// What the workspace does, as a schedule sees it.
fn doing(tracked: &Tracked) -> Workspace {
    match decide::state(&tracked.facts()) {
        State::Off { .. } => Workspace::Off,
        State::Failed { .. } => Workspace::Failed,
        State::Queued { .. } | State::Building { .. } => Workspace::Starting,
        State::Running { .. } => Workspace::Running,
        State::Stopping { .. } => Workspace::Stopping,
    }
}

impl Reconciler {
    /// Asks the schedules whose time has come and does what they answer.
    pub(super) async fn turn_schedules(&mut self, now: Now) {
        self.schedules.note_touched(&self.world.workspaces);
        let (mut starts, mut happened) = (Vec::new(), Vec::new());
        for (id, entry) in &mut self.schedules.entries {
            if !entry.is_to_be_asked(now.wall) {
                continue;
            }
            let Some(tracked) = self.world.workspaces.get(id) else { continue };
            let turn = schedule::turn(entry.kept.known.clone(), &entry.plan, entry.facts(tracked), now.wall);
            entry.knows(turn.known);
            entry.asked = Some((now.wall, turn.ask_again_at));
            if turn.idle_anew_at.is_some()
                && let Some(tracked) = self.world.workspaces.get_mut(id)
            {
                tracked.ledger.count_anew(Anew::AutoStart, now.stamp());
            }
            if turn.start {
                starts.push(id.clone());
            }
            happened.extend(turn.happened.into_iter().map(|last| (id.clone(), last, entry.plan.zone.clone())));
        }
        for id in starts {
            match self.queue_build(&id, BuildReason::AutoStart, Requester::hearthd()).await {
                Ok(number) => {
                    info!(workspace = %id, build = number.0, "auto-start of `{id}`: build {number}");
                    if let Some(entry) = self.schedules.entries.get_mut(&id) {
                        entry.kept.known.began();
                        (entry.is_saved, entry.is_fresh) = (false, false);
                    }
                }
                Err(error) => error!(workspace = %id, "cannot start `{id}` as scheduled: {error}"),
            }
        }
        for (id, last, zone) in happened {
            say(&id, &last, &zone);
            self.emit(Event::AutoStart { at: now.wall, workspace: id, due: last.at, outcome: last.outcome });
        }
        self.keep_schedules().await;
        let next = self.schedules.ask_again_at();
        self.outlets.alarm.send_if_modified(|set| std::mem::replace(set, next) != next);
    }

    async fn keep_schedules(&mut self) {
        let changed = self.schedules.entries.iter().filter(|(_, entry)| !entry.is_saved);
        let rows: Rows =
            changed.filter_map(|(id, entry)| Some((id.clone(), serde_json::to_string(&entry.kept).ok()?))).collect();
        let ids: Vec<_> = rows.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        match self.executor.store().keep_schedules(rows).await {
            Ok(()) => {
                for id in ids {
                    if let Some(entry) = self.schedules.entries.get_mut(&id) {
                        entry.is_saved = true;
                    }
                }
            }
            Err(error) => error!("cannot record what is known of schedules: {error}"),
        }
    }

    /// Notes that a user is away until a day, on which they are back, or is back at once (S4).
    pub(super) async fn away(
        &mut self,
        user: &UserName,
        until: Option<Date>,
        requester: &Requester,
    ) -> Result<(), RequestError> {
        let today = self.zone_of(user).zone.to_datetime(self.executor.now().wall).date();
        if let Some(until) = until.filter(|until| *until <= today) {
            let message = format!("{until} is not to come: for `{user}` it is {today}");
            return Err(RequestError::Setting(Refused::malformed(
                message,
                "name the day on which they are back, or `hearth away --back`",
            )));
        }
        self.executor.store().set_away(user, until).await.map_err(|error| failed(&error))?;
        match until {
            Some(until) => {
                info!(requester = %requester, "`{user}` is away until {until}");
                self.schedules.away.insert(user.clone(), until);
            }
            None => {
                info!(requester = %requester, "`{user}` is back");
                self.schedules.away.remove(user);
            }
        }
        self.schedules.made_of = None;
        Ok(())
    }

    fn zone_of(&self, user: &UserName) -> Zone {
        let own = self.members.users.get(user).and_then(|me| text::zone(me.timezone.as_deref()?).ok());
        let declared = self.settings.users.get(user).and_then(|user| user.timezone.as_ref());
        own.unwrap_or_else(|| declared.unwrap_or(&self.settings.server.timezone).value.clone())
    }
}

/// Logs what became of a start.
fn say(id: &WorkspaceId, last: &Last, zone: &Zone) {
    let at = zone.zone.to_datetime(last.at).strftime("%Y-%m-%d %H:%M").to_string();
    match &last.outcome {
        Outcome::Started => info!(workspace = %id, "the auto-start of {at} has started `{id}`"),
        Outcome::FoundRunning => info!(workspace = %id, "the auto-start of {at} found `{id}` running"),
        Outcome::Missed => {
            warn!(workspace = %id, "the auto-start of {at} is skipped: hearthd or Docker was away then, and for two hours after")
        }
        Outcome::Paused { since } => {
            info!(workspace = %id, "the auto-start of {at} is skipped: nobody has used `{id}` since {since:.0}");
        }
        Outcome::GaveUp { tries } => {
            error!(workspace = %id, "the auto-start of {at} has failed {tries} times: `hearth logs {id}`");
        }
        Outcome::Stopped => info!(workspace = %id, "the auto-start of {at} ended: somebody stopped `{id}`"),
        Outcome::Changed => info!(workspace = %id, "the auto-start of {at} ended: the schedule is another"),
    }
}
