//! What hearthd starts on: the files as they are or, where they are bad (rule C1) or would remove many of those that are
//! on (rule L10), the copy that was last accepted.
//!
//! The copy lies in the data directory, which a bad file may still name. It counts for the same main file only, so that
//! a hearthd with files of its own never starts on another's.

use std::path::{Path, PathBuf};

use toml::Table;
use tracing::warn;

use crate::config::{self, Loaded, Machine, Problems, Settings, Sources};
use crate::handle::{ConfigView, Rejected};
use crate::model::{Moment, Power, WorkspaceId};
use crate::store::{Store, WorkspaceRecord};

const DEFAULT_DATA_DIR: &str = "/var/lib/hearth";

/// Where the database lies in the data directory.
pub(super) const DATABASE: &str = "state.db";

/// A configuration to start on.
#[derive(Debug)]
pub struct Beginning {
    pub(super) loaded: Loaded,
    pub(super) view: ConfigView,
    /// The database, where there was one.
    pub(super) store: Option<Store>,
}

/// Returns what to start on.
///
/// # Errors
/// With what is wrong with the files, where there is no copy either that is still in order.
pub(super) async fn beginning(main: PathBuf, now: Moment) -> Result<Beginning, Problems> {
    let files = config::load(&main);
    let data_dir = match &files {
        Ok(loaded) => loaded.settings.server.data_dir.clone(),
        Err(_) => data_dir(&std::fs::read_to_string(&main).unwrap_or_default()),
    };
    let database = data_dir.join(DATABASE);
    let store = database.exists().then(|| Store::open(&database)).transpose().unwrap_or_else(|error| {
        // Where the files are in order, whoever opens it next says so.
        if files.is_err() {
            warn!("cannot read the accepted configuration from {}: {error}", database.display());
        }
        None
    });
    let mut beginning = choose(main, files, store, now).await?;
    // The copy may have been moved with the directory that it lies in.
    beginning.loaded.settings.server.data_dir = data_dir;
    Ok(beginning)
}

/// Chooses between the files and the copy in the database.
///
/// # Errors
/// As [`beginning`].
pub(super) async fn choose(
    main: PathBuf,
    files: Result<Loaded, Problems>,
    store: Option<Store>,
    now: Moment,
) -> Result<Beginning, Problems> {
    let errors = match (&files, &store) {
        (Ok(loaded), Some(store)) => removes_many(&on(store).await, &loaded.settings),
        (Ok(_), None) => None,
        (Err(problems), _) => Some(problems.to_string()),
    };
    let copy = match (&errors, &store) {
        (Some(_), Some(store)) => copy(&main, store).await,
        (Some(_), None) | (None, _) => None,
    };
    let (Some(errors), Some((loaded, at))) = (errors, copy) else {
        let view = ConfigView { path: main, in_force_since: now, from_copy: false, rejected: None };
        return files.map(|loaded| Beginning { loaded, view, store });
    };
    let rejected = Some(Rejected { since: now, errors });
    let view = ConfigView { path: main, in_force_since: at, from_copy: true, rejected };
    Ok(Beginning { loaded, view, store })
}

/// Says what speaks against a configuration that would remove more than three and more than a third of the workspaces that
/// are on (rule L10).
pub(super) fn removes_many(on: &[WorkspaceId], new: &Settings) -> Option<String> {
    let removed = on.iter().filter(|id| !new.workspaces.contains_key(id)).count();
    (removed > 3 && removed * 3 > on.len()).then(|| {
        format!(
            "this would remove {removed} of {} running workspaces, so nothing was changed. \
             If it is meant: `hearth config reload --yes`",
            on.len()
        )
    })
}

/// Returns the workspaces that were on when hearthd ended. What is wrong with the database is said by who reads it next.
async fn on(store: &Store) -> Vec<WorkspaceId> {
    let records = store.workspaces().await.unwrap_or_default();
    records.into_iter().filter(is_on).map(|record| record.id).collect()
}

/// Returns whether a workspace counts for rule L10 whatever Docker shows: it may be away, or have another disk.
pub(super) fn is_on(record: &WorkspaceRecord) -> bool {
    record.power == Power::On && record.removed_at.is_none()
}

/// Returns the accepted copy of a configuration, and when it was accepted.
async fn copy(main: &Path, store: &Store) -> Option<(Loaded, Moment)> {
    let accepted = match store.accepted_config().await {
        Ok(accepted) => accepted?,
        Err(error) => {
            warn!("cannot read the accepted configuration: {error}");
            return None;
        }
    };
    if accepted.files.first().is_none_or(|(path, _)| Path::new(path) != main) {
        return None;
    }
    let sources = Sources::from(accepted.files);
    match config::read(&sources, &Machine) {
        Ok(config::Checked { settings, warnings }) => {
            let hash = sources.hash();
            Some((Loaded { settings, warnings, sources, hash }, accepted.at))
        }
        Err(problems) => {
            warn!("the configuration that was accepted last is not in order any more:\n{problems}");
            None
        }
    }
}

/// The data directory that a main file names, as well as it can be told where the file is broken.
fn data_dir(text: &str) -> PathBuf {
    let named = |table: &Table| Some(PathBuf::from(table.get("data_dir")?.as_str()?));
    let whole = text.parse::<Table>().ok().and_then(|table| named(table.get("server")?.as_table()?));
    let line = || text.lines().filter_map(|line| line.parse::<Table>().ok()).find_map(|table| named(&table));
    whole.or_else(line).unwrap_or_else(|| DEFAULT_DATA_DIR.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_the_data_directory_is_found_in_files_that_are_broken() {
        for (text, found) in [
            ("[server]\ndata_dir = \"/a\"", "/a"),
            ("server.data_dir = '/a'", "/a"),
            ("[server]\ndata_dir = \"/a\"\ntimezone = \n[", "/a"),
            ("[server]\n  data_dir=\"/a\" # here\n]]", "/a"),
            ("[orgs.acme]\n", DEFAULT_DATA_DIR),
            ("[server\n", DEFAULT_DATA_DIR),
            ("", DEFAULT_DATA_DIR),
        ] {
            assert_eq!(data_dir(text), Path::new(found), "{text}");
        }
    }
}
