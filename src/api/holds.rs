//! `POST …/hold|release`: promises of use, bounded by the org (rule P5).

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::{Done, change};
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Named};
use super::gate::{Patience, answer};
use super::wire::{ErrorBody, HoldRequest, Holding, ReleaseRequest, Released};
use crate::access::{Role, Verb};
use crate::activity::HoldId;
use crate::handle::{Held, HoldAsked};
use crate::model::{WorkspaceId, neutralise};

/// The longest message of a hold.
const LONGEST_MESSAGE: usize = 200;

/// Keeps the workspace on for a time, or while the hold is renewed
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/hold", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), request_body = HoldRequest, responses(
    (status = 200, body = Holding), (status = 404, body = ErrorBody),
    (status = 403, body = ErrorBody, description = "Longer than the org's `hold_max`, or none is allowed"),
    (status = 409, body = ErrorBody, description = "It does not run, or the hold to renew is over")))]
pub(super) async fn hold(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(request): Body<HoldRequest>,
) -> ApiResult<Json<Holding>> {
    let message = message(request.message.as_deref())?;
    if request.seconds == Some(0) {
        return Err(ApiError::bad_request("a hold of no time holds nothing").hint("`hearth release` ends holds"));
    }
    let from = caller.from();
    change(context, caller, Verb::Hold, id, move |context, reached| async move {
        let (handle, allowed) = (&context.handle, &reached.allowed);
        if let Some(number) = request.renew {
            let held = answer(handle, Patience::Accepted, handle.renew(allowed, HoldId(number))).await?;
            return Ok(Done { reply: Json(holding(allowed.workspace(), held)), after: None });
        }
        let lasts = request.seconds.map(Duration::from_secs);
        let said = message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        let by = match allowed.role() {
            Role::Inside => allowed.workspace().user.to_string(),
            Role::Owner | Role::Admin | Role::Manager | Role::Auditor => allowed.requester().0.clone(),
        };
        let asked = HoldAsked { lasts, until_command_ends: request.until_command_ends, message, by, from };
        let held = answer(handle, Patience::Accepted, handle.hold(allowed, asked)).await?;
        let until = if request.until_command_ends { "until its command ends, at most until" } else { "until" };
        let after = Some(format!("held {until} {:.0}{said}", held.until));
        Ok(Done { reply: Json(holding(allowed.workspace(), held)), after })
    })
    .await
}

/// Ends a hold, or all holds of the workspace
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/release", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), request_body = Option<ReleaseRequest>, responses(
    (status = 200, body = Released), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn release(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(request): Body<ReleaseRequest>,
) -> ApiResult<Json<Released>> {
    change(context, caller, Verb::Release, id, move |context, reached| async move {
        let (handle, allowed) = (&context.handle, &reached.allowed);
        let asked = handle.release(allowed, request.hold.map(HoldId));
        let released = answer(handle, Patience::Accepted, asked).await?;
        let after = (released > 0).then(|| format!("{released} holds ended"));
        Ok(Done { reply: Json(Released { workspace: allowed.workspace().clone(), released }), after })
    })
    .await
}

/// A message is shown to others, and anybody inside can send one (rule X4).
fn message(text: Option<&str>) -> ApiResult<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > LONGEST_MESSAGE {
        return Err(ApiError::bad_request(format!("the message of a hold has at most {LONGEST_MESSAGE} characters")));
    }
    Ok(Some(neutralise(text.replace(['\n', '\t'], " ").as_bytes())))
}

fn holding(workspace: &WorkspaceId, held: Held) -> Holding {
    let Held { id, until, lease } = held;
    Holding { workspace: workspace.clone(), hold: id.0, until, renew_within: lease.map(|lease| lease.as_secs()) }
}
