//! Where hearth's own things are in every container.

/// hearth's own binary.
pub const BINARY: &str = "/usr/local/bin/hearth";
/// inject's runtime files: a tmpfs owned by the user.
pub const RUN_DIR: &str = "/run/hearth";
/// The directory with the workspace's socket.
pub const SOCKET_DIR: &str = "/run/hearth/workspace";
