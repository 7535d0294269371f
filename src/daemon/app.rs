//! Everything wired together: parse, then bind and open, then spawn. [`App::build`] can fail; [`App::run`] only ends.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::accepted::{Beginning, DATABASE};
use super::accounts::Accounts;
use super::assemble::{Assembled, Surroundings, assemble};
use super::clock::{Clock, SystemClock, boot_id};
use super::outside;
use super::reconcile::{Inlets, Reconciler};
use super::sensors::HostSensors;
use super::systemd::{self, Service};
use super::wake;
use super::watch::{self, Judged};
use crate::api::{self, ApiContext};
use crate::config::Sources;
use crate::docker::{BollardEngine, Engine};
use crate::enter::Visitor;
use crate::store::Store;

/// How long an ending waits for what is under way.
const DRAIN: Duration = Duration::from_secs(10);
/// Where the static `hearth` lies that is mounted into containers, if not beside hearthd.
const HEARTH: &str = "/usr/bin/hearth";

/// hearthd, ready to run: everything that can fail has been opened.
pub struct App {
    reconciler: Reconciler,
    inlets: Inlets,
    listener: UnixListener,
    visitors: mpsc::Receiver<Visitor>,
    context: ApiContext,
    service: Service,
    stop: CancellationToken,
    tasks: TaskTracker,
    store: Store,
}

impl App {
    /// Opens everything for an accepted configuration. `hangups` tells of each SIGHUP, `stop` ends hearthd.
    ///
    /// # Errors
    /// When a directory, the database or a socket cannot be opened. Docker need not be there.
    pub async fn build(beginning: Beginning, hangups: Arc<Notify>, stop: CancellationToken) -> anyhow::Result<Self> {
        let Beginning { loaded, view: config, judged, store } = beginning;
        let settings = Arc::new(loaded.settings);
        let server = settings.server.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        directory(&server.data_dir, 0o700)?;
        directory(&server.run_dir, 0o755)?;
        let store = store.map_or_else(|| Store::open(&server.data_dir.join(DATABASE)), Ok)?;
        if !config.from_copy {
            let kept = store.set_accepted_config(texts(&loaded.sources), now.wall).await;
            // A full disk is no reason not to start: what runs is to be entered.
            if let Err(error) = kept {
                warn!("cannot keep a copy of the accepted configuration: {error}");
            }
        }
        let (tasks, engine) = (TaskTracker::new(), BollardEngine::connect(&server.docker));
        let events = engine.watch(server.instance.as_str());
        let service = Service::from_environment();
        let main = config.path.clone();
        let (engine, accounts): (Arc<dyn Engine>, _) = (Arc::new(engine), Arc::new(Accounts::default()));
        let sensors = HostSensors::start(engine.clone(), server.instance.clone(), accounts.clone(), clock.clone());
        let surroundings = Surroundings {
            engine,
            events,
            sensors: Arc::new(sensors.context("cannot start looking at connections")?),
            store: store.clone(),
            clock: clock.clone(),
            boot_id: boot_id().context("cannot tell this boot from others")?,
            service: service.clone(),
            hangups,
            hearth: hearth_binary()?,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let assembled = assemble(surroundings, Judged { hash: judged, settings }, config).await?;
        let Assembled { reconciler, inlets, handle, visitors, tools, entries, alarm, watching } = assembled;
        tasks.spawn(wake::wake(alarm, clock.clone(), stop.clone()));
        let listener = host_listener(&server.run_dir.join("hearth.sock"), &service)?;
        tasks.spawn(watch::watch(main, watching));
        let context =
            ApiContext::new(handle, outside::behind(&tools, entries, accounts, &clock), tasks.clone(), stop.clone());
        Ok(Self { reconciler, inlets, listener, visitors, context, service, stop, tasks, store })
    }

    /// Runs until it is told to stop, then waits a bounded time for what is under way.
    pub async fn run(self) {
        let Self { reconciler, inlets, listener, mut visitors, context, service, stop, tasks, store } = self;
        tasks.spawn(api::serve_host(listener, context.clone()));
        let (guests, ending) = (tasks.clone(), stop.clone());
        tasks.spawn(async move {
            let serve = async {
                while let Some(visitor) = visitors.recv().await {
                    guests.spawn(api::serve_workspace_connection(visitor, context.clone()));
                }
            };
            tokio::select! {
                () = ending.cancelled() => {}
                () = serve => {}
            }
        });
        let (mut ready, status) = (false, service.clone());
        let turned = move |looked| {
            if looked && !ready {
                status.ready();
                ready = true;
            }
            status.alive();
        };
        reconciler.run(inlets, stop.clone(), turned).await;
        service.stopping();
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            warn!("{} tasks did not end within {DRAIN:?}; the next start takes up what they leave", tasks.len());
        }
        store.close().await;
        info!("hearthd has stopped; workspaces run on");
    }
}

/// Listens for the host: goes on with the listener that systemd kept over a restart, else opens one.
fn host_listener(path: &Path, service: &Service) -> anyhow::Result<UnixListener> {
    if let Some(kept) = systemd::kept_listener(path) {
        kept.set_nonblocking(true)?;
        return UnixListener::from_std(kept).with_context(|| format!("cannot listen on {}", path.display()));
    }
    let listener = api::bind_host(path)?;
    service.keep(&listener);
    Ok(listener)
}

/// Makes the directory if need be, with that mode.
fn directory(path: &Path, mode: u32) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Finds the static `hearth` that containers run as their first process: the one that lies beside hearthd.
fn hearth_binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where hearthd lies")?;
    let beside = own.with_file_name("hearth");
    let found = [beside.clone(), PathBuf::from(HEARTH)].into_iter().find(|path| path.is_file());
    let Some(found) = found else { bail!("there is no {}: it belongs beside hearthd", beside.display()) };
    found.canonicalize().with_context(|| format!("cannot read {}", found.display()))
}

/// The texts of an accepted configuration, by their files' names.
pub(super) fn texts(sources: &Sources) -> Vec<(String, String)> {
    sources.files().iter().map(|file| (file.path.to_string(), file.text.to_string())).collect()
}
