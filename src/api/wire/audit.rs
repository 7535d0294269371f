//! The audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Moment, WorkspaceId};

/// How many lines there are where nothing is said.
pub const AUDIT_LINES: u32 = 200;
/// How many are given at once.
pub const AUDIT_LINES_AT_MOST: u32 = 1_000;

/// One line of the audit log, as `GET /v1/audit` lists the latest, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// In the order in which they were made; `before=NUMBER` asks for those before it.
    pub number: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Moment,
    pub who: String,
    /// `host`, `inside alice/main`, `gateway 192.0.2.7`, `hearthd`.
    pub from: String,
    /// `start`, `stop`, `enter`, …
    pub what: String,
    #[schema(value_type = Option<String>)]
    pub workspace: Option<WorkspaceId>,
    pub before: Option<String>,
    pub after: Option<String>,
    /// `ok`, or the error's text.
    pub result: String,
}
