//! What is done to a container that is there: started again with fresh secrets, personalized again, given other limits.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::create::limits;
use super::log::LogWriter;
use super::run::{Broken, Progress, Tell, inside, started_at};
use super::{Tools, hooks, request};
use crate::config::settings::Org;
use crate::config::{Effective, InForce, SpecSummary};
use crate::docker::{Container, ContainerId, Status, labels};
use crate::helper::bundle::{Facts, Inhabitant, Personalize};
use crate::model::{BuildNumber, Hook, Stage, Warning, WarningKind};
use crate::store::{ContainerRecord, HomeRecord, WorkspaceRecord};

/// A renewal takes a moment. What runs of it inside may be held up there, and whoever reloads waits for it (rule X4).
const RENEWAL: Duration = Duration::from_secs(30);

/// Why an ended container was not started again, or not given what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrecovered {
    /// The engine went away: it is tried again when that is back, and counts for nothing.
    Away(String),
    /// A disk is full: it is tried again, and counts for nothing either.
    NoRoom(String),
    Failed(String),
}

impl From<Broken> for Unrecovered {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::NoRoom(why) => Self::NoRoom(why),
            Broken::Failed(why) => Self::Failed(why),
            Broken::Away(why) => Self::Away(why),
        }
    }
}

/// Starts an ended container as it was: start and inject, no hooks (rule L9).
///
/// # Errors
/// With what went wrong, for a person.
pub async fn recover(
    tools: &Tools,
    record: WorkspaceRecord,
    in_force: &InForce,
    tell: Tell,
) -> Result<(), Unrecovered> {
    let recovered = again(tools, &record, in_force, tell).await;
    recovered.map_err(|broken| broken.for_want_of_room(|| tools.lacks_room()).into())
}

async fn again(tools: &Tools, record: &WorkspaceRecord, in_force: &InForce, tell: Tell) -> Result<(), Broken> {
    let Some(container) = record.container.clone() else {
        return Err(Broken::Failed("no container of it is recorded".into()));
    };
    // What was injected went with the container's end: should hearthd be killed in between, it is known to be missing.
    let container = ContainerRecord { token_hash: String::new(), injected: None, ..container };
    let log = tools.logs.open(record.number, container.build);
    log.line(Stage::Start, "the container ended, or was started by hand: it is let run with fresh secrets");
    let_in(tools, record, container, in_force, &log, tell).await
}

/// Takes over a container that runs and that the database does not know: it was lost, or is older (rule L11).
///
/// # Errors
/// With what went wrong, for a person.
pub async fn take_over(
    tools: &Tools,
    record: WorkspaceRecord,
    found: Container,
    in_force: &InForce,
    tell: Tell,
) -> Result<(), Unrecovered> {
    let taking = async {
        let (home, container) = adopted(tools, &record, &found).await?;
        if record.home.as_ref().is_none_or(|known| known.volume != home.volume) {
            tools.store.set_home(&record.id, Some(home.clone())).await?;
            tell(Progress::Home(home.clone())).await;
        }
        let record = WorkspaceRecord { home: Some(home), container: Some(container.clone()), ..record };
        let log = tools.logs.open(record.number, container.build);
        log.line(Stage::Inject, "the database did not know this container: it is taken over with fresh secrets");
        let_in(tools, &record, container, in_force, &log, tell).await
    };
    taking.await.map_err(|broken: Broken| broken.for_want_of_room(|| tools.lacks_room()).into())
}

/// What the engine says of a container that hearthd made and does not remember.
async fn adopted(
    tools: &Tools,
    record: &WorkspaceRecord,
    found: &Container,
) -> Result<(HomeRecord, ContainerRecord), Broken> {
    let strange = |what: &str| {
        let name = &found.name;
        Broken::Failed(format!(
            "container `{name}` cannot be taken over: {what}. `hearth rebuild {}` makes another",
            record.id
        ))
    };
    let detail = tools.engine.container(&found.id.0).await?.ok_or_else(|| strange("it is gone"))?;
    let owner = detail.user.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    let (uid, gid) = owner.ok_or_else(|| strange("it does not say whose it is"))?;
    let home = found.mounts.iter().find_map(|mount| {
        let volume = mount.volume.clone()?;
        labels::home_number(&volume, &tools.instance, &record.id)?;
        Some((volume, mount.target.strip_prefix("/home/")?.to_owned()))
    });
    let (volume, username) = home.ok_or_else(|| strange("it has no home of the workspace"))?;
    let door = found.mounts.iter().find(|mount| mount.target == labels::SOCKET_DIR).and_then(|mount| {
        let number = Path::new(&mount.source).file_name()?.to_str()?.parse().ok()?;
        (tools.doors.directory(number) == Path::new(&mount.source)).then_some(number)
    });
    let door = door.ok_or_else(|| strange("its socket is of another hearthd"))?;
    let label = |name: &str| found.labels.get(name).cloned().unwrap_or_default();
    let container = ContainerRecord {
        id: found.id.0.clone(),
        build: BuildNumber(label(labels::BUILD).parse().unwrap_or(0)),
        image_id: found.image_id.clone(),
        username,
        uid,
        gid,
        token_hash: String::new(),
        spec: label(labels::SPEC),
        started_at: None,
        door: Some(door).filter(|door| *door != record.number),
        injected: None,
    };
    Ok((HomeRecord { volume, owner: Some((uid, gid)) }, container))
}

/// Has the container run, with fresh secrets, and lets people in.
async fn let_in(
    tools: &Tools,
    record: &WorkspaceRecord,
    container: ContainerRecord,
    in_force: &InForce,
    log: &LogWriter,
    tell: Tell,
) -> Result<(), Broken> {
    let (workspace, org) = declared(record, in_force)?;
    let id = ContainerId(container.id.clone());
    tools.store.set_container(&record.id, Some(container.clone())).await?;
    tell(Progress::Container(Some(container.clone()))).await;
    let door = container.door.unwrap_or(record.number);
    let listening = tools.doors.listen(door, &record.id);
    listening.map_err(|error| Broken::Failed(format!("{:#}", anyhow::Error::from(error))))?;
    tools.doors.pin(&record.id, &container.id);
    let ran = tools.engine.container(&id.0).await?.is_some_and(|found| found.container.status == Status::Running);
    if !ran {
        tools.engine.start(&id).await?;
    }
    let container = ContainerRecord { started_at: started_at(tools, &id).await?, ..container };
    let user = inhabitant(&container);
    let fresh = record.home.as_ref().is_none_or(|home| home.owner.is_none());
    let collected = request::collect(tools.data_dir.clone(), &workspace, org, user.clone(), fresh).await?;
    let engine = tools.engine.as_ref();
    let hooks = hooks::Inside { engine, container: &id, user: &user, env: &[], log };
    if let Err(error) = hooks.inject(&collected.request).await {
        // Without its secrets it does not count as running: the back-off tries again. Who is in one that ran stays.
        if !ran {
            tools.engine.stop(&id, Duration::ZERO).await?;
        }
        return Err(error.into());
    }
    let injected = Some(request::fingerprint(&workspace, org));
    let container = ContainerRecord { token_hash: collected.token_hash, injected, ..container };
    tools.store.set_container(&record.id, Some(container.clone())).await?;
    tell(Progress::Container(Some(container.clone()))).await;
    tell(Progress::Inside(inside(&container))).await;
    Ok(())
}

/// Runs `~/personalize` again in a running workspace; returns its warnings.
pub async fn personalize_again(
    tools: &Tools,
    record: WorkspaceRecord,
    build: BuildNumber,
    in_force: &InForce,
) -> Vec<Warning> {
    let result = async {
        let (workspace, org) = declared(&record, in_force)?;
        let Some(container) = &record.container else {
            return Err(Broken::Failed("no container of it is recorded".into()));
        };
        let (id, log) = (ContainerId(container.id.clone()), tools.logs.open(record.number, build));
        let user = inhabitant(container);
        let engine = tools.engine.as_ref();
        let hooks = hooks::Inside { engine, container: &id, user: &user, env: &[], log: &log };
        let facts = Facts { personalize: Personalize::Own, ..Facts::default() };
        let dotfiles = workspace.dotfiles.as_ref().map(|url| url.value.as_str());
        Ok(hooks.personalize(&facts, dotfiles, org.hook_timeout).await?.warnings)
    };
    result.await.unwrap_or_else(|broken| {
        let (Broken::Failed(message) | Broken::NoRoom(message) | Broken::Away(message)) = broken;
        vec![Warning { hook: Hook::Personalize, kind: WarningKind::Other, exit_code: None, message, tail: Vec::new() }]
    })
}

/// Brings the org's secrets, its Git hosts and the user's names in a running container in line; its token stays (rule
/// C6). Returns what is recorded of the container then.
///
/// # Errors
/// With why they are not there, which is logged.
pub async fn renew_secrets(
    tools: &Tools,
    record: &WorkspaceRecord,
    in_force: &InForce,
) -> Result<ContainerRecord, Unrecovered> {
    let renewed = timeout(RENEWAL, renew(tools, record, in_force)).await;
    let renewed = renewed.unwrap_or_else(|_| Err(Broken::Failed(format!("it took longer than {RENEWAL:?}"))));
    match &renewed {
        Ok((_, warnings)) if warnings.is_empty() => {
            tracing::info!(workspace = %record.id, "its secrets were renewed while it runs");
        }
        Ok((_, warnings)) => {
            for warning in warnings {
                tracing::warn!(workspace = %record.id, "its secrets were renewed while it runs, but: {}", warning.message);
            }
        }
        Err(Broken::Failed(why) | Broken::NoRoom(why) | Broken::Away(why)) => {
            tracing::warn!(workspace = %record.id, "its secrets could not be renewed, which is tried again: {why}");
        }
    }
    Ok(renewed?.0)
}

async fn renew(
    tools: &Tools,
    record: &WorkspaceRecord,
    in_force: &InForce,
) -> Result<(ContainerRecord, Vec<Warning>), Broken> {
    let gone = || Broken::Failed("no container of it is recorded".into());
    let container = record.container.clone().ok_or_else(gone)?;
    let (workspace, org) = declared(record, in_force)?;
    let (user, log) = (inhabitant(&container), tools.logs.open(record.number, container.build));
    let mut collected = request::collect(tools.data_dir.clone(), &workspace, org, user.clone(), false).await?;
    collected.request.token = None;
    let (engine, id) = (tools.engine.as_ref(), ContainerId(container.id.clone()));
    let hooks = hooks::Inside { engine, container: &id, user: &user, env: &[], log: &log };
    let (warnings, _) = hooks.inject(&collected.request).await?;
    let container = ContainerRecord { injected: Some(request::fingerprint(&workspace, org)), ..container };
    tools.store.set_container(&record.id, Some(container.clone())).await?;
    Ok((container, warnings))
}

/// Brings cpus, memory and pids of a running container in line; returns what it is made of then. A limit that the
/// engine refuses stays as it was, and the workspace *outdated* (rule C6).
pub async fn update_limits(tools: &Tools, record: WorkspaceRecord, in_force: &InForce) -> Option<ContainerRecord> {
    let (workspace, org) = declared(&record, in_force).ok()?;
    let container = record.container?;
    let mut made: SpecSummary = serde_json::from_str(&container.spec).ok()?;
    let wanted = SpecSummary::of(&workspace, org);
    let id = ContainerId(container.id.clone());
    let mut to = limits(&workspace);
    if lowers(made.memory.map(|m| m.0), to.memory) && !has_room(tools, &id, to.memory).await {
        tracing::warn!(workspace = %record.id, "its memory is in use: the lower limit takes effect at its next build");
        to.memory = made.memory.map(|memory| memory.0);
    }
    if let Err(error) = tools.engine.update(&id, &to).await {
        tracing::warn!(workspace = %record.id, "its limits cannot be changed while it runs: {error}");
        return None;
    }
    tracing::info!(workspace = %record.id, "its limits were changed while it runs");
    (made.cpus, made.pids) = (wanted.cpus, wanted.pids);
    if to.memory == wanted.memory.map(|memory| memory.0) {
        made.memory = wanted.memory;
    }
    let container = ContainerRecord { spec: serde_json::to_string(&made).ok()?, ..container };
    if let Err(error) = tools.store.set_container(&record.id, Some(container.clone())).await {
        tracing::error!(workspace = %record.id, "cannot record its limits: {error}");
    }
    Some(container)
}

fn lowers(from: Option<u64>, to: Option<u64>) -> bool {
    to.is_some_and(|to| from.is_none_or(|from| to < from))
}

/// Whether use is below nine tenths of the limit.
async fn has_room(tools: &Tools, id: &ContainerId, limit: Option<u64>) -> bool {
    match (tools.engine.memory_in_use(id).await, limit) {
        (Ok(used), Some(limit)) => used < limit / 10 * 9,
        (_, None) => true,
        (Err(_), Some(_)) => false,
    }
}

fn declared<'a>(record: &WorkspaceRecord, in_force: &'a InForce) -> Result<(Effective, &'a Org), Broken> {
    let gone = || Broken::Failed("it is not in the configuration any more".into());
    in_force.workspace(&record.id).ok_or_else(gone)
}

/// The user of a container that was made before.
pub(super) fn inhabitant(container: &ContainerRecord) -> Inhabitant {
    let ContainerRecord { username, uid, gid, .. } = container;
    Inhabitant { name: username.clone(), uid: *uid, gid: *gid, home: format!("/home/{username}") }
}
