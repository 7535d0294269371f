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
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::blocking;
use crate::config::{self, Loaded, Problems, Settings};

/// Writers that write in pieces are done after so long.
const QUIET: Duration = Duration::from_millis(300);
/// A look is not put off for longer than this, however much happens.
const AT_MOST: Duration = Duration::from_secs(2);
/// Looks without a hint.
const POLL: Duration = Duration::from_secs(30);
/// How long a removal must stand: a file that is half written can be valid (rule L10).
const GRACE: Duration = Duration::from_secs(20);

/// What the loop made of the files last, whoever had it read them.
#[derive(Debug)]
pub(super) struct Judged {
    /// Of those files; see [`hash`].
    pub(super) hash: String,
    /// What is in force since.
    pub(super) settings: Arc<Settings>,
}

/// Files as they were read: those that are judged are those that count. Read again, they may be half written.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) files: Result<Loaded, Problems>,
    /// What they are a change from.
    pub(super) since: Arc<Judged>,
    /// Dropped when they were dealt with, or others since.
    pub(super) dealt_with: oneshot::Sender<()>,
}

/// The watcher's ends: what it compares the files with, and where it says that they have changed.
#[derive(Debug, Clone)]
pub(super) struct Watching {
    pub(super) judged: watch::Receiver<Arc<Judged>>,
    pub(super) seen: mpsc::Sender<Seen>,
}

/// Watches the files of `main` and says so when they are not those that were judged last. Ends when nobody listens any
/// more.
pub(super) async fn watch(main: PathBuf, Watching { judged, seen }: Watching) {
    let (hints, mut hinted) = mpsc::channel(1);
    let mut watched = Watched::new(hints);
    // Since when a state of the files that removes workspaces has stood.
    let mut removal: Option<(String, Instant)> = None;
    loop {
        watched.arm(&main);
        let wait =
            removal.as_ref().map_or(POLL, |(_, since)| (*since + GRACE).duration_since(Instant::now()).min(POLL));
        tokio::select! {
            () = seen.closed() => return,
            hint = timeout_at(Instant::now() + wait, hinted.recv()) => {
                if hint.is_ok() {
                    quiet(&mut hinted).await;
                }
            }
        }
        let since = judged.borrow().clone();
        let Some(now) = look(main.clone(), since.clone()).await else {
            removal = None;
            continue;
        };
        if now.removes {
            let stood = removal.take().filter(|(hash, _)| *hash == now.hash).map_or(Instant::now(), |(_, since)| since);
            if stood.elapsed() < GRACE {
                removal = Some((now.hash, stood));
                continue;
            }
        }
        removal = None;
        let (dealt_with, answer) = oneshot::channel();
        if seen.send(Seen { files: now.files, since, dealt_with }).await.is_err() {
            return;
        }
        let _ = answer.await;
    }
}

/// Stands for files, or for how they are wrong.
pub(super) fn hash(files: &Result<Loaded, Problems>) -> String {
    match files {
        Ok(loaded) => loaded.hash.clone(),
        Err(problems) => blake3::hash(problems.to_string().as_bytes()).to_string(),
    }
}

/// Waits until nothing has happened for a moment.
async fn quiet(hinted: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + AT_MOST;
    while timeout_at((Instant::now() + QUIET).min(end), hinted.recv()).await.is_ok() && Instant::now() < end {}
}

/// Files that are not those that were judged last.
struct Changed {
    files: Result<Loaded, Problems>,
    hash: String,
    /// Whether workspaces in force would be removed.
    removes: bool,
}

/// Looks at the files; `None` when they are those that were judged last.
async fn look(main: PathBuf, since: Arc<Judged>) -> Option<Changed> {
    let look = move || {
        let files = config::load(&main);
        let hash = hash(&files);
        // The reload says what is wrong, once for each way in which the files are wrong.
        let removes = files.as_ref().is_ok_and(|loaded| {
            since.settings.workspaces.keys().any(|id| !loaded.settings.workspaces.contains_key(id))
        });
        (hash != since.hash).then_some(Changed { files, hash, removes })
    };
    blocking::run(look).await.ok().flatten()
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

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[orgs.acme]\nimage = \"dev\"\n[users.alice]\norgs = [\"acme\"]\n\
                       [users.alice.workspaces.main]\n[users.alice.workspaces.two]\n";

    /// A configuration that is watched, on a clock that goes on by itself while nothing happens.
    struct Files {
        directory: tempfile::TempDir,
        seen: mpsc::Receiver<Seen>,
        judged: watch::Sender<Arc<Judged>>,
    }

    impl Files {
        fn watched() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let main = directory.path().join("hearth.toml");
            std::fs::write(&main, TWO).unwrap();
            let loaded = config::load(&main).unwrap();
            let in_force = Judged { hash: loaded.hash, settings: Arc::new(loaded.settings) };
            let (judged, judged_in) = watch::channel(Arc::new(in_force));
            let (seen_out, seen) = mpsc::channel(1);
            #[expect(clippy::disallowed_methods, reason = "the test's runtime ends with the test")]
            tokio::spawn(watch(main, Watching { judged: judged_in, seen: seen_out }));
            Self { directory, seen, judged }
        }

        fn write(&self, text: &str) {
            std::fs::write(self.directory.path().join("hearth.toml"), text).unwrap();
        }

        fn settings(&self) -> Arc<Settings> {
            self.judged.borrow().settings.clone()
        }

        /// Takes files into force that are in order.
        fn judge(&self, files: Result<Loaded, Problems>) {
            let hash = hash(&files);
            let settings = files.map_or_else(|_| self.settings(), |loaded| Arc::new(loaded.settings));
            self.judged.send_replace(Arc::new(Judged { hash, settings }));
        }

        /// Returns after how long a reload was asked for, if within a minute.
        async fn asked_after(&mut self) -> Option<Duration> {
            let start = Instant::now();
            let seen = timeout_at(start + Duration::from_secs(60), self.seen.recv()).await.ok()??;
            let after = start.elapsed();
            assert!(Arc::ptr_eq(&seen.since, &self.judged.borrow()));
            self.judge(seen.files);
            Some(after)
        }
    }

    /// Whether a removal that was seen by a hint, or at the next look without one, was waited for.
    fn waited(after: Duration) -> bool {
        [Duration::ZERO, POLL].iter().any(|seen| (*seen + GRACE..*seen + GRACE + AT_MOST).contains(&after))
    }

    #[tokio::test(start_paused = true)]
    async fn l10_a_removal_takes_effect_only_if_it_still_stands_20_s_later() {
        let mut files = Files::watched();
        let one = TWO.replace("[users.alice.workspaces.two]\n", "");
        files.write(&one);
        let after = files.asked_after().await.expect("it stands");
        assert!(waited(after), "{after:?}");
        assert_eq!(files.settings().workspaces.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn l10_a_removal_that_is_taken_back_was_none() {
        let mut files = Files::watched();
        files.write(&TWO[..TWO.find("[users.alice.workspaces.two]").unwrap()]);
        tokio::time::sleep(GRACE / 2).await;
        files.write(TWO);
        assert_eq!(files.asked_after().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn l10_a_drop_in_that_declares_workspaces_comes_at_once_and_goes_20_s_later() {
        let mut files = Files::watched();
        let drop_ins = files.directory.path().join("conf.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(drop_ins.join("more.toml"), "[users.alice.workspaces.three]\n").unwrap();
        let after = files.asked_after().await.expect("it is seen");
        assert!(after <= POLL + AT_MOST, "{after:?}");
        std::fs::remove_file(drop_ins.join("more.toml")).unwrap();
        let after = files.asked_after().await.expect("it stands");
        assert!(waited(after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn l10_files_count_as_they_were_seen_and_since_what_was_judged() {
        let mut files = Files::watched();
        let three = format!("{TWO}[users.alice.workspaces.three]\n");
        files.write(&three);
        let seen = files.seen.recv().await.expect("it is seen");
        // Somebody begins to write, and somebody else has reloaded.
        files.write("");
        assert_eq!(seen.files.unwrap().settings.workspaces.len(), 3);
        files.judge(config::load(&files.directory.path().join("hearth.toml")));
        assert!(!Arc::ptr_eq(&seen.since, &files.judged.borrow()));
        drop(seen.dealt_with);
        files.write(&three);
        assert!(files.asked_after().await.is_some(), "nobody has dealt with it");
        assert_eq!(files.settings().workspaces.len(), 3);
        assert_eq!(files.asked_after().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn c5_an_addition_does_not_wait_and_a_fault_is_told_once() {
        let mut files = Files::watched();
        files.write(&format!("{TWO}[users.alice.workspaces.three]\n"));
        let after = files.asked_after().await.expect("it is seen");
        assert!(after <= POLL + AT_MOST, "{after:?}");
        files.write("[orgs.acme]\nimag = \"dev\"\n");
        assert!(files.asked_after().await.is_some());
        assert_eq!(files.asked_after().await, None, "the same fault again");
    }
}
