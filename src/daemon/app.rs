//! Everything wired together: parse, then bind and open, then spawn. [`App::build`] can fail; [`App::run`] only ends.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::accepted::{Beginning, DATABASE};
use super::clock::{Clock, SystemClock};
use super::execute::Executor;
use super::members;
use super::outside;
use super::reconcile::{Inlets, Outlets, Reconciler};
use super::systemd::Service;
use super::watch;
use super::world::{Tracked, World};
use crate::api::{self, ApiContext};
use crate::build::log::Logs;
use crate::build::{Images, Pulls, Tools};
use crate::config::{InForce, Sources};
use crate::docker::{BollardEngine, Engine};
use crate::enter::{Doors, Visitor};
use crate::handle::{EngineView, Handle, Snapshot};
use crate::model::{BuildRecord, BuildResult, Moment, Power, Requester};
use crate::store::{BUILDS_KEPT, Store};

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
    /// Opens everything for an accepted configuration. `reloads` tells of each SIGHUP and, from here on, of files that changed, `stop` ends hearthd.
    ///
    /// # Errors
    /// When a directory, the database or a socket cannot be opened. Docker need not be there.
    pub async fn build(
        beginning: Beginning,
        (reloads_in, reloads): (mpsc::Sender<Requester>, mpsc::Receiver<Requester>),
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let Beginning { loaded, view: config } = beginning;
        let settings = Arc::new(loaded.settings);
        let server = settings.server.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        directory(&server.data_dir, 0o700)?;
        directory(&server.run_dir, 0o755)?;
        let store = Store::open(&server.data_dir.join(DATABASE))?;
        if !config.from_copy {
            let kept = store.set_accepted_config(texts(&loaded.sources), now.wall).await;
            kept.context("cannot keep the accepted configuration")?;
        }
        let (tasks, engine) = (TaskTracker::new(), BollardEngine::connect(&server.docker));
        let events = engine.watch(server.instance.as_str());
        let (visitors_in, visitors) = mpsc::channel(64);
        let doors = Doors::new(&server.run_dir, tasks.clone(), stop.clone(), visitors_in);
        let (engine, ticks): (Arc<dyn Engine>, _) = (Arc::new(engine), clock.clone());
        let tools = Arc::new(Tools {
            engine: engine.clone(),
            store: store.clone(),
            doors,
            logs: Logs::new(&server.data_dir, Arc::new(move || ticks.now().wall)),
            images: Images::new(engine, server.instance.clone(), tasks.clone()),
            pulls: Pulls::default(),
            networks: tokio::sync::Mutex::default(),
            instance: server.instance.clone(),
            data_dir: server.data_dir.clone(),
            hearth: hearth_binary()?,
            tasks: tasks.clone(),
        });
        let world = remember(&store, now.wall).await?;
        let members = Arc::new(members::remember(&store).await?);
        let listener = api::bind_host(&server.run_dir.join("hearth.sock"))?;

        let snapshot = Snapshot {
            workspaces: BTreeMap::new(),
            engine: EngineView::Unknown,
            config: config.clone(),
            members: members.clone(),
            foreign: Vec::new(),
            started_at: now.wall,
        };
        let (requests_in, requests) = mpsc::channel(64);
        let (reports_in, reports) = mpsc::channel(256);
        let (snapshot, snapshots) = tokio::sync::watch::channel(Arc::new(snapshot));
        let (settings_out, settings_in) = tokio::sync::watch::channel(settings.clone());
        let (events_out, _) = broadcast::channel(256);
        let watching = watch::watch(config.path.clone(), loaded.hash, settings_in.clone(), reloads_in);
        tasks.spawn(watching);
        let handle = Handle::new(requests_in, snapshots, settings_in, events_out.clone());
        let context = ApiContext::new(handle, outside::behind(&tools, &clock), tasks.clone(), stop.clone());
        let service = Service::from_environment();
        let executor = Executor {
            tools,
            clock,
            service: service.clone(),
            reports: reports_in,
            tasks: tasks.clone(),
            stopping: stop.clone(),
        };
        let outlets = Outlets { snapshot, settings: settings_out, events: events_out };
        let reconciler = Reconciler::new(executor, world, InForce { settings, members }, config, outlets);
        let inlets = Inlets { requests, reports, engine: events, reloads };
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

/// Takes up what the database says: builds that were cut off wait again.
async fn remember(store: &Store, now: Moment) -> anyhow::Result<World> {
    let mut last = store.last_builds().await?;
    let mut unfinished: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, build) in store.unfinished_builds().await? {
        unfinished.entry(id).or_default().push(build);
    }
    let mut world = World::default();
    for record in store.workspaces().await? {
        let id = record.id.clone();
        let mut open = unfinished.remove(&id).unwrap_or_default();
        open.sort_by_key(|build: &BuildRecord| build.number);
        // The newest serves those before it as well; none of them is wanted where the workspace should be off.
        let again = open.pop_if(|_| record.power == Power::On);
        for old in open {
            let old = BuildRecord { result: Some(BuildResult::Cancelled), ended_at: Some(now), ..old };
            store.update_build(&id, &old).await?;
        }
        let again = again.map(|build| BuildRecord { started_at: None, stage: None, stages: Vec::new(), ..build });
        if let Some(build) = &again {
            info!(workspace = %id, build = build.number.0, "build {} was cut off: it is taken up again", build.number);
        }
        let build = match last.remove(&id) {
            Some(build) if build.result.is_none() => {
                store.builds(&id, BUILDS_KEPT).await?.into_iter().find(|build| build.result.is_some())
            }
            build => build,
        };
        world.workspaces.insert(id, Tracked::new(record, build, again));
    }
    Ok(world)
}

/// The texts of an accepted configuration, by their files' names.
pub(super) fn texts(sources: &Sources) -> Vec<(String, String)> {
    sources.files().iter().map(|file| (file.path.to_string(), file.text.to_string())).collect()
}
