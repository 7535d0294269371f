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
use crate::store::{AcceptedConfig, Store, WorkspaceRecord};

const DEFAULT_DATA_DIR: &str = "/var/lib/hearth";

/// Where the database lies in the data directory.
pub(super) const DATABASE: &str = "state.db";

/// A configuration to start on.
#[derive(Debug)]
pub struct Beginning {
    pub(super) loaded: Loaded,
    pub(super) view: ConfigView,
}

/// Returns what to start on.
///
/// # Errors
/// With what is wrong with the files, where there is no copy either that is still in order.
pub(super) async fn beginning(main: PathBuf, now: Moment) -> Result<Beginning, Problems> {
    let (files, errors) = match config::load(&main) {
        Ok(loaded) => match removes_many(&on(&loaded.settings).await, &loaded.settings) {
            None => (Ok(loaded), String::new()),
            Some(why) => (Ok(loaded), why),
        },
        Err(problems) => {
            let errors = problems.to_string();
            (Err(problems), errors)
        }
    };
    let copy = if errors.is_empty() { None } else { copy(&main).await };
    let Some((loaded, at)) = copy else {
        let view = ConfigView { path: main, in_force_since: now, from_copy: false, rejected: None };
        return files.map(|loaded| Beginning { loaded, view });
    };
    let rejected = Some(Rejected { since: now, errors });
    Ok(Beginning { loaded, view: ConfigView { path: main, in_force_since: at, from_copy: true, rejected } })
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

/// Returns the workspaces that were on when hearthd ended. What is wrong with the database is said by who opens it next.
async fn on(settings: &Settings) -> Vec<WorkspaceId> {
    let database = settings.server.data_dir.join(DATABASE);
    let read = async {
        let store = Store::open(&database).ok()?;
        let records = store.workspaces().await;
        store.close().await;
        records.ok()
    };
    let records = if database.exists() { read.await } else { None };
    let is_on = |record: &WorkspaceRecord| record.power == Power::On && record.removed_at.is_none();
    records.into_iter().flatten().filter(is_on).map(|record| record.id).collect()
}

/// Returns the accepted copy of a configuration, and when it was accepted.
async fn copy(main: &Path) -> Option<(Loaded, Moment)> {
    let database = data_dir(&std::fs::read_to_string(main).unwrap_or_default()).join(DATABASE);
    if !database.exists() {
        return None;
    }
    let accepted = match kept(&database).await {
        Ok(accepted) => accepted?,
        Err(error) => {
            warn!("cannot read the accepted configuration from {}: {error:#}", database.display());
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

async fn kept(database: &Path) -> anyhow::Result<Option<AcceptedConfig>> {
    let store = Store::open(database)?;
    let accepted = store.accepted_config().await;
    store.close().await;
    Ok(accepted?)
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
