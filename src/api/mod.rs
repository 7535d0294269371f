//! The HTTP API on the host's socket and on each workspace's.

pub mod wire;
