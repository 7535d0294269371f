//! What becomes of the starts that a schedule names (S2–S3): begun, found unnecessary, made up, tried again, skipped.
//!
//! ```text
//!                  evaluated_until            now
//!   ──────────┬───────────┴────────────┬───────┴──▶
//!          handled     more than GRACE ago: skipped │ within GRACE: due ─▶ start ─▶ fails ─▶ again, until GRACE is over
//! ```
//!
//! Only a moment that the schedule named when it was last looked at, and that it names still, is ever made up: a
//! changed schedule starts nothing at once, whoever changed it and whether hearthd ran or not.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::calendar::{NoStart, Plan};
use crate::config::settings::Limit;
use crate::model::Moment;
use crate::mutant;

/// For how long after its time a start is made up and tried again (S2).
pub const GRACE: Duration = Duration::from_secs(2 * 3600);

/// A clock that jumps back by more than this was wrong before: what it had made of the schedule is forgotten.
const FAR: SignedDuration = SignedDuration::from_hours(24);

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LAST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// What is remembered of one workspace's schedule. To be persisted whenever it is another than before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Every start up to here has been dealt with.
    pub evaluated_until: Moment,
    /// The schedule as it was then.
    pub plan: Plan,
    /// The start that is being carried out.
    pub due: Option<Due>,
    /// What became of the last one.
    pub last: Option<Last>,
}

/// A start whose time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    pub at: Moment,
    /// How often it was begun.
    pub tries: u32,
    /// Whether a build for it is under way.
    pub trying: bool,
    pub failed_at: Option<Moment>,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub at: Moment,
    pub outcome: Outcome,
}

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Started,
    /// It was running or on its way already: its idle clock counts anew, nothing else.
    FoundRunning,
    /// Nobody was there to start it until it was too late.
    Missed,
    /// Not used for too long (S2a).
    Paused {
        since: Moment,
    },
    /// It failed until it was too late.
    GaveUp {
        tries: u32,
    },
    /// Somebody stopped it or cancelled the build.
    Stopped,
    /// The schedule was changed meanwhile.
    Changed,
}

/// What is known besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub workspace: Workspace,
    /// The last use by a person, or the declaration.
    pub last_used: Moment,
    pub pause_after: Limit,
}

/// What the workspace does, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workspace {
    Off,
    /// Off, because the last build failed.
    Failed,
    /// A build is queued or runs.
    Starting,
    Running,
    Stopping,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// To be persisted where it differs.
    pub known: Known,
    /// Queue a build with the reason `auto-start`, and tell by [`Known::began`].
    pub start: bool,
    /// The idle clock counts anew from here (P1, S3).
    pub idle_anew_at: Option<Moment>,
    /// What came to its end in this turn, for the log.
    pub happened: Vec<Last>,
    pub ask_again_at: Option<Moment>,
}

impl Known {
    /// Returns what is known of a schedule that is seen for the first time.
    pub fn new(plan: Plan, now: Moment) -> Self {
        Self { evaluated_until: now, plan, due: None, last: None }
    }

    /// Notes that a build was queued for the start that is due.
    pub fn began(&mut self) {
        if let Some(due) = &mut self.due {
            due.tries += 1;
            due.trying = true;
            due.failed_at = None;
        }
    }
}

impl Due {
    /// When it may be tried (again): never before its time, also where the clock stepped back since.
    fn try_at(&self) -> Moment {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.saturating_sub(1).min(10)).min(LAST_PAUSE);
        self.failed_at.map_or(self.at, |failed| self.at.max(failed + pause))
    }

    /// When only the time could change the answer; the end of a build or of a stop makes us look by itself.
    fn ask_again_at(&self, now: Moment) -> Moment {
        let (retry, over) = (self.try_at(), self.at + GRACE + Duration::from_secs(1));
        if retry > now { retry } else { over.max(now + FIRST_PAUSE) }
    }
}

/// Deals with every start up to `now`.
pub fn turn(mut known: Known, plan: &Plan, facts: Facts, now: Moment) -> Turn {
    let mut happened = Vec::new();
    if known.evaluated_until > now {
        go_back(&mut known, now);
    }
    notice(&mut known, plan, facts, now, &mut happened);
    if known.plan != *plan {
        known.evaluated_until = known.evaluated_until.max(now);
    }
    // Also where they are equal: the rules of a zone change under its name.
    known.plan = plan.clone();
    if mutant::is_on("nothing starts by itself") {
        known.due = None;
    }
    let (start, idle_anew_at) = carry_out(&mut known, facts, now, &mut happened);
    known.last = happened.last().cloned().or(known.last);
    let next = plan.next(known.evaluated_until.max(now));
    let retry = known.due.as_ref().filter(|due| !due.trying && !start).map(|due| due.ask_again_at(now));
    let ask_again_at = retry.into_iter().chain(next).min();
    Turn { known, start, idle_anew_at, happened, ask_again_at }
}

/// The clock went back: what was dealt with is not done again, and what was not is to come.
fn go_back(known: &mut Known, now: Moment) {
    if known.evaluated_until.duration_since(now) > FAR {
        (known.evaluated_until, known.due) = (now, None);
        return;
    }
    // What was missed because the clock was ahead is not missed.
    let last = known.last.as_ref().filter(|last| last.outcome != Outcome::Missed);
    let dealt_with = [known.due.as_ref().map(|due| due.at), last.map(|last| last.at)];
    known.evaluated_until = dealt_with.into_iter().flatten().fold(now, Moment::max).min(known.evaluated_until);
}

/// Finds the starts whose time has come since the last look; the latest of them may be due.
fn notice(known: &mut Known, plan: &Plan, facts: Facts, now: Moment, happened: &mut Vec<Last>) {
    let at_once = mutant::is_on("a changed schedule starts at once");
    let same = |at: Moment| at_once || known.plan == *plan || known.plan.names(at);
    let named = |at: Moment| at > known.evaluated_until && same(at);
    let Some(at) = plan.last(now).filter(|at| named(*at)) else { return };
    if let Some(due) = known.due.take() {
        happened.push(Last { at: due.at, outcome: outcome_when_overtaken(&due) });
    }
    known.evaluated_until = now;
    if now.duration_since(at).unsigned_abs() > GRACE && !mutant::is_on("missed starts are made up for ever") {
        happened.push(Last { at, outcome: Outcome::Missed });
    } else if let Some(NoStart::Unused { since }) = unused(facts.last_used, facts.pause_after, at) {
        happened.push(Last { at, outcome: Outcome::Paused { since } });
    } else {
        known.due = Some(Due { at, tries: 0, trying: false, failed_at: None });
    }
}

/// Returns why a start is skipped where nobody used the workspace for too long (S2a).
pub(super) fn unused(last_used: Moment, pause_after: Limit, at: Moment) -> Option<NoStart> {
    match pause_after {
        Limit::After(span)
            if !mutant::is_on("unused is used")
                && at.duration_since(last_used) >= SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX) =>
        {
            Some(NoStart::Unused { since: last_used })
        }
        Limit::After(_) | Limit::Never => None,
    }
}

/// Returns whether the start that is due is to be begun, and whether it found the workspace running.
fn carry_out(known: &mut Known, facts: Facts, now: Moment, happened: &mut Vec<Last>) -> (bool, Option<Moment>) {
    let workspace = facts.workspace;
    let Some(mut due) = known.due.take() else { return (false, None) };
    let mut end = |outcome| happened.push(Last { at: due.at, outcome });
    match (due.trying, workspace) {
        (_, Workspace::Stopping) | (true, Workspace::Starting) => {}
        (true, Workspace::Running) => {
            end(Outcome::Started);
            return (false, None);
        }
        (true, Workspace::Off) => {
            end(Outcome::Stopped);
            return (false, None);
        }
        (true, Workspace::Failed) => (due.trying, due.failed_at) = (false, Some(now)),
        (false, Workspace::Running | Workspace::Starting) => {
            end(Outcome::FoundRunning);
            return (false, Some(due.at));
        }
        (false, Workspace::Off) if due.tries > 0 => {
            end(Outcome::Stopped);
            return (false, None);
        }
        (false, Workspace::Off | Workspace::Failed) => {}
    }
    if due.trying {
        known.due = Some(due);
        return (false, None);
    }
    if !known.plan.names(due.at) {
        end(Outcome::Changed);
        return (false, None);
    }
    // The org may pause them sooner since.
    if let Some(NoStart::Unused { since }) = unused(facts.last_used, facts.pause_after, due.at) {
        end(Outcome::Paused { since });
        return (false, None);
    }
    let over = due.at + GRACE;
    if (now > over || due.try_at() > over) && !mutant::is_on("missed starts are made up for ever") {
        end(outcome_when_overtaken(&due));
        return (false, None);
    }
    let start = workspace != Workspace::Stopping && now >= due.try_at();
    known.due = Some(due);
    (start, None)
}

fn outcome_when_overtaken(due: &Due) -> Outcome {
    match (due.trying, due.tries) {
        (true, _) => Outcome::Started,
        (false, 0) => Outcome::Missed,
        (false, tries) => Outcome::GaveUp { tries },
    }
}

#[cfg(test)]
mod tests;
