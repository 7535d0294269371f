//! The engine through bollard: nothing outside this directory names the crate.
//!
//! The connection is made when it is needed and the API version agreed on then, and again after the engine was away:
//! it may have come back as another version. Each call has its own deadline, bollard's own being about headers only.

mod containers;
mod events;
mod exec;
mod images;
mod link;
mod objects;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    Container, ContainerDetail, ContainerId, ContainerSpec, Credentials, Engine, EngineError, EngineEvent,
    EngineVersion, ExecDetail, ExecEnd, ExecSpec, FileKind, Image, Labels, Limits, Network, NetworkSpec, Output,
    PullError, PullProgress, Volume,
};
use crate::model::Moment;
use link::Link;

/// To look at something.
const LOOK: Duration = Duration::from_secs(10);
/// To change something small.
const CHANGE: Duration = Duration::from_secs(60);
/// To make a container: the engine copies what the image has at the place of a fresh home.
const CREATE: Duration = Duration::from_secs(15 * 60);
/// To start one, which may wait for others that start.
const START: Duration = Duration::from_secs(120);

/// Docker, by its Unix socket.
#[derive(Debug, Clone)]
pub struct BollardEngine {
    link: Link,
    /// Ends of execs and event streams: what goes on when the call that asked for it is dropped.
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl BollardEngine {
    /// Returns the engine behind a socket, which need not be there yet.
    pub fn connect(socket: &Path) -> Self {
        Self { link: Link::new(socket), tasks: TaskTracker::new(), closing: CancellationToken::new() }
    }

    /// Ends the event streams and the commands that still run, and waits for that.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes one call of the engine's API.
    async fn call<T, F>(&self, call: &'static str, after: Duration, run: impl FnOnce(Docker) -> F + Send) -> Reply<T>
    where
        F: Future<Output = Result<T, bollard::errors::Error>> + Send,
    {
        self.link.call(call, after, run).await
    }
}

type Reply<T> = Result<T, EngineError>;

/// Turns "there is none" into an answer.
fn found<T>(reply: Reply<T>) -> Reply<Option<T>> {
    match reply {
        Ok(value) => Ok(Some(value)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Engine for BollardEngine {
    async fn version(&self) -> Reply<EngineVersion> {
        let version = self.call("version", LOOK, |docker| async move { docker.version().await }).await?;
        let info = self.call("info", LOOK, |docker| async move { docker.info().await }).await?;
        let mut disks: Vec<PathBuf> = info.docker_root_dir.into_iter().map(PathBuf::from).collect();
        // Its images are containerd's then, in that one's own directory, which it does not tell.
        if info.driver_status.iter().flatten().flatten().any(|word| word.starts_with("io.containerd.snapshotter")) {
            disks.push(PathBuf::from("/var/lib/containerd"));
        }
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        let (version, api) = (version.version.unwrap_or_default(), version.api_version.unwrap_or_default());
        Ok(EngineVersion { version, api, runtimes, disks })
    }

    async fn containers(&self, instance: &str) -> Reply<Vec<Container>> {
        containers::list(self, "label", &format!("hearth.instance={instance}")).await
    }

    async fn containers_with_volume(&self, name: &str) -> Reply<Vec<Container>> {
        containers::list(self, "volume", name).await
    }

    async fn container(&self, id: &str) -> Reply<Option<ContainerDetail>> {
        containers::inspect(self, id).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Reply<ContainerId> {
        containers::create(self, spec).await
    }

    async fn start(&self, id: &ContainerId) -> Reply<()> {
        self.call("start", START, |docker| async move { docker.start_container(&id.0, None).await }).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Reply<()> {
        containers::stop(self, id, grace).await
    }

    async fn remove(&self, id: &ContainerId) -> Reply<()> {
        containers::remove(self, id).await
    }

    async fn update(&self, id: &ContainerId, limits: &Limits) -> Reply<()> {
        containers::update(self, id, limits).await
    }

    async fn memory_in_use(&self, id: &ContainerId) -> Reply<u64> {
        containers::memory_in_use(self, id).await
    }

    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Reply<Option<Vec<u8>>> {
        images::read_file(self, id, path, limit).await
    }

    async fn file_kind(&self, id: &ContainerId, path: &str) -> Reply<FileKind> {
        images::file_kind(self, id, path).await
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec, output: mpsc::Sender<Output>) -> Reply<ExecEnd> {
        exec::run(self, id, spec, output).await
    }

    async fn execs(&self, id: &ContainerId) -> Reply<Option<Vec<String>>> {
        containers::execs(self, id).await
    }

    async fn exec_detail(&self, exec: &str) -> Reply<Option<ExecDetail>> {
        exec::detail(self, exec).await
    }

    async fn image(&self, reference: &str) -> Reply<Option<Image>> {
        images::inspect(self, reference).await
    }

    async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        progress: mpsc::Sender<PullProgress>,
    ) -> Result<(), PullError> {
        images::pull(self, reference, credentials, progress).await
    }

    async fn volume(&self, name: &str) -> Reply<Option<Volume>> {
        objects::volume(self, name).await
    }

    async fn volumes(&self, instance: &str) -> Reply<Vec<Volume>> {
        objects::volumes(self, instance).await
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Reply<Volume> {
        objects::create_volume(self, name, labels).await
    }

    async fn volume_changed_at(&self, name: &str) -> Reply<Option<Moment>> {
        objects::volume_changed_at(self, name).await
    }

    async fn remove_volume(&self, name: &str) -> Reply<()> {
        objects::remove_volume(self, name).await
    }

    async fn network(&self, name: &str) -> Reply<Option<Network>> {
        objects::network(self, name).await
    }

    async fn networks(&self, instance: &str) -> Reply<Vec<Network>> {
        objects::networks(self, instance).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Reply<()> {
        objects::create_network(self, spec).await
    }

    async fn remove_network(&self, id: &str) -> Reply<()> {
        self.call("remove network", CHANGE, |docker| async move { docker.remove_network(id).await }).await
    }

    fn watch(&self, instance: &str) -> mpsc::Receiver<EngineEvent> {
        events::watch(self, instance)
    }
}
