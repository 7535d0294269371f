//! `POST …/enter`: the way in. Access and state are checked here; the stream that follows is the doors' business.

use axum::body::Body as HttpBody;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::ApiContext;
use super::caller::Caller;
use super::change::{Done, Reached, change};
use super::context::Entering;
use super::error::{ApiError, ApiResult, engine_away};
use super::extract::{Body, Named, Nothing};
use super::wire::{ErrorBody, ErrorCode};
use crate::access::Verb;
use crate::handle::{EngineView, Inside};
use crate::model::{State as WorkspaceState, Warning};

/// What the stream speaks after the upgrade.
const PROTOCOL: &str = "hearth-enter/1";

/// Enters the workspace: a shell or a command in it, over the upgraded connection
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/enter", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path), ("upgrade" = String, Header, example = "hearth-enter/1")),
    responses((status = 101, description = "The connection speaks `hearth-enter/1` from here on"),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "It is in a state that nobody can enter"),
    (status = 426, body = ErrorBody, description = "Without `Upgrade: hearth-enter/1`")))]
pub(super) async fn enter(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Upgrading(upgrade): Upgrading,
    Body(Nothing {}): Body<Nothing>,
) -> ApiResult<Response> {
    change(context, caller, Verb::Enter, id, |context, reached| async move {
        let inside = open(&reached)?;
        let who = reached.allowed.requester().clone();
        let after = format!("as `{}` in container {}", inside.username, inside.container.get(..12).unwrap_or("?"));
        let notices = notices(&reached);
        let workspace = reached.allowed.workspace().clone();
        let tasks = context.tasks.clone();
        tasks.spawn(async move {
            // A client that hangs up before the upgrade has not entered; there is nobody left to tell.
            let Ok(upgraded) = upgrade.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() else {
                tracing::error!(workspace = %workspace, "an upgraded connection is not the socket that was accepted");
                return;
            };
            let (stream, early) = (parts.io.into_inner(), parts.read_buf);
            context.outside.entrance.serve(Entering { workspace, who, inside, stream, early, notices }).await;
        });
        Ok(Done { reply: switching(), after: Some(after) })
    })
    .await
}

fn switching() -> Response {
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

/// The upgrade that the client asked for.
pub(super) struct Upgrading(OnUpgrade);

impl FromRequestParts<ApiContext> for Upgrading {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiContext) -> Result<Self, ApiError> {
        let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| wants_upgrade(&parts.headers));
        upgrade.map(Self).ok_or_else(|| {
            ApiError::bad_request("entering needs the headers `Connection: upgrade` and `Upgrade: hearth-enter/1`")
                .status(StatusCode::UPGRADE_REQUIRED)
                .hint("`hearth ssh` does this; another version of it may speak another protocol")
        })
    }
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    let lists = |name, wanted: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
    };
    lists(CONNECTION, "upgrade") && lists(UPGRADE, PROTOCOL)
}

/// Returns the inside of a workspace that may be entered, or says what to do first.
fn open(reached: &Reached) -> ApiResult<Inside> {
    let (view, id) = (&reached.view, reached.allowed.workspace());
    if let Some(inside) = view.inside.as_ref().filter(|inside| inside.open) {
        return Ok(inside.clone());
    }
    if let EngineView::Away { why, .. } = &reached.snapshot.engine {
        return Err(engine_away(format!("`{id}` cannot be entered, and Docker does not answer: {why}")));
    }
    let conflict = |message: String, hint: String| Err(ApiError::new(ErrorCode::Conflict, message).hint(hint));
    match &view.state {
        WorkspaceState::Off { .. } => conflict(format!("`{id}` is off"), format!("`hearth start {id}` builds it")),
        WorkspaceState::Queued { .. } => {
            conflict(format!("`{id}` waits for its build"), format!("`hearth start {id}` waits for it"))
        }
        WorkspaceState::Building { stage, .. } => conflict(
            format!("`{id}` is building (stage `{stage}`) and can be entered once `inject` is done"),
            format!("`hearth start {id}` waits for it, `hearth logs {id}` shows it"),
        ),
        WorkspaceState::Running { .. } => {
            conflict(format!("`{id}` runs, but nobody can enter it yet"), format!("`hearth show {id}` says why"))
        }
        WorkspaceState::Stopping { .. } => {
            conflict(format!("`{id}` is stopping"), format!("`hearth start {id}` builds it anew when it is off"))
        }
        WorkspaceState::Failed { failure, .. } => conflict(
            format!("`{id}` failed: {failure}"),
            format!("`hearth logs {id}` shows why, `hearth rebuild {id}` tries again"),
        ),
    }
}

/// What to tell whoever logs in: the warnings of the last build (rule L8), or that it is not done.
fn notices(reached: &Reached) -> Vec<String> {
    let id = reached.allowed.workspace();
    match &reached.view.state {
        WorkspaceState::Running { warnings, .. } if !warnings.is_empty() => {
            let more = format!("hearth: `hearth show {id}` has these warnings, `hearth logs {id}` the whole log");
            warnings.iter().flat_map(notice).chain([more]).collect()
        }
        WorkspaceState::Building { stage, .. } => {
            vec![format!("hearth: the build is still at `{stage}`: `hearth logs {id}` shows it")]
        }
        WorkspaceState::Running { .. }
        | WorkspaceState::Off { .. }
        | WorkspaceState::Queued { .. }
        | WorkspaceState::Stopping { .. }
        | WorkspaceState::Failed { .. } => Vec::new(),
    }
}

fn notice(warning: &Warning) -> impl Iterator<Item = String> {
    let head = format!("hearth: warning: {}", warning.message);
    std::iter::once(head).chain(warning.tail.iter().map(|line| format!("    {line}")))
}
