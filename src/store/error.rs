//! What can go wrong with the state database, in words that name the file and the way out.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::model::{BuildNumber, WorkspaceId};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} uses the data directory `{}`: stop it, or set another `data_dir`", holder(*.pid), .dir.display())]
    InUse { dir: PathBuf, pid: Option<u32> },
    #[error("cannot use `{}`", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("data directory `{}` is not hearthd's alone ({why}): `{remedy}`", .path.display())]
    Exposed { path: PathBuf, why: String, remedy: String },
    #[error(
        "database `{}` was written by a newer hearth (its version is {found}, this hearthd knows up to {known}): \
         install that hearth again, or put back a backup",
        .path.display()
    )]
    Newer { path: PathBuf, found: i64, known: usize },
    #[error("`{}` is not a hearth database: set another `data_dir`, or move the file away", .path.display())]
    Foreign { path: PathBuf },
    #[error(
        "database `{path}` is damaged ({detail}): put back a backup, or begin with an empty one, \
         `mkdir {dir}/damaged && mv {path}* {dir}/damaged/`; homes and running workspaces stay, \
         build history, the audit log and settings made by command are lost",
        path = .path.display(), dir = .path.parent().unwrap_or(Path::new(".")).display()
    )]
    Damaged { path: PathBuf, detail: String },
    #[error("no room on the file system of `{}`: nothing was recorded; free some and try again", .path.display())]
    DiskFull { path: PathBuf },
    #[error("another program holds the database `{}`: close it (a `sqlite3` shell?)", .path.display())]
    Locked { path: PathBuf },
    #[error("nothing is recorded of workspace `{0}`")]
    NoSuchWorkspace(WorkspaceId),
    #[error("nothing is recorded of build {number} of `{workspace}`")]
    NoSuchBuild { workspace: WorkspaceId, number: BuildNumber },
    #[error("the state database is closed")]
    Closed,
    #[error("the state database refused")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// Returns the same error, told by its kind and with the file's name where SQLite's code says enough.
    pub(super) fn at(self, path: &Path) -> Self {
        let StoreError::Sqlite(error) = self else { return self };
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
            Some(ErrorCode::SystemIoFailure) if no_room(&error) => StoreError::DiskFull { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged { path, detail: error.to_string() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path },
            _ => StoreError::Sqlite(error),
        }
    }
}

/// The shared index of the WAL is the one file whose growth SQLite does not report as "full".
fn no_room(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another hearthd".into(), |pid| format!("another hearthd (pid {pid})"))
}
