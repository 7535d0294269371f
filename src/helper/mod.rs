//! What the static `hearth` does inside a container, where nothing else of hearth is: PID 1, the helper that people
//! enter through, the hooks of a build (`inject`, `own`, `hook`), and looks into a home, whole (`measure`) and at its end
//! (`changed`). What they are told and answer is in [`bundle`].
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
use std::path::Path;
use std::process::ExitCode;

mod askpass;
pub mod bundle;
mod changed;
mod dotfiles;
mod entries;
mod etc;
mod facts;
mod hook;
mod init;
mod inject;
mod launch;
mod link;
mod measure;
mod nofollow;
mod output;
mod own;
pub mod protocol;
mod registry;
mod runtime;
mod sessions;
pub mod shell;
mod spawn;
mod supervise;
mod terminal;
mod tree;

/// Runs the hidden command that `args` (the whole command line) names, if it names one.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    if Path::new(args.first()?).file_name().is_some_and(|name| name == askpass::NAME) {
        return Some(askpass::run(&args.get(1).map(|question| question.to_string_lossy()).unwrap_or_default()));
    }
    match args.get(1)?.to_str()? {
        "init" => Some(init::run()),
        "helper" => Some(entries::run()),
        "inject" => Some(inject::run(args.get(2).is_some_and(|arg| arg == "--as-user"))),
        "own" => Some(own::run(&texts(&args[2..]))),
        "changed" => Some(changed::run(&texts(&args[2..]))),
        "measure" => Some(measure::run(&texts(&args[2..]))),
        "hook" => Some(hook::run(args.get(2)?.to_str()?)),
        _ => None,
    }
}

fn texts(args: &[OsString]) -> Vec<&str> {
    args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect()
}

/// Says something to whoever reads the container's log.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "hearth: {message}");
}

fn complain(message: &str) -> ExitCode {
    say(message);
    ExitCode::from(2)
}
