//! The daemon: joins the other parts, holds as little logic as it can.

pub mod accounts;
pub mod clock;
pub mod systemd;
