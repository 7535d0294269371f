//! `hearth init`: the first process of every workspace.

use std::process::ExitCode;

/// Runs as PID 1 until the container is to end.
pub(super) fn run() -> ExitCode {
    ExitCode::from(2)
}
