//! hearthd's end of the way into a container (L2), and the two ends of `hearth ssh` on the API's socket.
//!
//! ```text
//! hearth ssh ──frames (HTTP upgrade)──▶ serve ──▶ Entry ──pipes──────────────▶ a process in the container
//!                                                   │                                  ▲
//!                                        Doors ◀────┘ requests + far ends of pipes ──▶ helper
//! ```
//!
//! [`Doors`] owns the workspace sockets: what dials in is the container's helper or an HTTP request, and all of it is
//! hostile (X4). hearthd makes every pipe, sends the far ends in, and accepts no descriptor: nothing that a container
//! does can block one of its threads.

pub mod client;
mod doors;
mod entries;
mod entry;
mod frames;
mod line;
mod peer;
mod serve;
mod terminal;

use std::io;
use std::path::PathBuf;

use crate::model::WorkspaceId;

pub use crate::helper::protocol::{End, Run, Size};
pub use doors::{Doors, Visitor};
pub use entries::{Attached, Entries};
pub use entry::{Control, Entry, EntrySpec, Exit, Lost};
pub use frames::{Open, PROTOCOL};
pub use serve::{Opened, Served, serve};
pub use terminal::terminal_size;

/// Why nobody can enter.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    #[error("`{0}` is not open: it does not run")]
    Closed(WorkspaceId),
    #[error("nothing inside `{0}` answers yet: its helper has not called; try again, or see `hearth show {0}`")]
    NoHelper(WorkspaceId),
    #[error("the helper inside `{0}` does not answer; if that lasts, `hearth rebuild {0}`")]
    Silent(WorkspaceId),
    #[error("`{workspace}` has {most} entries open, which is the most")]
    TooMany { workspace: WorkspaceId, most: usize },
    /// The process could not be started; the code is the shell's (127 not found, 126 cannot be run).
    #[error("{message}")]
    Refused { message: String, code: u8 },
    #[error("the command line and environment are too long")]
    TooLong,
    #[error("cannot make pipes into `{workspace}`")]
    Pipes {
        workspace: WorkspaceId,
        #[source]
        cause: io::Error,
    },
    #[error("cannot listen in {path}")]
    Listen {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}
