//! The home: a named volume that is ours by its labels, or is not touched (design section 2).
//!
//! The end of a home's time in the trash is the one place in hearth that removes a volume: [`delete_for_good`].

use super::Tools;
use super::apart::{self, Apart, ApartError};
use super::run::Broken;
use crate::docker::{EngineError, Volume, labels};
use crate::helper::bundle::Changed;
use crate::model::{Moment, WorkspaceId, neutralise};
use crate::store::{HomeRecord, StoreError, WorkspaceRecord};
use crate::trash::Trashed;

/// Finds the workspace's home, or the name that it will have; a volume of that name that is not ours is refused.
pub(super) async fn check(tools: &Tools, record: &WorkspaceRecord) -> Result<HomeRecord, Broken> {
    let home = match record.home.clone() {
        Some(home) => home,
        None => HomeRecord { volume: find(tools, record).await?, owner: None },
    };
    match tools.engine.volume(&home.volume).await? {
        Some(volume) => ours(tools, record, &volume)?,
        // An engine whose disk is not mounted shows no volume at all: an empty home would hide the person's own.
        None if home.owner.is_some() => {
            return Err(Broken::Failed(format!(
                "the home of `{}`, volume `{}`, is gone from Docker; no empty one is put in its place. If Docker's disk is \
                 not mounted, mount it; else `docker volume create{} {}` makes a new one",
                record.id,
                home.volume,
                labels::volume_labels(&tools.instance, &record.id, &home.volume)
                    .iter()
                    .map(|(name, value)| format!(" --label {name}={value}"))
                    .collect::<String>(),
                home.volume
            )));
        }
        None => {}
    }
    alone(tools, record, &home).await?;
    Ok(home)
}

/// Finds the name of the home of a workspace that has none recorded: that of the one that is there and not in the trash,
/// for the database may have been lost, else a new one beside those in the trash. Where several could be meant, nobody
/// but a person knows which.
async fn find(tools: &Tools, record: &WorkspaceRecord) -> Result<String, Broken> {
    let trash = tools.store.trash().await?;
    let of_instance = tools.engine.volumes(tools.instance.as_str()).await?;
    let ours = of_instance.into_iter().filter(|volume| labels::is_our_volume(volume, &tools.instance, &record.id));
    let there: Vec<_> =
        ours.map(|volume| volume.name).filter(|name| trash.iter().all(|home| home.volume != *name)).collect();
    match &there[..] {
        [] => {
            let number = |home: &Trashed| labels::home_number(&home.volume, &tools.instance, &record.id);
            let last = trash.iter().filter_map(number).max().unwrap_or(0);
            Ok(labels::volume_name(&tools.instance, &record.id, last + 1))
        }
        [one] => Ok(one.clone()),
        several => mounted(tools, record, several).await?.ok_or_else(|| Broken::Failed(format!(
            "`{}` could have several homes, and the database does not say which: {}. `hearth home restore HOME` chooses one",
            record.id,
            several.join(", ")
        ))),
    }
}

/// Which of the homes the workspace's own container mounts, should there be one.
async fn mounted(tools: &Tools, record: &WorkspaceRecord, homes: &[String]) -> Result<Option<String>, Broken> {
    let name = labels::container_name(&tools.instance, &record.id);
    let found = tools.engine.container(&name).await?.map(|found| found.container);
    let ours = found.filter(|container| tools.is_ours(container, &record.id, None));
    let mut volumes = ours.into_iter().flat_map(|container| container.mounts).filter_map(|mount| mount.volume);
    Ok(volumes.find(|volume| homes.contains(volume)))
}

/// Refuses a home that another container mounts (rule L1). What lives for a moment and was left behind is removed.
async fn alone(tools: &Tools, record: &WorkspaceRecord, home: &HomeRecord) -> Result<(), Broken> {
    let recorded = record.container.as_ref().map(|container| container.id.as_str());
    for container in tools.engine.containers_with_volume(&home.volume).await? {
        if labels::is_passing(&container, &tools.instance) {
            tools.engine.remove(&container.id).await?;
        } else if !tools.is_ours(&container, &record.id, recorded) {
            return Err(Broken::Failed(format!(
                "container `{}` ({}) mounts the home of `{}`, and two on one home would destroy it. `docker rm {}` ends \
                 it; the home stays",
                container.name, container.id, record.id, container.name
            )));
        }
    }
    Ok(())
}

/// Makes sure that the home is there.
pub(super) async fn ensure(tools: &Tools, record: &WorkspaceRecord, home: &HomeRecord) -> Result<(), Broken> {
    let labels = labels::volume_labels(&tools.instance, &record.id, &home.volume);
    // The engine answers with whatever has that name: looking at what came back is what makes it ours.
    let volume = tools.engine.create_volume(&home.volume, &labels).await?;
    ours(tools, record, &volume)?;
    alone(tools, record, home).await
}

fn ours(tools: &Tools, record: &WorkspaceRecord, volume: &Volume) -> Result<(), Broken> {
    if labels::is_our_volume(volume, &tools.instance, &record.id) {
        return Ok(());
    }
    Err(Broken::Failed(format!(
        "volume `{}` is there and is not the home of `{}` (its labels say otherwise), so it is not mounted. \
         `docker volume inspect {}` shows whose it is",
        volume.name, record.id, volume.name
    )))
}

/// How the end of a home's time in the trash went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emptied {
    Deleted,
    /// Somebody removed the volume before.
    Gone,
    /// Something says that it may still be wanted, or is not ours.
    Kept(String),
}

/// Why a home is neither deleted nor kept. It can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("Docker has no image of any workspace to look into it with")]
    NoImage,
    #[error("it cannot be looked into: {0}")]
    Failed(String),
}

impl From<ApartError> for Undecided {
    fn from(error: ApartError) -> Self {
        match error {
            ApartError::Failed(why) => Self::Failed(why),
            ApartError::Engine(error) => error.into(),
        }
    }
}

/// Deletes a home for good whose time in the trash is over: only if it is exactly ours, nothing refers to it, and
/// nothing has touched it since it went there (rule L10).
///
/// That a container had it meanwhile is known from the engine's events, where hearthd heard them or the engine remembers
/// them: its last 256, none from before its start. So that no gap in what was heard matters, and no home has to wait for
/// one to be over, the home itself is asked as well: whatever was changed in it since keeps it. What remains is a
/// container that only read, that is gone again, and that the engine has forgotten: nothing of it would be lost.
///
/// # Errors
/// When it could not be done, or not be told whether it may be.
pub async fn delete_for_good(tools: &Tools, home: &Trashed) -> Result<Emptied, Undecided> {
    let Some(volume) = tools.engine.volume(&home.volume).await? else { return Ok(Emptied::Gone) };
    let kept = |why: String| Ok(Emptied::Kept(why));
    if !labels::is_our_volume(&volume, &tools.instance, &home.workspace) {
        return kept("its labels are not exactly ours".into());
    }
    for user in tools.engine.containers_with_volume(&home.volume).await? {
        // Left behind by a look into it that was cut off.
        if !labels::is_passing(&user, &tools.instance) {
            return kept(format!("container `{}` ({}) refers to it", user.name, user.id));
        }
        tools.engine.remove(&user.id).await?;
    }
    let unknown = |why: &str| format!("hearthd cannot tell whether it was used since: {why}");
    let used = |at: Moment| format!("it was used at {at:.0}, after it went into the trash");
    match tools.engine.volume_changed_at(&home.volume).await? {
        Some(at) if at <= home.trashed_at => {}
        Some(at) => return kept(used(at)),
        None => return kept(unknown("its volume is not to be seen on the host")),
    }
    let changed = look_into(tools, home).await?;
    match changed.error {
        None if changed.at <= home.trashed_at => {}
        None => return kept(used(changed.at)),
        Some(error) => return kept(unknown(&neutralise(error.as_bytes()))),
    }
    match tools.engine.remove_volume(&home.volume).await {
        Ok(()) => Ok(Emptied::Deleted),
        // A container that came a moment ago.
        Err(EngineError::Conflict(why)) => kept(why),
        Err(error) => Err(error.into()),
    }
}

/// Looks when anything in a home was last changed.
async fn look_into(tools: &Tools, home: &Trashed) -> Result<Changed, Undecided> {
    let Some(image) = any_image(tools, &home.workspace).await? else { return Err(Undecided::NoImage) };
    let (hearth, volume) = (tools.hearth.clone(), home.volume.clone());
    let looking = Apart { hearth, image, volume, read_only: true, command: "changed", more: Vec::new() };
    Ok(apart::run(&tools.engine, &tools.instance, &tools.tasks, looking).await?)
}

/// Finds an image for a container: that of the workspace's last build, else that of anything that runs.
async fn any_image(tools: &Tools, workspace: &WorkspaceId) -> Result<Option<String>, Undecided> {
    let last = tools.store.last_build(workspace).await?.map(|build| build.image);
    let containers = tools.store.workspaces().await?.into_iter().filter_map(|record| record.container);
    for reference in last.into_iter().chain(containers.map(|container| container.image_id)) {
        if let Some(image) = tools.engine.image(&reference).await? {
            return Ok(Some(image.id));
        }
    }
    Ok(None)
}
