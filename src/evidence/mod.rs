//! Sensors: what shows that a person uses a workspace (rule P3), as the kernel and the engine tell it.
//!
//! ```text
//!   thread `connections`: for each running container  setns ─ netlink dump ─┐
//!                         once, on the host           netlink dump ─────────┴─ classify ─▶ inbound, outgoing
//!   engine events ─▶ Execs ─ inspection, the terminal's times ─────────────────────────▶ execs
//! ```
//!
//! They say what is there, not what it counts for: that is `activity`'s. They cost nothing for a workspace that is off,
//! and a container that vanishes between the list and the look is no error. Entries through hearth are told by
//! whoever opens them.

mod classify;
mod connections;
mod execs;
mod netlink;
mod place;
mod usage;

pub use classify::Connection;
pub use connections::{Connections, Look, Looked, Scanner, Scope, Seen, Target, missing_capabilities};
pub use execs::{Execs, ExecsSeen};
pub use usage::{Consumption, consumption};
