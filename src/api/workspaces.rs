//! `GET /v1/workspaces`, `GET /v1/workspaces/{user}/{name}`

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::reach;
use super::error::{ApiError, ApiResult};
use super::extract::Named;
use super::shape;
use super::wire::{ErrorBody, Workspace, WorkspaceDetail};
use crate::access::{Verb, check};

/// Lists every workspace that the caller may see
#[utoipa::path(get, path = "/v1/workspaces", tag = "workspaces", responses(
    (status = 200, body = Vec<Workspace>), (status = 503, body = ErrorBody, description = "Docker was not reached yet")))]
pub(super) async fn list(State(context): State<ApiContext>, caller: Caller) -> Json<Vec<Workspace>> {
    let (snapshot, settings) = (context.handle.snapshot(), context.handle.settings());
    let seen = snapshot.workspaces.values().filter(|v| check(&settings, &caller.0, Verb::See, &v.id, &v.org).is_ok());
    Json(seen.map(|view| shape::workspace(view, &settings, &snapshot)).collect())
}

/// Shows one workspace in full
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = WorkspaceDetail), (status = 404, body = ErrorBody)))]
pub(super) async fn show(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
) -> ApiResult<Json<WorkspaceDetail>> {
    let reached = reach(&context, &caller, Verb::See, &id)?;
    let recorded = context.outside.store.workspaces().await;
    let recorded = recorded.map_err(|error| ApiError::internal("reading the state database", &error.into()))?;
    let home = recorded.into_iter().find(|record| record.id == id).and_then(|record| record.home);
    Ok(Json(shape::detail(&reached.view, &reached.settings, &reached.snapshot, home.map(|home| home.volume))))
}
