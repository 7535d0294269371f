//! The loop: the only owner of what changes.
//!
//! ```text
//!   requests ─┐
//!   reports  ─┼▶ note it ─▶ turn: look? decide each, act, publish ─▶ wait
//!   events   ─┤                                                        │
//!   alarm    ─┘◀───────────────────────────────────────────────────────┘
//! ```
//!
//! A turn makes no choice of its own: [`decide`](crate::decide) does, and [`execute`](super::execute) acts in tasks
//! that report back. What a look at the engine shows counts only for workspaces that nothing was done to since
//! the look began.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::activity::Memory;
use super::audit::Deed;
use super::execute::{Executor, Report};
use super::looks::Looks;
use super::reload::LineWaiter;
use super::sampling::Sampling;
use super::schedule::Schedules;
use super::usage::Rota;
use super::watch::{Judged, Seen};
use super::workspaces::World;
use super::world::Tracked;
use crate::config::{InForce, Members, Settings};
use crate::decide::{self, Action, Doing};
use crate::docker::EngineEvent;
use crate::handle::{ConfigView, EngineView, Event, Reloaded, Reply, Request, RequestError, SettingsChanged, Snapshot};
use crate::model::{
    BuildNumber, BuildReason, BuildRecord, BuildResult, Moment, Now, OffReason, Power, Requester, StopReason,
    WorkspaceId,
};
use crate::mutant;
use crate::pipeline::{self, Waiting};
use crate::store::{StoreError, WorkspaceRecord};

/// For workspaces of an org that is not declared any more.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Where the loop publishes what it knows.
pub(super) struct Outlets {
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) settings: watch::Sender<Arc<Settings>>,
    pub(super) judged: watch::Sender<Arc<Judged>>,
    pub(super) events: broadcast::Sender<Event>,
    /// When the loop wants to be woken.
    pub(super) alarm: watch::Sender<Option<Moment>>,
}

/// Where the loop hears from.
pub(super) struct Inlets {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) engine: mpsc::Receiver<EngineEvent>,
    /// SIGHUP: it waits here until it is heard.
    pub(super) hangups: Arc<Notify>,
    /// Files that changed.
    pub(super) files: mpsc::Receiver<Seen>,
    /// The alarm rings: look now.
    pub(super) alarms: mpsc::Receiver<()>,
}

/// The loop's state.
pub(super) struct Reconciler {
    pub(super) executor: Executor,
    pub(super) world: World,
    pub(super) settings: Arc<Settings>,
    pub(super) members: Arc<Members>,
    pub(super) config: ConfigView,
    pub(super) engine: EngineView,
    pub(super) outlets: Outlets,
    pub(super) started_at: Moment,
    pub(super) reload_waiters: Vec<LineWaiter<Reloaded>>,
    pub(super) set_waiters: Vec<LineWaiter<SettingsChanged>>,
    /// What happened, to be told when the snapshot shows it.
    told: Vec<Event>,
    /// Answers, to be given then.
    answers: Vec<Box<dyn FnOnce() + Send + Sync>>,
    /// Those whose container the database still has, though it is over.
    pub(super) unforgotten: BTreeSet<WorkspaceId>,
    /// See [`Snapshot::foreign`].
    pub(super) foreign: Vec<String>,
    pub(super) looks: Looks,
    /// What waits until the look of that number has shown that the engine answers.
    pub(super) parked: Vec<(u64, Request)>,
    pub(super) memory: Memory,
    pub(super) sampling: Sampling,
    pub(super) schedules: Schedules,
    pub(super) rota: Rota,
    /// Set by the first look: the API answers from then on.
    pub(super) looked: bool,
    /// Set by the first look that showed anything.
    pub(super) swept: bool,
}

impl Reconciler {
    pub(super) fn new(
        executor: Executor,
        world: World,
        InForce { settings, members }: InForce,
        config: ConfigView,
        outlets: Outlets,
        memory: Memory,
        schedules: Schedules,
    ) -> Self {
        let started_at = executor.now().wall;
        let looks = Looks::new();
        let engine = EngineView::Unknown;
        Self {
            executor,
            world,
            settings,
            members,
            config,
            engine,
            outlets,
            started_at,
            reload_waiters: Vec::new(),
            set_waiters: Vec::new(),
            told: Vec::new(),
            answers: Vec::new(),
            unforgotten: BTreeSet::new(),
            foreign: Vec::new(),
            looks,
            parked: Vec::new(),
            memory,
            sampling: Sampling::default(),
            schedules,
            rota: Rota::default(),
            looked: false,
            swept: false,
        }
    }

    /// Returns what is in force at this moment.
    pub(super) fn in_force(&self) -> InForce {
        InForce { settings: self.settings.clone(), members: self.members.clone() }
    }

    /// Runs until `stop` is cancelled. `turned` is told of each finished turn.
    pub(super) async fn run(
        mut self,
        mut inlets: Inlets,
        stop: tokio_util::sync::CancellationToken,
        mut turned: impl FnMut(bool),
    ) {
        self.declare_all().await;
        loop {
            let wait = self.turn().await;
            turned(self.looked);
            let mut wait = pin!(tokio::time::sleep(wait));
            let mut calls_for_a_turn = false;
            while !calls_for_a_turn {
                calls_for_a_turn = true;
                // In this order, so that two runs of a simulation are the same; none of these floods.
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        self.keep_ledgers().await;
                        return;
                    }
                    Some(report) = inlets.reports.recv() => self.report(report).await,
                    Some(request) = inlets.requests.recv() => self.request(request).await,
                    () = inlets.hangups.notified() => self.hangup().await,
                    Some(seen) = inlets.files.recv() => self.files_seen(seen).await,
                    Some(()) = inlets.alarms.recv() => {}
                    Some(event) = inlets.engine.recv() => calls_for_a_turn = self.engine_event(event).await,
                    () = &mut wait => {}
                }
            }
        }
    }

    /// Decides for every workspace, acts, publishes; returns how long nothing needs to be asked again.
    async fn turn(&mut self) -> Duration {
        let now = self.executor.now();
        self.foresee(now).await;
        let mut wait = self.look(now);
        self.carry_out_parked(now).await;
        self.keep_ends().await;
        self.save_unsaved().await;
        self.schedules.plan(self.in_force(), now.wall);
        if self.looked && matches!(self.engine, EngineView::Here { .. }) {
            self.turn_schedules(now).await;
            if let Some(at) = self.schedules.ask_again_at() {
                wait = wait.min(until(at, now));
            }
            let (mut waiting, mut actions, mut due) = (Vec::new(), Vec::new(), Vec::new());
            for (id, tracked) in &*self.world.workspaces {
                match tracked.tried.again_at.map(|at| at.saturating_sub(now.boot)) {
                    Some(Duration::ZERO) if tracked.is_tendable() => due.push(id.clone()),
                    Some(Duration::ZERO) => {}
                    Some(left) => wait = wait.min(left),
                    None => {}
                }
                let left = tracked.postponed.as_ref().and_then(|postponed| postponed.until.checked_sub(now.boot));
                if let Some(left) = left.filter(|left| !left.is_zero()) {
                    wait = wait.min(left);
                    continue;
                }
                let decision = decide::decide(&tracked.facts(), now);
                if let Some(at) = decision.ask_again_at {
                    wait = wait.min(until(at, now));
                }
                match decision.action {
                    Action::Nothing => {}
                    Action::RunQueued => waiting.extend(waiting_of(id, tracked)),
                    Action::Warn | Action::Look => actions.push((id.clone(), decision.action, decision.because)),
                    // Those of a boot, or of an engine that is back, take their turn.
                    Action::Recover if tracked.ended_with_engine => {
                        let (workspace, queued_at) = (id.clone(), tracked.record.power_since);
                        waiting.push(Waiting { workspace, reason: BuildReason::Recovery, queued_at });
                    }
                    action
                    @ (Action::Queue(_) | Action::Stop(_) | Action::Recover | Action::GiveUp | Action::Clear) => {
                        actions.push((id.clone(), action, decision.because));
                    }
                }
            }
            if let Some(next) = self.empty_trash(now) {
                wait = wait.min(next);
            }
            for (id, action, because) in actions {
                self.act(&id, action, &because, now).await;
            }
            let begin = pipeline::next(waiting, self.world.busy(now.wall), self.settings.server.max_builds);
            for id in begin {
                if self.world.workspaces.get(&id).is_some_and(|tracked| tracked.queued.is_some()) {
                    self.begin_build(&id, now).await;
                } else {
                    self.act(
                        &id,
                        Action::Recover,
                        "its container ended with Docker or the host: it is started again",
                        now,
                    )
                    .await;
                }
            }
            for id in due {
                self.bring_in_line_anew(&id);
            }
        }
        let sample_in = self.sample(now).min(self.measure_homes(now));
        self.world.close_logs();
        // Whoever has an answer, or hears of something, finds it in the snapshot.
        self.publish(now);
        let answer_in = self.answer_waiters(now);
        // That somebody was warned is kept when they have been.
        let keep_in = self.keep_ledgers_if_due(now).await;
        // The watchdog is fed by turns.
        let watchdog = self.executor.service().watchdog().map(|limit| limit / 2);
        [wait, sample_in, keep_in, answer_in].into_iter().chain(watchdog).min().unwrap_or(wait)
    }

    async fn act(&mut self, id: &WorkspaceId, action: Action, because: &str, now: Now) {
        let in_force = self.in_force();
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        match action {
            Action::Nothing | Action::RunQueued => {}
            Action::Warn => self.warn_of_auto_off(id, now),
            Action::Look => self.want_look(id),
            Action::Queue(reason) => {
                info!(workspace = %id, "`{id}`: {because}");
                if let Err(error) = self.queue_build(id, reason, Requester::hearthd()).await {
                    error!(workspace = %id, "cannot queue a build: {error}");
                }
            }
            Action::Stop(why) => {
                if why == StopReason::AutoOff && tracked.record.power == Power::On {
                    info!(workspace = %id, "`{id}` goes off: {because}");
                    self.set_power(id, Power::Off { why: OffReason::AutoOff }).await;
                    self.note_auto_off(id, because).await;
                }
                let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
                let record = tracked.record.clone();
                self.begin_stop(id, record, why, now);
            }
            Action::Recover => {
                info!(workspace = %id, "`{id}`: {because}");
                let record = tracked.record.clone();
                let doing = Doing::Recovering { since: now.wall };
                tracked.begin(doing, |cancel| self.executor.recover(record, in_force, cancel));
            }
            Action::Clear => {
                warn!(workspace = %id, "{because}");
                let record = tracked.record.clone();
                self.begin_stop(id, record, StopReason::Failed, now);
            }
            Action::GiveUp => {
                warn!(workspace = %id, "`{id}`: {because}: it counts as failed");
                if let Some(build) = &mut tracked.build {
                    build.result = Some(BuildResult::Failed);
                    build.failure = Some(format!("{because}. `hearth rebuild {id}` builds it anew"));
                    self.executor.save_build(id, build).await;
                }
                let record = tracked.record.clone();
                // From here on it is what a failed build left, however often its removal is tried.
                tracked.record.container = None;
                self.forget_container(id).await;
                self.begin_stop(id, record, StopReason::Failed, now);
            }
        }
    }

    /// Stops and removes its container, or what a failed build left.
    fn begin_stop(&mut self, id: &WorkspaceId, record: WorkspaceRecord, why: StopReason, now: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let grace = self.settings.orgs.get(&record.org).map_or(STOP_GRACE, |org| org.stop_grace);
        tracked.begin(Doing::Stopping { why, since: now.wall }, |_| self.executor.stop(record, grace));
    }

    /// Lets the queued build of a workspace begin.
    async fn begin_build(&mut self, id: &WorkspaceId, now: Now) {
        let in_force = self.in_force();
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let Some(mut build) = tracked.queued.take() else { return };
        build.started_at = Some(now.wall);
        build.stages.clear();
        build.warnings.clear();
        self.executor.save_build(id, &build).await;
        let number = build.number;
        // Of a turn that lasts, `now` is its beginning.
        let waited = self.executor.now().wall.duration_since(build.queued_at);
        let begun_at = Instant::now();
        let asked_at = begun_at.checked_sub(Duration::try_from(waited).unwrap_or_default()).unwrap_or(begun_at);
        tracked.build = Some(build);
        let (record, executor) = (tracked.record.clone(), &self.executor);
        let doing = Doing::Building { stage: crate::model::Stage::Pull, since: now.wall };
        tracked.begin(doing, |cancel| executor.build(record, number, asked_at, in_force, cancel));
    }

    /// Takes in what the engine tells; returns whether that calls for a turn. The end of an exec, as each health check
    /// has one, waits for the next look at who uses what.
    async fn engine_event(&mut self, event: EngineEvent) -> bool {
        let calls_for_a_turn = !matches!(event, EngineEvent::ExecEnded { .. });
        match event {
            EngineEvent::Container { id } => {
                self.looks.touched.insert(id);
                self.looks.after_event();
            }
            EngineEvent::Connected => self.looks.after_event(),
            EngineEvent::Mounted { volume, at } => self.volume_mounted(&volume, at).await,
            EngineEvent::ExecEnded { id, exec, at } => self.sampling.execs.ended(id, exec, at),
            EngineEvent::Disconnected(why) => self.engine_away(&why),
        }
        calls_for_a_turn
    }

    /// Says what is new to those who listen.
    fn publish(&mut self, now: Now) {
        let engine = if self.looked { self.engine.clone() } else { EngineView::Unknown };
        self.schedules.show(&self.world.workspaces, now.wall);
        for (workspace, state) in self.world.workspaces.show(&self.settings, now) {
            self.emit(Event::State { at: now.wall, workspace, state });
        }
        let snapshot = Snapshot {
            workspaces: self.world.workspaces.views(),
            engine,
            config: self.config.clone(),
            members: self.members.clone(),
            schedules: self.schedules.shown(),
            foreign: self.foreign.clone(),
            blind: self.executor.sensors.blind().or_else(|| self.world.blind()),
            started_at: self.started_at,
        };
        self.outlets.snapshot.send_replace(Arc::new(snapshot));
        for event in self.told.drain(..) {
            // Nobody listening is no error.
            let _ = self.outlets.events.send(event);
        }
    }

    /// Tells those who listen, at the end of this turn.
    pub(super) fn emit(&mut self, event: Event) {
        self.told.push(event);
    }

    /// Answers at the end of this turn.
    pub(super) fn answer<T: Send + Sync + 'static>(&mut self, reply: Reply<T>, answer: Result<T, RequestError>) {
        self.answers.push(Box::new(|| drop(reply.send(answer))));
    }

    /// Answers what can be; returns how long nothing else needs to be.
    fn answer_waiters(&mut self, now: Now) -> Duration {
        self.answers.drain(..).for_each(|answer| answer());
        let here = matches!(self.engine, EngineView::Here { .. });
        let reload_in = LineWaiter::answer(&mut self.reload_waiters, &self.world, here, now);
        let set_in = LineWaiter::answer(&mut self.set_waiters, &self.world, here, now);
        for tracked in self.world.workspaces.quietly() {
            if tracked.is_off() {
                for waiter in tracked.stop_waiters.drain(..) {
                    let _ = waiter.send(Ok(()));
                }
            }
            if tracked.is_quiet() {
                for (number, waiter) in
                    tracked.cancel_waiters.drain(..).filter(|_| !mutant::is_on("cancels are not answered"))
                {
                    let _ = waiter.send(Ok(number));
                }
            }
        }
        reload_in.min(set_in)
    }

    /// Records a build that waits.
    pub(super) async fn queue_build(
        &mut self,
        id: &WorkspaceId,
        reason: BuildReason,
        requester: Requester,
    ) -> Result<BuildNumber, RequestError> {
        let now = self.executor.now().wall;
        let in_force = self.in_force();
        let (wanted, _) = in_force.workspace(id).ok_or_else(|| RequestError::NotDeclared(id.clone()))?;
        let image = wanted.image.value;
        let tracked = self.world.workspaces.get_mut(id).ok_or_else(|| RequestError::NoSuchWorkspace(id.clone()))?;
        let store = self.executor.store();
        let number = store.begin_build(id, reason, &requester, &image, now).await.map_err(|error| failed(&error))?;
        tracked.log = Some(self.executor.tools.logs.open(tracked.record.number, number));
        (tracked.taken_up, tracked.awaited) = (false, false);
        let by_itself = requester == Requester::hearthd();
        tracked.queued = Some(BuildRecord {
            number,
            reason,
            requester,
            queued_at: now,
            started_at: None,
            ended_at: None,
            stage: None,
            stages: Vec::new(),
            result: None,
            failure: None,
            warnings: Vec::new(),
            image,
            image_digest: None,
        });
        // One that is being stopped is off before it is built; any other stop does not come about any more.
        if !matches!(tracked.doing(), Some(Doing::Stopping { .. })) {
            tracked.is_wanted_again(number);
        }
        if tracked.record.power != Power::On {
            self.set_power(id, Power::On).await;
        }
        // What people ask for is noted where they ask.
        if by_itself {
            let (who, after) = (Requester::hearthd(), Some(format!("build {number}, {reason}")));
            let (workspace, result) = (Some(id), "ok".to_owned());
            self.executor.note(Deed { who, what: "start", workspace, before: None, after, result }).await;
        }
        Ok(number)
    }

    /// Records what was asked for.
    pub(super) async fn set_power(&mut self, id: &WorkspaceId, power: Power) {
        let now = self.executor.now().wall;
        if let Some(tracked) = self.world.workspaces.get_mut(id) {
            (tracked.record.power, tracked.record.power_since) = (power, now);
            tracked.postponed = None;
        }
        if mutant::is_on("wishes are not recorded") {
            return;
        }
        if let Err(error) = self.executor.store().set_power(id, power, now).await {
            error!(workspace = %id, "cannot record that `{id}` should be {power:?}: {error}");
        }
    }
}

/// An error of the state database, as a request's answer.
pub(super) fn failed(error: &StoreError) -> RequestError {
    RequestError::Failed(error.to_string())
}

fn waiting_of(id: &WorkspaceId, tracked: &Tracked) -> Option<Waiting> {
    let build = tracked.queued.as_ref()?;
    let reason = if tracked.awaited { BuildReason::User } else { build.reason };
    Some(Waiting { workspace: id.clone(), reason, queued_at: build.queued_at })
}

fn until(at: Moment, now: Now) -> Duration {
    Duration::try_from(at.duration_since(now.wall)).unwrap_or_default()
}
