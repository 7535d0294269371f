//! `GET …/builds`, `GET …/builds/{n}/log?follow=true`

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;

use super::ApiContext;
use super::caller::Caller;
use super::change::reach;
use super::error::{ApiError, ApiResult};
use super::extract::{Named, NamedBuild, Options};
use super::shape;
use super::wire::{BuildDetail, ErrorBody, ErrorCode};
use crate::access::Verb;
use crate::store::{BUILDS_KEPT, StoreError};

/// Lists the builds that are kept, newest first
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}/builds", tag = "builds",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Vec<BuildDetail>), (status = 404, body = ErrorBody)))]
pub(super) async fn list(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
) -> ApiResult<Json<Vec<BuildDetail>>> {
    reach(&context, &caller, Verb::Logs, &id)?;
    let mut builds = match context.outside.store.builds(&id, BUILDS_KEPT).await {
        Ok(builds) => builds,
        Err(StoreError::NoSuchWorkspace(_)) => Vec::new(),
        Err(error) => return Err(ApiError::internal("reading the builds", &error.into())),
    };
    // The database hears of it first: who asks for the workspace next is to hear the same.
    let snapshot = context.handle.snapshot();
    let shown = snapshot.workspaces.get(&id).and_then(|view| view.build.as_ref());
    for build in &mut builds {
        if let Some(shown) = shown.filter(|shown| shown.number == build.number) {
            build.clone_from(shown);
        }
    }
    Ok(Json(builds.iter().map(shape::build_detail).collect()))
}

/// The options of a log.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogOptions {
    follow: bool,
}

/// Returns what a build printed; with `follow=true` as it comes, until the build ends
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}/builds/{number}/log", tag = "builds",
    params(("user" = String, Path), ("name" = String, Path), ("number" = u32, Path), ("follow" = Option<bool>, Query)),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = ErrorBody)))]
pub(super) async fn log(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    NamedBuild(number): NamedBuild,
    Options(options): Options<LogOptions>,
) -> ApiResult<Response> {
    let reached = reach(&context, &caller, Verb::Logs, &id)?;
    match context.outside.store.build(&id, number).await {
        Ok(_) => {}
        Err(StoreError::NoSuchBuild { .. } | StoreError::NoSuchWorkspace(_)) => {
            return Err(ApiError::new(ErrorCode::NotFound, format!("there is no build {number} of `{id}`"))
                .hint(format!("the last {BUILDS_KEPT} are kept; `hearth show {id}` has the latest")));
        }
        Err(error) => return Err(ApiError::internal("reading the builds", &error.into())),
    }
    let log = context.outside.logs.read(reached.view.number, number, options.follow);
    let pieces = log.await.map_err(|error| ApiError::internal("reading the log", &error))?;
    let stop = context.stop.clone();
    let pieces = pieces.take_until(async move { stop.cancelled().await });
    let body = Body::from_stream(pieces.map(Ok::<Bytes, std::convert::Infallible>));
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], body).into_response())
}
