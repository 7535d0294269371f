//! What the loop knows of each workspace. The loop owns it; everybody else sees snapshots.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::execute::Door;
use super::sampling::Watch;
use super::usage::HomeUse;
use crate::activity::{Anew, Keeper, Ledger, Off};
use crate::build::log::LogWriter;
use crate::build::{Outcome, inside};
use crate::config::effective::effective;
use crate::config::spec::{is_live, outdated};
use crate::config::{Members, Settings, SpecSummary};
use crate::decide::{self, Action, Decision, Doing, Facts, Observed};
use crate::docker::{Container, Status, labels};
use crate::handle::{Activity, Inside, Reply, RequestError, Usage, View};
use crate::model::{
    BuildNumber, BuildReason, BuildRecord, BuildResult, Moment, Now, Outdated, Power, Stage, StageTiming, Stamp, State,
};
use crate::pipeline::{self, HOOKS_COUNT};
use crate::store::{ContainerRecord, WorkspaceRecord};

/// How soon a build that the engine cut off is taken up again.
const AGAIN: Duration = Duration::from_secs(2);
/// Where it is cut off again and again.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// One workspace, declared or remembered.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) record: WorkspaceRecord,
    /// The last build that began.
    pub(super) build: Option<BuildRecord>,
    /// The build that waits.
    pub(super) queued: Option<BuildRecord>,
    /// Whether that had begun before, and was cut off.
    pub(super) taken_up: bool,
    /// Whether a person waits for the build that was queued last, whoever asked for it first.
    pub(super) awaited: bool,
    /// Held open from the request on, so that whoever follows it waits for what comes.
    pub(super) log: Option<LogWriter>,
    pub(super) observed: Observed,
    /// Looks older than this say nothing of this workspace: they began before hearthd last changed it.
    pub(super) fresh_from: u64,
    /// Times at which the container was seen to have ended without being asked.
    pub(super) ends: Vec<Stamp>,
    /// It ended because the engine or the host did: started again when its turn comes.
    pub(super) ended_with_engine: bool,
    pub(super) postponed: Option<Postponed>,
    /// A container that was gone, and that no build could take the place of. An engine whose disk was not mounted shows
    /// it again when the disk is back.
    pub(super) lost: Option<ContainerRecord>,
    /// How often in a row the engine cut its build off.
    interrupted: u32,
    pub(super) operation: Option<Operation>,
    pub(super) inside: Option<Inside>,
    pub(super) outdated: Vec<Outdated>,
    /// What its container would be made of at this moment.
    pub(super) wanted: Option<SpecSummary>,
    pub(super) tried: Tried,
    /// What is known of its use.
    pub(super) ledger: Ledger,
    pub(super) watch: Watch,
    pub(super) home: HomeUse,
    pub(super) stop_waiters: Vec<Reply<()>>,
    pub(super) cancel_waiters: Vec<(BuildNumber, Reply<BuildNumber>)>,
}

/// What a look shows of a container besides its status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// The engine was away before, or hearthd was.
    pub(super) back: bool,
    /// Somebody else started it since: it has nothing that was injected.
    pub(super) restarted: bool,
    /// When it ended, where that was not the engine's end, nor the host's.
    pub(super) own_end: Option<Moment>,
}

/// What was wanted when its container was last brought in line, or tried to be: what was refused once is not asked for
/// again and again.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) made_of: Option<SpecSummary>,
    pub(super) injected: Option<String>,
    /// When the same is tried again, in spans of the boot clock: it failed, or was cut off.
    pub(super) again_at: Option<Duration>,
}

/// What is under way, and how to end it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) doing: Doing,
    pub(super) cancel: CancellationToken,
}

impl Tracked {
    pub(super) fn new(
        record: WorkspaceRecord,
        build: Option<BuildRecord>,
        queued: Option<BuildRecord>,
        ledger: Ledger,
    ) -> Self {
        Self {
            record,
            build,
            taken_up: queued.is_some(),
            queued,
            awaited: false,
            log: None,
            observed: Observed::None,
            fresh_from: 0,
            ends: Vec::new(),
            ended_with_engine: false,
            postponed: None,
            lost: None,
            interrupted: 0,
            operation: None,
            inside: None,
            outdated: Vec::new(),
            wanted: None,
            tried: Tried::default(),
            ledger,
            watch: Watch::default(),
            home: HomeUse::default(),
            stop_waiters: Vec::new(),
            cancel_waiters: Vec::new(),
        }
    }

    /// Notes that `doing` is under way and starts it; `start` gets the token that ends it early.
    pub(super) fn begin(&mut self, doing: Doing, start: impl FnOnce(CancellationToken)) {
        let cancel = CancellationToken::new();
        self.operation = Some(Operation { doing, cancel: cancel.clone() });
        self.postponed = None;
        start(cancel);
    }

    /// Returns the build that waits, which serves who asks for one: a person has it come before schedules.
    pub(super) fn already_queued(&mut self, reason: BuildReason) -> Option<BuildNumber> {
        let queued = self.queued.as_ref()?;
        self.awaited |= pipeline::is_awaited(reason);
        Some(queued.number)
    }

    /// Tells those who wait for its stop that a build came before it.
    pub(super) fn is_wanted_again(&mut self, number: BuildNumber) {
        for waiter in self.stop_waiters.drain(..) {
            let what = format!("`{}` was asked for again before it was off, as build {number}", self.record.id);
            let _ = waiter.send(Err(RequestError::Conflict(what)));
        }
    }

    /// Notes that a stage of the build begins; returns the record to save.
    pub(super) fn stage(&mut self, stage: Stage, now: Now) -> Option<BuildRecord> {
        let build = self.build.as_mut()?;
        if let Some(Operation { doing: Doing::Building { stage: at, .. }, .. }) = &mut self.operation {
            *at = stage;
        }
        close_stage(build, now.wall);
        build.stage = Some(stage);
        build.stages.push(StageTiming { stage, started_at: now.wall, took: None });
        Some(build.clone())
    }

    /// Compares the container with the configuration; returns whether something differs that can be changed live.
    pub(super) fn compare(&mut self, settings: &Settings, members: &Members) -> bool {
        self.outdated.clear();
        let (Some(container), Some(workspace)) = (&self.record.container, settings.workspaces.get(&self.record.id))
        else {
            return false;
        };
        let wanted = SpecSummary::of(&effective(settings, workspace, members), settings.org_of(workspace));
        match serde_json::from_str::<SpecSummary>(&container.spec) {
            Ok(running) => self.outdated = outdated(&running, &wanted),
            Err(error) => tracing::warn!(workspace = %self.record.id, "cannot read what it was made of: {error}"),
        }
        self.wanted = Some(wanted);
        self.outdated.iter().any(|what| is_live(*what))
    }

    /// Returns whether its container was brought something else than `wanted`. One that has nothing yet gets all of it
    /// another way, and of one that is not declared nothing is wanted.
    pub(super) fn lacks(&self, wanted: Option<&String>) -> bool {
        let container = self.record.container.as_ref().filter(|container| !container.token_hash.is_empty());
        wanted.is_some() && container.is_some_and(|container| container.injected.as_ref() != wanted)
    }

    /// Takes in the end of a build; returns the record to save.
    pub(super) fn built(&mut self, outcome: Outcome, now: Now) -> Option<BuildRecord> {
        let build = self.build.as_mut()?;
        close_stage(build, now.wall);
        self.interrupted = if matches!(outcome, Outcome::Interrupted { .. }) { self.interrupted + 1 } else { 0 };
        let gone = match outcome {
            Outcome::Running { warnings } => {
                build.warnings = warnings;
                build.result = Some(BuildResult::Ok);
                self.observed = Observed::Running { since: now.wall };
                self.ends.clear();
                false
            }
            Outcome::Failed { failure, warnings, kept } => {
                build.warnings = warnings;
                build.failure = Some(failure);
                build.result = Some(BuildResult::Failed);
                !kept
            }
            Outcome::Cancelled { kept } => {
                build.result = Some(BuildResult::Cancelled);
                !kept
            }
            Outcome::Interrupted { why } => {
                tracing::warn!(workspace = %self.record.id, build = build.number.0, "build interrupted: {why}; taken up again");
                let again = BuildRecord { started_at: None, stage: None, stages: Vec::new(), ..build.clone() };
                // A newer request that waits already serves as well.
                if self.queued.is_none() && self.record.power == Power::On {
                    let pause = (AGAIN * (1 << (self.interrupted - 1).min(8))).min(AGAIN_AT_MOST);
                    self.postponed = Some(Postponed { until: now.boot + pause, why });
                    self.queued = Some(again.clone());
                    self.taken_up = true;
                    return Some(again);
                }
                build.result = Some(BuildResult::Cancelled);
                false
            }
        };
        if gone {
            self.observed = Observed::None;
            self.inside = None;
        }
        build.ended_at = Some(now.wall);
        self.ledger.count_anew(Anew::BuildEnded, now.stamp());
        Some(build.clone())
    }

    /// Takes in what the engine shows of the workspace's own container. Returns whether it is seen otherwise than
    /// before.
    pub(super) fn see(&mut self, container: Option<&Container>, shown: Shown, now: Now) -> bool {
        let before = (self.observed, self.inside.is_some());
        let since = match self.observed {
            Observed::Running { since } | Observed::Paused { since } => since,
            Observed::None | Observed::Ended | Observed::Restarted => {
                self.build.as_ref().and_then(|build| build.ended_at).unwrap_or(now.wall)
            }
        };
        let observed = match container.map(|container| container.status) {
            None => Observed::None,
            Some(Status::Running) if shown.restarted => Observed::Restarted,
            Some(Status::Running | Status::Restarting) => Observed::Running { since },
            Some(Status::Paused) => Observed::Paused { since },
            Some(Status::Created | Status::Exited | Status::Dead | Status::Removing) => Observed::Ended,
        };
        let is_over = |observed: Observed| matches!(observed, Observed::Ended | Observed::Restarted);
        if is_over(observed) && !is_over(self.observed) {
            let end = if shown.back { shown.own_end.map(|at| now.stamp_of(at)) } else { Some(now.stamp()) };
            self.ended_with_engine = end.is_none();
            // An earlier hearthd may have counted it.
            if let Some(end) = end.filter(|end| self.ends.last().is_none_or(|last| last < end)) {
                self.ended(end, now);
            }
        }
        // Whoever did means to use it.
        if observed == Observed::Restarted && self.observed != Observed::Restarted {
            self.ledger.count_anew(Anew::Adopted, now.stamp());
        }
        if observed == Observed::None || is_over(observed) {
            self.inside = None;
        }
        if observed == Observed::None {
            self.ledger.went_off();
        }
        self.observed = observed;
        before != (self.observed, self.inside.is_some())
    }

    /// Counts an end that nobody asked for; those that count no more are forgotten.
    pub(super) fn ended(&mut self, at: Stamp, now: Now) {
        self.ends.push(at);
        self.ends.retain(|end| now.since(*end) <= decide::WINDOW);
    }

    /// Returns whether a container of ours that runs is another one than the database says, of a workspace that is
    /// declared: then the database was lost, or is older.
    pub(super) fn is_unknown(&self, container: &Container) -> bool {
        let known = self.record.container.as_ref().is_some_and(|known| known.id == container.id.0);
        // A build that is taken up again left it.
        let left = self.queued.as_ref().is_some_and(|queued| queued.reason != BuildReason::Create || self.taken_up);
        // So did one that failed, or one before that could not be removed: it is no workspace (rule L8). An older database
        // knows of older builds only.
        let number = container.labels.get(labels::BUILD).and_then(|number| number.parse().ok()).map(BuildNumber);
        let over = |build: &BuildRecord| match build.result {
            Some(BuildResult::Failed | BuildResult::Cancelled) => number <= Some(build.number),
            Some(BuildResult::Ok) | None => number < Some(build.number),
        };
        let left = left || self.build.as_ref().is_some_and(over);
        !known && !left && container.status == Status::Running && self.record.removed_at.is_none()
    }

    /// Takes a container for the workspace's own again when it is the one that was lost. Returns whether it is.
    pub(super) fn find_again(&mut self, container: &Container) -> bool {
        let found = self.record.container.is_none() && self.lost.as_ref().is_some_and(|lost| lost.id == container.id.0);
        if found {
            self.record.container = self.lost.take();
        }
        found
    }

    /// Returns whether somebody else started the container since hearthd did.
    pub(super) fn is_restarted(&self, started_at: Option<&Moment>) -> bool {
        let injected = self.record.container.as_ref().filter(|container| !container.token_hash.is_empty());
        let recorded = injected.and_then(|container| container.started_at.as_ref());
        recorded.zip(started_at).is_some_and(|(recorded, shown)| recorded != shown)
    }

    /// Lets people in again after a restart of hearthd: returns the door to open for a container that runs with its
    /// secrets injected.
    pub(super) fn adopt(&mut self) -> Option<Door> {
        let container = self.record.container.as_ref().filter(|container| !container.token_hash.is_empty())?;
        let running = matches!(self.observed, Observed::Running { .. } | Observed::Paused { .. });
        if !running || self.inside.is_some() {
            return None;
        }
        self.inside = Some(inside(container));
        let (number, workspace) = (self.record.door(), self.record.id.clone());
        Some(Door { number, workspace, container: container.id.clone() })
    }

    /// Returns whether the hooks that run hold up what nobody waits for.
    pub(super) fn hooks_count(&self, now: Moment) -> bool {
        let Some(build) = &self.build else { return false };
        let began = build.stages.iter().find(|timing| timing.stage >= Stage::Configure);
        let ran = began.map_or(Duration::ZERO, |timing| now.duration_since(timing.started_at).unsigned_abs());
        !self.awaited && !pipeline::is_awaited(build.reason) && ran < HOOKS_COUNT
    }

    /// Returns what is under way.
    pub(super) fn doing(&self) -> Option<Doing> {
        self.operation.as_ref().map(|operation| operation.doing)
    }

    /// Returns what is shown of its use.
    fn activity(&self) -> Activity {
        let outlook = self.watch.outlook.as_ref();
        let mut activity = Activity {
            last: self.ledger.last_activity().cloned(),
            connections: outlook.and_then(|_| self.ledger.connections()),
            usage: if outlook.is_some() { self.watch.meter.usage } else { Usage::default() },
            home_bytes: self.home.bytes(self.record.home.as_ref().map(|home| home.volume.as_str())),
            ..Activity::default()
        };
        match outlook.map(|outlook| &outlook.off) {
            Some(Off::At { at }) => activity.off_at = Some(*at),
            Some(Off::Kept { by }) => {
                let until = by.iter().filter_map(|keeper| match keeper {
                    Keeper::Hold { until, .. } => Some(*until),
                    Keeper::Open(_) => None,
                });
                activity.held_until = until.max();
            }
            Some(Off::Never | Off::Blind { .. }) | None => {}
        }
        activity
    }

    /// Returns what [`decide`](decide::decide) needs.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            power: self.record.power,
            power_since: self.record.power_since,
            container: self.observed,
            ends: &self.ends,
            doing: self.doing(),
            outlook: self.watch.outlook.as_ref(),
            overdue: self.watch.overdue,
            build: self.build.as_ref(),
            queued: self.queued.as_ref(),
            has_container: self.record.container.is_some(),
            is_injected: self.record.container.as_ref().is_some_and(|container| !container.token_hash.is_empty()),
            outdated: &self.outdated,
            warnings: self.build.as_ref().map_or(&[], |build| &build.warnings),
        }
    }

    /// Returns the workspace as it is shown.
    pub(super) fn view(&self, declared: bool, now: Now) -> View {
        let facts = self.facts();
        let mut state = decide::state(&facts);
        if let State::Running { outdated, .. } = &mut state {
            outdated.extend(self.tried.again_at.map(|_| Outdated::Secrets));
        }
        View {
            id: self.record.id.clone(),
            number: self.record.number,
            org: self.record.org.clone(),
            declared,
            state,
            build: self.queued.clone().filter(|_| self.operation.is_none()).or_else(|| self.build.clone()),
            inside: self.inside.clone(),
            because: self.told(decide::decide(&facts, now)),
            activity: self.activity(),
        }
    }

    /// Returns the reason with what the last try failed of, where there will be another.
    fn told(&self, Decision { action, because, .. }: Decision) -> String {
        match &self.postponed {
            Some(Postponed { why, .. }) if matches!(action, Action::RunQueued | Action::Recover | Action::Stop(_)) => {
                format!("{because}. The last try failed: {why}")
            }
            _ => because.into_owned(),
        }
    }

    /// Returns whether it can be brought in line: it runs and stays, and no build waits, which would bring all of it.
    pub(super) fn is_tendable(&self) -> bool {
        let stays = self.record.power == Power::On && matches!(self.observed, Observed::Running { .. });
        stays && self.operation.is_none() && self.queued.is_none()
    }

    /// Returns whether nothing is done to it, but for bringing it in line.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.doing(), None | Some(Doing::Tending))
    }

    /// Returns whether nothing of it runs or is about to.
    pub(super) fn is_off(&self) -> bool {
        self.operation.is_none() && self.observed == Observed::None && self.queued.is_none()
    }
}

/// Nothing is done before this moment of the boot clock, because the last try failed.
#[derive(Debug)]
pub(super) struct Postponed {
    pub(super) until: Duration,
    /// A sentence without its full stop.
    pub(super) why: String,
}

/// Notes that the stage that ran has ended.
pub(super) fn close_stage(build: &mut BuildRecord, now: Moment) {
    if let Some(timing) = build.stages.last_mut().filter(|timing| timing.took.is_none()) {
        timing.took = Some(Duration::try_from(now.duration_since(timing.started_at)).unwrap_or_default());
    }
}
