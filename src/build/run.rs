//! The order of the stages (rule L2), and what each failure means (rules L6 and L8).
//!
//! Until the old container gives way nothing is changed: a failure leaves it running as it was. From then on a
//! failure or a cancellation removes what was made, and the home stays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::create::Plan;
use super::image::ImageError;
use super::log::LogWriter;
use super::prepare::prepare;
use super::stop::stop;
use super::{HandOver, HandOverError, Outcome, Tools, hand_over, hooks, own, request};
use crate::config::settings::Org;
use crate::config::{Effective, InForce};
use crate::docker::{ContainerId, EngineError};
use crate::handle::Inside;
use crate::model::{BuildNumber, Moment, Stage, Warning};
use crate::store::{ContainerRecord, HomeRecord, StoreError, WorkspaceRecord};

/// What to build.
#[derive(Debug)]
pub struct Job {
    pub record: WorkspaceRecord,
    pub number: BuildNumber,
    /// When it was asked for.
    pub asked_at: Instant,
    pub in_force: InForce,
    /// Somebody cancels this build.
    pub cancel: CancellationToken,
    /// hearthd stops: the build is left to be taken up again.
    pub stopping: CancellationToken,
}

/// Hears how far a build is.
pub type Tell = Box<dyn Fn(Progress) -> BoxFuture<'static, ()> + Send + Sync>;

/// How far a build is, told as it happens.
#[derive(Debug)]
pub enum Progress {
    Stage(Stage),
    Image {
        digest: Option<String>,
    },
    Home(HomeRecord),
    /// The workspace's container is this from here on.
    Container(Option<ContainerRecord>),
    /// People may enter.
    Inside(Inside),
}

/// Why a stage did not come to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// A person can do something about it.
    Failed(String),
    /// A disk is full: nobody's fault in here, and there will be room again.
    NoRoom(String),
    /// Docker is away: the build is taken up again (rule L12).
    Away(String),
}

impl Broken {
    /// Tells what the engine failed of because its disk is full, and names the next step: it names no disk by itself. It
    /// says the same of other things, such as control groups.
    pub(super) fn for_want_of_room(self, lacks_room: impl FnOnce() -> bool) -> Self {
        match self {
            Broken::Failed(why) if why.contains("no space left on device") && lacks_room() => {
                Broken::NoRoom(format!("{why}. Docker's disk is full: `docker system df` shows what fills it"))
            }
            broken @ (Broken::Failed(_) | Broken::NoRoom(_) | Broken::Away(_)) => broken,
        }
    }
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Away(_) | EngineError::Slow { .. } => Broken::Away(error.to_string()),
            EngineError::NotFound(_) | EngineError::Conflict(_) | EngineError::Refused(_) => {
                Broken::Failed(error.to_string())
            }
        }
    }
}

impl From<hooks::InjectError> for Broken {
    fn from(error: hooks::InjectError) -> Self {
        match error {
            hooks::InjectError::Engine(error) => error.into(),
            hooks::InjectError::Failed(_) => Broken::Failed(error.to_string()),
        }
    }
}

impl From<ImageError> for Broken {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Engine(error) => error.into(),
            ImageError::Refused { .. } => Broken::Failed(error.to_string()),
        }
    }
}

impl From<HandOverError> for Broken {
    fn from(error: HandOverError) -> Self {
        match error {
            HandOverError::Engine(error) => error.into(),
            HandOverError::Failed { .. } => Broken::Failed(error.to_string()),
        }
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        let full = matches!(error, StoreError::DiskFull { .. });
        let why = format!("{:#}", anyhow::Error::from(error));
        if full { Broken::NoRoom(why) } else { Broken::Failed(why) }
    }
}

/// Runs a build to its end. `tell` hears how far it is.
pub async fn run(tools: &Tools, job: Job, tell: Tell) -> Outcome {
    let id = &job.record.id;
    let log = tools.logs.open(job.record.number, job.number);
    let Some((workspace, org)) = job.in_force.workspace(id) else {
        let failure = format!("`{id}` is not in the configuration any more");
        return Outcome::Failed { failure, warnings: Vec::new(), kept: job.record.container.is_some() };
    };
    let (gave_way, warnings) = (AtomicBool::new(false), Mutex::default());
    let build = Build {
        tools,
        job: &job,
        tell,
        workspace,
        org,
        log: &log,
        gave_way: &gave_way,
        warnings: &warnings,
        stage: Mutex::new(Stage::Pull),
    };
    let ended = tokio::select! {
        biased;
        () = job.stopping.cancelled() => {
            log.line(build.at(), "hearthd stops: this build is taken up again when it is back");
            return Outcome::Interrupted { why: "hearthd stops".into() };
        }
        () = job.cancel.cancelled() => None,
        result = build.stages() => Some(result),
    };
    let kept = !gave_way.load(Ordering::Relaxed);
    let warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match ended.map(|ended| ended.map_err(|broken| broken.for_want_of_room(|| tools.lacks_room()))) {
        Some(Ok(())) => Outcome::Running { warnings },
        Some(Err(Broken::Away(why))) => {
            log.line(build.at(), &format!("{why}: this build is taken up again when Docker is back"));
            Outcome::Interrupted { why }
        }
        Some(Err(Broken::Failed(failure) | Broken::NoRoom(failure))) => {
            log.line(build.at(), &format!("failed: {failure}"));
            build.clear(kept, Duration::ZERO).await;
            Outcome::Failed { failure, warnings, kept }
        }
        None => {
            log.line(build.at(), "cancelled");
            // People may be in from the hooks on.
            let grace = if build.at() >= Stage::Configure { org.stop_grace } else { Duration::ZERO };
            build.clear(kept, grace).await;
            Outcome::Cancelled { kept }
        }
    }
}

struct Build<'a> {
    tools: &'a Tools,
    job: &'a Job,
    tell: Tell,
    workspace: Effective,
    org: &'a Org,
    log: &'a LogWriter,
    /// Set when the old container is about to be stopped.
    gave_way: &'a AtomicBool,
    warnings: &'a Mutex<Vec<Warning>>,
    stage: Mutex<Stage>,
}

impl Build<'_> {
    async fn stages(&self) -> Result<(), Broken> {
        let record = &self.job.record;
        self.begin(Stage::Pull).await;
        let prepared = prepare(self.tools, &self.workspace, self.org, record, self.job.asked_at, self.log).await?;
        self.warn(prepared.warnings.clone());
        (self.tell)(Progress::Image { digest: prepared.image.digest.clone() }).await;
        let (workspace, org, build) = (&self.workspace, self.org, self.job.number);
        let plan = Plan { workspace, org, record, build, prepared: &prepared };

        self.begin(Stage::Create).await;
        let container = self.replace(&plan).await?;
        let id = ContainerId(container.id.clone());

        self.begin(Stage::Start).await;
        self.tools.engine.start(&id).await?;
        let container = ContainerRecord { started_at: started_at(self.tools, &id).await?, ..container };

        self.begin(Stage::Inject).await;
        let (user, fresh) = (plan.inhabitant(), prepared.home.owner.is_none());
        let collected = request::collect(self.tools.data_dir.clone(), workspace, org, user.clone(), fresh).await?;
        let engine = self.tools.engine.as_ref();
        let hooks = hooks::Inside { engine, container: &id, user: &user, env: &[], log: self.log };
        let (warnings, facts) = hooks.inject(&collected.request).await?;
        self.warn(warnings);
        let injected = Some(request::fingerprint(workspace, org));
        let container = ContainerRecord { token_hash: collected.token_hash, injected, ..container };
        self.keep(Some(container.clone())).await?;
        (self.tell)(Progress::Inside(inside(&container))).await;

        self.begin(Stage::Configure).await;
        let configured = hooks.configure(&facts, org.hook_timeout).await?;
        self.warn(configured.warnings);
        let facts = configured.facts.unwrap_or(facts);
        self.begin(Stage::Personalize).await;
        let dotfiles = workspace.dotfiles.as_ref().map(|url| url.value.as_str());
        let personalized = hooks.personalize(&facts, dotfiles, org.hook_timeout).await?;
        self.warn(personalized.warnings);
        self.warn(hooks::fact_warnings(&personalized.facts.unwrap_or(facts)));
        let home = HomeRecord { owner: Some((container.uid, container.gid)), ..prepared.home.clone() };
        self.keep_home(home).await
    }

    /// The container of before gives way to a new one. From here on a failure leaves nothing running.
    async fn replace(&self, plan: &Plan<'_>) -> Result<ContainerRecord, Broken> {
        let record = &self.job.record;
        self.gave_way.store(true, Ordering::Relaxed);
        stop(self.tools, record, self.org.stop_grace).await?;
        if record.container.is_some() {
            self.keep(None).await?;
        }
        self.pass_home(plan).await?;
        let listening = self.tools.doors.listen(record.number, &record.id);
        listening.map_err(|error| Broken::Failed(format!("{:#}", anyhow::Error::from(error))))?;
        if record.home.is_none() {
            self.keep_home(plan.prepared.home.clone()).await?;
        }
        let container = plan.make(self.tools).await?;
        self.keep(Some(container.clone())).await?;
        self.tools.doors.pin(&record.id, &container.id);
        Ok(container)
    }

    /// Gives the home to the image's user, where that is another one than before (rule L5). While it is nobody's for
    /// sure, it is recorded as nobody's: the next build that comes so far gives all of it to its user then.
    async fn pass_home(&self, plan: &Plan<'_>) -> Result<(), Broken> {
        let (resolved, home) = (&plan.prepared.resolved, &plan.prepared.home);
        let Some(from) = home.owner.filter(|(uid, _)| *uid != resolved.uid && *uid != 0) else { return Ok(()) };
        let to = (resolved.uid, resolved.gid);
        self.keep_home(HomeRecord { owner: None, ..home.clone() }).await?;
        let (volume, hearth, image) = (home.volume.clone(), self.tools.hearth.clone(), plan.prepared.image.id.clone());
        let giving = HandOver { hearth, image, volume, from, to };
        let owned = hand_over(&self.tools.engine, &self.tools.instance, &self.tools.tasks, giving).await?;
        let (given, name) = (owned.given, &resolved.username);
        self.log.line(
            Stage::Create,
            &format!("gave {given} files of the home from uid {} to `{name}` (uid {})", from.0, to.0),
        );
        self.warn(owned.error.map(|error| own::partly(owned.failed, &error)).into_iter().collect());
        self.keep_home(HomeRecord { owner: Some(to), ..home.clone() }).await
    }

    /// The stage that runs.
    fn at(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        (self.tell)(Progress::Stage(stage)).await;
    }

    fn warn(&self, warnings: Vec<Warning>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(warnings);
    }

    /// Records the workspace's container before anything else is done with it.
    async fn keep(&self, container: Option<ContainerRecord>) -> Result<(), Broken> {
        self.tools.store.set_container(&self.job.record.id, container.clone()).await?;
        (self.tell)(Progress::Container(container)).await;
        Ok(())
    }

    async fn keep_home(&self, home: HomeRecord) -> Result<(), Broken> {
        self.tools.store.set_home(&self.job.record.id, Some(home.clone())).await?;
        (self.tell)(Progress::Home(home)).await;
        Ok(())
    }

    /// Removes what a build that does not end well has made; what was kept runs on.
    async fn clear(&self, kept: bool, grace: Duration) {
        if kept {
            return;
        }
        let id = &self.job.record.id;
        // The record may name the container of before: whatever has our name now is what this build made.
        let made = WorkspaceRecord { container: None, ..self.job.record.clone() };
        if let Err(error) = stop(self.tools, &made, grace).await {
            tracing::warn!(workspace = %id, "cannot remove what the build left: {error:?}; it is tried again");
        }
        if let Err(error) = self.keep(None).await {
            tracing::warn!(workspace = %id, "cannot record that the container is gone: {error:?}");
        }
    }
}

/// Returns when a container was started, in the engine's words.
pub(super) async fn started_at(tools: &Tools, id: &ContainerId) -> Result<Option<Moment>, EngineError> {
    Ok(tools.engine.container(&id.0).await?.and_then(|found| found.started_at))
}

/// Returns how people enter a container.
pub fn inside(container: &ContainerRecord) -> Inside {
    Inside {
        container: container.id.clone(),
        username: container.username.clone(),
        uid: container.uid,
        gid: container.gid,
        token_hash: container.token_hash.clone(),
        image_id: container.image_id.clone(),
        open: true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn l12_a_database_without_room_is_not_taken_for_a_failure() {
        let full = StoreError::DiskFull { path: PathBuf::from("/var/lib/hearth/hearth.db") };
        assert!(matches!(full.into(), Broken::NoRoom(why) if why.contains("/var/lib/hearth")));
        let other = StoreError::Locked { path: PathBuf::from("/var/lib/hearth/hearth.db") };
        assert!(matches!(other.into(), Broken::Failed(_)));
    }

    #[test]
    fn l12_no_space_is_said_of_dockers_disk_only_where_that_may_be() {
        let broken = || Broken::Failed("mkdir /sys/fs/cgroup/x: no space left on device".into());
        let Broken::NoRoom(why) = broken().for_want_of_room(|| true) else { panic!("it is full") };
        assert!(why.ends_with("`docker system df` shows what fills it"), "{why}");
        assert!(matches!(broken().for_want_of_room(|| false), Broken::Failed(_)));
        assert!(matches!(Broken::Failed("no such image".into()).for_want_of_room(|| true), Broken::Failed(_)));
    }
}
