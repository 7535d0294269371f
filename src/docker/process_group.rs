//! Ends what a `docker exec` started, by the host's pids: SIGHUP, then SIGKILL, to its process and to all of its group
//! and session (the engine makes the process the leader of both).
//!
//! A pid may have gone to somebody else by the time it is used. So each process is held by a pidfd first, then checked
//! to be of the container's cgroup, and signalled through the pidfd.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Between SIGHUP and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a group that makes processes as fast as they are ended is ended again.
const ROUNDS: usize = 8;

/// Ends the group of the process `leader`, which must be of `container`; one that is gone already is no error.
///
/// # Errors
/// When a process may not be signalled.
pub(super) async fn end(leader: i32, container: &str) -> io::Result<()> {
    for process in members(leader, container) {
        process.signal(Signal::HUP)?;
    }
    for _ in 0..ROUNDS {
        if gone(leader, container).await {
            break;
        }
        for process in members(leader, container) {
            process.signal(Signal::KILL)?;
        }
    }
    Ok(())
}

/// Waits a while for the group to end, and returns whether it did.
async fn gone(leader: i32, container: &str) -> bool {
    let waiting = async {
        while !members(leader, container).is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(GRACE, waiting).await.is_ok()
}

/// A process that cannot become another one.
struct Held {
    pidfd: OwnedFd,
}

impl Held {
    /// Takes hold of a process; `None` when it is gone or not of the container.
    fn of(pid: i32, container: &str) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        is_of_container(&cgroup, container).then_some(Self { pidfd })
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the processes of the container whose group or session is `leader`'s.
fn members(leader: i32, container: &str) -> Vec<Held> {
    let Ok(proc) = std::fs::read_dir("/proc") else { return Vec::new() };
    proc.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
            group_and_session(&stat).is_some_and(|(group, session)| group == leader || session == leader)
        })
        .filter_map(|pid| Held::of(pid, container))
        .collect()
}

/// Reads the group and the session of `/proc/PID/stat`; `None` for one that has ended and waits to be reaped.
/// The name in it may hold anything, parentheses too.
fn group_and_session(stat: &[u8]) -> Option<(i32, i32)> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let mut rest = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace();
    let has_ended = matches!(rest.next()?, "Z" | "X");
    let (_parent, group, session) = (rest.next()?, rest.next()?, rest.next()?);
    if has_ended { None } else { Some((group.parse().ok()?, session.parse().ok()?)) }
}

/// Says whether `/proc/PID/cgroup` is that of a process of the container: `/docker/ID` or `…/docker-ID.scope`, in
/// cgroups of version 1 (a line each) and 2 (one line), and whatever is below.
pub fn is_of_container(cgroup: &str, container: &str) -> bool {
    let is_ours = |part: &str| {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        name == container || name.strip_prefix("docker-") == Some(container)
    };
    container.len() == 64
        && cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| path.split('/').any(is_ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_cgroup_in_both_versions() {
        let id = "a".repeat(64);
        let v1 = format!("9:name=systemd:/docker/{id}\n8:pids:/docker/{id}\n");
        let v2 = format!("0::/system.slice/docker-{id}.scope\n");
        let below = format!("0::/docker/{id}/mine\n");
        for cgroup in [&v1, &v2, &below] {
            assert!(is_of_container(cgroup, &id), "{cgroup}");
        }
        let other = "b".repeat(64);
        assert!(!is_of_container(&v1, &other));
        assert!(!is_of_container("0::/\n", &id));
        assert!(!is_of_container(&format!("0::/docker/x{id}\n"), &id));
        assert!(!is_of_container("0::/docker/\n", ""));
    }

    #[test]
    fn a_name_with_parentheses_does_not_mislead() {
        assert_eq!(group_and_session(b"7 (a) S 1 2 (b)) S 1 50 60 0 -1").unwrap(), (50, 60));
        assert_eq!(group_and_session(b"7 (sh) S 1 7 7 0 -1").unwrap(), (7, 7));
        assert!(group_and_session(b"7 (sh) Z 1 7 7 0 -1").is_none());
        assert!(group_and_session(b"").is_none());
    }

    #[tokio::test]
    async fn what_is_not_of_the_container_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        end(i32::try_from(child.id()).unwrap(), &"a".repeat(64)).await.unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
