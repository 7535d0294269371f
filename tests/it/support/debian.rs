//! A real Debian (or Ubuntu, as the host is one), made once per machine and imported once per engine.
//!
//! The root lies in `${XDG_CACHE_HOME:-~/.cache}/hearth-tests`, named after what it was made from. The image stays
//! until `tests/run` is done: an import per test would cost more than the tests.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::command::{docker_with_input, run_at_most};
use super::docker;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/debian-root");

/// Returns the name of an image with bash, git, ssh and sudo whose `USER` is `coder`, uid 1000, who may sudo.
pub(crate) fn image() -> String {
    let tag = format!("hearth-test-debian:{}", version());
    let _one_at_a_time = lock("image");
    if docker(&["image", "inspect", &tag]).code == 0 {
        return tag;
    }
    // By way of standard input: the client may be one that sees other files than we do.
    let root = std::fs::read(root()).unwrap();
    docker_with_input(&["import", "--change", "USER coder", "--change", "ENV LANG=C.UTF-8", "-", &tag], &root).ok();
    tag
}

/// Returns the tar of its root.
pub(crate) fn root() -> PathBuf {
    let _one_at_a_time = lock("root");
    let root = cache().join(format!("{}.tar", version()));
    if !root.exists() {
        let mut make = Command::new(SCRIPT);
        make.arg(&root);
        run_at_most(Duration::from_secs(500), make, b"").ok();
    }
    root
}

/// What the root is made from: the host's release and the script.
fn version() -> String {
    let release = std::fs::read("/etc/os-release").unwrap();
    let script = std::fs::read(SCRIPT).unwrap();
    blake3::hash(&[release, script].concat()).to_hex()[..12].into()
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("hearth-tests");
    std::fs::create_dir_all(&cache).unwrap();
    cache
}

/// Tests run in many processes; one of them makes the image and the others wait.
fn lock(what: &str) -> Flock<File> {
    let file = File::create(cache().join(format!("{what}.lock"))).unwrap();
    Flock::lock(file, FlockArg::LockExclusive).unwrap_or_else(|(_, error)| panic!("cannot lock: {error}"))
}
