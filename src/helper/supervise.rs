//! One command of a hook from its start to its end (rule H4): its output, its time, its leftovers.
//!
//! It gets a session of its own, `/dev/null` to read from and one pipe for both outputs. It ends when its main process
//! ends; whoever else still holds the pipe keeps a reader, so that a service that configure started is not killed by its
//! next line of output.

use std::fs::File;
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid, setsid};
use signal_hook::consts::SIGCHLD;

use super::askpass;
use super::bundle::BINARY;
use super::output::{Output, Took};
use super::shell;

/// How often to look after processes that are being ended.
const LOOK: Duration = Duration::from_millis(50);
/// How long SIGKILL may take to show.
const KILLED: Duration = Duration::from_secs(2);

/// How long a hook may run. Its commands share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) deadline: Instant,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Signalled(i32),
    /// `left` processes could not be ended: they are another user's.
    TimedOut {
        left: usize,
    },
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be run at all.
pub(super) fn supervise<W: Write + AsFd>(
    mut command: Command,
    limits: Limits,
    output: &mut Output<W>,
) -> io::Result<End> {
    let (pipe, writer) = io::pipe()?;
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    command.envs(askpass::environment());
    if let Some(shell) = shell::shell(getuid().as_raw()) {
        command.env("SHELL", shell);
    }
    own_session(&mut command);
    let signal = ChildSignal::listen()?;
    let child = command.spawn()?;
    // It holds the pipe's writing ends.
    drop(command);
    let session = Pid::from_raw(child.id().cast_signed());
    let mut running = Running { child, session, pipe: Some(pipe), signal, ended: None };
    let end = running.wait(limits, output)?;
    running.leave(output);
    Ok(end)
}

#[expect(unsafe_code, reason = "setsid and prctl are async-signal-safe and allocate nothing")]
fn own_session(command: &mut Command) {
    let prepare = || {
        setsid()?;
        // A hook that kills the process that runs it would go on with nobody to end it.
        set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    unsafe { command.pre_exec(prepare) };
}

struct Running {
    child: Child,
    session: Pid,
    pipe: Option<PipeReader>,
    signal: ChildSignal,
    ended: Option<ExitStatus>,
}

impl Running {
    fn wait<W: Write + AsFd>(&mut self, limits: Limits, output: &mut Output<W>) -> io::Result<End> {
        while Instant::now() < limits.deadline {
            if let Some(status) = self.ended {
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => End::Exited(code),
                    (None, signal) => End::Signalled(signal.unwrap_or_default()),
                });
            }
            self.turn(limits.deadline.saturating_duration_since(Instant::now()), output)?;
        }
        let killed_at = Instant::now() + limits.grace;
        self.end_all(Signal::SIGTERM, killed_at, output)?;
        let left = self.end_all(Signal::SIGKILL, Instant::now().max(killed_at) + KILLED, output)?;
        Ok(End::TimedOut { left })
    }

    /// Waits at most `wait` for something to happen, and sees to it.
    fn turn<W: Write + AsFd>(&mut self, wait: Duration, output: &mut Output<W>) -> io::Result<()> {
        let wait = PollTimeout::try_from(wait.as_millis().clamp(1, 60_000)).unwrap_or(PollTimeout::MAX);
        let reads = self.pipe.as_ref().filter(|_| output.has_room());
        let watched = [Some(self.signal.wakes.as_fd()), reads.map(AsFd::as_fd), output.waits_for()];
        let flags = [PollFlags::POLLIN, PollFlags::POLLIN, PollFlags::POLLOUT];
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().zip(flags).filter_map(|(fd, flags)| Some(PollFd::new((*fd)?, flags))).collect();
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        let [signalled, readable, writable] = watched.map(|fd| fd.is_some() && ready.next().unwrap_or(false));
        if signalled {
            self.signal.clear();
        }
        if readable {
            self.read(output)?;
        }
        if writable {
            output.write_some();
        }
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(())
    }

    fn read<W: Write + AsFd>(&mut self, output: &mut Output<W>) -> io::Result<Took> {
        let Some(pipe) = &mut self.pipe else { return Ok(Took::End) };
        let took = output.take_from(pipe)?;
        if took == Took::End {
            self.pipe = None;
        }
        Ok(took)
    }

    /// Sends a signal to every process of the session until none is left or the time has passed; returns how many are.
    fn end_all<W: Write + AsFd>(
        &mut self,
        signal: Signal,
        until: Instant,
        output: &mut Output<W>,
    ) -> io::Result<usize> {
        let mut told = vec![];
        loop {
            let left = members(self.session);
            if left.is_empty() && self.ended.is_some() || Instant::now() >= until {
                return Ok(left.len());
            }
            for pid in left {
                // A process that catches SIGTERM is told once; one that stopped has to go on to hear it.
                if signal == Signal::SIGKILL || !told.contains(&pid) {
                    let _ = kill(pid, signal).and_then(|()| kill(pid, Signal::SIGCONT));
                    told.push(pid);
                }
            }
            self.turn(LOOK, output)?;
        }
    }

    /// Takes what is in the pipe, and leaves a reader to those who still hold it.
    fn leave<W: Write + AsFd>(mut self, output: &mut Output<W>) {
        // As much as a pipe may hold: one that writes on is not waited for.
        for _ in 0..32 {
            if !matches!(self.read(output), Ok(Took::Some)) {
                break;
            }
        }
        let Some(pipe) = self.pipe else { return };
        let mut reader = Command::new(BINARY);
        reader.args(["hook", "drain"]).current_dir("/").process_group(0);
        let blocking = fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty()));
        reader.stdin(OwnedFd::from(pipe)).stdout(Stdio::null()).stderr(Stdio::null());
        if blocking.is_ok() {
            let _ = reader.spawn();
        }
    }
}

/// Reads standard input to its end, for nobody.
pub(super) fn drain() {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

/// The processes of a session that live.
fn members(session: Pid) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return vec![] };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_member(*pid, session)).map(Pid::from_raw).collect()
}

fn is_member(pid: i32, session: Pid) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // PID (NAME) STATE PPID PGRP SESSION …; the name may hold anything.
    let stat = String::from_utf8_lossy(&stat);
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split(' ');
    let lives = fields.next().is_some_and(|state| !["Z", "X"].contains(&state));
    lives && fields.nth(2) == Some(&session.to_string())
}

/// Wakes a poll when a child ends.
struct ChildSignal {
    wakes: UnixStream,
    id: signal_hook::SigId,
}

impl ChildSignal {
    fn listen() -> io::Result<Self> {
        let (wakes, wakened) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        Ok(Self { wakes, id: signal_hook::low_level::pipe::register(SIGCHLD, wakened)? })
    }

    fn clear(&mut self) {
        let mut buffer = [0; 64];
        while io::Read::read(&mut self.wakes, &mut buffer).is_ok_and(|n| n == buffer.len()) {}
    }
}

impl Drop for ChildSignal {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.id);
    }
}

/// Returns the standard output of this process, for the hook's output.
pub(super) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, timeout: Duration, grace: Duration) -> (End, Vec<String>) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let mut output = Output::new(File::options().write(true).open("/dev/null").unwrap(), None, 1 << 20);
        let end = supervise(command, Limits { deadline: Instant::now() + timeout, grace }, &mut output).unwrap();
        output.finish();
        (end, output.tail())
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn h4_the_end_is_the_main_processes() {
        assert_eq!(
            run("echo out; echo err >&2; exit 7", LONG, LONG),
            (End::Exited(7), vec!["out".into(), "err".into()])
        );
        assert_eq!(run("kill -KILL $$", LONG, LONG).0, End::Signalled(9));
    }

    #[test]
    fn h4_reading_gives_end_of_file() {
        assert_eq!(run("cat; read x; echo $?", LONG, LONG), (End::Exited(0), vec!["1".into()]));
    }

    #[test]
    fn h4_a_background_child_that_holds_the_output_holds_nothing_up() {
        let started = Instant::now();
        let (end, tail) = run("sleep 50 & echo $!", LONG, LONG);
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(end, End::Exited(0));
        kill(Pid::from_raw(tail[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn h4_at_the_timeout_the_whole_session_ends() {
        // A child in a process group of its own, one that ignores SIGTERM, and one that stopped.
        let script =
            "set -m; sleep 61 & (trap '' TERM; while :; do sleep 1; done) & sleep 62 & kill -STOP $!; wait; wait";
        let started = Instant::now();
        let (end, _) = run(script, SHORT, SHORT);
        assert_eq!(end, End::TimedOut { left: 0 });
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn h4_what_ends_at_sigterm_is_not_killed() {
        let (end, tail) = run("trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.1; done", SHORT, LONG);
        assert_eq!((end, tail.last().map(String::as_str)), (End::TimedOut { left: 0 }, Some("cleaned")));
    }

    #[test]
    fn h4_the_end_is_seen_while_the_output_is_closed() {
        assert_eq!(run("exec >/dev/null 2>&1; sleep 0.2; exit 3", LONG, LONG).0, End::Exited(3));
    }
}
