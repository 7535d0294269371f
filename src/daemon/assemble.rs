//! The loop with all that it works with, joined. What touches the host is handed in, so that a simulation can bring
//! its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::activity::{self, Memory};
use super::clock::Clock;
use super::execute::{AT_A_TIME, Executor};
use super::homes::Homes;
use super::members;
use super::reconcile::{Inlets, Outlets, Reconciler};
use super::schedule::Schedules;
use super::sensors::Sensors;
use super::systemd::Service;
use super::wake::Alarm;
use super::watch::{Judged, Watching};
use super::workspaces::World;
use super::world::Tracked;
use crate::activity::Ledger;
use crate::build::log::Logs;
use crate::build::{Images, Pulls, Tools};
use crate::config::InForce;
use crate::docker::{Engine, EngineEvent};
use crate::enter::{Doors, Entries, Visitor};
use crate::handle::{ConfigView, EngineView, Handle, Snapshot};
use crate::model::{BuildRecord, BuildResult, Now, Power};
use crate::mutant;
use crate::store::{BUILDS_KEPT, Store};

/// What the loop works with.
pub(super) struct Surroundings {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) events: mpsc::Receiver<EngineEvent>,
    pub(super) sensors: Arc<dyn Sensors>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// What tells this boot of the host from every other.
    pub(super) boot_id: String,
    pub(super) service: Service,
    /// Told of each SIGHUP.
    pub(super) hangups: Arc<Notify>,
    /// The static `hearth` on the host.
    pub(super) hearth: PathBuf,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// The loop, ready to run, and what speaks to it.
pub(super) struct Assembled {
    pub(super) reconciler: Reconciler,
    pub(super) inlets: Inlets,
    pub(super) handle: Handle,
    pub(super) visitors: mpsc::Receiver<Visitor>,
    pub(super) tools: Arc<Tools>,
    pub(super) entries: Entries,
    /// Whoever rings it makes the loop look at once; it looks by itself in time, too.
    pub(super) alarm: Alarm,
    pub(super) watching: Watching,
}

/// Joins them, with what the database remembers.
pub(super) async fn assemble(
    surroundings: Surroundings,
    judged: Judged,
    config: ConfigView,
) -> anyhow::Result<Assembled> {
    let Surroundings { engine, events, sensors, store, clock, boot_id, service, hangups, hearth, tasks, stop } =
        surroundings;
    let (settings, now) = (judged.settings.clone(), clock.now());
    let server = &settings.server;
    let (visitors_in, visitors) = mpsc::channel(64);
    let ticks = clock.clone();
    let tools = Arc::new(Tools {
        engine: engine.clone(),
        store: store.clone(),
        doors: Doors::new(&server.run_dir, tasks.clone(), stop.clone(), visitors_in),
        logs: Logs::new(&server.data_dir, Arc::new(move || ticks.now().wall)),
        images: Images::new(engine, server.instance.clone(), tasks.clone()),
        pulls: Pulls::default(),
        networks: tokio::sync::Mutex::default(),
        instance: server.instance.clone(),
        data_dir: server.data_dir.clone(),
        hearth,
        tasks: tasks.clone(),
        disks: Mutex::default(),
    });
    store.number_above(highest(&[&server.run_dir.join("workspace"), &server.data_dir.join("logs")])).await?;
    let mut world = remember(&store, now, &boot_id).await?;
    world.homes = Homes::remember(&store).await?;
    let members = Arc::new(members::remember(&store).await?);
    let schedules = Schedules::remember(&store).await?;
    let snapshot = Snapshot {
        workspaces: Arc::default(),
        engine: EngineView::Unknown,
        config: config.clone(),
        members: members.clone(),
        schedules: Arc::default(),
        foreign: Vec::new(),
        blind: None,
        started_at: now.wall,
    };
    let (requests_in, requests) = mpsc::channel(64);
    let (reports_in, reports) = mpsc::channel(256);
    let (snapshot, snapshots) = watch::channel(Arc::new(snapshot));
    let (settings_out, settings_in) = watch::channel(settings.clone());
    let (judged, judged_in) = watch::channel(Arc::new(judged));
    let (seen, files) = mpsc::channel(1);
    // A turn says something of each workspace at most.
    let (events_out, _) = broadcast::channel(1024);
    let (alarm, set_to) = watch::channel(None);
    let (ring, alarms) = mpsc::channel(1);
    let handle = Handle::new(requests_in, snapshots, settings_in, events_out.clone());
    let wall = clock.clone();
    let entries = Entries::new(move || wall.now().wall);
    let executor = Executor {
        tools: tools.clone(),
        clock,
        sensors,
        entries: entries.clone(),
        service,
        reports: reports_in,
        tasks,
        stopping: stop,
        updates: Arc::new(Semaphore::new(AT_A_TIME)),
        renewals: Arc::new(Semaphore::new(AT_A_TIME)),
        unsaved: Arc::default(),
    };
    let outlets = Outlets { snapshot, settings: settings_out, judged, events: events_out, alarm };
    let in_force = InForce { settings, members };
    let memory = Memory::new(boot_id, &world);
    let reconciler = Reconciler::new(executor, world, in_force, config, outlets, memory, schedules);
    let inlets = Inlets { requests, reports, engine: events, hangups, files, alarms };
    let (alarm, watching) = (Alarm { set_to, ring }, Watching { judged: judged_in, seen });
    Ok(Assembled { reconciler, inlets, handle, visitors, tools, entries, alarm, watching })
}

/// Takes up what the database says: builds that were cut off wait again.
async fn remember(store: &Store, now: Now, boot_id: &str) -> anyhow::Result<World> {
    let mut ledgers = activity::remember(store, now, boot_id).await?;
    let mut ends = activity::remember_ends(store, now, boot_id).await?;
    let mut last = store.last_builds().await?;
    let mut unfinished: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, build) in store.unfinished_builds().await? {
        unfinished.entry(id).or_default().push(build);
    }
    let mut world = World::default();
    for mut record in store.workspaces().await? {
        let id = record.id.clone();
        let mut open = unfinished.remove(&id).unwrap_or_default();
        open.sort_by_key(|build: &BuildRecord| build.number);
        // The newest serves those before it as well; none of them is wanted where the workspace should be off.
        let again = open.pop_if(|_| record.power == Power::On && !mutant::is_on("cut off builds are forgotten"));
        for old in open {
            let old = BuildRecord { result: Some(BuildResult::Cancelled), ended_at: Some(now.wall), ..old };
            if let Err(error) = store.update_build(&id, &old).await {
                error!(workspace = %id, "cannot record that build {} was cut off: {error}", old.number);
            }
            // What it made and left is the newer one's to replace, as if that had made it.
            let left = record.container.as_mut().filter(|container| container.build == old.number);
            if let Some((container, next)) = left.zip(again.as_ref()) {
                container.build = next.number;
                if let Err(error) = store.set_container(&id, Some(container.clone())).await {
                    error!(workspace = %id, "cannot record whose container {} is: {error}", container.id);
                }
            }
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
        let ledger = ledgers.remove(&id).unwrap_or_else(|| Ledger::new(now));
        let mut tracked = Tracked::new(record, build, again, ledger);
        tracked.ends = ends.remove(&id).unwrap_or_default();
        world.workspaces.insert(id, tracked);
    }
    Ok(world)
}

/// Returns the highest number that names something in these directories: where the database was lost, it gives away none
/// that a container or a log has already.
fn highest(directories: &[&Path]) -> u64 {
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.max().unwrap_or(0)
}
