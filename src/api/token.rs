//! Who calls on a workspace's socket: whoever shows that workspace's token of this build. Everything that arrives there
//! is hostile (rule X4), and a token counts on its own socket alone.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::ApiContext;
use super::caller::Caller;
use super::error::{ApiError, ApiResult};
use super::gate::too_many;
use super::rate::Kind;
use super::wire::ErrorCode;
use crate::handle::Snapshot;
use crate::model::WorkspaceId;

/// Returns the caller that a request's token proves.
pub(super) fn caller(context: &ApiContext, workspace: &WorkspaceId, headers: &HeaderMap) -> ApiResult<Caller> {
    let now = Instant::now();
    if !context.guests.may(workspace, Kind::Request, now) {
        return Err(too_many("this workspace asks too often"));
    }
    let token = bearer(headers);
    if token.is_some_and(|token| is_token_of(&context.handle.snapshot(), workspace, token)) {
        return Ok(Caller::inside(workspace.clone()));
    }
    if !context.guests.may(workspace, Kind::WrongToken, now) {
        return Err(too_many("too many requests with a wrong token came from this workspace"));
    }
    let message = if token.is_some() { "this is not the token of this workspace" } else { "a token is needed here" };
    Err(ApiError::new(ErrorCode::Unauthorized, message)
        .hint("the token of the last build is in `/run/hearth/token`; `hearth` reads it by itself"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Compares hashes, in constant time.
fn is_token_of(snapshot: &Snapshot, workspace: &WorkspaceId, token: &str) -> bool {
    let inside = snapshot.workspaces.get(workspace).and_then(|view| view.inside.as_ref());
    let expected = inside.and_then(|inside| blake3::Hash::from_hex(&inside.token_hash).ok());
    expected.is_some_and(|expected| expected == blake3::hash(token.as_bytes()))
}
