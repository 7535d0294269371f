//! The words of the design as types: names, workspaces, builds, states, quantities, time.
//!
//! Pure: no I/O, no async, no clock. Everything here is a value that was checked when it was made.

mod build;
mod evidence;
pub mod inside;
mod name;
mod now;
mod quantity;
mod state;
mod text;

pub use build::{
    BuildNumber, BuildReason, BuildRecord, BuildResult, Hook, Requester, Stage, StageTiming, Warning, WarningKind,
};
pub use evidence::{Evidence, EvidenceKind, Live, LiveKey, Measure, Outgoing, Sample};
pub use name::{InstanceName, NameError, OrgName, UserName, WorkspaceId, WorkspaceName};
pub use now::{Moment, Now, SavedStamp, Stamp};
pub(crate) use quantity::text_conversions;
pub use quantity::{Bytes, Cpus, PortMapping, PortRange, Protocol, QuantityError, Span};
pub use state::{OffReason, Outdated, Power, State, StateName, StopReason};
pub use text::{neutralise, output_line};
