//! What hearthd does by itself stands in the audit log as well (rule X1).

use tracing::error;

use super::execute::Executor;
use crate::model::{Requester, WorkspaceId};
use crate::store::AuditEntry;

/// Something that nobody asked for by the API.
#[derive(Debug)]
pub(super) struct Deed<'a> {
    pub(super) who: Requester,
    pub(super) what: &'a str,
    pub(super) workspace: Option<&'a WorkspaceId>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) result: String,
}

impl Executor {
    /// Notes it; a database that cannot be written holds nothing up, and is said.
    pub(super) async fn note(&self, deed: Deed<'_>) {
        let Deed { who, what, workspace, before, after, result } = deed;
        let (at, workspace) = (self.now().wall, workspace.cloned());
        let (what, from) = (what.to_owned(), "hearthd".to_owned());
        let entry = AuditEntry { at, who, from, what, workspace, before, after, result };
        if let Err(error) = self.store().audit(entry).await {
            error!("cannot write the audit log: {error}");
        }
    }
}
