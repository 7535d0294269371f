//! hearth as people meet it: real binaries, a real Docker engine, real sockets.
//!
//! One binary, so that it links once. Every test has a daemon with an instance name of its own and removes what it
//! made, also when it fails; see `support`. `tests/run` prepares a machine for it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on ends, and says why")]

mod architecture;
mod auto_off;
mod cli;
mod configuration;
mod dependencies;
mod engine;
mod entering;
mod evidence;
mod faults;
mod foreign;
mod git;
mod holding;
mod homes;
mod hooks;
mod images;
mod kills;
mod life;
mod listing;
mod own_engine;
mod package;
mod pulls;
mod quickstart;
mod restart;
mod roles;
mod schedule;
mod secrets;
mod settings;
mod ssh;
mod support;
mod support_itself;
mod usage;
mod watching;
