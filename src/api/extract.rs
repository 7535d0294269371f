//! What handlers take out of a request: names, options and bodies, each checked, each with our own errors.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::ApiContext;
use super::error::ApiError;
use super::wire::ErrorCode;
use crate::model::{UserName, WorkspaceId};

/// The largest body that is read.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body; an empty one is `T`'s default.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<ApiContext> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &ApiContext) -> Result<Self, ApiError> {
        let body = to_bytes(request.into_body(), MAX_BODY);
        let bytes = match timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) if is_too_long(&error) => {
                return Err(ApiError::bad_request(format!("the body is longer than {} KiB", MAX_BODY / 1024))
                    .status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            Ok(Err(error)) => return Err(ApiError::bad_request(format!("the body cannot be read: {error}"))),
            Err(_) => {
                return Err(
                    ApiError::bad_request("the body did not arrive in time").status(StatusCode::REQUEST_TIMEOUT)
                );
            }
        };
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        // serde takes an array of the fields' values for a struct, too.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::bad_request("the body is not a JSON object"));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("the body is not what this request takes: {error}")))
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The body of requests that take none: nothing, or `{}`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The options behind the `?`.
#[derive(Debug)]
pub(super) struct Options<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequestParts<ApiContext> for Options<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiContext) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(options)) => Ok(Self(options)),
            Err(error) => Err(ApiError::bad_request(error.body_text())),
        }
    }
}

/// The workspace that a path names.
#[derive(Debug)]
pub(super) struct Named(pub(super) WorkspaceId);

impl FromRequestParts<ApiContext> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &ApiContext) -> Result<Self, ApiError> {
        let (user, name) = (segment(parts, context, "user").await?, segment(parts, context, "name").await?);
        Ok(Self(WorkspaceId::new(user.parse()?, name.parse()?)))
    }
}

/// The user that a path names.
#[derive(Debug)]
pub(super) struct NamedUser(pub(super) UserName);

impl FromRequestParts<ApiContext> for NamedUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &ApiContext) -> Result<Self, ApiError> {
        Ok(Self(segment(parts, context, "user").await?.parse()?))
    }
}

/// The build that a path names.
#[derive(Debug)]
pub(super) struct NamedBuild(pub(super) crate::model::BuildNumber);

impl FromRequestParts<ApiContext> for NamedBuild {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &ApiContext) -> Result<Self, ApiError> {
        let text = segment(parts, context, "number").await?;
        let number =
            text.parse().map_err(|_| ApiError::bad_request(format!("`{text}` is not the number of a build")))?;
        Ok(Self(crate::model::BuildNumber(number)))
    }
}

async fn segment(parts: &mut Parts, context: &ApiContext, name: &'static str) -> Result<String, ApiError> {
    let Path(segments): Path<Vec<(String, String)>> =
        Path::from_request_parts(parts, context).await.map_err(|error| ApiError::bad_request(error.body_text()))?;
    segments
        .into_iter()
        .find_map(|(key, value)| (key == name).then_some(value))
        .ok_or_else(|| ApiError::new(ErrorCode::Internal, format!("the path has no `{name}`")))
}
