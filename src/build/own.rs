//! Gives a home to the user of another image (rule L5), before the build.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::apart::{self, Apart, ApartError};
use crate::docker::{Engine, EngineError};
use crate::helper::bundle::Owned;
use crate::model::{Hook, InstanceName, Warning, WarningKind, neutralise};

/// A home to be given.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The static `hearth` on the host.
    pub hearth: PathBuf,
    /// Any image: nothing of it is run.
    pub image: String,
    pub volume: String,
    /// Uid and gid; the uid is never 0.
    pub from: (u32, u32),
    pub to: (u32, u32),
}

/// Why it was not given, or not all of it. It can be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    #[error("the home `{volume}` could not be given to uid {uid}: {why}")]
    Failed { volume: String, uid: u32, why: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Gives the home. Dropping the call cuts it off.
///
/// # Errors
/// When it was not given, or only in part: then it is to be tried again.
pub async fn hand_over(
    engine: &Arc<dyn Engine>,
    instance: &InstanceName,
    tasks: &TaskTracker,
    home: HandOver,
) -> Result<Owned, HandOverError> {
    let HandOver { hearth, image, volume, from, to } = home;
    let more = [from, to].map(|(uid, gid)| format!("{uid}:{gid}")).to_vec();
    let giving = Apart { hearth, image, volume: volume.clone(), read_only: false, command: "own", more };
    apart::run(engine, instance, tasks, giving).await.map_err(|error| match error {
        ApartError::Failed(why) => HandOverError::Failed { volume, uid: to.0, why },
        ApartError::Engine(error) => error.into(),
    })
}

/// Warns of files that could not be given.
pub(super) fn partly(failed: u64, error: &str) -> Warning {
    let message = format!("{failed} files of the home still have their old owner: {}", neutralise(error.as_bytes()));
    Warning { hook: Hook::Container, kind: WarningKind::Other, exit_code: None, message, tail: Vec::new() }
}
