//! An engine in memory: what the real one enforces, with faults around any call and things that happen by hand.
//!
//! It never waits and reads no clock, so a simulation of thousands of steps takes no time: a call either changes the
//! world and returns, or was ordered to hang and never does. Ids are counted, so two runs are the same.

mod given;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::labels::INSTANCE;
use super::{
    Container, ContainerDetail, ContainerId, ContainerSpec, Credentials, Engine, EngineError, EngineEvent,
    EngineVersion, ExecDetail, ExecEnd, ExecSpec, FileKind, Image, Labels, Limits, Network, NetworkSpec, Output,
    PullError, PullProgress, Status, Volume,
};
use crate::model::Moment;
use world::{Reply, World};

pub use given::{Conductor, FakeFile, FakeImage, Fault, Ran, Script};

/// What a registry answers.
type Registry = BTreeMap<String, Result<FakeImage, PullError>>;

/// Docker, in memory. Clones are the same engine.
#[derive(Clone)]
pub struct FakeEngine {
    world: Arc<Mutex<World>>,
    registry: Arc<Mutex<Registry>>,
    script: Arc<Mutex<Arc<Script>>>,
    conductor: Option<Arc<dyn Conductor>>,
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeEngine").field(&self.world()).finish()
    }
}

impl Default for FakeEngine {
    fn default() -> Self {
        let script: Arc<Script> = Arc::new(|_, _| Ran { output: Vec::new(), end: Some(ExecEnd::Exited(0)) });
        Self { world: Arc::default(), registry: Arc::default(), script: Arc::new(Mutex::new(script)), conductor: None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a test does to it.
impl FakeEngine {
    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Gives it an image.
    pub fn load(&self, reference: &str, image: FakeImage) {
        self.world().tag(reference, image);
    }

    /// Takes an image's name and, when that was its last, the image away.
    pub fn unload(&self, reference: &str) {
        let mut world = self.world();
        if let Some(id) = world.tags.remove(reference)
            && !world.tags.values().any(|other| *other == id)
        {
            world.images.remove(&id);
        }
    }

    /// Says what a pull of a reference finds; one that nobody spoke of is not found.
    pub fn publish(&self, reference: &str, answer: Result<FakeImage, PullError>) {
        lock(&self.registry).insert(reference.to_owned(), answer);
    }

    /// Says how commands go.
    pub fn script(&self, script: impl Fn(&str, &ExecSpec) -> Ran + Send + Sync + 'static) {
        *lock(&self.script) = Arc::new(script);
    }

    /// Orders a fault for the `nth` call of that name from here on, 1 being the next.
    pub fn order(&self, call: &'static str, nth: usize, fault: Fault) {
        let mut world = self.world();
        let at = world.count(call) + nth;
        world.faults.push((call, at, fault));
    }

    /// Returns the same engine, with calls as the conductor says.
    #[must_use]
    pub fn conducted(&self, conductor: Arc<dyn Conductor>) -> Self {
        Self { conductor: Some(conductor), ..self.clone() }
    }

    /// Says how often each of the next events is told: 0 is lost, 2 is doubled. Later ones are told once.
    pub fn echo(&self, times: impl IntoIterator<Item = usize>) {
        self.world().echoes.extend(times);
    }

    /// Tells every event once from here on.
    pub fn echo_once(&self) {
        self.world().echoes.clear();
    }

    /// Says what time it is.
    pub fn set_now(&self, now: Moment) {
        self.world().now = now;
    }

    /// Has it go away, with a reason, or come back.
    pub fn set_away(&self, why: Option<&str>) {
        let mut world = self.world();
        world.away = why.map(str::to_owned);
        let event = why.map_or(EngineEvent::Connected, |why| EngineEvent::Disconnected(why.to_owned()));
        world.tell_all(&event);
    }

    /// Ends a container's first process: a crash, `docker kill`, no memory.
    ///
    /// # Errors
    /// When there is no such container; as for the other things that happen by hand.
    pub fn end(&self, key: &str, code: i64, oom_killed: bool) -> Result<(), EngineError> {
        self.world().end(key, code, oom_killed)
    }

    /// Does `docker start`.
    ///
    /// # Errors
    /// As the engine does.
    pub fn start_by_hand(&self, key: &str) -> Result<(), EngineError> {
        self.world().start(key)
    }

    /// Does `docker rm -f`.
    ///
    /// # Errors
    /// As the engine does.
    pub fn remove_by_hand(&self, key: &str) -> Result<(), EngineError> {
        self.world().remove(key)
    }

    /// Does `docker pause` or `docker unpause`.
    ///
    /// # Errors
    /// As the engine does.
    pub fn set_paused(&self, key: &str, paused: bool) -> Result<(), EngineError> {
        self.world().set_paused(key, paused)
    }

    /// Does `docker run -d`, by somebody else.
    ///
    /// # Errors
    /// As the engine does.
    pub fn run_by_hand(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let mut world = self.world();
        let id = world.create(spec)?;
        world.start(&id.0)?;
        Ok(id)
    }

    /// Does what a reboot does: every container has ended.
    pub fn reboot(&self) {
        let mut world = self.world();
        let ids: Vec<String> = world.containers.keys().cloned().collect();
        for id in ids {
            let _ = world.end(&id, 255, false);
        }
    }

    /// Returns the calls that were made, the last ten thousand: `create hearth.alice.main`.
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.iter().cloned().collect()
    }

    /// Returns what a container was made of, by name or id.
    pub fn spec(&self, key: &str) -> Option<ContainerSpec> {
        self.world().find(key).map(|made| made.spec.clone())
    }

    /// Returns every container, ours or not.
    pub fn all_containers(&self) -> Vec<Container> {
        self.world().containers.values().map(|made| made.detail.container.clone()).collect()
    }

    /// Returns the names of every volume, ours or not, those on a disk that is not mounted too.
    pub fn all_volumes(&self) -> Vec<String> {
        let world = self.world();
        world.volumes.keys().chain(world.unmounted.1.keys()).cloned().collect()
    }

    /// Does `docker volume create` and `docker network create`, by somebody else.
    ///
    /// # Errors
    /// As the engine does.
    pub fn make_by_hand(
        &self,
        volume: Option<(&str, Labels)>,
        network: Option<&NetworkSpec>,
    ) -> Result<(), EngineError> {
        let mut world = self.world();
        if let Some((name, labels)) = volume {
            world.create_volume(name, &labels);
        }
        network.map_or(Ok(()), |spec| world.create_network(spec))
    }

    /// Returns every volume, ours or not.
    pub fn volumes_with_labels(&self) -> Vec<Volume> {
        self.world().volumes.values().cloned().collect()
    }

    /// Returns every network, ours or not.
    pub fn all_networks(&self) -> Vec<Network> {
        self.world().networks.values().cloned().collect()
    }

    /// Makes a call: noted, perhaps at fault, and then done at once.
    async fn call<T>(
        &self,
        call: &'static str,
        what: &str,
        act: impl FnOnce(&mut World) -> Reply<T> + Send,
    ) -> Reply<T> {
        let conducted = match &self.conductor {
            Some(conductor) => conductor.begin(call, what).await,
            None => None,
        };
        let answer = {
            let mut world = self.world();
            let fault = world.called(call, what).or(conducted);
            match (world.away.clone(), fault) {
                (Some(why), _) => Some(Err(EngineError::Away(why))),
                (None, None) => Some(act(&mut world)),
                (None, Some(Fault::Before(error))) => Some(Err(error)),
                (None, Some(Fault::After(error))) => {
                    let _ = act(&mut world);
                    Some(Err(error))
                }
                (None, Some(Fault::Hang)) => None,
            }
        };
        if let Some(conductor) = &self.conductor {
            conductor.end(call, what).await;
        }
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// What is not there is an answer.
fn optional<T>(reply: Reply<T>) -> Reply<()> {
    match reply {
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn of_instance(labels: &Labels, instance: &str) -> bool {
    labels.get(INSTANCE).is_some_and(|found| found == instance)
}

#[async_trait]
impl Engine for FakeEngine {
    async fn version(&self) -> Reply<EngineVersion> {
        let (version, api) = ("20.10.24".to_owned(), "1.41".to_owned());
        let (runtimes, disks) = (vec!["runc".to_owned()], Vec::new());
        self.call("version", "", |_| Ok(EngineVersion { version, api, runtimes, disks })).await
    }

    async fn containers(&self, instance: &str) -> Reply<Vec<Container>> {
        self.call("containers", "", |world| Ok(world.listed(instance))).await
    }

    async fn containers_with_volume(&self, name: &str) -> Reply<Vec<Container>> {
        self.call("containers_with_volume", name, |world| {
            let all = world.containers.values().map(|made| &made.detail.container);
            let mounts = |container: &&Container| container.mounts.iter().any(|at| at.volume.as_deref() == Some(name));
            Ok(all.filter(mounts).cloned().collect())
        })
        .await
    }

    async fn container(&self, id: &str) -> Reply<Option<ContainerDetail>> {
        self.call("container", id, |world| Ok(world.find(id).map(|made| made.detail.clone()))).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Reply<ContainerId> {
        self.call("create", &spec.name, |world| world.create(spec)).await
    }

    async fn start(&self, id: &ContainerId) -> Reply<()> {
        self.call("start", &self.name(id), |world| world.start(&id.0)).await
    }

    async fn stop(&self, id: &ContainerId, _grace: Duration) -> Reply<()> {
        self.call("stop", &self.name(id), |world| optional(world.end(&id.0, 143, false))).await
    }

    async fn remove(&self, id: &ContainerId) -> Reply<()> {
        self.call("remove", &self.name(id), |world| optional(world.remove(&id.0))).await
    }

    async fn update(&self, id: &ContainerId, limits: &Limits) -> Reply<()> {
        self.call("update", &self.name(id), |world| {
            let made = world.containers.get_mut(&id.0);
            let made = made.ok_or_else(|| EngineError::NotFound(format!("No such container: {id}")))?;
            made.spec.limits = *limits;
            Ok(())
        })
        .await
    }

    async fn memory_in_use(&self, id: &ContainerId) -> Reply<u64> {
        self.call("memory", &self.name(id), |_| Ok(1 << 20)).await
    }

    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Reply<Option<Vec<u8>>> {
        self.call("read", path, |world| {
            let file = resolve(world, id, path);
            let Some(FakeFile::File { content, .. }) = file else { return Ok(None) };
            if content.len() > limit {
                return Err(EngineError::Refused(format!("{path} is larger than {limit} bytes")));
            }
            Ok(Some(content.clone()))
        })
        .await
    }

    async fn file_kind(&self, id: &ContainerId, path: &str) -> Reply<FileKind> {
        self.call("look", path, |world| {
            Ok(match files(world, id).and_then(|files| files.get(path)) {
                None => FileKind::Missing,
                Some(FakeFile::File { executable, .. }) => FileKind::File { executable: *executable },
                Some(FakeFile::Directory) => FileKind::Directory,
                Some(FakeFile::Symlink { target }) => FileKind::Symlink { target: target.clone() },
            })
        })
        .await
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec, output: mpsc::Sender<Output>) -> Reply<ExecEnd> {
        let script = lock(&self.script).clone();
        let what = format!("{} {}", self.name(id), spec.argv.join(" "));
        let ran = self
            .call("exec", &what, |world| match world.find(&id.0) {
                None => Err(EngineError::NotFound(format!("No such container: {id}"))),
                Some(made) if made.detail.container.status != Status::Running => {
                    Err(EngineError::Conflict(format!("Container {id} is not running")))
                }
                Some(made) => Ok(made.detail.container.name.clone()),
            })
            .await
            .map(|name| script(&name, &spec))?;
        for piece in ran.output {
            let _ = output.send(piece).await;
        }
        match ran.end {
            Some(end) => Ok(end),
            None => {
                tokio::time::sleep(spec.deadline).await;
                Ok(ExecEnd::TimedOut)
            }
        }
    }

    /// Nobody runs a command by hand in here.
    async fn execs(&self, id: &ContainerId) -> Reply<Option<Vec<String>>> {
        self.call("execs", &self.name(id), |world| Ok(world.find(&id.0).map(|_| Vec::new()))).await
    }

    async fn exec_detail(&self, exec: &str) -> Reply<Option<ExecDetail>> {
        self.call("exec detail", exec, |_| Ok(None)).await
    }

    async fn image(&self, reference: &str) -> Reply<Option<Image>> {
        self.call("image", reference, |world| Ok(world.image(reference).map(|image| image.image.clone()))).await
    }

    async fn pull(
        &self,
        reference: &str,
        _credentials: Option<&Credentials>,
        _progress: mpsc::Sender<PullProgress>,
    ) -> Result<(), PullError> {
        let answer = lock(&self.registry).get(reference).cloned();
        let not_found = || Err(PullError::NotFound(format!("manifest for {reference} not found")));
        let image = match self.call("pull", reference, |_| Ok(answer)).await?.unwrap_or_else(not_found) {
            Ok(image) => image,
            Err(error) => return Err(error),
        };
        self.world().tag(reference, image);
        Ok(())
    }

    async fn volume(&self, name: &str) -> Reply<Option<Volume>> {
        self.call("volume", name, |world| Ok(world.volumes.get(name).cloned())).await
    }

    async fn volumes(&self, instance: &str) -> Reply<Vec<Volume>> {
        self.call("volumes", "", |world| {
            let all = world.volumes.values().filter(|volume| of_instance(&volume.labels, instance));
            Ok(all.cloned().collect())
        })
        .await
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Reply<Volume> {
        self.call("create volume", name, |world| Ok(world.create_volume(name, labels))).await
    }

    async fn volume_changed_at(&self, name: &str) -> Reply<Option<Moment>> {
        self.call("volume changed", name, |world| Ok(world.changed.get(name).copied())).await
    }

    async fn remove_volume(&self, name: &str) -> Reply<()> {
        self.call("remove volume", name, |world| world.remove_volume(name)).await
    }

    async fn network(&self, name: &str) -> Reply<Option<Network>> {
        self.call("network", name, |world| Ok(world.network(name))).await
    }

    async fn networks(&self, instance: &str) -> Reply<Vec<Network>> {
        self.call("networks", "", |world| {
            let ours = world.networks.values().filter(|network| of_instance(&network.labels, instance));
            Ok(ours.filter_map(|network| world.network(&network.name)).collect())
        })
        .await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Reply<()> {
        self.call("create network", &spec.name, |world| world.create_network(spec)).await
    }

    async fn remove_network(&self, id: &str) -> Reply<()> {
        self.call("remove network", id, |world| world.remove_network(id)).await
    }

    fn watch(&self, instance: &str) -> mpsc::Receiver<EngineEvent> {
        let (sender, receiver) = mpsc::channel(256);
        let mut world = self.world();
        let first = world.away.clone().map_or(EngineEvent::Connected, EngineEvent::Disconnected);
        let _ = sender.try_send(first);
        world.watchers.push((instance.to_owned(), sender));
        receiver
    }
}

impl FakeEngine {
    /// The container's name, or its id when it is gone: for the list of calls.
    fn name(&self, id: &ContainerId) -> String {
        self.world().find(&id.0).map_or_else(|| id.to_string(), |made| made.detail.container.name.clone())
    }
}

fn files<'a>(world: &'a World, id: &ContainerId) -> Option<&'a BTreeMap<String, FakeFile>> {
    let image = &world.find(&id.0)?.detail.container.image_id;
    Some(&world.image(image)?.files)
}

/// Follows links to a file.
fn resolve<'a>(world: &'a World, id: &ContainerId, path: &str) -> Option<&'a FakeFile> {
    let files = files(world, id)?;
    let mut file = files.get(path)?;
    for _ in 0..8 {
        match file {
            FakeFile::Symlink { target } => file = files.get(target)?,
            FakeFile::File { .. } | FakeFile::Directory => return Some(file),
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests;
