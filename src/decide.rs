//! (desired, observed, what is under way, now) → one [`Decision`] per workspace, with its reason.
//!
//! Pure. The reconcile loop carries out what this says and nothing else; what people are shown (`state`,
//! `because`) comes from the same facts. An event never says what to do, only that it is time to ask again.

use std::borrow::Cow;
use std::time::Duration;

use crate::activity::{Outlook, Step};
use crate::model::{
    BuildReason, BuildRecord, BuildResult, Hook, Moment, Now, OffReason, Outdated, Power, Stage, Stamp, State,
    StopReason, Warning, WarningKind,
};
use crate::mutant;

/// What is known of one workspace at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub power: Power,
    pub power_since: Moment,
    pub container: Observed,
    /// Ends without being asked, of this container, newest last (rule L9).
    pub ends: &'a [Stamp],
    /// What hearthd is doing to it.
    pub doing: Option<Doing>,
    /// The last build that began.
    pub build: Option<&'a BuildRecord>,
    /// The build that waits.
    pub queued: Option<&'a BuildRecord>,
    /// Whether a container of it is recorded: then it ran, and its absence is news.
    pub has_container: bool,
    /// Whether secrets were brought into it, so that people may enter.
    pub is_injected: bool,
    pub outdated: &'a [Outdated],
    pub warnings: &'a [Warning],
    /// What becomes of it by its use, while it runs.
    pub outlook: Option<&'a Outlook>,
    /// Whether the time for that has passed already, for a container that ended.
    pub overdue: bool,
}

/// What the engine shows of the container that is ours and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The engine has none.
    None,
    Running {
        since: Moment,
    },
    Paused {
        since: Moment,
    },
    /// It is there and does not run.
    Ended,
    /// It runs, and somebody else started it: it has nothing that is injected.
    Restarted,
}

/// What is under way for a workspace; at most one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Building {
        stage: Stage,
        since: Moment,
    },
    /// A build whose old container is about to give way counts as building, not as stopping.
    Stopping {
        why: StopReason,
        since: Moment,
    },
    /// Starting an ended container again and injecting fresh secrets.
    Recovering {
        since: Moment,
    },
    /// Running `~/personalize` again, which leaves the state as it is.
    Personalizing,
    /// Bringing its limits or secrets in line, which leaves the state as it is.
    Tending,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Nothing,
    /// Let the build that is queued run as soon as the queue's order allows.
    RunQueued,
    /// Queue a build that nobody asked for.
    Queue(BuildReason),
    Stop(StopReason),
    /// Start the container as it was, with fresh secrets.
    Recover,
    /// Tell everybody inside that it goes off unless it is used (rule P7).
    Warn,
    /// Look whether it is used: nothing is concluded without (rule P1).
    Look,
    /// It ended too often: remove what is left of it and call it failed.
    GiveUp,
    /// Remove what a failed build left.
    Clear,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub action: Action,
    /// For a person, one sentence.
    pub because: Cow<'static, str>,
    /// When the answer may be another although nothing happened.
    pub ask_again_at: Option<Moment>,
}

const IS_PAUSED: &str = "its container is paused, by someone other than hearth: `docker unpause` lets it go on";

/// How often a container may end in [`WINDOW`] before the workspace counts as failed (rule L9).
pub const ENDS_ALLOWED: usize = 5;
/// See [`ENDS_ALLOWED`].
pub const WINDOW: Duration = Duration::from_secs(600);

fn decision(action: Action, because: impl Into<Cow<'static, str>>) -> Decision {
    Decision { action, because: because.into(), ask_again_at: None }
}

/// Decides what is to be done to one workspace.
pub fn decide(facts: &Facts<'_>, now: Now) -> Decision {
    if let Some(doing) = facts.doing {
        return decision(Action::Nothing, doing_text(doing));
    }
    if let Some(build) = facts.queued {
        return decision(Action::RunQueued, format!("build {} waits for its turn", build.number));
    }
    match (facts.power, facts.container) {
        (Power::Off { why }, Observed::None) => decision(Action::Nothing, off_text(why)),
        (
            Power::Off { why },
            Observed::Running { .. } | Observed::Paused { .. } | Observed::Ended | Observed::Restarted,
        ) => decision(Action::Stop(stop_reason(why)), off_text(why)),
        (Power::On, Observed::Running { .. } | Observed::Paused { .. } | Observed::Ended | Observed::Restarted)
            if !facts.has_container =>
        {
            decision(Action::Clear, "its build failed and could not remove what it had made: it is removed")
        }
        (Power::On, Observed::Running { .. }) if !facts.is_injected => {
            recover(facts, now, "it was started without its secrets", "they are brought in")
        }
        (Power::On, Observed::Running { .. }) => by_use(facts, "it runs"),
        (Power::On, Observed::Paused { .. }) => by_use(facts, IS_PAUSED),
        (Power::On, Observed::Ended) if facts.overdue => {
            decision(Action::Stop(StopReason::AutoOff), "its container ended, and its time without use was over")
        }
        (Power::On, Observed::Ended) => {
            recover(facts, now, "its container ended without being asked", "it is started again")
        }
        (Power::On, Observed::Restarted) => {
            recover(facts, now, "somebody started its container by hand", "its secrets are brought in")
        }
        (Power::On, Observed::None) => match facts.build {
            Some(build) if facts.has_container || build.result == Some(BuildResult::Ok) => {
                decision(Action::Queue(BuildReason::Recovery), "its container is gone: it is built anew")
            }
            None => decision(Action::Queue(BuildReason::Create), "it was never built"),
            Some(build) if build.result == Some(BuildResult::Cancelled) => {
                decision(Action::Nothing, "its build was cancelled: `hearth start` builds it")
            }
            Some(_) if mutant::is_on("failures are not told") => decision(Action::Nothing, "it was stopped"),
            Some(build) => decision(Action::Nothing, failure_of(build)),
        },
    }
}

/// Decides about a container that runs: it goes off when nobody uses it.
fn by_use(facts: &Facts<'_>, runs: &'static str) -> Decision {
    let because = runs.into();
    let Some(outlook) = facts.outlook else { return Decision { action: Action::Nothing, because, ask_again_at: None } };
    let ask_again_at = outlook.ask_again_at;
    match outlook.step {
        Step::Wait => Decision { action: Action::Nothing, because, ask_again_at },
        Step::Warn => Decision { action: Action::Warn, because, ask_again_at },
        Step::Look => Decision { action: Action::Look, because, ask_again_at },
        Step::Stop => {
            let because = format!("it was not used since {:.0}", outlook.idle_since).into();
            Decision { action: Action::Stop(StopReason::AutoOff), because, ask_again_at }
        }
    }
}

/// Decides about a container that is to be let run with its secrets. What fails of that counts as an end.
fn recover(facts: &Facts<'_>, now: Now, happened: &str, done: &str) -> Decision {
    let recent = recent_ends(facts.ends, now);
    if recent >= ENDS_ALLOWED {
        let because = format!("its container ended {recent} times, or could not be let run, within ten minutes");
        return decision(Action::GiveUp, because);
    }
    let passed = facts.ends.last().map_or(Duration::MAX, |last| now.since(*last));
    let left = back_off(recent).saturating_sub(passed);
    if left.is_zero() {
        return decision(Action::Recover, format!("{happened}: {done}"));
    }
    let at = now.wall.saturating_add(left).unwrap_or(now.wall);
    Decision { ask_again_at: Some(at), ..decision(Action::Nothing, format!("{happened}: {done} at {at:.0}")) }
}

fn recent_ends(ends: &[Stamp], now: Now) -> usize {
    ends.iter().filter(|end| now.since(**end) <= WINDOW).count()
}

/// How long to wait before the restart that follows the `n`-th end: none, then 1 s, 4 s, 16 s, …
fn back_off(n: usize) -> Duration {
    match n {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_secs(1 << (2 * (n - 2)).min(8)),
    }
}

fn paused() -> Warning {
    let (hook, kind) = (Hook::Container, WarningKind::Paused);
    Warning { hook, kind, exit_code: None, message: IS_PAUSED.into(), tail: Vec::new() }
}

/// Derives the state that people are shown.
pub fn state(facts: &Facts<'_>) -> State {
    let number = facts.build.map_or(crate::model::BuildNumber(0), |build| build.number);
    match facts.doing {
        Some(Doing::Building { stage, since }) => return State::Building { build: number, stage, since },
        Some(Doing::Stopping { why, since }) => return State::Stopping { why, since },
        Some(Doing::Recovering { since }) => return State::Building { build: number, stage: Stage::Start, since },
        Some(Doing::Personalizing | Doing::Tending) | None => {}
    }
    if let Some(build) = facts.queued {
        return State::Queued { build: build.number, since: build.queued_at };
    }
    // What a failed build left is no workspace.
    let is_left = facts.power == Power::On && !facts.has_container;
    match (facts.power, if is_left { Observed::None } else { facts.container }) {
        (_, Observed::Running { since }) => {
            State::Running { since, warnings: facts.warnings.to_vec(), outdated: facts.outdated.to_vec() }
        }
        (_, Observed::Paused { since }) => {
            let warnings = facts.warnings.iter().cloned().chain([paused()]).collect();
            State::Running { since, warnings, outdated: facts.outdated.to_vec() }
        }
        (Power::Off { why }, Observed::None) => State::Off { since: facts.power_since, why },
        (Power::Off { why }, Observed::Ended | Observed::Restarted) => {
            State::Stopping { why: stop_reason(why), since: facts.power_since }
        }
        (Power::On, Observed::Ended | Observed::Restarted) => State::Queued { build: number, since: facts.power_since },
        (Power::On, Observed::None) => match facts.build {
            Some(build) if build.result == Some(BuildResult::Failed) => State::Failed {
                since: build.ended_at.unwrap_or(build.queued_at),
                failure: failure_of(build),
                retry_at: None,
            },
            Some(build) if build.result == Some(BuildResult::Cancelled) && !facts.has_container => {
                State::Off { since: build.ended_at.unwrap_or(build.queued_at), why: OffReason::Stopped }
            }
            Some(_) | None => State::Queued { build: number, since: facts.power_since },
        },
    }
}

fn failure_of(build: &BuildRecord) -> String {
    build.failure.clone().unwrap_or_else(|| format!("build {} failed", build.number))
}

fn stop_reason(why: OffReason) -> StopReason {
    match why {
        OffReason::Stopped | OffReason::NeverBuilt => StopReason::Requested,
        OffReason::AutoOff => StopReason::AutoOff,
        OffReason::Removed => StopReason::Removed,
    }
}

fn off_text(why: OffReason) -> &'static str {
    match why {
        OffReason::NeverBuilt => "it was not built yet: `hearth start` builds it",
        OffReason::Stopped => "it was stopped: `hearth start` builds it again",
        OffReason::AutoOff => "it was not used: `hearth start` builds it again",
        OffReason::Removed => "the configuration does not have it any more; its home is kept",
    }
}

fn doing_text(doing: Doing) -> Cow<'static, str> {
    match doing {
        Doing::Building { stage, .. } => format!("its build is at `{stage}`").into(),
        Doing::Stopping { why: StopReason::Requested, .. } => "somebody stopped it".into(),
        Doing::Stopping { why: StopReason::AutoOff, .. } => "it was not used".into(),
        Doing::Stopping { why: StopReason::Failed, .. } => "it failed: what is left of it is removed".into(),
        Doing::Stopping { why: StopReason::Removed, .. } => "it was removed from the configuration".into(),
        Doing::Recovering { .. } => "its container is let run, with fresh secrets".into(),
        Doing::Personalizing | Doing::Tending => "it runs".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::{IdleFrom, Off};
    use crate::model::{BuildNumber, Requester, StateName};

    fn at(second: i64) -> Moment {
        Moment::from_second(1_800_000_000 + second).unwrap()
    }

    fn now(second: i64) -> Now {
        let boot = Duration::from_secs(u64::try_from(1000 + second).unwrap());
        Now { wall: at(second), boot }
    }

    fn build(result: Option<BuildResult>) -> BuildRecord {
        BuildRecord {
            number: BuildNumber(3),
            reason: BuildReason::User,
            requester: Requester("alice".into()),
            queued_at: at(0),
            started_at: Some(at(0)),
            ended_at: result.map(|_| at(9)),
            stage: None,
            stages: vec![],
            result,
            failure: (result == Some(BuildResult::Failed)).then(|| "no such image".into()),
            warnings: vec![],
            image: "dev".into(),
            image_digest: None,
        }
    }

    fn facts(power: Power, container: Observed, build: Option<&BuildRecord>) -> Facts<'_> {
        Facts {
            power,
            power_since: at(0),
            container,
            ends: &[],
            doing: None,
            build,
            queued: None,
            has_container: container != Observed::None,
            is_injected: true,
            outdated: &[],
            warnings: &[],
            outlook: None,
            overdue: false,
        }
    }

    const RUNNING: Observed = Observed::Running { since: Moment::UNIX_EPOCH };
    const PAUSED: Observed = Observed::Paused { since: Moment::UNIX_EPOCH };
    const STOPPED: Power = Power::Off { why: OffReason::Stopped };

    #[test]
    fn every_case_has_one_action_and_one_state() {
        let (ok, failed, cancelled) =
            (build(Some(BuildResult::Ok)), build(Some(BuildResult::Failed)), build(Some(BuildResult::Cancelled)));
        let stop = Action::Stop(StopReason::Requested);
        let cases = [
            (Power::On, Observed::None, None, Action::Queue(BuildReason::Create), StateName::Queued),
            (Power::On, Observed::None, Some(&ok), Action::Queue(BuildReason::Recovery), StateName::Queued),
            (Power::On, Observed::None, Some(&failed), Action::Nothing, StateName::Failed),
            (Power::On, Observed::None, Some(&cancelled), Action::Nothing, StateName::Off),
            (Power::On, RUNNING, Some(&ok), Action::Nothing, StateName::Running),
            // L6: a failed rebuild leaves what ran running.
            (Power::On, RUNNING, Some(&failed), Action::Nothing, StateName::Running),
            (Power::On, RUNNING, Some(&cancelled), Action::Nothing, StateName::Running),
            (Power::On, PAUSED, Some(&ok), Action::Nothing, StateName::Running),
            (Power::On, Observed::Ended, Some(&ok), Action::Recover, StateName::Queued),
            (Power::On, Observed::Restarted, Some(&ok), Action::Recover, StateName::Queued),
            (STOPPED, Observed::None, Some(&ok), Action::Nothing, StateName::Off),
            (STOPPED, RUNNING, Some(&ok), stop, StateName::Running),
            (STOPPED, PAUSED, Some(&ok), stop, StateName::Running),
            (STOPPED, Observed::Ended, Some(&ok), stop, StateName::Stopping),
            (STOPPED, Observed::Restarted, Some(&ok), stop, StateName::Stopping),
            (STOPPED, Observed::None, Some(&cancelled), Action::Nothing, StateName::Off),
        ];
        for (power, container, build, action, name) in cases {
            let facts = facts(power, container, build);
            let case = format!("{power:?} {container:?} {:?}", build.map(|build| build.result));
            assert_eq!(decide(&facts, now(100)).action, action, "{case}");
            assert_eq!(state(&facts).name(), name, "{case}");
        }
    }

    #[test]
    fn p1_what_runs_is_decided_about_by_its_use() {
        let ok = build(Some(BuildResult::Ok));
        let stop = Action::Stop(StopReason::AutoOff);
        for (step, action) in
            [(Step::Wait, Action::Nothing), (Step::Warn, Action::Warn), (Step::Look, Action::Look), (Step::Stop, stop)]
        {
            let outlook = Outlook {
                idle_since: at(0),
                idle_from: IdleFrom::HoldEnded,
                off: Off::At { at: at(90) },
                step,
                ask_again_at: Some(at(50)),
            };
            for container in [RUNNING, PAUSED] {
                let facts = Facts { outlook: Some(&outlook), ..facts(Power::On, container, Some(&ok)) };
                let decision = decide(&facts, now(10));
                assert_eq!((decision.action, decision.ask_again_at), (action, Some(at(50))), "{step:?}");
            }
            // What is under way, and what should be off, come first.
            let doing = Some(Doing::Tending);
            let facts = Facts { outlook: Some(&outlook), doing, ..facts(Power::On, RUNNING, Some(&ok)) };
            assert_eq!(decide(&facts, now(10)).action, Action::Nothing);
        }
    }

    #[test]
    fn l9_one_that_ended_after_its_time_is_stopped_and_not_started_again() {
        let ok = build(Some(BuildResult::Ok));
        let facts = Facts { overdue: true, ..facts(Power::On, Observed::Ended, Some(&ok)) };
        assert_eq!(decide(&facts, now(10)).action, Action::Stop(StopReason::AutoOff));
    }

    #[test]
    fn l9_a_container_that_is_gone_is_built_anew_however_its_last_rebuild_ended() {
        for result in [BuildResult::Ok, BuildResult::Failed, BuildResult::Cancelled] {
            let build = build(Some(result));
            let facts = Facts { has_container: true, ..facts(Power::On, Observed::None, Some(&build)) };
            assert_eq!(decide(&facts, now(100)).action, Action::Queue(BuildReason::Recovery), "{result:?}");
        }
    }

    #[test]
    fn what_is_under_way_is_left_alone_and_a_queued_build_comes_before_all_else() {
        let waiting = build(None);
        let mut facts = facts(STOPPED, RUNNING, None);
        facts.queued = Some(&waiting);
        assert_eq!(decide(&facts, now(0)).action, Action::RunQueued);
        facts.doing = Some(Doing::Stopping { why: StopReason::Requested, since: at(0) });
        assert_eq!(decide(&facts, now(0)).action, Action::Nothing);
        assert_eq!(state(&facts).name(), StateName::Stopping);
    }

    #[test]
    fn l9_ends_are_answered_with_growing_pauses_and_the_fifth_within_ten_minutes_gives_up() {
        let ok = build(Some(BuildResult::Ok));
        let mut facts = facts(Power::On, Observed::Ended, Some(&ok));
        let ends = [0, 10, 20, 30, 40].map(|second| now(second).stamp());
        let pauses = [0, 1, 4, 16];
        for ((n, pause), end) in pauses.into_iter().enumerate().zip([0, 10, 20, 30]) {
            facts.ends = &ends[..=n];
            assert_eq!(decide(&facts, now(end + pause)).action, Action::Recover, "end {n}");
            if pause > 0 {
                let early = decide(&facts, now(end));
                assert_eq!((early.action, early.ask_again_at), (Action::Nothing, Some(at(end + pause))), "end {n}");
            }
        }
        facts.ends = &ends;
        assert_eq!(decide(&facts, now(41)).action, Action::GiveUp);
        assert_eq!(decide(&facts, now(11 * 60)).action, Action::Recover, "old ends are forgotten");
    }

    #[test]
    fn l9_secrets_that_cannot_be_brought_into_what_runs_are_not_tried_without_end() {
        let ok = build(Some(BuildResult::Ok));
        let ends = [0, 10, 20, 30, 40].map(|second| now(second).stamp());
        let mut facts = Facts { is_injected: false, ..facts(Power::On, RUNNING, Some(&ok)) };
        assert_eq!(decide(&facts, now(0)).action, Action::Recover);
        facts.ends = &ends[..3];
        assert_eq!(decide(&facts, now(20)).action, Action::Nothing);
        assert_eq!(decide(&facts, now(24)).action, Action::Recover);
        facts.ends = &ends;
        assert_eq!(decide(&facts, now(41)).action, Action::GiveUp);
    }

    #[test]
    fn p8_a_step_of_the_wall_clock_neither_hurries_nor_delays_a_restart() {
        let ok = build(Some(BuildResult::Ok));
        let ends = [now(0).stamp(), now(10).stamp()];
        let facts = Facts { ends: &ends, ..facts(Power::On, Observed::Ended, Some(&ok)) };
        for hours in [-5, 0, 9000] {
            let stepped = |second| Now { wall: at(second + hours * 3600), ..now(second) };
            let early = decide(&facts, stepped(10));
            assert_eq!((early.action, early.ask_again_at), (Action::Nothing, Some(at(11 + hours * 3600))), "{hours}");
            assert_eq!(decide(&facts, stepped(11)).action, Action::Recover, "{hours}");
        }
    }
}
