//! A container's process on the host, its network namespace and its terminal.
//!
//! A pid may be another process's by the time it is used: so a process is held by its directory of `/proc`, which stands
//! for one process only, and checked to be of the container through that. `setns` changes the thread, so it must never
//! run on one of the runtime's.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use rustix::fs::{AtFlags, FileType, StatxFlags, StatxTimestamp, statx};

use crate::docker::is_of_container;
use crate::model::Moment;

/// Why a container's namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEntry {
    /// The process is gone, or another container's.
    #[error("it does not run any more")]
    Gone,
    #[error("cannot enter its network namespace: {0}")]
    Refused(io::Error),
}

/// A process of a container, which cannot become another one.
#[derive(Debug)]
pub(super) struct Process(OwnedFd);

/// A network namespace.
#[derive(Debug)]
pub(super) struct Place(OwnedFd);

const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC);

impl Process {
    /// Takes hold of a process by the host's pid; it must be of the container.
    pub(super) fn of(pid: u32, container: &str) -> Result<Self, NoEntry> {
        let directory = format!("/proc/{pid}");
        let directory = open(directory.as_str(), FLAGS | OFlag::O_DIRECTORY, Mode::empty()).map_err(sorted)?;
        let process = Self(directory);
        let cgroup = openat(&process.0, "cgroup", FLAGS, Mode::empty()).map_err(sorted)?;
        let text = read(cgroup, 64 * 1024).ok_or(NoEntry::Gone)?;
        if is_of_container(&text, container) { Ok(process) } else { Err(NoEntry::Gone) }
    }

    /// Takes hold of the calling thread, as a process.
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self(open("/proc/thread-self", FLAGS | OFlag::O_DIRECTORY, Mode::empty())?))
    }

    /// Returns its cgroups, a line each.
    pub(super) fn cgroups(&self) -> Option<String> {
        read(openat(&self.0, "cgroup", FLAGS, Mode::empty()).ok()?, 64 * 1024)
    }

    /// Returns the network that it is in.
    pub(super) fn network(&self) -> Result<Place, NoEntry> {
        openat(&self.0, "ns/net", FLAGS, Mode::empty()).map(Place).map_err(sorted)
    }

    /// Returns how many TCP sockets its network has, whatever they do; `None` where that cannot be told.
    pub(super) fn tcp_in_use(&self) -> Option<usize> {
        let of =
            |file: &str, family: &str| in_use(&read(openat(&self.0, file, FLAGS, Mode::empty()).ok()?, 4096)?, family);
        // A kernel without IPv6 has no such file.
        Some(of("net/sockstat", "TCP:")? + of("net/sockstat6", "TCP6:").unwrap_or(0))
    }

    /// Returns when the terminal that it reads or writes was last used either way; `None` where it has none any more.
    /// No path inside the container is followed, and no file system of its making is asked (X3).
    pub(super) fn terminal_used_at(&self) -> Result<Option<Moment>, NoEntry> {
        for stream in ["fd/0", "fd/1", "fd/2"] {
            let wanted = StatxFlags::TYPE | StatxFlags::ATIME | StatxFlags::MTIME;
            match statx(&self.0, stream, AtFlags::STATX_DONT_SYNC, wanted) {
                Ok(file) if TERMINALS.contains(&file.stx_rdev_major) && is_device(file.stx_mode) => {
                    let used = moment(file.stx_atime).max(moment(file.stx_mtime));
                    return Ok(used);
                }
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(sorted(Errno::from_raw(errno.raw_os_error()))),
            }
        }
        Ok(None)
    }
}

fn read(file: OwnedFd, most: u64) -> Option<String> {
    let mut text = String::new();
    File::from(file).take(most).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Reads `TCP: inuse 5 orphan 0 …`.
fn in_use(text: &str, family: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(family))?;
    line.trim_start().strip_prefix("inuse ")?.split(' ').next()?.parse().ok()
}

/// Major numbers of the devices behind `/dev/pts`.
const TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

fn is_device(mode: u16) -> bool {
    FileType::from_raw_mode(mode.into()) == FileType::CharacterDevice
}

fn moment(time: StatxTimestamp) -> Option<Moment> {
    Moment::new(time.tv_sec, time.tv_nsec.try_into().ok()?).ok()
}

impl Place {
    /// Returns the one that the thread is in.
    pub(super) fn here() -> io::Result<Self> {
        Ok(Self(open("/proc/thread-self/ns/net", FLAGS, Mode::empty())?))
    }

    /// Moves the thread into it.
    pub(super) fn enter(&self) -> Result<(), NoEntry> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(|errno| NoEntry::Refused(errno.into()))
    }
}

fn sorted(errno: Errno) -> NoEntry {
    if matches!(errno, Errno::ENOENT | Errno::ESRCH) { NoEntry::Gone } else { NoEntry::Refused(errno.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read() {
        let text = "sockets: used 123\nTCP: inuse 5 orphan 0 tw 2 alloc 6 mem 1\nUDP: inuse 2 mem 0\n";
        assert_eq!(in_use(text, "TCP:"), Some(5));
        assert_eq!(in_use("TCP6: inuse 7\nUDP6: inuse 1\n", "TCP6:"), Some(7));
        assert_eq!(in_use("", "TCP:"), None);
    }

    #[test]
    fn a_process_that_is_not_the_containers_is_not_followed() {
        let id = "a".repeat(64);
        assert!(matches!(Process::of(std::process::id(), &id), Err(NoEntry::Gone)));
        assert!(matches!(Process::of(u32::MAX / 2, &id), Err(NoEntry::Gone)));
    }
}
