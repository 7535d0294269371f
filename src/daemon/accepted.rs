//! What hearthd starts on: the files as they are or, where they are bad (rule C1) or would remove many of those that are
//! on (rule L10), the copy that was last accepted.
//!
//! The copy lies in the data directory, which a bad file may still name. It counts for the same main file only, so that
//! a hearthd with files of its own never starts on another's.

use std::path::{Path, PathBuf};

use toml::Table;
use tracing::{error, warn};

use super::watch;
use crate::config::{self, HostFacts, Loaded, Machine, Problems, Settings, Sources};
use crate::decide::Observed;
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
    /// The hash of the files, which may be refused; see [`watch::hash`].
    pub(super) judged: String,
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
    let judged = watch::hash(&files);
    let errors = match (&files, &store) {
        (Ok(loaded), Some(store)) => removes_many(&on(store).await, &loaded.settings),
        (Ok(_), None) => None,
        (Err(problems), _) => Some(problems.to_string()),
    };
    let copy = match (&errors, &store) {
        (Some(_), Some(store)) => copy(&main, store).await,
        (Some(_), None) | (None, _) => None,
    };
    let (Some(errors), Some((loaded, at))) = (&errors, copy) else {
        if let (Ok(_), Some(removal)) = (&files, errors) {
            error!("{removal}, and there is no accepted copy to start on instead: they go off, their homes are kept");
        }
        let view = ConfigView { path: main, in_force_since: now, from_copy: false, rejected: None };
        return files.map(|loaded| Beginning { loaded, view, judged, store });
    };
    let errors = if files.is_ok() { refused(errors) } else { errors.clone() };
    let rejected = Some(Rejected { since: now, errors });
    let view = ConfigView { path: main, in_force_since: at, from_copy: true, rejected };
    Ok(Beginning { loaded, view, judged, store })
}

/// Says what speaks against a configuration that would remove more than three and more than a third of the workspaces that
/// are on (rule L10).
pub(super) fn removes_many(on: &[WorkspaceId], new: &Settings) -> Option<String> {
    let removed = on.iter().filter(|id| !new.workspaces.contains_key(id)).count();
    (removed > 3 && removed * 3 > on.len())
        .then(|| format!("this would remove {removed} of {} running workspaces", on.len()))
}

/// Says that it was refused for that, and what to do where it is meant.
pub(super) fn refused(removal: &str) -> String {
    format!("{removal}, so nothing was changed. If it is meant: `hearth config reload --yes`")
}

/// Returns the workspaces that were on when hearthd ended. What is wrong with the database is said by who reads it next.
async fn on(store: &Store) -> Vec<WorkspaceId> {
    let records = store.workspaces().await.unwrap_or_default();
    records.into_iter().filter(|record| counts(record, Observed::None)).map(|record| record.id).collect()
}

/// Returns whether a workspace counts for rule L10: one that should be on, too, for Docker may be away or have another
/// disk. One that was removed already is not removed again.
pub(super) fn counts(record: &WorkspaceRecord, observed: Observed) -> bool {
    record.removed_at.is_none() && (record.power == Power::On || observed != Observed::None)
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
    match config::read_accepted(&sources, Machine.timezone()) {
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
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Files that were accepted, and a database in which their workspaces are on.
    struct Accepted {
        dir: tempfile::TempDir,
    }

    impl Accepted {
        /// Five of the six workspaces are of an org with a secret, in a file of their own.
        async fn new() -> Self {
            let accepted = Self { dir: tempfile::tempdir().unwrap() };
            let main = format!(
                "[server]\ndata_dir = \"{}\"\n[orgs.acme]\nimage = \"dev\"\n\
                 [users.alice]\norgs = [\"acme\"]\n[users.alice.workspaces.main]\n",
                accepted.path("data").display()
            );
            let names: String =
                ["a", "b", "c", "d", "e"].map(|name| format!("[users.bob.workspaces.{name}]\n")).concat();
            let more = format!(
                "[orgs.beta]\nimage = \"dev\"\nsecrets = {{ NPM = {{ file = \"{}\" }} }}\n\
                 [users.bob]\norgs = [\"beta\"]\n{names}",
                accepted.path("secret").display()
            );
            fs::create_dir(accepted.path("conf.d")).unwrap();
            fs::write(accepted.path("hearth.toml"), main).unwrap();
            fs::write(accepted.path("conf.d/beta.toml"), more).unwrap();
            fs::write(accepted.path("secret"), "s3cret").unwrap();
            accepted.secret_mode(0o600);
            let loaded = config::load(&accepted.path("hearth.toml")).unwrap_or_else(|problems| panic!("{problems}"));
            let store = Store::open(&accepted.path("data").join(DATABASE)).unwrap();
            for (id, workspace) in &loaded.settings.workspaces {
                store.declare(id, &workspace.org, Power::On, Moment::UNIX_EPOCH).await.unwrap();
            }
            let texts = super::super::app::texts(&loaded.sources);
            store.set_accepted_config(texts, Moment::UNIX_EPOCH).await.unwrap();
            store.close().await;
            accepted
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn secret_mode(&self, mode: u32) {
            fs::set_permissions(self.path("secret"), fs::Permissions::from_mode(mode)).unwrap();
        }

        /// Returns what is wrong with the files where hearthd starts on the copy.
        async fn started_on_the_copy(&self) -> String {
            let began = beginning(self.path("hearth.toml"), Moment::UNIX_EPOCH).await;
            let Beginning { loaded, view, .. } = began.unwrap_or_else(|problems| panic!("{problems}"));
            assert!(view.from_copy);
            assert_eq!(loaded.settings.workspaces.len(), 6);
            view.rejected.unwrap().errors
        }
    }

    #[tokio::test]
    async fn l10_the_copy_counts_although_the_secrets_that_it_names_went_with_the_workspaces() {
        let accepted = Accepted::new().await;
        fs::remove_file(accepted.path("conf.d/beta.toml")).unwrap();
        fs::remove_file(accepted.path("secret")).unwrap();
        let errors = accepted.started_on_the_copy().await;
        assert!(errors.contains("5 of 6"), "{errors}");
    }

    #[tokio::test]
    async fn c1_the_copy_counts_although_others_can_read_a_secret_that_it_names() {
        let accepted = Accepted::new().await;
        accepted.secret_mode(0o644);
        let errors = accepted.started_on_the_copy().await;
        assert!(errors.contains("others can read"), "{errors}");
    }

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
