//! `GET /v1/users/{user}/git-key`

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::error::{ApiError, ApiResult};
use super::extract::NamedUser;
use super::wire::{ErrorBody, GitKey};
use crate::access::{UserVerb, check_user};

/// Returns the public half of the user's Git key, for the Git provider
#[utoipa::path(get, path = "/v1/users/{user}/git-key", tag = "users", params(("user" = String, Path)), responses(
    (status = 200, body = GitKey), (status = 404, body = ErrorBody)))]
pub(super) async fn git_key(
    State(context): State<ApiContext>,
    caller: Caller,
    NamedUser(user): NamedUser,
) -> ApiResult<Json<GitKey>> {
    check_user(&context.handle.settings(), &caller.0, &user, UserVerb::See)?;
    let key = context.outside.keys.public_key(&user).await;
    let public_key = key.map_err(|error| ApiError::internal("reading the Git key", &error))?;
    Ok(Json(GitKey { user, public_key }))
}
