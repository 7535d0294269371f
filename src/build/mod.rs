//! A build: the stages that make a running workspace, one file each; their order comes from `run`.
//!
//! Stages use the engine and the model; what happens next is decided by who called them.

pub mod hooks;
mod image;
pub mod keys;
mod lines;
pub mod log;
mod user;
mod warnings;

use crate::model::Warning;

pub use image::{ImageError, Images, Refusal, ResolvedImage};
pub use user::{ImageUser, UserRefusal};

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The workspace runs, perhaps with warnings (rule L8).
    Running { warnings: Vec<Warning> },
    /// It does not; `kept` says that the container of before runs as it did (rule L6).
    Failed { failure: String, warnings: Vec<Warning>, kept: bool },
    /// Somebody cancelled it.
    Cancelled { kept: bool },
    /// The engine went away or hearthd is stopping: it is taken up again (rules L11, L12).
    Interrupted { why: String },
}
