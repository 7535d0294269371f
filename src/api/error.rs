//! Every error of the API in one shape: `{"error": {"code", "message", "hint"}}` with the matching status.

use std::borrow::Cow;

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::wire::{ErrorBody, ErrorCode, ErrorDetail};
use crate::access::Refused;
use crate::config::set::Kind;
use crate::handle::RequestError;
use crate::model::NameError;

/// What a handler answers when it cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    code: ErrorCode,
    status: StatusCode,
    message: String,
    hint: Option<Cow<'static, str>>,
}

pub(super) type ApiResult<T> = Result<T, ApiError>;

/// Long enough for every message of ours, short enough for one that quotes what a client sent.
const LONGEST_QUOTE: usize = 300;

impl ApiError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, status, message: message.into(), hint: None }
    }

    /// Returns an error about what the client sent; the message may quote it.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        let message: String = message.into().chars().take(LONGEST_QUOTE).collect();
        Self::new(ErrorCode::BadRequest, message)
    }

    /// Returns the error that a failure of hearthd's own becomes; the whole chain is logged here and nowhere else.
    pub(super) fn internal(doing: &'static str, error: &anyhow::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "{doing} failed");
        Self::new(ErrorCode::Internal, format!("{doing} failed: {error:#}")).hint("see hearthd's log on the host")
    }

    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets a status that says more than the code's own.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn body(self) -> ErrorBody {
        let hint = self.hint.map(Cow::into_owned);
        ErrorBody { error: ErrorDetail { code: self.code, message: self.message, hint } }
    }

    pub(super) fn code(&self) -> ErrorCode {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::NotVisible(_) => {
                Self::new(ErrorCode::NotFound, message).hint("`hearth list` shows those that you may see")
            }
            Refused::UserNotVisible(_) => Self::new(ErrorCode::NotFound, message),
            Refused::NotPermitted { .. }
            | Refused::OtherWorkspace(_)
            | Refused::UserNotPermitted(_)
            | Refused::OwnersOwn
            | Refused::AdminOnly(_) => Self::new(ErrorCode::Forbidden, message),
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            // The same words as where it may not be seen: it was removed between the look and the request.
            RequestError::NoSuchWorkspace(workspace) => Refused::NotVisible(workspace).into(),
            RequestError::NotDeclared(_) => Self::new(ErrorCode::Conflict, message)
                .hint("declare it in the configuration, then `hearth config reload`"),
            RequestError::Conflict(_) => Self::new(ErrorCode::Conflict, message),
            RequestError::EngineAway(_) => engine_away(message),
            RequestError::Stopping => Self::new(ErrorCode::Unavailable, message).hint("try again in a moment"),
            RequestError::BadConfiguration(_) => Self::new(ErrorCode::BadConfiguration, message)
                .hint("the configuration in force stays; `hearth config check` shows the same errors"),
            RequestError::Guarded(_) => Self::new(ErrorCode::Conflict, message)
                .hint("`hearth config plan` shows what would happen, `hearth config reload --yes` does it"),
            RequestError::Setting(refused) => {
                let code = match refused.kind {
                    Kind::Malformed => ErrorCode::BadRequest,
                    Kind::Forbidden => ErrorCode::Forbidden,
                    Kind::Taken => ErrorCode::Conflict,
                };
                let message: String = message.chars().take(LONGEST_QUOTE).collect();
                Self::new(code, message).hint(refused.hint)
            }
            RequestError::Hold(_) => Self::new(ErrorCode::Forbidden, message)
                .hint("ask for a shorter one, or have whoever configures hearth raise `hold_max`"),
            RequestError::Failed(_) => Self::new(ErrorCode::Internal, message),
        }
    }
}

/// Returns the error for what needs Docker while Docker is away (rule L12).
pub(super) fn engine_away(message: String) -> ApiError {
    ApiError::new(ErrorCode::DockerAway, message).hint("`hearth status` says since when; `systemctl status docker` why")
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

pub(super) async fn no_such_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(LONGEST_QUOTE).collect();
    ApiError::new(ErrorCode::NotFound, format!("there is no `{path}` in this API")).hint("`/v1/openapi.json` lists it")
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::bad_request(format!("`{method}` does not go with `{}`", uri.path()))
        .status(StatusCode::METHOD_NOT_ALLOWED)
        .hint("`/v1/openapi.json` lists what does")
}
