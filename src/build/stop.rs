//! Stopping: SIGTERM, the grace, kill, remove. Everything outside the home is gone; the home is untouched (rule L7).

use std::time::Duration;

use super::Tools;
use crate::docker::{ContainerId, EngineError, labels};
use crate::store::WorkspaceRecord;

/// Stops and removes the workspace's container, if there is one: the recorded one, and whatever else of ours has its
/// name (a build that was cut off leaves such). Anything of that name that is not ours is left alone.
///
/// # Errors
/// When the engine does not do it.
pub async fn stop(tools: &Tools, record: &WorkspaceRecord, grace: Duration) -> Result<(), EngineError> {
    let recorded = record.container.as_ref().map(|container| container.id.as_str());
    let name = labels::container_name(&tools.instance, &record.id);
    for key in recorded.into_iter().chain([name.as_str()]) {
        let Some(found) = tools.engine.container(key).await? else { continue };
        if !tools.is_ours(&found.container, &record.id, recorded) {
            continue;
        }
        remove(tools, &found.container.id, grace).await?;
    }
    Ok(())
}

async fn remove(tools: &Tools, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
    if !grace.is_zero() {
        tools.engine.stop(id, grace).await?;
    }
    tools.engine.remove(id).await
}
