//! The home: a named volume that is ours by its labels, or is not touched (design section 2).
//!
//! Nothing in here removes a volume.

use super::Tools;
use super::run::Broken;
use crate::docker::{Volume, labels};
use crate::store::{HomeRecord, WorkspaceRecord};

/// Finds the workspace's home, or the name that it will have; a volume of that name that is not ours is refused.
pub(super) async fn check(tools: &Tools, record: &WorkspaceRecord) -> Result<HomeRecord, Broken> {
    let home = record
        .home
        .clone()
        .unwrap_or_else(|| HomeRecord { volume: labels::volume_name(&tools.instance, &record.id, 1), owner: None });
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

/// Refuses a home that another container mounts (rule L1). What lives for a moment and was left behind is removed.
async fn alone(tools: &Tools, record: &WorkspaceRecord, home: &HomeRecord) -> Result<(), Broken> {
    let recorded = record.container.as_ref().map(|container| container.id.as_str());
    for container in tools.engine.containers_with_volume(&home.volume).await? {
        if labels::is_passing(&container, &tools.instance) {
            tools.engine.remove(&container.id).await?;
        } else if !labels::is_our_container(&container, &tools.instance, &record.id, recorded) {
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
