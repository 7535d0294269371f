//! Who is calling: put on each request by whoever serves the connection, taken from it by the handlers.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::net::unix::UCred;

use super::error::{ApiError, ApiResult};
use super::wire::ErrorCode;
use super::{ApiContext, HostAccount};
use crate::access::Person;
use crate::model::WorkspaceId;

/// The person behind a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Person);

impl Caller {
    /// Returns whoever the kernel says is at the other end of the host's socket. The pid is not asked: it can be
    /// another process's by the time anybody looks.
    ///
    /// # Errors
    /// Where the host cannot be asked for the account: nobody is turned into a nobody by that.
    pub(super) async fn of_peer(context: &ApiContext, peer: UCred) -> ApiResult<Self> {
        let uid = peer.uid();
        let account = match context.outside.accounts.account(uid).await {
            Ok(account) => account,
            Err(_) if uid == 0 => Some(HostAccount { name: "root".into(), groups: Vec::new() }),
            Err(error) => {
                tracing::warn!(uid, error = format!("{error:#}"), "cannot look up the account of a caller");
                let message = format!("the host does not say which account has uid {uid}: {error:#}");
                return Err(ApiError::new(ErrorCode::Unavailable, message).hint("`getent passwd` on the host shows it"));
            }
        };
        // No account has a space in its name, so this one is nobody's in the configuration.
        let (account, groups) =
            account.map_or_else(|| (format!("uid {uid}"), Vec::new()), |account| (account.name, account.groups));
        Ok(Self(Person::Account { uid, account, groups }))
    }

    /// Returns a process inside the workspace, which has shown its token.
    pub(super) fn inside(workspace: WorkspaceId) -> Self {
        Self(Person::Inside { workspace })
    }

    /// Returns where the call comes from, as the audit log has it.
    pub(super) fn from(&self) -> String {
        match &self.0 {
            Person::Account { .. } => "host".into(),
            Person::Inside { workspace } => format!("inside {workspace}"),
        }
    }
}

impl FromRequestParts<ApiContext> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiContext) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::new(ErrorCode::Internal, "nobody said who is calling"))
    }
}
