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
    /// When it may be tried (again).
    fn try_at(&self) -> Moment {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.saturating_sub(1).min(10)).min(LAST_PAUSE);
        self.failed_at.map_or(self.at, |failed| failed + pause)
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
    if known.evaluated_until.duration_since(now) > FAR {
        (known.evaluated_until, known.due) = (now, None);
    }
    notice(&mut known, plan, facts, now, &mut happened);
    if known.plan != *plan {
        (known.plan, known.evaluated_until) = (plan.clone(), known.evaluated_until.max(now));
    }
    let (start, idle_anew_at) = carry_out(&mut known, facts.workspace, now, &mut happened);
    known.last = happened.last().cloned().or(known.last);
    let next = plan.next(known.evaluated_until.max(now));
    let retry = known.due.as_ref().filter(|due| !due.trying && !start).map(|due| due.ask_again_at(now));
    let ask_again_at = retry.into_iter().chain(next).min();
    Turn { known, start, idle_anew_at, happened, ask_again_at }
}

/// Finds the starts whose time has come since the last look; the latest of them may be due.
fn notice(known: &mut Known, plan: &Plan, facts: Facts, now: Moment, happened: &mut Vec<Last>) {
    let named = |at: Moment| at > known.evaluated_until && (known.plan == *plan || known.plan.names(at));
    let Some(at) = plan.last(now).filter(|at| named(*at)) else { return };
    if let Some(due) = known.due.take() {
        happened.push(Last { at: due.at, outcome: outcome_when_overtaken(&due) });
    }
    known.evaluated_until = now;
    if now.duration_since(at).unsigned_abs() > GRACE {
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
            if at.duration_since(last_used) >= SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX) =>
        {
            Some(NoStart::Unused { since: last_used })
        }
        Limit::After(_) | Limit::Never => None,
    }
}

/// Returns whether the start that is due is to be begun, and whether it found the workspace running.
fn carry_out(known: &mut Known, workspace: Workspace, now: Moment, happened: &mut Vec<Last>) -> (bool, Option<Moment>) {
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
    let over = due.at + GRACE;
    if now > over || due.try_at() > over {
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
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::super::calendar::tests::{ALL, at, plan};
    use super::*;

    const WEEK: Limit = Limit::After(Duration::from_secs(7 * 86_400));

    fn facts(workspace: Workspace) -> Facts {
        Facts { workspace, last_used: at("2026-11-01T00:00:00Z"), pause_after: Limit::Never }
    }

    /// What is known after a look at `when`, with the workspace off.
    fn looked(plan: &Plan, when: &str) -> Known {
        turn(Known::new(plan.clone(), at(when)), plan, facts(Workspace::Off), at(when)).known
    }

    fn outcomes(turn: &Turn) -> Vec<(String, Outcome)> {
        turn.happened.iter().map(|last| (last.at.to_string(), last.outcome.clone())).collect()
    }

    #[test]
    fn s1_it_starts_at_its_time_once() {
        let plan = plan("09:00", ALL, "UTC");
        let known = looked(&plan, "2026-11-24T08:00:00Z");
        let early = turn(known, &plan, facts(Workspace::Off), at("2026-11-24T08:59:59Z"));
        assert!(!early.start);
        assert_eq!(early.ask_again_at, Some(at("2026-11-24T09:00:00Z")));
        let mut due = turn(early.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
        assert!(due.start);
        due.known.began();
        let building = turn(due.known, &plan, facts(Workspace::Starting), at("2026-11-24T09:00:01Z"));
        assert!(!building.start && building.happened.is_empty());
        let done = turn(building.known, &plan, facts(Workspace::Running), at("2026-11-24T09:01:00Z"));
        assert_eq!(outcomes(&done), [("2026-11-24T09:00:00Z".into(), Outcome::Started)]);
        assert_eq!((done.idle_anew_at, done.ask_again_at), (None, Some(at("2026-11-25T09:00:00Z"))));
        // Somebody stops it a minute later, and it stays off.
        let after = turn(done.known, &plan, facts(Workspace::Off), at("2026-11-24T09:02:00Z"));
        assert!(!after.start && after.happened.is_empty());
    }

    #[test]
    fn s2_missed_by_at_most_two_hours_is_made_up_and_later_is_skipped_and_said() {
        let plan = plan("09:00", ALL, "UTC");
        for (back, starts, last) in [
            ("2026-11-24T10:59:00Z", true, None),
            ("2026-11-24T11:00:00Z", true, None),
            ("2026-11-24T11:00:01Z", false, Some(("2026-11-24T09:00:00Z", Outcome::Missed))),
            // Down for a week, and back within two hours of the last one.
            ("2026-12-01T10:00:00Z", true, None),
            ("2026-12-01T12:00:00Z", false, Some(("2026-12-01T09:00:00Z", Outcome::Missed))),
        ] {
            let turn = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at(back));
            assert_eq!(turn.start, starts, "{back}");
            let expected: Vec<_> = last.into_iter().map(|(at, outcome)| (at.to_owned(), outcome)).collect();
            assert_eq!(outcomes(&turn), expected, "{back}");
        }
    }

    #[test]
    fn s2_a_failed_start_is_tried_again_with_growing_pauses_until_two_hours_after_its_time() {
        let plan = plan("09:00", ALL, "UTC");
        let mut now = at("2026-11-24T09:00:00Z");
        let mut known = looked(&plan, "2026-11-24T08:00:00Z");
        let mut minutes = Vec::new();
        let outcome = loop {
            let mut due = turn(known, &plan, facts(Workspace::Failed), now);
            if let Some(last) = due.happened.last() {
                break last.outcome.clone();
            }
            if due.start {
                minutes.push(now.duration_since(at("2026-11-24T09:00:00Z")).as_mins());
                due.known.began();
                due.ask_again_at = Some(now + Duration::from_secs(1));
            }
            (known, now) = (due.known, due.ask_again_at.unwrap());
        };
        assert_eq!(minutes, [0, 1, 3, 7, 15, 31, 61, 91]);
        assert_eq!(outcome, Outcome::GaveUp { tries: 8 });
        let next =
            turn(looked(&plan, "2026-11-24T12:00:00Z"), &plan, facts(Workspace::Failed), at("2026-11-25T09:00:00Z"));
        assert!(next.start, "the next day is unaffected");
    }

    #[test]
    fn s2a_unused_for_too_long_it_pauses_until_it_is_used_again() {
        let plan = plan("09:00", ALL, "UTC");
        let with = |last_used: &str| Facts { workspace: Workspace::Off, last_used: at(last_used), pause_after: WEEK };
        let look = |last_used: &str| {
            turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, with(last_used), at("2026-11-24T09:00:00Z"))
        };
        assert!(look("2026-11-17T09:00:01Z").start);
        let paused = look("2026-11-17T09:00:00Z");
        let since = at("2026-11-17T09:00:00Z");
        assert_eq!(outcomes(&paused), [("2026-11-24T09:00:00Z".into(), Outcome::Paused { since })]);
        // Its use brings the schedule back, and starts nothing at once.
        let used = turn(paused.known, &plan, with("2026-11-24T09:30:00Z"), at("2026-11-24T09:31:00Z"));
        assert!(!used.start && used.happened.is_empty());
        assert!(turn(used.known, &plan, with("2026-11-24T09:30:00Z"), at("2026-11-25T09:00:00Z")).start);
    }

    #[test]
    fn s3_found_running_the_idle_clock_counts_anew_and_nothing_else() {
        let plan = plan("09:00", ALL, "UTC");
        for workspace in [Workspace::Running, Workspace::Starting] {
            let due = turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(workspace), at("2026-11-24T09:00:07Z"));
            assert_eq!((due.start, due.idle_anew_at), (false, Some(at("2026-11-24T09:00:00Z"))));
            assert_eq!(outcomes(&due), [("2026-11-24T09:00:00Z".into(), Outcome::FoundRunning)]);
            assert_eq!(due.known.due, None);
        }
    }

    #[test]
    fn s3_a_workspace_that_is_just_stopping_starts_when_it_is_off() {
        let plan = plan("09:00", ALL, "UTC");
        let known = looked(&plan, "2026-11-24T08:00:00Z");
        let stopping = turn(known, &plan, facts(Workspace::Stopping), at("2026-11-24T09:00:00Z"));
        assert!(!stopping.start);
        assert!(stopping.ask_again_at.unwrap() > at("2026-11-24T09:00:30Z"), "nothing to do but wait");
        assert!(turn(stopping.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:04Z")).start);
    }

    #[test]
    fn s3_stopped_by_hand_while_it_starts_it_stays_off() {
        let plan = plan("09:00", ALL, "UTC");
        let mut due =
            turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
        due.known.began();
        let off = turn(due.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:30Z"));
        assert_eq!(outcomes(&off), [("2026-11-24T09:00:00Z".into(), Outcome::Stopped)]);
        assert!(!off.start && off.known.due.is_none());
    }

    #[test]
    fn s3_a_changed_schedule_never_starts_anything_at_once() {
        let (eleven, nine) = (plan("11:00", ALL, "UTC"), plan("09:00", ALL, "UTC"));
        // While hearthd runs, and while it was down.
        for last_look in ["2026-11-24T09:29:00Z", "2026-11-24T08:00:00Z"] {
            let changed = turn(looked(&eleven, last_look), &nine, facts(Workspace::Off), at("2026-11-24T09:30:00Z"));
            assert!(!changed.start && changed.happened.is_empty(), "{last_look}");
            assert_eq!(changed.ask_again_at, Some(at("2026-11-25T09:00:00Z")));
            let later = turn(changed.known, &nine, facts(Workspace::Off), at("2026-11-24T09:31:00Z"));
            assert!(!later.start, "{last_look}");
        }
        // A zone moved under the same time of day; a holiday taken back; an absence ended early.
        let mut holiday = nine.clone();
        holiday.holidays.insert(date(2026, 11, 24));
        let mut away = nine.clone();
        away.away_until = Some(date(2026, 12, 1));
        for before in [plan("09:00", ALL, "America/New_York"), holiday, away] {
            let turn =
                turn(looked(&before, "2026-11-24T08:00:00Z"), &nine, facts(Workspace::Off), at("2026-11-24T09:30:00Z"));
            assert!(!turn.start);
        }
        // A holiday put on another day takes nothing from what was missed.
        let mut other = nine.clone();
        other.holidays.insert(date(2026, 12, 25));
        assert!(
            turn(looked(&nine, "2026-11-24T08:00:00Z"), &other, facts(Workspace::Off), at("2026-11-24T09:30:00Z"))
                .start
        );
    }

    #[test]
    fn s4_away_while_tries_go_on_ends_them() {
        let plan = plan("09:00", ALL, "UTC");
        let mut due =
            turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
        due.known.began();
        let failed = turn(due.known, &plan, facts(Workspace::Failed), at("2026-11-24T09:00:10Z"));
        let mut away = plan.clone();
        away.away_until = Some(date(2027, 1, 7));
        let ended = turn(failed.known, &away, facts(Workspace::Failed), at("2026-11-24T09:05:00Z"));
        assert_eq!(outcomes(&ended), [("2026-11-24T09:00:00Z".into(), Outcome::Changed)]);
        assert!(!ended.start);
        assert_eq!(ended.ask_again_at, Some(at("2027-01-07T09:00:00Z")));
    }

    #[test]
    fn s2_a_build_still_running_at_the_next_start_serves_it() {
        let plan = plan("09:00", ALL, "UTC");
        let mut due =
            turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
        due.known.began();
        let next = turn(due.known, &plan, facts(Workspace::Starting), at("2026-11-25T09:00:00Z"));
        let expected = [("2026-11-24T09:00:00Z", Outcome::Started), ("2026-11-25T09:00:00Z", Outcome::FoundRunning)];
        assert_eq!(outcomes(&next), expected.map(|(at, outcome)| (at.to_owned(), outcome)));
        assert!(!next.start);
    }

    #[test]
    fn p8_a_clock_that_steps_back_starts_nothing_twice_and_one_that_was_years_ahead_blocks_nothing() {
        let plan = plan("09:00", ALL, "UTC");
        let mut due =
            turn(looked(&plan, "2026-11-24T08:00:00Z"), &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
        due.known.began();
        let known = turn(due.known, &plan, facts(Workspace::Running), at("2026-11-24T09:01:00Z")).known;
        let back = turn(known, &plan, facts(Workspace::Off), at("2026-11-24T06:00:00Z"));
        let again = turn(back.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z"));
        assert!(!again.start);
        assert_eq!(again.ask_again_at, Some(at("2026-11-25T09:00:00Z")));
        let wrong = looked(&plan, "2035-01-01T00:00:00Z");
        let right = turn(wrong, &plan, facts(Workspace::Off), at("2026-11-24T08:00:00Z"));
        assert_eq!(right.ask_again_at, Some(at("2026-11-24T09:00:00Z")));
        assert!(turn(right.known, &plan, facts(Workspace::Off), at("2026-11-24T09:00:00Z")).start);
    }

    #[test]
    fn what_is_known_is_kept_as_it_is() {
        let plan = plan("09:00", "mon fri", "Europe/Berlin");
        let mut known = looked(&plan, "2026-11-24T08:00:00Z");
        known.due = Some(Due {
            at: at("2026-11-24T08:00:00Z"),
            tries: 2,
            trying: false,
            failed_at: Some(at("2026-11-24T08:10:00Z")),
        });
        known.last = Some(Last { at: at("2026-11-23T08:00:00Z"), outcome: Outcome::GaveUp { tries: 3 } });
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Known>(&json).unwrap(), known);
    }

    proptest! {
        /// However often and late it is asked, with hearthd going away now and then: a start for each named moment at
        /// most, none later than two hours, none that was not named.
        #[test]
        fn s2_every_start_is_begun_once_in_time_or_said_to_be_missed(gaps in prop::collection::vec(1..500i64, 1..60)) {
            let plan = plan("09:00", "mon tue wed thu fri", "Europe/Berlin");
            let mut now = at("2026-11-01T00:00:00Z");
            let mut known = Known::new(plan.clone(), now);
            let (mut begun, mut ended) = (Vec::new(), Vec::new());
            for gap in gaps {
                let running = known.due.as_ref().is_some_and(|due| due.trying);
                now += SignedDuration::from_mins(gap);
                let workspace = if running { Workspace::Running } else { Workspace::Off };
                let mut turn = turn(known, &plan, facts(workspace), now);
                ended.extend(turn.happened.iter().cloned());
                if turn.start {
                    let at = turn.known.due.as_ref().unwrap().at;
                    prop_assert!(plan.names(at) && now.duration_since(at).unsigned_abs() <= GRACE);
                    begun.push(at);
                    turn.known.began();
                }
                prop_assert!(turn.ask_again_at.is_some_and(|at| at > now));
                known = turn.known;
            }
            let mut once = begun.clone();
            once.dedup();
            prop_assert_eq!(&once, &begun);
            let named = std::iter::successors(plan.next(at("2026-11-01T00:00:00Z")), |at| plan.next(*at));
            let dealt = |at: &Moment| begun.contains(at) || ended.iter().any(|last| last.at == *at);
            // Those before the last look that no later one overtook between two looks.
            for at in named.take_while(|at| *at <= now) {
                let overtaken = plan.next(at).is_some_and(|next| next <= now);
                prop_assert!(dealt(&at) || overtaken, "{at}");
            }
        }
    }
}
