//! From the command line to a running [`App`]: arguments, logging, signals, exit codes.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::clock::{Clock, SystemClock};
use super::{App, accepted};
use crate::config;

/// The daemon of hearth: makes and keeps the workspaces that the configuration declares
#[derive(Debug, Parser)]
#[command(name = "hearthd", version)]
struct Arguments {
    /// Main configuration file; the conf.d directory beside it belongs to it
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// The configuration is bad; systemd is told not to start again on it (rule C1).
const BAD_CONFIGURATION: u8 = 2;

/// Runs hearthd to its end.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(BAD_CONFIGURATION) } else { ExitCode::SUCCESS };
        }
    };
    log();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(arguments.config));
            // A thread that reads from a mount that hangs is not waited for.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(anyhow::anyhow!(error).context("cannot start the runtime")),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            error!("hearthd cannot go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Each person inside a workspace takes four descriptors; the usual soft limit of 1024 is for programs that use
/// `select`.
fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("the limit of open files stays as it is: {error}");
    }
}

/// hearthd waits for Docker most of the time: two threads move all its bytes.
const WORKERS: usize = 2;

async fn run(config: PathBuf) -> anyhow::Result<ExitCode> {
    let beginning = match accepted::beginning(config, SystemClock.now().wall).await {
        Ok(beginning) => beginning,
        Err(problems) => {
            error!("the configuration is not accepted, and nothing was touched:\n{problems}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    if let Some(rejected) = &beginning.view.rejected {
        let (at, errors) = (beginning.view.in_force_since, &rejected.errors);
        error!("the configuration is not accepted; the one of {at} stays in force:\n{errors}");
    }
    let stop = CancellationToken::new();
    let hangups = Arc::new(Notify::new());
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT])?;
    let (hung_up, ending) = (hangups.clone(), stop.clone());
    let listening = async move {
        while let Some(signal) = signals.next().await {
            match signal {
                // Several that nobody has heard yet are one.
                SIGHUP => hung_up.notify_one(),
                _ if ending.is_cancelled() => return,
                _ => {
                    info!("hearthd is told to stop");
                    ending.cancel();
                }
            }
        }
    };
    let app = App::build(beginning, hangups, stop).await?;
    let running = app.run();
    tokio::pin!(running, listening);
    // A second signal ends at once.
    tokio::select! {
        () = &mut running => {}
        () = &mut listening => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs to the journal where standard error is connected to it, else to standard error. `HEARTH_LOG` sets levels.
fn log() {
    let levels = std::env::var("HEARTH_LOG").unwrap_or_else(|_| "info".into());
    let (filter, refused) =
        match EnvFilter::try_new(format!("{levels},bollard=info,hyper=info,tokio_cron_scheduler=warn")) {
            Ok(filter) => (filter, None),
            Err(error) => ("info".into(), Some(error)),
        };
    let registry = tracing_subscriber::registry().with(filter);
    match tracing_journald::layer().ok().filter(|_| std::env::var_os("JOURNAL_STREAM").is_some()) {
        Some(journal) => {
            // As syslog has them: by default the crate makes a notice of an info.
            let priorities =
                PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
            registry.with(journal.with_field_prefix(None).with_priority_mappings(priorities)).init();
        }
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal()),
            )
            .init(),
    }
    if let Some(error) = refused {
        warn!("HEARTH_LOG=`{levels}` cannot be read, so the level is info: {error}");
    }
}
