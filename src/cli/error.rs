//! What goes wrong for the person at the terminal: what happened, the next command, the exit code (design section 8).

use std::io;

use crate::api::wire::{ErrorCode, ErrorDetail};

/// The kinds of failure; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Usage,
    Unreachable,
    NotPermitted,
    NotFound,
    Conflict,
    /// Whoever reads our output went away: nothing to say, and no failure.
    OutputClosed,
}

/// A failure of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    /// As in the API's errors; for failures of the client itself the kind's name.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// What a command answers.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Kind {
    /// Returns the exit code that goes with it.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Kind::OutputClosed => 0,
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Unreachable => 3,
            Kind::NotPermitted => 4,
            Kind::NotFound => 5,
            Kind::Conflict => 6,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::OutputClosed => "output_closed",
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::Unreachable => "unreachable",
            Kind::NotPermitted => "forbidden",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
        }
    }

    fn of(code: ErrorCode) -> Self {
        match code.exit_code() {
            2 => Kind::Usage,
            3 => Kind::Unreachable,
            4 => Kind::NotPermitted,
            5 => Kind::NotFound,
            6 => Kind::Conflict,
            _ => Kind::Failed,
        }
    }
}

impl Error {
    /// Returns a failure of that kind.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: kind.name().into(), message: message.into(), hint: None }
    }

    /// Returns the same failure with the next command to type.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns the failure as the API would write it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": { "code": self.code, "message": self.message, "hint": self.hint } })
    }
}

impl From<ErrorDetail> for Error {
    fn from(detail: ErrorDetail) -> Self {
        let code = serde_json::to_value(detail.code).ok().and_then(|code| code.as_str().map(str::to_owned));
        let kind = Kind::of(detail.code);
        Self { kind, code: code.unwrap_or_else(|| kind.name().into()), message: detail.message, hint: detail.hint }
    }
}

/// An error of writing to the terminal or to a file of the caller's.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Kind::OutputClosed, "nobody reads the output")
        } else {
            Self::new(Kind::Failed, format!("cannot write: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_api_keeps_its_exit_code() {
        for code in [
            ErrorCode::BadRequest,
            ErrorCode::BadConfiguration,
            ErrorCode::Unauthorized,
            ErrorCode::Forbidden,
            ErrorCode::NotFound,
            ErrorCode::Conflict,
            ErrorCode::TooMany,
            ErrorCode::DockerAway,
            ErrorCode::Internal,
        ] {
            let error = Error::from(ErrorDetail { code, message: "x".into(), hint: None });
            assert_eq!(error.kind.exit_code(), code.exit_code(), "{code:?}");
        }
    }

    #[test]
    fn json_errors_have_the_shape_of_the_apis() {
        let error = Error::new(Kind::Unreachable, "no socket").hint("systemctl status hearth");
        let body: crate::api::wire::ErrorBody = serde_json::from_value(serde_json::json!({
            "error": { "code": "not_found", "message": "m", "hint": null }
        }))
        .unwrap();
        assert_eq!(Error::from(body.error).to_json()["error"]["code"], "not_found");
        assert_eq!(error.to_json()["error"]["hint"], "systemctl status hearth");
    }
}
