//! Gives a home to the user of another image (rule L5): before the build, in a container that lives for a moment, with
//! the home and hearth's own binary mounted and nothing else, no network, not the image's user and not its programs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::docker::{
    ContainerId, ContainerSpec, Engine, EngineError, ExecEnd, ExecSpec, Limits, MountSpec, Output, Stream, labels,
};
use crate::helper::bundle::{BINARY, Owned};
use crate::model::{Hook, InstanceName, Warning, WarningKind, neutralise};

/// Where the home is mounted: no image has anything there.
const HOME: &str = "/.hearth-home";
/// Millions of files take minutes.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// No report is longer (rule X4).
const LONGEST_REPORT: usize = 64 << 10;

/// A home to be given.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The static `hearth` on the host.
    pub hearth: PathBuf,
    /// Any image: nothing of it is run.
    pub image: String,
    pub volume: String,
    /// Uid and gid; the uid is never 0.
    pub from: (u32, u32),
    pub to: (u32, u32),
}

/// Why it was not given, or not all of it. It can be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    #[error("the home `{volume}` could not be given to uid {uid}: {why}")]
    Failed { volume: String, uid: u32, why: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Gives the home. Dropping the call cuts it off; the container is removed whatever happens.
///
/// # Errors
/// When it was not given, or only in part: then it is to be tried again.
pub async fn hand_over(
    engine: &Arc<dyn Engine>,
    instance: &InstanceName,
    tasks: &TaskTracker,
    home: HandOver,
) -> Result<Owned, HandOverError> {
    let cut_off = CancellationToken::new();
    let _dropped = cut_off.clone().drop_guard();
    let (engine, spec) = (engine.clone(), container(instance, &home));
    let giving = tasks.spawn(async move {
        let id = engine.create(&spec).await?;
        let given = tokio::select! {
            biased;
            given = give(engine.as_ref(), &id, &home) => given,
            () = cut_off.cancelled() => Err(failed(&home, "it was cut off")),
        };
        if let Err(error) = engine.remove(&id).await {
            tracing::warn!(container = %id, "cannot remove the container that a home was given away in: {error}");
        }
        given
    });
    let lost = |_| Err(EngineError::Away("giving a home away was cut off".to_owned()).into());
    giving.await.unwrap_or_else(lost)
}

/// Warns of files that could not be given.
pub(super) fn partly(failed: u64, error: &str) -> Warning {
    let message = format!("{failed} files of the home still have their old owner: {}", neutralise(error.as_bytes()));
    Warning { hook: Hook::Container, kind: WarningKind::Other, exit_code: None, message, tail: Vec::new() }
}

fn failed(home: &HandOver, why: impl Into<String>) -> HandOverError {
    HandOverError::Failed { volume: home.volume.clone(), uid: home.to.0, why: why.into() }
}

async fn give(engine: &dyn Engine, id: &ContainerId, home: &HandOver) -> Result<Owned, HandOverError> {
    engine.start(id).await?;
    let owner = |(uid, gid): (u32, u32)| format!("{uid}:{gid}");
    let exec = ExecSpec {
        argv: vec![BINARY.to_owned(), "own".to_owned(), HOME.to_owned(), owner(home.from), owner(home.to)],
        user: "0:0".to_owned(),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        stdin: Vec::new().into(),
        deadline: DEADLINE,
    };
    let (pieces, received) = mpsc::channel(8);
    let (end, (report, said)) = tokio::join!(engine.exec(id, exec, pieces), collect(received));
    match (end?, serde_json::from_slice::<Owned>(&report)) {
        (ExecEnd::Exited(0), Ok(owned)) => Ok(owned),
        (ExecEnd::Exited(code), _) => {
            let said = neutralise(said.trim_ascii());
            Err(failed(home, format!("hearth own ended with exit code {code}: {said}")))
        }
        (ExecEnd::TimedOut, _) => Err(failed(home, format!("it did not end within {DEADLINE:?}"))),
    }
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
fn container(instance: &InstanceName, home: &HandOver) -> ContainerSpec {
    ContainerSpec {
        name: labels::passing_name(instance, "own", rand::random()),
        hostname: "own".to_owned(),
        image: home.image.clone(),
        user: "0:0".to_owned(),
        groups: Vec::new(),
        entrypoint: [BINARY, "own", "--pause"].map(str::to_owned).to_vec(),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        labels: labels::passing_labels(instance, "own"),
        mounts: vec![
            MountSpec::Volume { name: home.volume.clone(), target: HOME.to_owned() },
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
