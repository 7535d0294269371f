//! What an ending at any moment and a full disk do to the database.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::model::{BuildReason, BuildResult};

const CHILD: &str = "HEARTH_TEST_CRASH_DATABASE";

fn id() -> WorkspaceId {
    "alice/main".parse().unwrap()
}

fn moment() -> Moment {
    Moment::from_second(1_800_000_000).unwrap()
}

async fn declare(store: &Store) {
    store.declare(&id(), &"acme".parse().unwrap(), Power::On, moment()).await.unwrap();
}

/// Not a test by itself: the process that `l11_...` ends. Writes for ever and says what was acknowledged.
#[tokio::test]
#[ignore = "the child of another test"]
async fn child_that_writes() {
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let store = Store::open(&path).unwrap();
    declare(&store).await;
    let (id, requester) = (id(), Requester("alice".into()));
    let mut last = store.last_build(&id).await.unwrap().map_or(0, |build| build.number.0);
    loop {
        let number = store.begin_build(&id, BuildReason::User, &requester, "debian", moment()).await.unwrap();
        assert_eq!(number.0, last + 1);
        last = number.0;
        println!("begun {last}");
        let mut build = store.build(&id, number).await.unwrap();
        build.result = Some(BuildResult::Ok);
        build.failure = Some("x".repeat(20_000));
        store.update_build(&id, &build).await.unwrap();
        println!("ended {last}");
    }
}

/// Runs the child until it has said `lines` lines and ends it in the middle of what it does; returns the last ones.
fn crash(path: &Path, lines: usize) -> (u32, u32) {
    let name = format!("{}::child_that_writes", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut begun, mut ended, mut seen) = (0, 0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        // The first one stands behind what the test runner writes.
        let mut words = line.rsplit(' ');
        match (words.next(), words.next()) {
            (Some(number), Some("begun")) => begun = number.parse().unwrap(),
            (Some(number), Some("ended")) => ended = number.parse().unwrap(),
            _ => continue,
        }
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(seen >= lines, "the child ended by itself after {seen} of {lines} lines");
    (begun, ended)
}

#[tokio::test]
async fn l11_kill_9_at_any_moment_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/state.db");
    let mut before = 0;
    for lines in [1, 2, 7, 40, 83, 150] {
        let (begun, ended) = crash(&path, lines);
        let store = Store::open(&path).unwrap();
        let check = |tx: &Transaction<'_>| {
            let integrity: String = tx.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            let foreign: i64 = tx.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
            let mode: String = tx.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            let synchronous: i64 = tx.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
            Ok((integrity, foreign, mode, synchronous))
        };
        assert_eq!(store.read(check).await.unwrap(), ("ok".into(), 0, "wal".into(), 2));
        let builds = store.builds(&id(), 100).await.unwrap();
        let last = builds[0].number.0;
        assert!(last == begun || last == begun + 1, "{last} is there, {begun} was acknowledged");
        for build in builds.iter().filter(|build| (before + 1..=ended).contains(&build.number.0)) {
            assert!(build.result.is_some(), "{ended} was acknowledged, {} is not ended", build.number);
        }
        before = last;
        assert_eq!(store.workspaces().await.unwrap()[0].number, 1);
        store.close().await;
    }
}

/// Runs `work` where `dir` is a file system of half a MiB that goes away by itself.
fn on_a_tiny_disk(dir: &Path, work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // Only this thread, and the ones that it starts, see the mount.
            let none = None::<&str>;
            let mounted = unshare(CloneFlags::CLONE_NEWNS)
                .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
                .and_then(|()| mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("size=512k,mode=0700")));
            match mounted {
                Ok(()) => work(),
                Err(errno) => eprintln!("SKIPPED: needs root to mount a tmpfs ({errno})"),
            }
        });
        worker.join().unwrap();
    });
}

#[test]
fn a_full_disk_is_an_error_that_says_so_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ballast) = (dir.path().join("state.db"), dir.path().join("ballast"));
    on_a_tiny_disk(dir.path(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(&path).unwrap();
            declare(&store).await;
            std::fs::write(&ballast, vec![1; 128 << 10]).unwrap();
            let mut written = 0;
            let failure = loop {
                match store.set_meta("filling", &"x".repeat(written * 16384)).await {
                    Ok(()) => written += 1,
                    Err(error) => break error,
                }
                assert!(written < 100, "the disk never filled");
            };
            assert!(matches!(failure, StoreError::DiskFull { .. }), "{failure:?}");
            assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
            // What was acknowledged is there, and reading needs no room.
            let kept = store.meta("filling").await.unwrap().unwrap();
            assert_eq!(kept.len(), (written - 1) * 16384);

            std::fs::remove_file(&ballast).unwrap();
            store.set_meta("filling", "little").await.unwrap();
            store.close().await;
            let store = Store::open(&path).unwrap();
            assert_eq!(store.meta("filling").await.unwrap().as_deref(), Some("little"));
            assert_eq!(store.workspaces().await.unwrap().len(), 1);
        });
    });
}

#[test]
fn a_disk_full_from_the_start_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    on_a_tiny_disk(dir.path(), || {
        std::fs::write(dir.path().join("ballast"), vec![1; 500 << 10]).unwrap();
        let error = Store::open(&dir.path().join("state.db")).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        std::fs::remove_file(dir.path().join("ballast")).unwrap();
        Store::open(&dir.path().join("state.db")).unwrap();
    });
}
