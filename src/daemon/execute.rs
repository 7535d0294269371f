//! Acts: one task per operation, which reports back to the loop. Makes no choices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info, info_span};

use super::clock::Clock;
use super::sampling::Thorough;
use super::sensors::{Asked, Findings, Sensors};
use super::systemd::Service;
use super::workspaces::World;
use crate::build::{self, Outcome};
use crate::config::{InForce, Settings};
use crate::docker::{Container, ContainerId, Engine, EngineError, EngineVersion, Status, labels};
use crate::enter::Entries;
use crate::model::{BuildNumber, BuildRecord, Moment, Now, Warning, WorkspaceId};
use crate::store::{ContainerRecord, Store, StoreError, WorkspaceRecord};

/// What a task tells the loop.
#[derive(Debug)]
pub(super) enum Report {
    Looked { number: u64, answer: Result<Look, EngineError> },
    Build { workspace: WorkspaceId, progress: build::Progress },
    Done { workspace: WorkspaceId, done: Done },
    Emptied(super::homes::Ended),
    Measured(super::usage::Tried),
    Sampled { began: Now, asked: Thorough, found: Result<Findings, EngineError> },
}

/// What a look at the engine shows.
#[derive(Debug)]
pub(super) struct Look {
    /// Asked only when the engine was not here before.
    pub(super) version: Option<EngineVersion>,
    pub(super) containers: Vec<Container>,
    /// Those that were looked at more closely.
    pub(super) lives: BTreeMap<ContainerId, Life>,
    /// Those of which the engine did not say what they do, and why.
    pub(super) unanswered: BTreeMap<ContainerId, String>,
}

/// What a container does, when it was started, and when it ended last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    status: Status,
    pub(super) started_at: Option<Moment>,
    pub(super) ended_at: Option<Moment>,
}

/// The socket of a workspace, and the container that it is for.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) number: u64,
    pub(super) workspace: WorkspaceId,
    pub(super) container: String,
}

/// How many containers are looked at more closely at a time.
const CLOSE_LOOKS: usize = 64;
/// How long the engine may take for each of them: one that it is stuck on does not hide all others.
const CLOSE_LOOK: Duration = Duration::from_secs(1);

/// How an operation ended.
#[derive(Debug)]
pub(super) enum Done {
    Built {
        outcome: Outcome,
    },
    Stopped(Result<(), String>),
    Recovered(Result<(), build::Unrecovered>),
    Personalized {
        warnings: Vec<Warning>,
    },
    /// With what is recorded of the container from here on, where it was changed.
    Tended {
        container: Option<ContainerRecord>,
        lacking: Option<Lacking>,
    },
}

/// Why secrets that changed are not in a container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacking {
    /// Docker went away, or something else came first.
    CutOff,
    Failed,
}

/// Starts operations.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) tools: Arc<build::Tools>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sensors: Arc<dyn Sensors>,
    pub(super) entries: Entries,
    pub(super) service: Service,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when hearthd stops: builds are left to be taken up again.
    pub(super) stopping: CancellationToken,
    /// Running workspaces whose limits are changed at a time.
    pub(super) updates: Arc<Semaphore>,
    /// Running workspaces whose secrets are renewed at a time.
    pub(super) renewals: Arc<Semaphore>,
    /// Builds that the database does not have as they are.
    pub(super) unsaved: Arc<Mutex<BTreeMap<(WorkspaceId, BuildNumber), BuildRecord>>>,
}

/// See [`Executor::updates`] and [`Executor::renewals`].
pub(super) const AT_A_TIME: usize = 16;

impl Executor {
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn store(&self) -> &Store {
        &self.tools.store
    }

    /// Returns whether a container is the workspace's own.
    fn is_ours(&self, container: &Container, record: &WorkspaceRecord) -> bool {
        let recorded = record.container.as_ref().map(|container| container.id.as_str());
        self.tools.is_ours(container, &record.id, recorded)
    }

    /// Sorts what a look shows: each workspace's own container, and a sentence on whatever carries our labels and is
    /// not ours.
    pub(super) fn sort<'a>(
        &self,
        containers: &'a [Container],
        world: &World,
    ) -> (BTreeMap<WorkspaceId, &'a Container>, Vec<String>) {
        let (mut ours, mut foreign) = (BTreeMap::new(), Vec::new());
        for container in containers {
            let id = container.labels.get(labels::WORKSPACE).and_then(|id| id.parse::<WorkspaceId>().ok());
            match id.filter(|id| world.workspaces.get(id).is_some_and(|known| self.is_ours(container, &known.record))) {
                Some(id) => drop(ours.insert(id, container)),
                None if labels::is_passing(container, &self.tools.instance) => {}
                None => foreign.push(format!(
                    "container `{}` ({}) carries our labels and is not ours: it is left alone",
                    container.name, container.id
                )),
            }
        }
        (ours, foreign)
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Saves a build; a database that cannot be written delays nothing and is said, and it is
    /// [tried again](Self::save_unsaved): a hearthd that starts would take up what has ended.
    pub(super) async fn save_build(&self, id: &WorkspaceId, build: &BuildRecord) {
        let saved = self.tools.store.update_build(id, build).await;
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id.clone(), build.number);
        if let Err(error) = saved {
            error!(workspace = %id, build = build.number.0, "cannot record build {}: {error}", build.number);
            unsaved.insert(key, build.clone());
        } else {
            unsaved.remove(&key);
        }
    }

    /// Saves those builds that could not be.
    pub(super) async fn save_unsaved(&self) {
        loop {
            let first = self
                .unsaved
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .first_key_value()
                .map(|(key, build)| (key.clone(), build.clone()));
            let Some(((id, number), build)) = first else { return };
            match self.tools.store.update_build(&id, &build).await {
                Ok(()) => info!(workspace = %id, build = number.0, "build {number} is recorded after all"),
                // It is forgotten there.
                Err(StoreError::NoSuchBuild { .. } | StoreError::NoSuchWorkspace(_)) => {}
                Err(_) => return,
            }
            self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).remove(&(id, number));
        }
    }

    /// Opens a workspace's socket to its container, and to no other.
    pub(super) fn listen(&self, Door { number, workspace, container }: Door) {
        if let Err(error) = self.tools.doors.listen(number, &workspace) {
            error!(workspace = %workspace, "nobody can enter `{workspace}`: {:#}", anyhow::Error::from(error));
        }
        self.tools.doors.pin(&workspace, &container);
    }

    /// Removes what a hearthd that was cut off left behind: containers that live for a moment, and networks of orgs
    /// that are not declared any more.
    pub(super) fn clean(&self, containers: &[Container], settings: Arc<Settings>) {
        let passing = containers.iter().filter(|container| labels::is_passing(container, &self.tools.instance));
        let passing: Vec<_> = passing.map(|container| container.id.clone()).collect();
        let tools = self.tools.clone();
        self.tasks.spawn(async move {
            for id in passing {
                if let Err(error) = tools.engine.remove(&id).await {
                    error!("cannot remove container {id}, left behind by a build that was cut off: {error}");
                }
            }
            build::remove_unused_networks(&tools, &settings).await;
        });
    }

    /// Looks at the engine, more closely at those of `ours` that are said to have ended, and at those that run where
    /// that says so.
    pub(super) fn look(&self, number: u64, known: bool, ours: BTreeMap<ContainerId, bool>) {
        let (tools, reports) = (self.tools.clone(), self.reports.clone());
        self.tasks.spawn(async move {
            let look = async {
                let version = if known { None } else { Some(tools.engine.version().await?) };
                if let Some(version) = &version {
                    tools.disks.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&version.disks);
                }
                let mut containers = tools.engine.containers(tools.instance.as_str()).await?;
                let looked_at =
                    containers.iter().filter(|container| match (container.status, ours.get(&container.id)) {
                        (Status::Running, Some(closely)) => *closely,
                        (Status::Created | Status::Exited | Status::Dead, Some(_)) => true,
                        (Status::Paused | Status::Restarting | Status::Removing, Some(_)) | (_, None) => false,
                    });
                let asked: Vec<_> =
                    looked_at.map(|container| life(tools.engine.clone(), container.id.clone())).collect();
                let asked = stream::iter(asked).buffered(CLOSE_LOOKS).try_collect::<Vec<_>>().await?;
                let (mut lives, mut unanswered) = (BTreeMap::new(), BTreeMap::new());
                for (id, life) in asked {
                    match life {
                        Ok(life) => lives.extend(life.map(|life| (id, life))),
                        Err(why) => drop(unanswered.insert(id, why)),
                    }
                }
                // The list is of what the engine wrote down, which it cannot where its disk is full.
                for container in &mut containers {
                    container.status = lives.get(&container.id).map_or(container.status, |life| life.status);
                }
                Ok(Look { version, containers, lives, unanswered })
            };
            let answer = look.await;
            let _ = reports.send(Report::Looked { number, answer }).await;
        });
    }

    /// Looks whether workspaces are used.
    pub(super) fn sample(&self, asked: Asked, began: Now) {
        let executor = self.clone();
        self.tasks.spawn(async move {
            let workspaces = asked.subjects.iter().map(|subject| subject.workspace.clone()).collect();
            let of = Thorough { workspaces, thorough: asked.thorough };
            let mut found = executor.sensors.look(asked).await;
            for (id, found) in found.iter_mut().flatten() {
                found.sample.live.extend(executor.entries.live(id));
                found.passed.extend(executor.entries.take_ended(id));
            }
            let _ = executor.reports.send(Report::Sampled { began, asked: of, found }).await;
        });
    }

    pub(super) fn build(
        &self,
        record: WorkspaceRecord,
        number: BuildNumber,
        asked_at: Instant,
        in_force: InForce,
        cancel: CancellationToken,
    ) {
        let (executor, id) = (self.clone(), record.id.clone());
        let span = info_span!("build", workspace = %id, build = number.0);
        let run = async move {
            let progress = executor.teller(&id);
            let job = build::Job { record, number, asked_at, in_force, cancel, stopping: executor.stopping.clone() };
            let outcome = build::run(&executor.tools, job, progress).await;
            executor.done(id, Done::Built { outcome }).await;
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// Stops and removes the container.
    pub(super) fn stop(&self, record: WorkspaceRecord, grace: Duration) {
        let executor = self.clone();
        let span = info_span!("stop", workspace = %record.id);
        let run = async move {
            let result = async {
                build::stop(&executor.tools, &record, grace).await.map_err(|error| error.to_string())?;
                let forgotten = executor.tools.store.set_container(&record.id, None).await;
                forgotten.map_err(|error| error.to_string())
            };
            let result = result.await;
            executor.done(record.id, Done::Stopped(result)).await;
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// Starts the container that ended, with fresh secrets (rule L9).
    pub(super) fn recover(&self, record: WorkspaceRecord, in_force: InForce, cancel: CancellationToken) {
        let executor = self.clone();
        let span = info_span!("recover", workspace = %record.id);
        let run = async move {
            let id = record.id.clone();
            let tell = executor.teller(&id);
            let result = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(build::Unrecovered::Failed("somebody stopped it".to_owned())),
                result = build::recover(&executor.tools, record, &in_force, tell) => result,
            };
            executor.done(id, Done::Recovered(result)).await;
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// Takes over a container that runs and that the database does not know (rule L11).
    pub(super) fn take_over(
        &self,
        record: WorkspaceRecord,
        found: Container,
        in_force: InForce,
        cancel: CancellationToken,
    ) {
        let executor = self.clone();
        let span = info_span!("take over", workspace = %record.id);
        let run = async move {
            let id = record.id.clone();
            let tell = executor.teller(&id);
            let result = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(build::Unrecovered::Failed("somebody stopped it".to_owned())),
                result = build::take_over(&executor.tools, record, found, &in_force, tell) => result,
            };
            executor.done(id, Done::Recovered(result)).await;
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// Runs `~/personalize` again.
    pub(super) fn personalize(
        &self,
        record: WorkspaceRecord,
        number: BuildNumber,
        in_force: InForce,
        cancel: CancellationToken,
    ) {
        let executor = self.clone();
        let span = info_span!("personalize", workspace = %record.id);
        let run = async move {
            let id = record.id.clone();
            let warnings = tokio::select! {
                biased;
                () = cancel.cancelled() => Vec::new(),
                warnings = build::personalize_again(&executor.tools, record, number, &in_force) => warnings,
            };
            executor.done(id, Done::Personalized { warnings }).await;
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// Brings a running container in line: cpus, memory and pids, or what was injected (rule C6).
    pub(super) fn update(
        &self,
        record: WorkspaceRecord,
        limits: bool,
        secrets: bool,
        in_force: InForce,
        cancel: CancellationToken,
    ) {
        let executor = self.clone();
        let span = info_span!("update", workspace = %record.id);
        let run = async move {
            let id = record.id.clone();
            let mut changed = None;
            if limits && let Some(_turn) = executor.unless_cut_off(&cancel, executor.updates.acquire()).await {
                changed = build::update_limits(&executor.tools, record.clone(), &in_force).await;
            }
            let record = WorkspaceRecord { container: changed.clone().or(record.container), ..record };
            let mut lacking = None;
            if secrets {
                let renewed = executor.unless_cut_off(&cancel, executor.renew(&record, &in_force)).await;
                match renewed.unwrap_or(Err(Lacking::CutOff)) {
                    Ok(container) => changed = Some(container),
                    Err(why) => lacking = Some(why),
                }
            }
            executor.done(id, Done::Tended { container: changed, lacking }).await;
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// Waits for work unless something else comes first, or hearthd stops.
    async fn unless_cut_off<T>(&self, cancel: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            () = self.stopping.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Renews secrets when it is the workspace's turn: after an upgrade, or for a secret of an org, it is everybody's.
    async fn renew(&self, record: &WorkspaceRecord, in_force: &InForce) -> Result<ContainerRecord, Lacking> {
        let _turn = self.renewals.acquire().await;
        build::renew_secrets(&self.tools, record, in_force).await.map_err(|error| match error {
            build::Unrecovered::Away(_) => Lacking::CutOff,
            build::Unrecovered::Failed(_) | build::Unrecovered::NoRoom(_) => Lacking::Failed,
        })
    }

    fn teller(&self, id: &WorkspaceId) -> build::Tell {
        let (reports, workspace) = (self.reports.clone(), id.clone());
        Box::new(move |progress| {
            let (reports, workspace) = (reports.clone(), workspace.clone());
            // Without a loop there is nobody left to tell.
            async move { drop(reports.send(Report::Build { workspace, progress }).await) }.boxed()
        })
    }

    async fn done(&self, workspace: WorkspaceId, done: Done) {
        let _ = self.reports.send(Report::Done { workspace, done }).await;
    }
}

/// Looks what a container does, when it was started, and when it ended; says why where the engine does not tell.
async fn life(
    engine: Arc<dyn Engine>,
    id: ContainerId,
) -> Result<(ContainerId, Result<Option<Life>, String>), EngineError> {
    let found = match timeout(CLOSE_LOOK, engine.container(&id.0)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error @ EngineError::Away(_))) => return Err(error),
        Ok(Err(error)) => return Ok((id, Err(error.to_string()))),
        Err(_) => return Ok((id, Err(format!("no answer in {CLOSE_LOOK:?}")))),
    };
    let life = found.map(|found| {
        let status = found.container.status;
        Life { status, started_at: found.started_at, ended_at: found.finished_at }
    });
    Ok((id, Ok(life)))
}
