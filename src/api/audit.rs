//! `GET /v1/audit`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::ApiContext;
use super::caller::Caller;
use super::error::{ApiError, ApiResult};
use super::extract::Options;
use super::shape;
use super::wire::{AUDIT_LINES, AUDIT_LINES_AT_MOST, AuditLine, ErrorBody};
use crate::access::{DaemonVerb, check_daemon};
use crate::model::{Moment, WorkspaceId};
use crate::store::AuditFilter;

/// Which lines of the audit log.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditOptions {
    since: Option<Moment>,
    workspace: Option<WorkspaceId>,
    before: Option<i64>,
    limit: Option<u32>,
}

/// Lists who did what, the latest lines in their order; for admins and auditors
#[utoipa::path(get, path = "/v1/audit", tag = "daemon",
    params(("since" = Option<String>, Query), ("workspace" = Option<String>, Query),
        ("before" = Option<i64>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<AuditLine>), (status = 403, body = ErrorBody)))]
pub(super) async fn list(
    State(context): State<ApiContext>,
    caller: Caller,
    Options(options): Options<AuditOptions>,
) -> ApiResult<Json<Vec<AuditLine>>> {
    check_daemon(&context.handle.settings(), &caller.0, DaemonVerb::ReadAudit)?;
    let AuditOptions { since, workspace, before, limit } = options;
    let filter = AuditFilter { since, workspace, before, limit: limit.unwrap_or(AUDIT_LINES).min(AUDIT_LINES_AT_MOST) };
    let lines = context.outside.store.audit_log(filter).await;
    let lines = lines.map_err(|error| ApiError::internal("reading the audit log", &error.into()))?;
    Ok(Json(lines.into_iter().map(shape::audit_line).collect()))
}
