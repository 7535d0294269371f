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
use std::io::Write;
use std::process::ExitCode;

mod entries;
mod init;
mod link;
pub mod protocol;
mod registry;
mod sessions;
pub mod shell;
mod spawn;
mod terminal;

/// Runs the hidden command that `args` (the whole command line) names, if it names one.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    match args.get(1)?.to_str()? {
        "init" => Some(init::run()),
        "helper" => Some(entries::run()),
        _ => None,
    }
}

/// Says something to whoever reads the container's log.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "hearth: {message}");
}

fn complain(message: &str) -> ExitCode {
    say(message);
    ExitCode::from(2)
}
