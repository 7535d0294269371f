//! `GET …/config`, `POST /v1/config/reload`, `GET /v1/config/plan`

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::{Done, change_daemon, reach};
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Named};
use super::gate::{Patience, answer};
use super::shape;
use super::wire::{Changes, EffectiveValue, ErrorBody, ErrorCode, ReloadRequest};
use crate::access::{DaemonVerb, Verb, check_daemon};
use crate::config::show::rows;

/// Shows each effective value of a workspace with where it came from
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}/config", tag = "configuration",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Vec<EffectiveValue>), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "No file declares it")))]
pub(super) async fn show(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
) -> ApiResult<Json<Vec<EffectiveValue>>> {
    let reached = reach(&context, &caller, Verb::Config, &id)?;
    let Some(wanted) = shape::in_force(&reached.settings, &reached.snapshot.members, &id) else {
        return Err(ApiError::new(ErrorCode::Conflict, format!("`{id}` is not in the configuration"))
            .hint(format!("`hearth show {id}` has what is known of it")));
    };
    Ok(Json(rows(&reached.settings, &wanted).into_iter().map(shape::effective_value).collect()))
}

/// Reads the files again; replies when they are in force and running workspaces have been brought in line
#[utoipa::path(post, path = "/v1/config/reload", tag = "configuration", request_body = Option<ReloadRequest>, responses(
    (status = 200, body = Changes), (status = 403, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "It would remove too much without `yes`"),
    (status = 422, body = ErrorBody, description = "The files are not accepted")))]
pub(super) async fn reload(
    State(context): State<ApiContext>,
    caller: Caller,
    Body(request): Body<ReloadRequest>,
) -> ApiResult<Json<Changes>> {
    change_daemon(context, caller, DaemonVerb::Reload, move |context, requester| async move {
        let asked = context.handle.reload(request.yes, requester);
        let changes = answer(&context.handle, Patience::Done, asked).await?.changes;
        let after = match changes.len() {
            0 => "no change".to_owned(),
            n => format!("{n} changes: {}", changes.join("; ")),
        };
        Ok(Done { reply: Json(Changes { changes }), after: Some(after) })
    })
    .await
}

/// Says what a reload of the files as they are would do
#[utoipa::path(get, path = "/v1/config/plan", tag = "configuration", responses(
    (status = 200, body = Changes), (status = 403, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn plan(State(context): State<ApiContext>, caller: Caller) -> ApiResult<Json<Changes>> {
    check_daemon(&context.handle.settings(), &caller.0, DaemonVerb::Plan)?;
    let planned = answer(&context.handle, Patience::Done, context.handle.plan()).await?;
    Ok(Json(Changes { changes: planned.changes }))
}
