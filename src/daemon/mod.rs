//! The daemon: joins the other parts, holds as little logic as it can.

mod accepted;
pub mod accounts;
mod activity;
mod app;
mod assemble;
mod audit;
pub mod clock;
mod execute;
mod holds;
mod homes;
mod looks;
mod members;
mod outside;
mod reconcile;
mod reload;
mod reports;
mod requests;
mod sampling;
mod schedule;
mod sensors;
#[cfg(test)]
mod simulation;
mod start;
pub mod systemd;
mod usage;
mod wake;
mod watch;
mod workspaces;
mod world;

pub use accepted::Beginning;
pub use app::App;
pub use start::main;
