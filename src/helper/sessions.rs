//! The processes of a container as `/proc` shows them, and the ending of whole sessions.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a session that was hung up may take before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// How long a killed session is looked after; what is left then belongs to somebody whom we may not signal.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time between two looks at what is left.
const INTERVAL: Duration = Duration::from_millis(50);

/// A process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) session: Pid,
}

/// Lists the processes that have not ended; a zombie has.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Process { pid: Pid::from_raw(pid), session: living_session(&stat)? })
    })
    .collect()
}

/// Reads the session from a line of `/proc/PID/stat`; the command's name in it may hold anything.
fn living_session(stat: &str) -> Option<Pid> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then(|| Pid::from_raw(session))
}

/// What a process does with signals, from `/proc/PID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Handling {
    ignored: u64,
    caught: u64,
}

impl Handling {
    /// Looks at a process; nothing is known of one that is gone or hidden.
    pub(super) fn of(pid: Pid) -> Self {
        std::fs::read_to_string(format!("/proc/{pid}/status")).map(|status| Self::parse(&status)).unwrap_or_default()
    }

    fn parse(status: &str) -> Self {
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            u64::from_str_radix(line.trim(), 16).ok()
        };
        Self { ignored: mask("SigIgn:").unwrap_or(0), caught: mask("SigCgt:").unwrap_or(0) }
    }

    /// Says whether it has a handler for `signal`.
    pub(super) fn catches(self, signal: Signal) -> bool {
        self.caught & bit(signal) != 0
    }

    /// Says whether `signal` would end it.
    pub(super) fn dies_of(self, signal: Signal) -> bool {
        (self.caught | self.ignored) & bit(signal) == 0
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// Hangs a session up: what a closed terminal does, for sessions without one too.
pub(super) fn hang_up(session: Pid) {
    for process in processes().into_iter().filter(|process| process.session == session) {
        let _ = kill(process.pid, Signal::SIGHUP);
        let _ = kill(process.pid, Signal::SIGCONT);
    }
}

/// Sessions that were hung up and are looked after until nothing is left of them.
#[derive(Debug, Default)]
pub(super) struct Endings {
    sessions: Vec<Ending>,
    look_at: Option<Instant>,
}

#[derive(Debug)]
struct Ending {
    session: Pid,
    kill_at: Instant,
}

impl Endings {
    /// Hangs the session up and looks after it from here on.
    pub(super) fn begin(&mut self, session: Pid, now: Instant) {
        hang_up(session);
        self.sessions.push(Ending { session, kill_at: now + GRACE });
        self.look_at = Some(now + INTERVAL);
    }

    /// Returns when [`look`](Self::look) is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.look_at
    }

    /// Kills what is over its time; calls `ended` for each session that needs no more looking after.
    pub(super) fn look(&mut self, now: Instant, mut ended: impl FnMut(Pid)) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        let processes = processes();
        self.sessions.retain(|ending| {
            let members = processes.iter().filter(|process| process.session == ending.session);
            let mut left = false;
            for member in members {
                left = true;
                if now >= ending.kill_at {
                    let _ = kill(member.pid, Signal::SIGKILL);
                }
            }
            let keep = left && now < ending.kill_at + PATIENCE;
            if !keep {
                ended(ending.session);
            }
            keep
        });
        self.look_at = (!self.sessions.is_empty()).then(|| now + INTERVAL);
    }
}

/// Says whether we may signal a process that is there.
pub(super) fn is_ours(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_behind_any_name() {
        assert_eq!(living_session("12 (sh) S 1 12 11 0 -1"), Some(Pid::from_raw(11)));
        assert_eq!(living_session("12 (a ) R 9 9 9) S 1 12 11 0 -1"), Some(Pid::from_raw(11)));
        assert_eq!(living_session("12 (sh) Z 1 12 11 0 -1"), None);
        assert_eq!(living_session("12"), None);
    }

    #[test]
    fn l2_handlers_are_read_from_the_status() {
        let handling = Handling::parse("Name:\tsh\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000004000\n");
        assert!(handling.catches(Signal::SIGTERM));
        assert!(!handling.dies_of(Signal::SIGTERM) && !handling.dies_of(Signal::SIGHUP));
        assert!(handling.dies_of(Signal::SIGINT));
    }

    #[test]
    fn we_are_among_the_processes() {
        let own = std::process::id().to_string();
        assert!(processes().iter().any(|process| process.pid.to_string() == own));
    }
}
