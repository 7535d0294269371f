//! Who dialled: is it the helper of a container, or another process in there that would like to be it?
//!
//! The helper is a child of its container's first process and runs as the same user. A process of the same user could
//! end or trace the helper anyway, so one that imitates it gains nothing; one of another user is refused.

use std::io;

use tokio::net::UnixStream;

use crate::docker::is_of_container;

/// Why a caller is not taken for the helper.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stranger {
    #[error("cannot see who called: {0}")]
    Unseen(#[from] io::Error),
    #[error("the caller (pid {pid}, uid {uid}) is not the child of a container's first process")]
    NotAChild { pid: i32, uid: u32 },
    #[error("the caller has uid {uid}, its container's first process {first}")]
    OtherUser { uid: u32, first: u32 },
    #[error("the caller (pid {pid}) is of another container than the workspace's")]
    OtherContainer { pid: i32 },
}

/// What `/proc/PID/status` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    parent: i32,
    uid: u32,
    /// Its pid in each namespace, from ours inwards.
    pids: Vec<i32>,
}

/// Checks that a container's own helper is at the other end, and that it is of `container`, where that is known: a
/// directory with a socket may be mounted by another one that was made when a lost database gave the number away.
pub(super) fn check(stream: &UnixStream, container: Option<&str>) -> Result<(), Stranger> {
    let credentials = stream.peer_cred()?;
    let uid = credentials.uid();
    let pid = credentials.pid().unwrap_or(0);
    let own = status("self")?;
    let caller = status(&pid.to_string())?;
    let first = status(&caller.parent.to_string())?;
    // One namespace below ours: somebody who makes another inside is the first process of that one only.
    if first.pids.len() != own.pids.len() + 1 || first.pids.last() != Some(&1) {
        return Err(Stranger::NotAChild { pid, uid });
    }
    if first.uid != uid {
        return Err(Stranger::OtherUser { uid, first: first.uid });
    }
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    match container {
        Some(container) if !is_of_container(&cgroup, container) => Err(Stranger::OtherContainer { pid }),
        Some(_) | None => Ok(()),
    }
}

fn status(pid: &str) -> io::Result<Status> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/status makes no sense")))
}

fn parse(text: &str) -> Option<Status> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Some(Status {
        parent: field("PPid")?.trim().parse().ok()?,
        uid: field("Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()?,
        pids: field("NSpid")?.split_ascii_whitespace().map(|pid| pid.parse().ok()).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = "Name:\tPPid:\t9\nPPid:\t40\nUid:\t1000\t1001\t1000\t1000\nNSpid:\t52\t7\n";
        assert_eq!(parse(text), Some(Status { parent: 40, uid: 1001, pids: vec![52, 7] }));
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[tokio::test]
    async fn x4_a_process_of_the_host_is_no_helper() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(matches!(check(&one, None), Err(Stranger::NotAChild { .. })));
    }
}
