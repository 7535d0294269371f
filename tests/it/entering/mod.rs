//! The way into a container (L2), without a daemon: `hearth init` as PID 1 of a real one, hearthd's end in the test.

mod callers;
mod clients;
mod endings;
mod entries;

use std::path::Path;
use std::time::Duration;

use hearthd::enter::{Doors, End, EnterError, Entry, EntrySpec, Run, Size, Visitor};
use hearthd::model::WorkspaceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::command::docker_remove;
use crate::support::{Image, ImageTag, PATIENCE, Ran, docker, unique, wait_for};

const HEARTH: &str = env!("CARGO_BIN_EXE_hearth");
const SIZE: Size = Size { rows: 31, cols: 97 };

/// A container with hearth's PID 1, and the doors to it.
struct World {
    doors: Doors,
    workspace: WorkspaceId,
    visitors: mpsc::Receiver<Visitor>,
    stop: CancellationToken,
    directory: tempfile::TempDir,
    container: String,
    _image: ImageTag,
}

impl World {
    fn of(image: &Image, user: &str) -> Self {
        let image = image.import();
        let directory = tempfile::tempdir().unwrap();
        let (doors, visitors, stop) = doors(directory.path());
        let workspace: WorkspaceId = "alice/main".parse().unwrap();
        doors.listen(7, &workspace).unwrap();
        let container = unique();
        let binary = format!("{HEARTH}:/usr/local/bin/hearth:ro");
        let door = format!("{}:/run/hearth/workspace:ro", doors.directory(7).display());
        let label = format!("hearth.instance={container}");
        let run = ["run", "-d", "--pull=never", "--network=none", "--name", &container, "--label", &label];
        let how = ["--user", user, "-v", &binary, "-v", &door, "--entrypoint", "/usr/local/bin/hearth"];
        docker(&[&run[..], &how[..], &["-e", "FROM_IMAGE=yes", &image.tag, "init"]].concat()).ok();
        Self { doors, workspace, visitors, stop, directory, container, _image: image }
    }

    fn new() -> Self {
        Self::of(&Image::coder(), "1000:1000")
    }

    async fn open(&self, run: Run, terminal: Option<Size>) -> Result<Entry, EnterError> {
        let env = vec![("HEARTH".into(), "1".into()), ("TERM".into(), "xterm".into())];
        self.doors.open(&self.workspace, EntrySpec { run, env, cwd: "/home/coder".into(), terminal }).await
    }

    async fn sh(&self, line: &str) -> Entry {
        self.open(Run::Line(line.into()), None).await.unwrap()
    }

    /// Runs a line to its end and returns how it ended and what it wrote.
    async fn say(&self, line: &str) -> (End, String, String) {
        finish(self.sh(line).await).await
    }

    /// Runs something by `docker exec`, as another way in.
    fn exec(&self, options: &[&str], argv: &[&str]) -> Ran {
        docker(&[&["exec"], options, &[&self.container], argv].concat())
    }

    /// Waits until no process has `word` in its command line.
    fn wait_until_gone(&self, word: &str) {
        wait_for(&format!("no process with `{word}`"), || {
            let listed = self.exec(&["-u", "0"], &["ps", "-o", "pid,stat,args"]).ok();
            if listed.lines().any(|line| line.contains(word)) { Err(listed) } else { Ok(()) }
        });
    }

    fn wait_until_there(&self, word: &str) {
        wait_for(&format!("a process with `{word}`"), || {
            let listed = self.exec(&["-u", "0"], &["ps", "-o", "pid,stat,args"]).ok();
            if listed.lines().any(|line| line.contains(word)) { Ok(()) } else { Err(listed) }
        });
    }

    /// Sends a signal to the helper from inside.
    fn signal_helper(&self, signal: &str) {
        let line =
            format!("kill -{signal} $(ps -o pid,args | awk '$2 == \"hearth\" && $3 == \"helper\" {{ print $1 }}')");
        self.exec(&[], &["sh", "-c", &line]).ok();
    }

    fn runs(&self) -> bool {
        docker(&["inspect", "--format", "{{.State.Running}}", &self.container]).ok() == "true\n"
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        docker_remove(&["rm", "-f", "-v", &self.container]);
    }
}

fn doors(run_dir: &Path) -> (Doors, mpsc::Receiver<Visitor>, CancellationToken) {
    let stop = CancellationToken::new();
    let (sender, visitors) = mpsc::channel(8);
    (Doors::new(run_dir, TaskTracker::new(), stop.clone(), sender), visitors, stop)
}

/// Reads everything, with no more input, until the process ended.
async fn finish(entry: Entry) -> (End, String, String) {
    finish_with(entry, b"").await
}

/// Writes a little, then end-of-file, and reads everything until the process ended.
async fn finish_with(mut entry: Entry, input: &[u8]) -> (End, String, String) {
    if let Some(mut stdin) = entry.stdin.take() {
        let _ = stdin.write_all(input).await;
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdout = entry.stdout.take().unwrap();
    let stderr = entry.stderr.take();
    let errors = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut err).await.unwrap();
        }
    };
    let all = async { tokio::join!(stdout.read_to_end(&mut out), errors, &mut entry.exit) };
    let (_, (), end) = timeout(PATIENCE, all).await.expect("the process does not end");
    (end.unwrap(), String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

/// Reads from a terminal until `word` came.
async fn read_until(entry: &mut Entry, word: &str) -> String {
    let mut seen = Vec::new();
    let stdout = entry.stdout.as_mut().unwrap();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(word) {
            assert!(stdout.read_buf(&mut seen).await.unwrap() > 0, "it ended");
        }
    };
    let read = timeout(Duration::from_secs(10), reading).await;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(read.is_ok(), "{word:?} did not come, but {seen:?}");
    seen
}

async fn type_in(entry: &mut Entry, text: &str) {
    entry.stdin.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
}

fn code(code: u8) -> End {
    End::Code(code)
}

fn signal(number: u8) -> End {
    End::Signal(number.try_into().unwrap())
}

/// So many bytes that do not repeat.
fn numbers(length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}
