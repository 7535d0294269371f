//! What the static `hearth` does inside a container, where nothing else of hearth is: PID 1, and the helper that
//! people enter through.
//!
//! ```text
//! hearthd ──(workspace socket: requests + far ends of pipes)──▶ helper ──▶ processes of an entry
//!                                                                 ▲  │ sessions that it began
//!                                                 started again   │  ▼
//!                                                              hearth init (PID 1)
//! ```
//!
//! Single-threaded and blocking: a `poll` over a handful of descriptors, no runtime, no libc of the image.
//! [`dispatch`] comes first in `main`, before anything else is set up. hearthd's end is `crate::enter`.

use std::ffi::OsString;
use std::process::ExitCode;

mod init;

/// Runs the hidden command that `args` (the whole command line) names, if it names one.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    match args.get(1)?.to_str()? {
        "init" => Some(init::run()),
        _ => None,
    }
}
