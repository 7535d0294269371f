//! One hearthd, from its start to its end: the real loop on a runtime of its own, whose time is turned by hand.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::faults::Between;
use super::time::HostClock;
use super::timetable::Timetable;
use super::visitors::{Eyes, Visitors};
use crate::blocking;
use crate::config::{self, Settings};
use crate::daemon::accepted::{self, Beginning};
use crate::daemon::app::texts;
use crate::daemon::assemble::{Assembled, Surroundings, assemble};
use crate::daemon::clock::Clock;
use crate::daemon::systemd::Service;
use crate::daemon::watch::{self, Judged, Watching};
use crate::docker::Engine;
use crate::docker::fake::FakeEngine;
use crate::handle::{Event, Handle, RequestError, Snapshot};
use crate::store::inline::Database;

/// What outlives a hearthd.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) engine: FakeEngine,
    pub(super) database: Database,
    pub(super) clock: HostClock,
    pub(super) visitors: Visitors,
    pub(super) timetable: Timetable,
    pub(super) dir: PathBuf,
}

impl Host {
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("hearth.toml")
    }
}

/// What came of a request: by its number, in the order of arrival.
pub(super) type Answers = Arc<Mutex<Vec<(usize, Result<(), RequestError>)>>>;

pub(super) struct Hearthd {
    runtime: Runtime,
    pub(super) between: Between,
    pub(super) handle: Handle,
    pub(super) hangups: Arc<Notify>,
    pub(super) watching: Watching,
    pub(super) answers: Answers,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: JoinHandle<()>,
    clock: HostClock,
    /// Turns of the loop.
    pub(super) turns: Arc<Mutex<u64>>,
    /// What was told and could not be seen by who heard it.
    unseen: Arc<Mutex<Option<String>>>,
}

/// More turns than that are not made at one moment.
const MOST_TURNS: usize = 10_000;

/// Why a run of hearthd was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The time is over.
    Time,
    /// It was ended at a call.
    Ended,
    /// The loop ended by itself, which it never should.
    Died,
}

impl Hearthd {
    /// Starts one.
    pub(super) fn start(host: &Host, between: Between) -> Result<Self, String> {
        blocking::AT_ONCE.set(true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let started = runtime.block_on(async {
            host.clock.run();
            // It may be ended before it has begun.
            tokio::select! {
                biased;
                started = begin(host, &between) => Some(started),
                () = between.ended() => None,
            }
        });
        let Some(started) = started else {
            host.clock.stand();
            return Err(String::new());
        };
        let (Assembled { reconciler, inlets, handle, watching, .. }, stop, tasks, hangups) = started?;
        let turns = Arc::new(Mutex::new(0));
        let (counted, clock, mut at) = (turns.clone(), host.clock.clone(), (Duration::ZERO, 0));
        let (timetable, watched) = (host.timetable.clone(), handle.clone());
        let turned = move |_| {
            *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let now = clock.passed();
            at = if at.0 == now { (now, at.1 + 1) } else { (now, 0) };
            assert!(at.1 < MOST_TURNS, "the loop turns and turns, and no time passes");
            timetable.turned(&watched.snapshot(), &watched.settings());
        };
        let (mut events, listening, visitors) = (handle.events(), handle.clone(), host.visitors.clone());
        let unseen = Arc::new(Mutex::new(None));
        let running = {
            let _context = runtime.enter();
            let unseen = unseen.clone();
            tasks.spawn(async move {
                loop {
                    match events.recv().await {
                        Ok(Event::AutoOff { workspace, .. }) => visitors.warned(&workspace),
                        Ok(event) => {
                            if let Some(what) = not_to_be_seen(&event, &listening.snapshot()) {
                                *unseen.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
                            }
                        }
                        Err(RecvError::Lagged(missed)) => panic!("{missed} events came too fast"),
                        Err(RecvError::Closed) => return,
                    }
                }
            });
            tasks.spawn(reconciler.run(inlets, stop.clone(), turned))
        };
        let (answers, clock) = (Answers::default(), host.clock.clone());
        Ok(Self { runtime, between, handle, hangups, watching, answers, stop, tasks, running, clock, turns, unseen })
    }

    /// Returns what was told before it could be seen.
    pub(super) fn unseen(&self) -> Option<String> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets it run for some time.
    pub(super) fn run(&mut self, span: Duration) -> Left {
        let (between, running) = (self.between.clone(), &mut self.running);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = between.ended() => Left::Ended,
                _ = running => Left::Died,
                () = tokio::time::sleep(span) => Left::Time,
            }
        })
    }

    /// Sends a request; its answer comes under that number.
    pub(super) fn send<T, F>(&self, number: usize, request: F)
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RequestError>> + Send + 'static,
    {
        let answers = self.answers.clone();
        let _context = self.runtime.enter();
        self.tasks.spawn(async move {
            let answer = request.await.map(|_| ());
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((number, answer));
        });
    }

    /// Lets it see changes of the files by itself: those that the machine tells of come when they come.
    pub(super) fn watch_files(&self, host: &Host) {
        let _context = self.runtime.enter();
        self.tasks.spawn(watch::watch(host.config(), self.watching.clone()));
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.handle.snapshot()
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.handle.settings()
    }

    /// Ends it as SIGKILL does.
    pub(super) fn kill(self) {
        self.between.end();
        self.clock.stand();
        // Whatever drops from here on finds nothing that answers.
        drop(self.runtime);
    }

    /// Ends it as SIGTERM does: what is under way has ten seconds.
    pub(super) fn terminate(self) {
        self.runtime.block_on(async {
            self.stop.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(Duration::from_secs(10), self.tasks.wait()).await;
        });
        self.kill();
    }
}

type Begun = (Assembled, CancellationToken, TaskTracker, Arc<Notify>);

async fn begin(host: &Host, between: &Between) -> Result<Begun, String> {
    let engine = host.engine.conducted(Arc::new(between.clone()));
    let store = host.database.open(between.gate());
    let now = host.clock.now().wall;
    let main = host.config();
    let chosen = accepted::choose(main.clone(), config::load(&main), Some(store.clone()), now).await;
    let Beginning { loaded, view, judged, .. } = chosen.map_err(|problems| problems.to_string())?;
    if !view.from_copy {
        let kept = store.set_accepted_config(texts(&loaded.sources), now).await;
        kept.map_err(|error| error.to_string())?;
    }
    let settings = loaded.settings;
    let (tasks, stop, hangups) = (TaskTracker::new(), CancellationToken::new(), Arc::new(Notify::new()));
    let surroundings = Surroundings {
        events: engine.watch(settings.server.instance.as_str()),
        engine: Arc::new(engine),
        store,
        clock: Arc::new(host.clock.clone()),
        boot_id: host.clock.boot_id(),
        sensors: Arc::new(Eyes { visitors: host.visitors.clone(), between: between.clone(), since: Mutex::default() }),
        service: Service::default(),
        hangups: hangups.clone(),
        hearth: "/usr/bin/hearth".into(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let judged = Judged { hash: judged, settings: Arc::new(settings) };
    let assembled = assemble(surroundings, judged, view).await;
    Ok((assembled.map_err(|error| format!("{error:#}"))?, stop, tasks, hangups))
}

/// Returns what an event tells and the snapshot does not show yet.
fn not_to_be_seen(event: &Event, snapshot: &Snapshot) -> Option<String> {
    let Event::Built { workspace, build, .. } = event else { return None };
    let view = snapshot.workspaces.get(workspace)?;
    let record = view.build.as_ref().filter(|record| record.number == *build)?;
    let what = || format!("build {build} of {workspace} is told to have ended, and is shown as {:?}", view.state);
    record.result.is_none().then(what)
}
