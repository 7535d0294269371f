//! A container that lives for a moment, for what hearth's own binary does to a home that nobody is in: nothing is mounted
//! but the home and the binary, there is no network, and it is not the image's user and none of its programs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::docker::labels::{self, HOME_APART};
use crate::docker::{
    ContainerId, ContainerSpec, Engine, EngineError, ExecEnd, ExecSpec, Limits, MountSpec, Output, Stream,
};
use crate::helper::bundle::BINARY;
use crate::model::{InstanceName, neutralise};

/// Millions of files take minutes.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// No report is longer (rule X4).
const LONGEST_REPORT: usize = 64 << 10;

/// A home and what is done to it.
#[derive(Debug, Clone)]
pub(super) struct Apart {
    /// The static `hearth` on the host.
    pub(super) hearth: PathBuf,
    /// Any image: nothing of it is run.
    pub(super) image: String,
    pub(super) volume: String,
    pub(super) read_only: bool,
    /// `own` or `changed`; the home comes first among what follows it.
    pub(super) command: &'static str,
    pub(super) more: Vec<String>,
}

/// Why it was not done. It can be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApartError {
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Does it and returns the report. Dropping the call cuts it off; the container is removed whatever happens.
pub(super) async fn run<T: DeserializeOwned + Send + 'static>(
    engine: &Arc<dyn Engine>,
    instance: &InstanceName,
    tasks: &TaskTracker,
    home: Apart,
) -> Result<T, ApartError> {
    let cut_off = CancellationToken::new();
    let _dropped = cut_off.clone().drop_guard();
    let (engine, spec) = (engine.clone(), container(instance, &home));
    let running = tasks.spawn(async move {
        let id = engine.create(&spec).await?;
        let ran = tokio::select! {
            biased;
            ran = enter(engine.as_ref(), &id, &home) => ran,
            () = cut_off.cancelled() => Err(ApartError::Failed("it was cut off".to_owned())),
        };
        if let Err(error) = engine.remove(&id).await {
            tracing::warn!(container = %id, "cannot remove the container that a home was looked after in: {error}");
        }
        ran
    });
    let lost = |_| Err(EngineError::Away("what was done to a home was cut off".to_owned()).into());
    running.await.unwrap_or_else(lost)
}

async fn enter<T: DeserializeOwned>(engine: &dyn Engine, id: &ContainerId, home: &Apart) -> Result<T, ApartError> {
    engine.start(id).await?;
    let mut argv = [BINARY, home.command, HOME_APART].map(str::to_owned).to_vec();
    argv.extend(home.more.iter().cloned());
    let exec = ExecSpec {
        argv,
        user: "0:0".to_owned(),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        stdin: Vec::new().into(),
        deadline: DEADLINE,
    };
    let Answer { end, report, said } = answer(engine, id, exec).await?;
    match (end, serde_json::from_slice(&report)) {
        (ExecEnd::Exited(0), Ok(report)) => Ok(report),
        (ExecEnd::Exited(code), _) => {
            Err(ApartError::Failed(format!("hearth {} ended with exit code {code}: {said}", home.command)))
        }
        (ExecEnd::TimedOut, _) => Err(ApartError::Failed(format!("it did not end within {DEADLINE:?}"))),
    }
}

/// What hearth's own binary said in a container.
pub(super) struct Answer {
    pub(super) end: ExecEnd,
    pub(super) report: Vec<u8>,
    /// Fit to be shown.
    pub(super) said: String,
}

/// Runs it and takes its answer.
pub(super) async fn answer(engine: &dyn Engine, id: &ContainerId, exec: ExecSpec) -> Result<Answer, EngineError> {
    let (pieces, received) = mpsc::channel(8);
    let (end, (report, said)) = tokio::join!(engine.exec(id, exec, pieces), collect(received));
    Ok(Answer { end: end?, report, said: neutralise(said.trim_ascii()) })
}

/// Takes the report and what was said besides, as much of each as is sensible.
async fn collect(mut received: mpsc::Receiver<Output>) -> (Vec<u8>, Vec<u8>) {
    let (mut report, mut said) = (Vec::new(), Vec::new());
    while let Some(piece) = received.recv().await {
        let into = if piece.stream == Stream::Stdout { &mut report } else { &mut said };
        let room = LONGEST_REPORT.saturating_sub(into.len());
        into.extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
    }
    (report, said)
}

/// Runs `hearth own --pause` and is entered: so what is run in it is told by its exit code and not by a log.
fn container(instance: &InstanceName, home: &Apart) -> ContainerSpec {
    ContainerSpec {
        name: labels::passing_name(instance, home.command, rand::random()),
        hostname: home.command.to_owned(),
        image: home.image.clone(),
        user: "0:0".to_owned(),
        groups: Vec::new(),
        entrypoint: [BINARY, "own", "--pause"].map(str::to_owned).to_vec(),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        labels: labels::passing_labels(instance, home.command),
        mounts: vec![
            MountSpec::Volume { name: home.volume.clone(), target: HOME_APART.to_owned(), read_only: home.read_only },
            MountSpec::Bind {
                source: home.hearth.to_string_lossy().into_owned(),
                target: BINARY.to_owned(),
                read_only: true,
            },
        ],
        network: None,
        ports: Vec::new(),
        limits: Limits { nano_cpus: None, memory: Some(256 << 20), pids: 16 },
        shm: 1 << 20,
        gpus: 0,
        runtime: None,
        stop_timeout: Duration::ZERO,
    }
}
