//! Opening the database: a directory of our own, one daemon at a time, nothing damaged, nothing from the future.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

/// Every change of the schema, oldest first; `user_version` counts those that a database has seen.
/// One that was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_state.sql"),
    include_str!("migrations/002_activity.sql"),
    include_str!("migrations/003_trash.sql"),
    include_str!("migrations/004_container.sql"),
    include_str!("migrations/005_ends.sql"),
    include_str!("migrations/006_injected.sql"),
];

/// As the first migration sets it: tells our databases from others.
const APPLICATION_ID: i64 = 0x6872_7468;

/// How long a commit waits for an administrator's shell that holds the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open database. The fields' order matters: the lock goes last.
pub(super) struct Opened {
    pub(super) connection: Connection,
    _lock: Option<Flock<File>>,
}

/// Opens or creates the database, migrated to the present schema.
pub(super) fn open(path: &Path) -> Result<Opened, StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    make_private_directory(dir)?;
    let lock = lock(dir)?;
    make_private_file(path)?;
    // Without SQLite's own NOFOLLOW, which refuses a symlink in any part of the path: `data_dir` may be one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let prepared = Connection::open_with_flags(path, flags).map_err(StoreError::from).and_then(|mut connection| {
        prepare(&mut connection, path, MIGRATIONS)?;
        Ok(connection)
    });
    Ok(Opened { connection: prepared.map_err(|error| error.at(path))?, _lock: Some(lock) })
}

/// Opens a database that nothing keeps.
pub(super) fn in_memory() -> Result<Opened, StoreError> {
    let mut connection = Connection::open_in_memory()?;
    prepare(&mut connection, Path::new(":memory:"), MIGRATIONS)?;
    Ok(Opened { connection, _lock: None })
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Unusable { path, source }
}

/// A directory that exists is not changed: a wrong `data_dir` (`/tmp`) must not lock others out.
fn make_private_directory(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable(dir))?;
    let metadata = fs::metadata(dir).map_err(unusable(dir))?;
    let exposed = |why, remedy| Err(StoreError::Exposed { path: dir.to_owned(), why, remedy });
    let me = nix::unistd::geteuid().as_raw();
    if metadata.uid() != me {
        return exposed(format!("it belongs to uid {}", metadata.uid()), format!("chown {me} {}", dir.display()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return exposed(format!("its mode is {mode:04o}"), format!("chmod 0700 {}", dir.display()));
    }
    Ok(())
}

/// SQLite gives the files that it makes beside the database the mode of the database itself.
fn make_private_file(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .map_err(unusable(path))
}

/// Takes the data directory for this process; the kernel gives it back whatever way the process ends.
fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(unusable(&path))?;
    let mut holder = String::new();
    let _ = (&file).take(32).read_to_string(&mut holder);
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            StoreError::InUse { dir: dir.to_owned(), pid: holder.trim().parse().ok() }
        } else {
            unusable(&path)(errno.into())
        }
    })?;
    // The pid is for the message above only: a full disk is no reason not to start.
    let _ = lock.rewind().and_then(|()| lock.set_len(0)).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

fn prepare(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    connection.busy_timeout(PATIENCE)?;
    let version = version(connection)?;
    if usize::try_from(version).is_ok_and(|version| version > migrations.len()) {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: migrations.len() });
    }
    if !is_ours(connection, version)? {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), detail: check });
    }
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA journal_size_limit = 4194304;",
    )?;
    migrate(connection, migrations)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn is_ours(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if version == 0 { application == 0 && tables == 0 } else { application == APPLICATION_ID })
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let done = usize::try_from(version(connection)?).unwrap_or(0);
    for (migration, version) in migrations.iter().zip(1i64..).skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Power, Store};

    /// What a database of version 1 holds; kept as it is when later versions come.
    const VERSION_1: &str = include_str!("migrations/001_sample.sql");

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn error(path: &Path) -> String {
        Store::open(path).unwrap_err().to_string()
    }

    #[test]
    fn every_migration_file_is_applied_in_its_order() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| !path.to_str().unwrap().ends_with("_sample.sql"));
        files.sort();
        let texts: Vec<_> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, MIGRATIONS);
        for (path, number) in files.iter().zip(1..) {
            assert!(path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number:03}_")), "{path:?}");
        }
    }

    #[tokio::test]
    async fn a_database_of_version_1_keeps_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/state.db");
        make_private_directory(path.parent().unwrap()).unwrap();
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &MIGRATIONS[..1]).unwrap();
        connection.execute_batch(VERSION_1).unwrap();
        drop(connection);

        let store = Store::open(&path).unwrap();
        let workspaces = store.workspaces().await.unwrap();
        assert_eq!(workspaces.iter().map(|w| w.id.to_string()).collect::<Vec<_>>(), ["alice/main", "bob/old"]);
        assert_eq!(workspaces[0].container.as_ref().unwrap().username, "coder");
        assert_eq!(workspaces[0].home.as_ref().unwrap().owner, Some((1000, 1000)));
        assert!(matches!(workspaces[1].power, Power::Off { .. }) && workspaces[1].removed_at.is_some());
        let build = store.last_build(&workspaces[0].id).await.unwrap().unwrap();
        assert_eq!((build.number.0, build.stages.len(), build.warnings.len()), (3, 6, 1));
        assert_eq!(store.unfinished_builds().await.unwrap().len(), 1);
        let everything = crate::store::AuditFilter { since: None, workspace: None, before: None, limit: 9 };
        assert_eq!(store.audit_log(everything).await.unwrap().len(), 1);
        assert_eq!(store.all_settings().await.unwrap().workspaces.len(), 1);
        assert_eq!(store.accepted_config().await.unwrap().unwrap().files.len(), 1);
    }

    #[test]
    fn a_migration_changes_a_database_once_and_wholly_or_not_at_all() {
        let path = Path::new("x");
        let mut connection = Connection::open_in_memory().unwrap();
        let second = "ALTER TABLE workspace ADD COLUMN note TEXT; INSERT INTO meta VALUES ('noted', 'yes');";
        prepare(&mut connection, path, &[MIGRATIONS[0]]).unwrap();
        connection.execute_batch(VERSION_1).unwrap();
        let broken = "INSERT INTO meta VALUES ('half', 'done'); ALTER TABLE nothing ADD COLUMN note TEXT;";
        prepare(&mut connection, path, &[MIGRATIONS[0], broken]).unwrap_err();
        for _ in 0..2 {
            prepare(&mut connection, path, &[MIGRATIONS[0], second]).unwrap();
        }
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        assert_eq!(count("SELECT count(*) FROM meta WHERE key IN ('half', 'noted')"), 1);
        assert_eq!(count("SELECT count(*) FROM workspace WHERE note IS NULL"), 2);
    }

    #[tokio::test]
    async fn an_older_hearthd_refuses_a_newer_database_and_leaves_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/state.db");
        Store::open(&path).unwrap().close().await;
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let before = fs::read(&path).unwrap();
        let message = error(&path);
        assert!(message.contains("newer hearth") && message.contains("99"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn the_directory_and_all_files_are_hearthds_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let store = Store::open(&data.join("state.db")).unwrap();
        store.set_meta("boot", "a").await.unwrap();
        let mut names = Vec::new();
        for entry in fs::read_dir(&data).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        assert_eq!(names, ["lock", "state.db", "state.db-shm", "state.db-wal"]);
        assert_eq!(mode(&data), 0o700);
        store.close().await;
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        let message = error(&data.join("state.db"));
        assert!(message.contains("0755") && message.contains("chmod 0700"), "{message}");
        assert_eq!(mode(&data), 0o755);
    }

    #[tokio::test]
    async fn two_daemons_on_one_data_directory_are_impossible() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/state.db");
        let store = Store::open(&path).unwrap();
        let message = error(&path);
        let pid = std::process::id().to_string();
        assert!(message.contains(&pid) && message.contains("uses the data directory"), "{message}");
        assert!(error(&dir.path().join("data/other.db")).contains("uses the data directory"));
        store.set_meta("boot", "a").await.unwrap();
        store.close().await;
        let store = Store::open(&path).unwrap();
        assert_eq!(store.meta("boot").await.unwrap().as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn a_damaged_database_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/state.db");
        Store::open(&path).unwrap().close().await;
        let whole = fs::read(&path).unwrap();

        fs::write(
            &path,
            "this is not a database, but longer than its header would be, by far: a hundred bytes and more",
        )
        .unwrap();
        assert!(error(&path).contains("is damaged"), "{}", error(&path));

        let mut torn = whole.clone();
        torn[4096 * 2..4096 * 4].fill(0x5a);
        fs::write(&path, &torn).unwrap();
        let message = error(&path);
        assert!(message.contains("is damaged") && message.contains(path.to_str().unwrap()), "{message}");
        assert_eq!(fs::read(&path).unwrap(), torn);

        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(error(&path).contains("is damaged"), "{}", error(&path));
    }

    #[test]
    fn somebody_elses_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/state.db");
        make_private_directory(path.parent().unwrap()).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(error(&path).contains("not a hearth database"), "{}", error(&path));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(error(&path).contains("cannot use"), "{}", error(&path));
    }
}
