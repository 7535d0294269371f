//! `POST …/start|rebuild|stop|cancel|personalize`: a reply means done, or accepted as that build.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::{Done, change};
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Named, Nothing};
use super::gate::{Patience, answer};
use super::wire::{Accepted, ErrorBody, ErrorCode, StartRequest};
use crate::access::{Allowed, Role, Verb};
use crate::handle::Started;
use crate::model::{BuildNumber, BuildReason, Moment, OffReason, State as WorkspaceState, StateName, WorkspaceId};

/// How long a workspace that was stopped is left off by connections without a terminal (rule W2).
const STAYS_OFF: Duration = Duration::from_secs(600);

/// Asks for the workspace to run; accepted as the build that is on its way, or done if it runs
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/start", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), request_body = Option<StartRequest>, responses(
    (status = 200, body = Accepted), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn start(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(request): Body<StartRequest>,
) -> ApiResult<Json<Accepted>> {
    let asked = asked_reason(&request)?;
    change(context, caller, Verb::Start, id, move |context, reached| async move {
        if asked == Some(BuildReason::Connect) && !request.interactive {
            let now = (context.outside.clock)();
            leave_off(&reached.view.state, reached.allowed.workspace(), now)?;
        }
        let reason = asked.unwrap_or_else(|| own_reason(&reached.allowed));
        let started =
            answer(&context.handle, Patience::Accepted, context.handle.start(&reached.allowed, reason)).await?;
        Ok(accepted(&reached.allowed, started))
    })
    .await
}

/// Asks for a new build, whatever runs
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/rebuild", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), request_body = Option<StartRequest>, responses(
    (status = 200, body = Accepted), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn rebuild(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(request): Body<StartRequest>,
) -> ApiResult<Json<Accepted>> {
    let asked = asked_reason(&request)?;
    change(context, caller, Verb::Rebuild, id, move |context, reached| async move {
        let reason = asked.unwrap_or_else(|| own_reason(&reached.allowed));
        let asked = context.handle.rebuild(&reached.allowed, reason);
        Ok(accepted(&reached.allowed, answer(&context.handle, Patience::Accepted, asked).await?))
    })
    .await
}

/// Stops the workspace; replies when it is off
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/stop", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Accepted), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
pub(super) async fn stop(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(Nothing {}): Body<Nothing>,
) -> ApiResult<Json<Accepted>> {
    change(context, caller, Verb::Stop, id, |context, reached| async move {
        answer(&context.handle, Patience::Done, context.handle.stop(&reached.allowed)).await?;
        let workspace = reached.allowed.workspace().clone();
        // Stopping what is off already changes nothing and is no line of the audit log.
        let after = (reached.view.state.name() != StateName::Off).then(|| "off".into());
        Ok(Done { reply: Json(Accepted { workspace, build: None }), after })
    })
    .await
}

/// Cancels the build that is queued or runs; replies when it has ended
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/cancel", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Accepted), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "There is none"), (status = 503, body = ErrorBody)))]
pub(super) async fn cancel(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(Nothing {}): Body<Nothing>,
) -> ApiResult<Json<Accepted>> {
    change(context, caller, Verb::Cancel, id, |context, reached| async move {
        let build = answer(&context.handle, Patience::Done, context.handle.cancel(&reached.allowed)).await?;
        Ok(with_build(reached.allowed.workspace(), build, format!("build {build} cancelled")))
    })
    .await
}

/// Runs `~/personalize` again; replies when it has begun, with the build whose log receives the output
#[utoipa::path(post, path = "/v1/workspaces/{user}/{name}/personalize", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Accepted), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "It does not run"), (status = 503, body = ErrorBody)))]
pub(super) async fn personalize(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(Nothing {}): Body<Nothing>,
) -> ApiResult<Json<Accepted>> {
    change(context, caller, Verb::Personalize, id, |context, reached| async move {
        let asked = context.handle.personalize(&reached.allowed);
        let build = answer(&context.handle, Patience::Accepted, asked).await?;
        Ok(with_build(reached.allowed.workspace(), build, format!("in build {build}")))
    })
    .await
}

/// The reason that a client may give: that somebody is about to enter. Every other is hearthd's to say.
fn asked_reason(request: &StartRequest) -> ApiResult<Option<BuildReason>> {
    match request.reason {
        None | Some(BuildReason::User) => Ok(None),
        Some(BuildReason::Connect) => Ok(Some(BuildReason::Connect)),
        Some(
            BuildReason::Create
            | BuildReason::Admin
            | BuildReason::AutoStart
            | BuildReason::Config
            | BuildReason::Recovery,
        ) => Err(ApiError::bad_request("the reason of a request can only be `user` or `connect`")),
    }
}

/// Refuses to let a connection without a terminal start what was stopped a moment ago (rule W2).
fn leave_off(state: &WorkspaceState, id: &WorkspaceId, now: Moment) -> ApiResult<()> {
    let WorkspaceState::Off { since, why: OffReason::Stopped | OffReason::AutoOff } = state else { return Ok(()) };
    let off = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
    if off >= STAYS_OFF {
        return Ok(());
    }
    let message =
        format!("`{id}` was stopped {} s ago, and no connection without a terminal starts it yet", off.as_secs());
    Err(ApiError::new(ErrorCode::Conflict, message).hint(format!("`hearth start {id}` does")))
}

fn own_reason(allowed: &Allowed) -> BuildReason {
    match allowed.role() {
        Role::Owner | Role::Inside => BuildReason::User,
        Role::Admin | Role::Manager | Role::Auditor => BuildReason::Admin,
    }
}

fn accepted(allowed: &Allowed, started: Started) -> Done<Json<Accepted>> {
    match started {
        Started::Build(build) => with_build(allowed.workspace(), build, format!("build {build}")),
        Started::AlreadyRunning => {
            let workspace = allowed.workspace().clone();
            Done { reply: Json(Accepted { workspace, build: None }), after: None }
        }
    }
}

fn with_build(workspace: &WorkspaceId, build: BuildNumber, after: String) -> Done<Json<Accepted>> {
    let reply = Accepted { workspace: workspace.clone(), build: Some(build) };
    Done { reply: Json(reply), after: Some(after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_what_was_stopped_a_moment_ago_is_left_off_by_connections_without_a_terminal() {
        let since: Moment = "2026-07-01T12:00:00Z".parse().unwrap();
        let id: WorkspaceId = "alice/main".parse().unwrap();
        let left_off = |why, seconds: i64| {
            let now = since + jiff::SignedDuration::from_secs(seconds);
            leave_off(&WorkspaceState::Off { since, why }, &id, now).is_err()
        };
        for why in [OffReason::Stopped, OffReason::AutoOff] {
            assert_eq!([0, 599, 600].map(|seconds| left_off(why, seconds)), [true, true, false], "{why:?}");
        }
        assert!(left_off(OffReason::Stopped, -5), "a clock that went back is no reason to start it");
        assert!(!left_off(OffReason::NeverBuilt, 1));
        let failed = WorkspaceState::Failed { since, failure: "x".into(), retry_at: None };
        assert!(leave_off(&failed, &id, since).is_ok());
    }
}
