//! What the tests stand on: images, a daemon, an SSH server, a registry, and commands with a bound.
//!
//! Everything made here carries the run's name (`HEARTH_TEST_RUN`, set by `tests/run`) and is removed on drop, so
//! that a test leaves nothing behind on an engine that it shares with others.
#![allow(dead_code, unused_imports, reason = "a toolbox: which tools are in use changes with the tests")]

pub(crate) mod account;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod debian;
pub(crate) mod engine;
pub(crate) mod fake;
pub(crate) mod image;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod sshd;

use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use account::Account;
pub(crate) use command::{Ran, docker, run, run_with_input};
pub(crate) use daemon::Daemon;
pub(crate) use engine::OwnEngine;
pub(crate) use image::{Image, ImageTag};
pub(crate) use registry::Registry;
pub(crate) use sshd::Sshd;

/// How long anything may take that an idle machine does in a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Returns a name that no other test has, short enough for an instance name.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let run = std::env::var("HEARTH_TEST_RUN").unwrap_or_else(|_| "local".into());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{run}-{:x}-{number}", std::process::id())
}

/// Asks again and again until `ask` answers `Ok`, and returns that.
///
/// # Panics
/// After [`PATIENCE`], with `what` was waited for and the last `Err`, which says what was seen instead.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    wait_at_most(PATIENCE, what, ask)
}

/// Is [`wait_for`] with a bound of its own.
#[expect(clippy::disallowed_methods, reason = "the one poll of the tests; it is bounded")]
pub(crate) fn wait_at_most<T>(bound: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if start.elapsed() > bound => {
                panic!("waited {bound:?} for {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Does something and returns how long it took besides.
pub(crate) fn took<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let answer = act();
    (answer, start.elapsed())
}

/// Returns a TCP port that was free a moment ago.
pub(crate) fn free_port(address: IpAddr) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

/// Returns the address by which every container reaches this host: that of Docker's default bridge.
pub(crate) fn bridge_address() -> IpAddr {
    let name = r#"{{index .Options "com.docker.network.bridge.name"}}"#;
    let bridge = docker(&["network", "inspect", "bridge", "--format", name]).ok();
    let mut ip = Command::new("ip");
    ip.args(["-4", "-oneline", "address", "show", "dev", bridge.trim()]);
    let shown = run(ip).ok();
    // 5: docker0    inet 172.17.0.1/16 brd …
    let address = shown.split_whitespace().nth(3).and_then(|address| address.split('/').next()?.parse().ok());
    address.unwrap_or_else(|| panic!("Docker's default bridge {bridge:?} has no address: {shown:?}"))
}
