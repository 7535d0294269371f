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
    if let Some(volume) = tools.engine.volume(&home.volume).await? {
        ours(tools, record, &volume)?;
    }
    Ok(home)
}

/// Makes sure that the home is there.
pub(super) async fn ensure(tools: &Tools, record: &WorkspaceRecord, home: &HomeRecord) -> Result<(), Broken> {
    let labels = labels::volume_labels(&tools.instance, &record.id, &home.volume);
    // The engine answers with whatever has that name: looking at what came back is what makes it ours.
    let volume = tools.engine.create_volume(&home.volume, &labels).await?;
    ours(tools, record, &volume)
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
