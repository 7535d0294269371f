//! `docker exec`: three calls (create, start, inspect), always read to the end, never longer than its deadline.
//!
//! ```text
//!   run ──spawn──▶ drive: writes stdin, reads frames ──▶ output
//!    │ dropped ─────▶ token │ deadline ─┐
//!    ▼                      └───────────┴─▶ end the session by the host's pid, drain, close
//!   ExecEnd
//! ```
//!
//! A stream that nobody reads blocks every later exec of the container, and closing it does not end the process: so a
//! task of its own sees it through, whatever becomes of the caller.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ExecInspectResponse};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::link::sorted;
use super::{BollardEngine, CHANGE, LOOK, Reply, found};
use crate::docker::{ContainerId, EngineError, ExecDetail, ExecEnd, ExecSpec, Output, Stream as Side, process_group};

/// How much of the output is read at once.
const FRAME: usize = 64 * 1024;
/// How long the stream may stay open after the command was ended.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the engine is asked whether a silent command still runs: one that left a child behind holding its
/// output has ended all the same (rule H4).
const SILENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(
    engine: &BollardEngine,
    id: &ContainerId,
    spec: ExecSpec,
    output: mpsc::Sender<Output>,
) -> Reply<ExecEnd> {
    let ended = engine.closing.child_token();
    let _dropped = ended.clone().drop_guard();
    let (engine, id) = (engine.clone(), id.clone());
    let driven = engine.tasks.clone().spawn(async move { drive(&engine, &id, spec, output, ended).await });
    driven.await.unwrap_or_else(|error| Err(EngineError::Away(format!("the exec was given up: {error}"))))
}

async fn drive(
    engine: &BollardEngine,
    id: &ContainerId,
    spec: ExecSpec,
    output: mpsc::Sender<Output>,
    ended: CancellationToken,
) -> Reply<ExecEnd> {
    let deadline = tokio::time::Instant::now() + spec.deadline;
    let config = ExecConfig {
        attach_stdin: Some(!spec.stdin.is_empty()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        env: Some(spec.env),
        cmd: Some(spec.argv),
        privileged: Some(false),
        user: Some(spec.user),
        working_dir: Some(spec.working_dir).filter(|dir| !dir.is_empty()),
        ..ExecConfig::default()
    };
    let made =
        engine.call("create exec", CHANGE, |docker| async move { docker.create_exec(&id.0, config).await }).await?;
    let exec = made.id.as_str();
    let options = StartExecOptions { output_capacity: Some(FRAME), ..StartExecOptions::default() };
    let started =
        engine.call("start exec", CHANGE, |docker| async move { docker.start_exec(exec, Some(options)).await }).await?;
    let StartExecResults::Attached { output: frames, input } = started else {
        return Err(EngineError::Away("it started an exec without a stream".to_owned()));
    };
    let talk = talk(engine, exec, spec.stdin, frames, input, &output);
    tokio::pin!(talk);
    let in_time = tokio::select! {
        done = &mut talk => Some(done),
        () = tokio::time::sleep_until(deadline) => None,
        () = ended.cancelled() => None,
    };
    match in_time {
        Some(done) => {
            done?;
            exit_code(engine, exec).await
        }
        None => {
            end(engine, id, exec).await;
            // Whatever still comes is read, so that the container's next exec does not hang.
            drop(tokio::time::timeout(DRAIN, talk).await);
            Ok(ExecEnd::TimedOut)
        }
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Writes the standard input and reads the output, until the stream ends or the command did.
async fn talk(
    engine: &BollardEngine,
    exec: &str,
    stdin: Zeroizing<Vec<u8>>,
    mut frames: Frames,
    mut input: Input,
    output: &mpsc::Sender<Output>,
) -> Reply<()> {
    let write = async move {
        // A command that ends without reading its input is no failure of ours.
        let _ = input.write_all(&stdin).await;
        let _ = input.shutdown().await;
        input
    };
    let read = async {
        loop {
            let frame = match tokio::time::timeout(SILENCE, frames.next()).await {
                Err(_) if running(engine, exec).await? => continue,
                Ok(None) | Err(_) => return Ok(()),
                Ok(Some(frame)) => frame.map_err(sorted)?,
            };
            let (stream, bytes) = match frame {
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                    (Side::Stdout, message)
                }
                LogOutput::StdErr { message } => (Side::Stderr, message),
            };
            // A reader that went away has lost interest; the command is read to its end all the same.
            let _ = output.send(Output { stream, bytes }).await;
        }
    };
    // The write half is kept until the end: dropping it would not close it, but its error must not end the reading.
    tokio::pin!(read);
    tokio::select! {
        done = &mut read => done,
        _input = write => read.await,
    }
}

/// Looks at a command of whoever's.
pub(super) async fn detail(engine: &BollardEngine, exec: &str) -> Reply<Option<ExecDetail>> {
    let Some(seen) = found(inspect(engine, exec).await)? else { return Ok(None) };
    let process = seen.process_config.unwrap_or_default();
    Ok(Some(ExecDetail {
        running: seen.running.unwrap_or_default(),
        pid: seen.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0),
        program: process.entrypoint.unwrap_or_default(),
        terminal: process.tty.unwrap_or_default(),
        stdin: seen.open_stdin.unwrap_or_default(),
        attached: seen.open_stdout.unwrap_or_default() || seen.open_stderr.unwrap_or_default(),
    }))
}

async fn inspect(engine: &BollardEngine, exec: &str) -> Reply<ExecInspectResponse> {
    engine.call("inspect exec", LOOK, |docker| async move { docker.inspect_exec(exec).await }).await
}

async fn running(engine: &BollardEngine, exec: &str) -> Reply<bool> {
    Ok(inspect(engine, exec).await?.running.unwrap_or_default())
}

/// The stream ends a moment before the engine knows the exit code.
async fn exit_code(engine: &BollardEngine, exec: &str) -> Reply<ExecEnd> {
    let asking = async {
        let mut pause = Duration::from_millis(1);
        loop {
            let seen = inspect(engine, exec).await?;
            if let (Some(code), false) = (seen.exit_code, seen.running.unwrap_or_default()) {
                return Ok(ExecEnd::Exited(code));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    };
    let slow = EngineError::Slow { call: "inspect exec", after: LOOK };
    tokio::time::timeout(LOOK, asking).await.unwrap_or(Err(slow))
}

/// Ends what the exec started. Nothing can be done about a failure but to say so.
async fn end(engine: &BollardEngine, id: &ContainerId, exec: &str) {
    let ended = match tokio::time::timeout(LOOK, pid(engine, exec)).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(pid))) => process_group::end(pid, &id.0).await.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the engine does not say which process it is".to_owned()),
    };
    if let Err(error) = ended {
        tracing::warn!(container = %id, "cannot end a command past its deadline: {error}");
    }
}

/// Returns the host's pid of a command that runs. Its output may come a moment before the engine knows it.
async fn pid(engine: &BollardEngine, exec: &str) -> Reply<Option<i32>> {
    loop {
        let seen = inspect(engine, exec).await?;
        if !seen.running.unwrap_or_default() {
            return Ok(None);
        }
        let pid = seen.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        if pid.is_some() {
            return Ok(pid);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
