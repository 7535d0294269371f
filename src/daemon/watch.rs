//! Sees that the configuration has changed, however it was written (rule C5), and asks for a reload.
//!
//! notify only hints: directories are watched, not files, and armed again after each look, for a directory that was
//! made anew and a link that leads elsewhere tell nothing. What counts is the hash of all texts, looked at when it has
//! been quiet for a moment, and every half minute besides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::config::{self, Settings};
use crate::model::Requester;

/// Writers that write in pieces are done after so long.
const QUIET: Duration = Duration::from_millis(300);
/// A look is not put off for longer than this, however much happens.
const AT_MOST: Duration = Duration::from_secs(2);
/// Looks without a hint.
const POLL: Duration = Duration::from_secs(30);
/// How long a removal must stand: a file that is half written can be valid (rule L10).
const GRACE: Duration = Duration::from_secs(20);

/// Watches the files of `main` and sends to `reloads` when they are to be read again. `hash` is that of the texts in
/// force at the start. Ends when nobody listens any more.
pub(super) async fn watch(
    main: PathBuf,
    hash: String,
    settings: watch::Receiver<Arc<Settings>>,
    reloads: mpsc::Sender<Requester>,
) {
    let (hints, mut hinted) = mpsc::channel(1);
    let mut watched = Watched::new(hints);
    let mut seen = hash;
    // Since when a state of the files that removes workspaces has stood.
    let mut removal: Option<(String, Instant)> = None;
    loop {
        watched.arm(&main);
        let wait =
            removal.as_ref().map_or(POLL, |(_, since)| (*since + GRACE).duration_since(Instant::now()).min(POLL));
        tokio::select! {
            () = reloads.closed() => return,
            hint = timeout_at(Instant::now() + wait, hinted.recv()) => {
                if hint.is_ok() {
                    quiet(&mut hinted).await;
                }
            }
        }
        let in_force = settings.borrow().clone();
        let Some(now) = look(main.clone(), seen.clone(), in_force).await else {
            removal = None;
            continue;
        };
        if now.removes {
            let since = removal.take().filter(|(hash, _)| *hash == now.hash).map_or(Instant::now(), |(_, since)| since);
            if since.elapsed() < GRACE {
                removal = Some((now.hash, since));
                continue;
            }
        }
        removal = None;
        seen = now.hash;
        if reloads.send(Requester("watcher".into())).await.is_err() {
            return;
        }
    }
}

/// Waits until nothing has happened for a moment.
async fn quiet(hinted: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + AT_MOST;
    while timeout_at((Instant::now() + QUIET).min(end), hinted.recv()).await.is_ok() && Instant::now() < end {}
}

/// Files that are not as they were seen last.
struct Changed {
    hash: String,
    /// Whether workspaces in force would be removed.
    removes: bool,
}

/// Looks at the files; `None` when they are as they were seen last.
async fn look(main: PathBuf, seen: String, settings: Arc<Settings>) -> Option<Changed> {
    let look = move || match config::load(&main) {
        Ok(loaded) if loaded.hash == seen => None,
        Ok(loaded) => {
            let removes = settings.workspaces.keys().any(|id| !loaded.settings.workspaces.contains_key(id));
            Some(Changed { hash: loaded.hash, removes })
        }
        // The reload says what is wrong. It is asked for once for each way in which the files are wrong.
        Err(problems) => {
            let hash = blake3::hash(problems.to_string().as_bytes()).to_string();
            (hash != seen).then_some(Changed { hash, removes: false })
        }
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// The directories that are watched.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(hints: mpsc::Sender<()>) -> Self {
        let tell = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| counts(&event.kind)) {
                // A full channel means that a look is due already.
                let _ = hints.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(tell);
        if let Err(error) = &watcher {
            warn!("changes of the configuration are seen only every {POLL:?}: {error}");
        }
        Self { watcher: watcher.ok(), directories: BTreeSet::new() }
    }

    /// Watches the directories in which something can happen that changes the configuration.
    fn arm(&mut self, main: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = config::watched(main);
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // Each is armed again: a directory that was made anew has the same name and is not watched.
        self.directories = wanted
            .into_iter()
            .filter(|directory| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }
}

/// Reading a file makes events too: our own would never end.
fn counts(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}
