//! `hearth init`: the first process of every workspace (L2).
//!
//! It reaps, keeps one helper running, and ends the container when it is told to from outside. Signals from inside do
//! nothing: the kernel delivers to a pid namespace's first process only what it asks for, and of what it asks for only
//! a SIGTERM whose sender has no pid in here counts. Between events it sleeps in `poll` for as long as it takes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};

use super::registry;
use super::sessions::{Endings, Handling, is_ours, processes};

/// A helper that lived this long is started again at once.
const STEADY: Duration = Duration::from_secs(5);
const FIRST_BACK_OFF: Duration = Duration::from_millis(20);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(2);
/// The time between two looks at what is left while the container ends.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long processes of other users, whom we cannot tell, are waited for when only they are left.
const OTHERS: Duration = Duration::from_secs(2);

/// Runs as PID 1 until the container is to end.
pub(super) fn run() -> ExitCode {
    if getpid().as_raw() != 1 {
        return super::complain(
            "`hearth init` is the first process of a workspace's container; it does nothing elsewhere",
        );
    }
    match Init::new() {
        Ok(mut init) => init.run(),
        Err(error) => super::complain(&format!("cannot set up PID 1: {error}")),
    }
}

struct Init {
    signals: SignalFd,
    helper: Helper,
    /// Sessions of entries that the helper began and that have not ended by themselves.
    begun: BTreeSet<i32>,
    endings: Endings,
    back_off: Duration,
}

enum Helper {
    Running { pid: Pid, registry: OwnedFd, since: Instant },
    Due { at: Instant },
}

impl Init {
    fn new() -> nix::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPWR] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let helper = Helper::Due { at: Instant::now() };
        Ok(Self { signals, helper, begun: BTreeSet::new(), endings: Endings::default(), back_off: FIRST_BACK_OFF })
    }

    fn run(&mut self) -> ExitCode {
        loop {
            let now = Instant::now();
            if matches!(self.helper, Helper::Due { at } if at <= now) {
                self.start_helper(now);
            }
            self.endings.look(now, |_| ());
            let due = match self.helper {
                Helper::Due { at } => Some(at),
                Helper::Running { .. } => None,
            };
            self.wait(earlier(due, self.endings.due()));
            self.note_sessions();
            if self.take_signals() {
                return self.end();
            }
            self.reap();
        }
    }

    fn start_helper(&mut self, now: Instant) {
        let started = registry::pipe().and_then(|(reader, writer)| {
            let child = Command::new("/proc/self/exe")
                .arg0("hearth")
                .arg("helper")
                .stdin(Stdio::null())
                .stdout(writer)
                .spawn()?;
            Ok((child.id(), reader))
        });
        self.helper = match started {
            Ok((pid, registry)) => Helper::Running { pid: Pid::from_raw(pid.cast_signed()), registry, since: now },
            Err(error) => {
                super::say(&format!("cannot start the helper: {error}"));
                self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
                Helper::Due { at: now + self.back_off }
            }
        };
    }

    fn wait(&self, until: Option<Instant>) {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Helper::Running { registry, .. } = &self.helper {
            fds.push(PollFd::new(registry.as_fd(), PollFlags::POLLIN));
        }
        // The helper's end of the registry closes when it dies; SIGCHLD follows at once.
        let _ = poll(&mut fds, timeout(until));
    }

    fn note_sessions(&mut self) {
        if let Helper::Running { pid, registry, .. } = &self.helper
            && !registry::read(registry, &mut self.begun)
        {
            // It is dead, or somebody tampered with it: of no use without its registry.
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    /// Takes what is pending and says whether the container is to end.
    fn take_signals(&self) -> bool {
        let mut end = false;
        while let Ok(Some(info)) = self.signals.read_signal() {
            end |= is_from_outside(&info);
        }
        end
    }

    /// Takes the status of every child that ended. A helper that was stopped is told to go on.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => self.helper_ended(pid),
                Err(Errno::EINTR) => (),
                Ok(_) | Err(_) => break,
            }
        }
        if let Helper::Running { pid, .. } = &self.helper {
            let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WSTOPPED;
            if let Ok(WaitStatus::Stopped(..)) = waitid(Id::Pid(*pid), flags) {
                let _ = kill(*pid, Signal::SIGCONT);
            }
        }
    }

    fn helper_ended(&mut self, ended: Pid) {
        let Helper::Running { pid, registry, since } = &self.helper else { return };
        if *pid != ended {
            return;
        }
        let now = Instant::now();
        registry::read(registry, &mut self.begun);
        let back_off = if now - *since >= STEADY { FIRST_BACK_OFF } else { (self.back_off * 2).min(LONGEST_BACK_OFF) };
        self.back_off = back_off;
        self.helper = Helper::Due { at: now + back_off };
        for session in std::mem::take(&mut self.begun) {
            self.endings.begin(Pid::from_raw(session), now);
        }
    }

    /// Tells every process to end, waits until none is left, and ends. Docker kills what takes longer than its grace.
    fn end(&mut self) -> ExitCode {
        let helper = match self.helper {
            Helper::Running { pid, .. } => Some(pid),
            Helper::Due { .. } => None,
        };
        let is_other = |pid: Pid| pid.as_raw() != 1 && Some(pid) != helper;
        for process in processes().into_iter().filter(|process| is_other(process.pid)) {
            tell_to_end(process.pid);
        }
        let told = std::mem::take(&mut self.begun);
        let mut only_others_since = None;
        loop {
            self.note_sessions();
            for late in std::mem::take(&mut self.begun).difference(&told) {
                self.endings.begin(Pid::from_raw(*late), Instant::now());
            }
            self.endings.look(Instant::now(), |_| ());
            while matches!(
                waitpid(None, Some(WaitPidFlag::WNOHANG)),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            ) {}
            let left: Vec<Pid> = processes().iter().map(|process| process.pid).filter(|pid| is_other(*pid)).collect();
            let now = Instant::now();
            if left.iter().any(|pid| is_ours(*pid)) {
                only_others_since = None;
            } else if left.is_empty() || now - *only_others_since.get_or_insert(now) >= OTHERS {
                return ExitCode::SUCCESS;
            }
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, timeout(Some(now + INTERVAL)));
            self.take_signals();
        }
    }
}

/// Says whether a signal came from outside the pid namespace: by `kill` (or from the kernel, as some runtimes put it),
/// from a sender that has no pid in here. Other codes can be made up by anyone who may signal us.
fn is_from_outside(info: &siginfo) -> bool {
    let sent = info.ssi_signo != Signal::SIGCHLD as u32;
    sent && info.ssi_pid == 0 && matches!(info.ssi_code, libc::SI_USER | libc::SI_KERNEL)
}

/// Sends SIGTERM, and SIGHUP for the shells that ignore it; but a process that has a handler for SIGTERM alone would
/// die of the SIGHUP before the handler runs, so it is spared that.
fn tell_to_end(pid: Pid) {
    let handling = Handling::of(pid);
    let _ = kill(pid, Signal::SIGTERM);
    if !(handling.catches(Signal::SIGTERM) && handling.dies_of(Signal::SIGHUP)) {
        let _ = kill(pid, Signal::SIGHUP);
    }
    let _ = kill(pid, Signal::SIGCONT);
}

/// Returns the earlier of two moments.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// Returns the time that `poll` may wait.
pub(super) fn timeout(until: Option<Instant>) -> PollTimeout {
    let Some(until) = until else { return PollTimeout::NONE };
    let left = until.saturating_duration_since(Instant::now());
    // Rounded up, so that the moment has come when `poll` returns.
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
