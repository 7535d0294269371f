//! The logs of builds (rules L2, X4): one text file each, `logs/<workspace's number>/<build>.log`, written as it happens so
//! that a crash leaves what there was, followed live, bounded.
//!
//! A log never fails a build: where it cannot be written, it is cut. A writer is opened when its build is queued, which
//! costs nothing before its first line, and dropped when the build ends: whoever follows waits in between.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tracing::warn;

use super::lines::Lines;
use crate::model::{BuildNumber, Moment, Stage, neutralise};

/// So many logs of a workspace are kept, the one that is written included.
const KEPT: usize = 20;
/// What all logs of a workspace may take.
const BOUND: u64 = 50 << 20;
/// What one log may take.
const ONE: u64 = 20 << 20;
/// hearthd's own lines have this much of it to themselves, so that they are there after any flood.
const OWN: u64 = 256 << 10;
/// How much is written between two looks at the disk.
const LOOK: u64 = 1 << 20;
const PIECE: usize = 64 << 10;

/// Tells what time it is.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// All logs.
#[derive(Clone)]
pub struct Logs(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    clock: Clock,
    is_low: fn(&Path) -> bool,
    live: Mutex<BTreeMap<Key, Weak<watch::Sender<()>>>>,
}

type Key = (u64, BuildNumber);

impl Logs {
    /// Returns the logs that lie in `data_dir`.
    pub fn new(data_dir: &Path, clock: Clock) -> Self {
        Self::with(data_dir, clock, disk_is_low)
    }

    fn with(data_dir: &Path, clock: Clock, is_low: fn(&Path) -> bool) -> Self {
        Self(Arc::new(Shared { dir: data_dir.join("logs"), clock, is_low, live: Mutex::default() }))
    }

    /// Opens the log of a build, behind what it holds already. Where it has several writers, it goes on until the last
    /// of them is dropped.
    pub fn open(&self, workspace: u64, build: BuildNumber) -> LogWriter {
        let mut live = lock(&self.0.live);
        live.retain(|_, wake| wake.strong_count() > 0);
        let wake =
            live.get(&(workspace, build)).and_then(Weak::upgrade).unwrap_or_else(|| Arc::new(watch::Sender::new(())));
        live.insert((workspace, build), Arc::downgrade(&wake));
        drop(live);
        LogWriter { logs: self.clone(), key: (workspace, build), wake, sink: Mutex::default() }
    }

    /// Returns what a log holds; with `follow`, while its build goes on, also what comes until it ends. Of a build that
    /// has no log (yet), nothing.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub async fn read(
        &self,
        workspace: u64,
        build: BuildNumber,
        follow: bool,
    ) -> io::Result<BoxStream<'static, Bytes>> {
        let live = lock(&self.0.live).get(&(workspace, build)).and_then(Weak::upgrade).filter(|_| follow);
        let live = live.map(|wake| wake.subscribe());
        let mut reader = Reader { path: self.path(workspace, build), file: None, live };
        reader.open().await?;
        Ok(stream::unfold(reader, Reader::next).boxed())
    }

    /// Removes all logs of a workspace.
    ///
    /// # Errors
    /// When they are there and cannot be removed.
    pub fn remove(&self, workspace: u64) -> io::Result<()> {
        match std::fs::remove_dir_all(self.0.dir.join(workspace.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, workspace: u64, build: BuildNumber) -> PathBuf {
        self.0.dir.join(workspace.to_string()).join(format!("{build}.log"))
    }

    fn create(&self, (workspace, build): Key) -> io::Result<(File, u64)> {
        self.make_room(workspace, build)?;
        let file = File::options().append(true).create(true).mode(0o600).open(self.path(workspace, build))?;
        let written = file.metadata()?.len();
        Ok((file, written))
    }

    fn make_room(&self, workspace: u64, opening: BuildNumber) -> io::Result<()> {
        let dir = self.0.dir.join(workspace.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut others: Vec<(u32, u64)> = std::fs::read_dir(&dir)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let number = entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok()?;
                (number != opening.0).then_some((number, entry.metadata().ok()?.len()))
            })
            .collect();
        others.sort_unstable_by(|one, other| other.cmp(one));
        let (mut kept, mut bytes) = (0, 0);
        for (number, size) in others {
            (kept, bytes) = (kept + 1, bytes + size);
            if kept >= KEPT || bytes > BOUND - ONE {
                std::fs::remove_file(self.path(workspace, BuildNumber(number)))?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

/// Returns whether less than a twentieth of the disk that holds `path` is free: then nothing is built (rule X4).
pub fn disk_is_low(path: &Path) -> bool {
    let known = path.ancestors().find_map(|path| nix::sys::statvfs::statvfs(path).ok());
    known.is_some_and(|disk| disk.blocks_available().saturating_mul(20) < disk.blocks())
}

/// The log of a build that goes on.
pub struct LogWriter {
    logs: Logs,
    key: Key,
    wake: Arc<watch::Sender<()>>,
    sink: Mutex<Sink>,
}

#[derive(Default)]
struct Sink {
    state: SinkState,
    written: u64,
    /// `written` when the disk was last looked at.
    looked_at: Option<u64>,
    lines: Lines,
    is_cut: bool,
}

#[derive(Default)]
enum SinkState {
    #[default]
    Unopened,
    Open(File),
    Closed,
}

impl LogWriter {
    /// Writes a line of hearthd's own.
    pub fn line(&self, stage: Stage, text: &str) {
        self.write(stage, |_| text.lines().map(|line| neutralise(line.as_bytes())).collect(), ONE);
    }

    /// Writes a piece of a program's output.
    pub fn output(&self, stage: Stage, bytes: &[u8]) {
        self.write(stage, |lines| lines.push(bytes), ONE - OWN);
    }

    /// Writes what a program printed after its last line.
    pub fn end_of_output(&self, stage: Stage) {
        self.write(stage, |lines| lines.end().into_iter().collect(), ONE - OWN);
    }

    fn write(&self, stage: Stage, lines: impl FnOnce(&mut Lines) -> Vec<String>, bound: u64) {
        let mut sink = lock(&self.sink);
        let lines = lines(&mut sink.lines);
        if lines.is_empty() {
            return;
        }
        let prefix = format!("{:.0} {:<11} ", (self.logs.0.clock)(), stage.as_str());
        let text: String = lines.into_iter().flat_map(|line| [prefix.clone(), line, "\n".into()]).collect();
        if sink.write(self, text.as_bytes(), bound, &prefix) {
            self.wake.send_replace(());
        }
    }
}

impl Sink {
    /// Writes as much as is allowed; returns whether there is more to read.
    fn write(&mut self, writer: &LogWriter, text: &[u8], bound: u64, prefix: &str) -> bool {
        let (workspace, build) = (writer.key.0, writer.key.1.0);
        if matches!(self.state, SinkState::Unopened) {
            match writer.logs.create(writer.key) {
                Ok((file, written)) => (self.state, self.written) = (SinkState::Open(file), written),
                Err(error) => {
                    warn!(workspace, build, "cannot open the log of a build: {error}");
                    self.state = SinkState::Closed;
                }
            }
        }
        let SinkState::Open(file) = &mut self.state else { return false };
        let logs = &writer.logs.0;
        if self.looked_at.is_none_or(|looked_at| self.written - looked_at >= LOOK) {
            self.looked_at = Some(self.written);
            if (logs.is_low)(&logs.dir) {
                let _ = writeln!(file, "{prefix}less than 5 % of the disk is free: this log ends here");
                self.state = SinkState::Closed;
                return true;
            }
        }
        let fits = self.written + text.len() as u64 <= bound;
        let note = format!("{prefix}this log is full: what follows is left out\n");
        let text = match (fits, self.is_cut) {
            (true, _) => text,
            (false, false) => note.as_bytes(),
            (false, true) => return false,
        };
        self.is_cut |= !fits;
        if let Err(error) = file.write_all(text) {
            warn!(workspace, build, "cannot write the log of a build: {error}");
            self.state = SinkState::Closed;
            return false;
        }
        self.written += text.len() as u64;
        true
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("key", &self.key).finish_non_exhaustive()
    }
}

struct Reader {
    path: PathBuf,
    file: Option<tokio::fs::File>,
    /// Wakes at each writing; gone when there will be none.
    live: Option<watch::Receiver<()>>,
}

impl Reader {
    /// Opens the file, if it is there.
    async fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = match tokio::fs::File::open(&self.path).await {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    async fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.open().await?;
        match &mut self.file {
            Some(file) => file.read(piece).await,
            None => Ok(0),
        }
    }

    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut piece = vec![0; PIECE];
        loop {
            let ended = match &mut self.live {
                Some(live) => {
                    live.mark_unchanged();
                    // What is written from here on wakes; what was written before is read below.
                    live.has_changed().is_err()
                }
                None => true,
            };
            match self.read(&mut piece).await {
                Ok(0) if ended => return None,
                Ok(0) => {}
                Ok(n) => {
                    piece.truncate(n);
                    return Some((piece.into(), self));
                }
                Err(error) => {
                    warn!("cannot read {}: {error}", self.path.display());
                    return None;
                }
            }
            if let Some(live) = &mut self.live {
                // An error says that the writer is gone: once more to the end, then.
                let _ = live.changed().await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn clock() -> Clock {
        Arc::new(|| "2026-11-24T09:24:31.123Z".parse().unwrap())
    }

    fn logs() -> (tempfile::TempDir, Logs) {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::with(dir.path(), clock(), |_| false);
        (dir, logs)
    }

    async fn text(logs: &Logs, build: u32, follow: bool) -> String {
        let pieces = logs.read(7, BuildNumber(build), follow).await.unwrap().collect::<Vec<Bytes>>();
        let pieces = tokio::time::timeout(Duration::from_secs(20), pieces).await.expect("the stream ends");
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[tokio::test]
    async fn x4_lines_have_time_and_stage_and_no_control_characters() {
        let (_dir, logs) = logs();
        let log = logs.open(7, BuildNumber(1));
        log.line(Stage::Pull, "pulling `a\x1b]0;x\x07`\nsecond");
        log.output(Stage::Configure, b"\x1b[1mhalf");
        log.output(Stage::Configure, b" line\xff\nrest");
        log.end_of_output(Stage::Configure);
        assert_eq!(
            text(&logs, 1, false).await,
            "2026-11-24T09:24:31Z pull        pulling `a\\x1b]0;x\\x07`\n\
             2026-11-24T09:24:31Z pull        second\n\
             2026-11-24T09:24:31Z configure   half line\u{fffd}\n\
             2026-11-24T09:24:31Z configure   rest\n"
        );
    }

    #[tokio::test]
    async fn l2_a_follower_sees_all_and_is_let_go_at_the_end() {
        let (_dir, logs) = logs();
        let log = logs.open(7, BuildNumber(1));
        log.line(Stage::Pull, "before");
        let mut follower = logs.read(7, BuildNumber(1), true).await.unwrap();
        assert!(follower.next().await.unwrap().ends_with(b"before\n"));
        let writer = async {
            for n in 0..100 {
                log.line(Stage::Start, &n.to_string());
                tokio::task::yield_now().await;
            }
            drop(log);
        };
        let all = tokio::time::timeout(Duration::from_secs(20), async {
            tokio::join!(writer, follower.collect::<Vec<Bytes>>()).1.concat()
        });
        let all = String::from_utf8(all.await.expect("the stream ends")).unwrap();
        let lines: Vec<&str> = all.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(lines, (0..100).map(|n: u32| n.to_string()).collect::<Vec<_>>());
        assert_eq!(text(&logs, 1, true).await.lines().count(), 101);
        assert_eq!(text(&logs, 2, true).await, "");
    }

    #[tokio::test]
    async fn l2_who_follows_a_queued_build_waits_for_its_first_line() {
        let (dir, logs) = logs();
        let (log, cancelled) = (logs.open(7, BuildNumber(1)), logs.open(7, BuildNumber(2)));
        assert!(!dir.path().join("logs").exists());
        let writer = async {
            tokio::task::yield_now().await;
            log.line(Stage::Pull, "first");
            drop((log, cancelled));
        };
        let (first, none, ()) = tokio::join!(text(&logs, 1, true), text(&logs, 2, true), writer);
        assert!(first.ends_with("first\n"), "{first}");
        assert_eq!(none, "");
    }

    #[tokio::test]
    async fn x4_one_log_is_bounded_and_hearthds_own_lines_are_there_after_a_flood() {
        let (dir, logs) = logs();
        let log = logs.open(7, BuildNumber(1));
        let flood = b"y\n".repeat(32 << 10);
        (0..100).for_each(|_| log.output(Stage::Configure, &flood));
        log.line(Stage::Personalize, "after");
        let size = dir.path().join("logs/7/1.log").metadata().unwrap().len();
        assert!(size > ONE / 2 && size <= ONE, "{size}");
        let text = text(&logs, 1, false).await;
        assert_eq!(text.matches("this log is full").count(), 1);
        assert!(text.ends_with("personalize after\n"));
    }

    #[test]
    fn l2_twenty_logs_and_50_mib_are_kept() {
        let (dir, logs) = logs();
        (1..=30).for_each(|n| logs.open(7, BuildNumber(n)).line(Stage::Pull, "x"));
        let count = || std::fs::read_dir(dir.path().join("logs/7")).unwrap().count();
        assert_eq!(count(), KEPT);
        assert!(dir.path().join("logs/7/11.log").exists());
        for n in 21..=30 {
            let file = File::options().write(true).open(dir.path().join(format!("logs/7/{n}.log"))).unwrap();
            file.set_len(ONE / 2).unwrap();
        }
        logs.open(7, BuildNumber(31)).line(Stage::Pull, "x");
        assert_eq!(count(), 4);
        logs.open(8, BuildNumber(1)).line(Stage::Pull, "x");
        logs.remove(7).unwrap();
        logs.remove(7).unwrap();
        assert!(!dir.path().join("logs/7").exists());
        assert!(dir.path().join("logs/8/1.log").exists());
    }

    #[tokio::test]
    async fn x4_nothing_is_written_on_a_disk_that_is_nearly_full() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::with(dir.path(), clock(), |_| true);
        let log = logs.open(7, BuildNumber(1));
        log.line(Stage::Pull, "one");
        log.line(Stage::Pull, "two");
        let text = text(&logs, 1, false).await;
        assert!(text.contains("less than 5 %") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn a_log_that_cannot_be_opened_fails_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("logs"), "in the way").unwrap();
        let logs = Logs::with(dir.path(), clock(), |_| false);
        logs.open(7, BuildNumber(1)).line(Stage::Pull, "text");
    }

    #[tokio::test]
    async fn a_log_that_is_opened_again_goes_on() {
        let (_dir, logs) = logs();
        logs.open(7, BuildNumber(1)).line(Stage::Pull, "one");
        let (first, second) = (logs.open(7, BuildNumber(1)), logs.open(7, BuildNumber(1)));
        let follower = text(&logs, 1, true);
        let writer = async {
            drop(first);
            tokio::task::yield_now().await;
            second.line(Stage::Personalize, "two");
            drop(second);
        };
        assert_eq!(tokio::join!(follower, writer).0.lines().count(), 2);
    }
}
