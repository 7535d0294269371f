//! Acts: one task per operation, which reports back to the loop. Makes no choices.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span};

use super::clock::Clock;
use super::systemd::Service;
use crate::build::{self, Outcome};
use crate::config::Settings;
use crate::docker::{Container, EngineError, EngineVersion};
use crate::handle::Inside;
use crate::model::{BuildNumber, BuildRecord, Now, Stage, Warning, WorkspaceId};
use crate::store::{ContainerRecord, HomeRecord, Store, WorkspaceRecord};

/// What a task tells the loop.
#[derive(Debug)]
pub(super) enum Report {
    Looked { number: u64, answer: Result<Look, EngineError> },
    Build { workspace: WorkspaceId, progress: build::Progress },
    Done { workspace: WorkspaceId, done: Done },
}

/// What a look at the engine shows.
#[derive(Debug)]
pub(super) struct Look {
    /// Asked only when the engine was not here before.
    pub(super) version: Option<EngineVersion>,
    pub(super) containers: Vec<Container>,
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum Done {
    Built { outcome: Outcome },
    Stopped(Result<(), String>),
    Recovered(Result<(), String>),
    Personalized { warnings: Vec<Warning> },
    Tended,
}

/// Starts operations.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) tools: Arc<build::Tools>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) service: Service,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when hearthd stops: builds are left to be taken up again.
    pub(super) stopping: CancellationToken,
}

impl Executor {
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn store(&self) -> &Store {
        &self.tools.store
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Saves a build; a database that cannot be written delays nothing and is said.
    pub(super) async fn save_build(&self, id: &WorkspaceId, build: &BuildRecord) {
        if let Err(error) = self.tools.store.update_build(id, build).await {
            error!(workspace = %id, build = build.number.0, "cannot record build {}: {error}", build.number);
        }
    }

    /// Looks at the engine.
    pub(super) fn look(&self, number: u64, known: bool) {
        let (tools, reports) = (self.tools.clone(), self.reports.clone());
        self.tasks.spawn(async move {
            let look = async {
                let version = if known { None } else { Some(tools.engine.version().await?) };
                Ok(Look { version, containers: tools.engine.containers(tools.instance.as_str()).await? })
            };
            let answer = look.await;
            let _ = reports.send(Report::Looked { number, answer }).await;
        });
    }

    pub(super) fn build(
        &self,
        record: WorkspaceRecord,
        number: BuildNumber,
        settings: Arc<Settings>,
        cancel: CancellationToken,
    ) {
        let (executor, id) = (self.clone(), record.id.clone());
        let span = info_span!("build", workspace = %id, build = number.0);
        let run = async move {
            let (reports, workspace) = (executor.reports.clone(), id.clone());
            let progress = async move |progress| {
                let _ = reports.send(Report::Build { workspace: workspace.clone(), progress }).await;
            };
            let job = build::Job { record, number, settings, cancel, stopping: executor.stopping.clone() };
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
            let result = build::stop(&executor.tools, &record, grace).await.map_err(|error| error.to_string());
            executor.done(record.id, Done::Stopped(result)).await;
        };
        self.tasks.spawn(run.instrument(span));
    }
}
