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

/// Why the files are to be taken into force although nobody waits for it.
#[derive(Debug)]
pub enum Unasked {
    /// SIGHUP: they are read anew.
    Hangup,
    /// They have changed.
    Seen(Box<Seen>),
}

/// Files as they were read: those that are judged are those that count. Read again, they may be half written.
#[derive(Debug)]
pub struct Seen {
    pub(super) files: Result<Loaded, Problems>,
    /// What was in force when they were judged.
    pub(super) judged_by: Arc<Settings>,
    /// Hears whether that still was, and the files were dealt with.
    pub(super) dealt_with: oneshot::Sender<bool>,
}

/// Watches the files of `main` and sends them to `reloads` when they have changed. `hash` is that of the texts in force at
/// the start. Ends when nobody listens any more.
pub(super) async fn watch(
    main: PathBuf,
    hash: String,
    settings: watch::Receiver<Arc<Settings>>,
    reloads: mpsc::Sender<Unasked>,
) {
    let (hints, mut hinted) = mpsc::channel(1);
    let mut watched = Watched::new(hints);
    let (mut seen, mut known) = (hash, settings.borrow().clone());
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
        if !Arc::ptr_eq(&in_force, &known) {
            // Somebody else reloaded: from whatever was there then.
            known = in_force.clone();
            seen.clear();
        }
        let Some(now) = look(main.clone(), seen.clone(), in_force.clone()).await else {
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
        let (dealt_with, answer) = oneshot::channel();
        if reloads
            .send(Unasked::Seen(Box::new(Seen { files: now.files, judged_by: in_force, dealt_with })))
            .await
            .is_err()
        {
            return;
        }
        if answer.await == Ok(true) {
            (seen, known) = (now.hash, settings.borrow().clone());
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
    files: Result<Loaded, Problems>,
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
            let hash = loaded.hash.clone();
            Some(Changed { files: Ok(loaded), hash, removes })
        }
        // The reload says what is wrong, once for each way in which the files are wrong.
        Err(problems) => {
            let hash = blake3::hash(problems.to_string().as_bytes()).to_string();
            (hash != seen).then_some(Changed { files: Err(problems), hash, removes: false })
        }
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
        reloads: mpsc::Receiver<Unasked>,
        settings: watch::Sender<Arc<Settings>>,
    }

    impl Files {
        fn watched() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let main = directory.path().join("hearth.toml");
            std::fs::write(&main, TWO).unwrap();
            let loaded = config::load(&main).unwrap();
            let (settings, in_force) = watch::channel(Arc::new(loaded.settings));
            let (sender, reloads) = mpsc::channel(1);
            #[expect(clippy::disallowed_methods, reason = "the test's runtime ends with the test")]
            tokio::spawn(watch(main, loaded.hash, in_force, sender));
            Self { directory, reloads, settings }
        }

        fn write(&self, text: &str) {
            std::fs::write(self.directory.path().join("hearth.toml"), text).unwrap();
        }

        /// Returns after how long a reload was asked for, if within a minute.
        async fn asked_after(&mut self) -> Option<Duration> {
            let start = Instant::now();
            let asked = timeout_at(start + Duration::from_secs(60), self.reloads.recv()).await;
            let Ok(Some(Unasked::Seen(seen))) = asked else { return None };
            let Seen { files, judged_by, dealt_with } = *seen;
            let after = start.elapsed();
            let still = Arc::ptr_eq(&judged_by, &self.settings.borrow());
            if let Ok(loaded) = files
                && still
            {
                self.settings.send_replace(Arc::new(loaded.settings));
            }
            dealt_with.send(still).unwrap();
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
        assert_eq!(files.settings.borrow().workspaces.len(), 1);
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
    async fn l10_files_count_as_they_were_judged_and_by_what_is_in_force() {
        let mut files = Files::watched();
        let three = format!("{TWO}[users.alice.workspaces.three]\n");
        files.write(&three);
        let Some(Unasked::Seen(seen)) = files.reloads.recv().await else { panic!("it is seen") };
        // Somebody begins to write, and somebody else has reloaded.
        files.write("");
        assert_eq!(seen.files.unwrap().settings.workspaces.len(), 3);
        let same = Settings::clone(&files.settings.borrow());
        files.settings.send_replace(Arc::new(same));
        assert!(!Arc::ptr_eq(&seen.judged_by, &files.settings.borrow()));
        seen.dealt_with.send(false).unwrap();
        files.write(&three);
        assert!(files.asked_after().await.is_some(), "nobody has dealt with it");
        assert_eq!(files.settings.borrow().workspaces.len(), 3);
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
