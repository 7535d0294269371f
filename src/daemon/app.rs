//! Everything wired together: parse, then bind and open, then spawn. [`App::build`] can fail; [`App::run`] only ends.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::execute::Executor;
use super::reconcile::{Inlets, Outlets, Reconciler};
use super::world::{Tracked, World};
use crate::config::Settings;
use crate::handle::{ConfigView, EngineView, Handle, Snapshot};
use crate::model::BuildRecord;
use crate::store::Store;
use crate::{api, build, config, docker, enter};

/// How long an ending waits for what is under way.
const DRAIN: Duration = Duration::from_secs(10);

/// hearthd, ready to run: everything that can fail has been opened.
pub struct App {
    reconciler: Reconciler,
    inlets: Inlets,
    listener: UnixListener,
    context: api::Context,
    stop: CancellationToken,
    tasks: TaskTracker,
}
