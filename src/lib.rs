//! hearth: cloud-style development workspaces for a team that shares one Linux server.

pub mod access;
pub mod activity;
pub mod api;
mod blocking;
pub mod build;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod decide;
pub mod docker;
pub mod enter;
pub mod evidence;
pub mod handle;
pub mod helper;
pub mod model;
mod mutant;
pub mod pipeline;
pub mod schedule;
pub mod store;
pub mod trash;
