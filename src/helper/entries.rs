//! `hearth helper`: dials hearthd and serves the entries of people until it is killed.
//!
//! While hearthd is away it dials again; entries of a connection that broke are ended, as their pipes are dead.
//! All signals are blocked: only SIGCHLD is read, so that what a user sends to every process does not cut people off.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid, write};

use super::init::{earlier, timeout};
use super::link::{Broken, Link};
use super::protocol::{End, EntryNumber, Frame, Reply, Request, Spawn};
use super::registry;
use super::sessions::Endings;
use super::spawn::{self, Failure, Streams};
use super::terminal::{Part, Terminal};

/// Where hearthd listens, as seen inside.
const SOCKET: &str = "/run/hearth/workspace/sock";
const FIRST_BACK_OFF: Duration = Duration::from_millis(20);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

/// Serves until it is killed.
pub(super) fn run() -> ExitCode {
    match Helper::new() {
        Ok(mut helper) => helper.run(),
        Err(error) => super::complain(&format!("cannot set up the helper: {error}")),
    }
}

struct Helper {
    signals: SignalFd,
    registry: OwnedFd,
    link: Option<Link>,
    dial_at: Instant,
    back_off: Duration,
    entries: BTreeMap<EntryNumber, Entry>,
    endings: Endings,
}

/// What runs for somebody.
struct Entry {
    /// The process, its group and its session.
    pid: Pid,
    terminal: Option<Terminal>,
    end: Option<End>,
}

enum Source {
    Signals,
    Link,
    Terminal(EntryNumber, Part),
}

impl Helper {
    fn new() -> std::io::Result<Self> {
        let _ = setsid();
        // Started by way of `/proc/self/exe`, it would be listed as `exe`.
        let _ = nix::sys::prctl::set_name(c"hearth");
        SigSet::all().thread_block()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        Ok(Self {
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            registry: std::io::stdout().as_fd().try_clone_to_owned()?,
            link: None,
            dial_at: Instant::now(),
            back_off: FIRST_BACK_OFF,
            entries: BTreeMap::new(),
            endings: Endings::default(),
        })
    }

    fn run(&mut self) -> ! {
        loop {
            let now = Instant::now();
            if self.link.is_none() && self.dial_at <= now {
                self.dial(now);
            }
            let Self { endings, registry, .. } = self;
            endings.look(now, |session| tell(registry.as_fd(), registry::ended(session.as_raw())));
            self.finish_terminals(now);
            for (source, events) in self.wait(now) {
                self.handle(source, events);
            }
        }
    }

    fn dial(&mut self, now: Instant) {
        match Link::dial(SOCKET) {
            Ok(link) => self.link = Some(link),
            Err(_) => self.dial_later(now),
        }
    }

    fn dial_later(&mut self, now: Instant) {
        self.dial_at = now + self.back_off;
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
    }

    /// Sleeps until something happens and says what.
    fn wait(&self, now: Instant) -> Vec<(Source, PollFlags)> {
        let mut until = self.endings.due();
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        match &self.link {
            Some(link) => {
                let (fd, events) = link.interest();
                sources.push(Source::Link);
                fds.push(PollFd::new(fd, events));
            }
            None => until = earlier(until, Some(self.dial_at)),
        }
        for (number, terminal) in self.entries.iter().filter_map(|(n, entry)| Some((*n, entry.terminal.as_ref()?))) {
            until = earlier(until, terminal.due());
            for (part, fd) in terminal.interests(now) {
                sources.push(Source::Terminal(number, part));
                fds.push(fd);
            }
        }
        if poll(&mut fds, timeout(until)).is_err() {
            return Vec::new();
        }
        let events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        sources.into_iter().zip(events).filter(|(_, events)| !events.is_empty()).collect()
    }

    fn handle(&mut self, source: Source, events: PollFlags) {
        let now = Instant::now();
        match source {
            Source::Signals => {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.reap(now);
            }
            Source::Link => {
                if self.talk(events).is_err() {
                    self.hang_up(now);
                }
            }
            Source::Terminal(number, part) => {
                let terminal = self.entries.get_mut(&number).and_then(|entry| entry.terminal.as_mut());
                if let Some(terminal) = terminal {
                    terminal.pump(part, events, now);
                }
            }
        }
    }

    fn reap(&mut self, now: Instant) {
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, End::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, killed_by(signal)),
                Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) | Err(_) => return,
            };
            let Some((number, entry)) = self.entries.iter_mut().find(|(_, entry)| entry.pid == pid) else { continue };
            let number = *number;
            entry.end = Some(end);
            match &mut entry.terminal {
                Some(terminal) => terminal.process_ended(now),
                None => self.report_end(number, end),
            }
        }
    }

    fn finish_terminals(&mut self, now: Instant) {
        let is_over = |entry: &Entry| entry.terminal.as_ref().is_some_and(|terminal| terminal.is_finished(now));
        let over: Vec<_> =
            self.entries.iter().filter(|(_, e)| is_over(e)).filter_map(|(n, e)| Some((*n, e.end?))).collect();
        for (number, end) in over {
            self.report_end(number, end);
        }
    }

    /// The process ended by itself. What it left in the background goes on, as after a logout anywhere.
    fn report_end(&mut self, number: EntryNumber, end: End) {
        let Some(entry) = self.entries.remove(&number) else { return };
        tell(self.registry.as_fd(), registry::ended(entry.pid.as_raw()));
        drop(entry);
        self.reply(&Reply::Exited { entry: number, end });
    }

    fn reply(&mut self, reply: &Reply) {
        if let Some(link) = &mut self.link {
            link.reply(reply);
            if link.send().is_err() {
                self.hang_up(Instant::now());
            }
        }
    }

    fn talk(&mut self, events: PollFlags) -> Result<(), Broken> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if events.contains(PollFlags::POLLOUT) {
            link.send()?;
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            link.receive()?;
        }
        while let Some((frame, descriptors)) = self.link.as_mut().map(Link::take).transpose()?.flatten() {
            self.obey(&frame, descriptors)?;
        }
        Ok(())
    }

    fn obey(&mut self, frame: &Frame, descriptors: Vec<OwnedFd>) -> Result<(), Broken> {
        self.back_off = FIRST_BACK_OFF;
        match frame.parse() {
            Ok(Request::Spawn(spawn)) => {
                let reply = match self.begin(&spawn, descriptors) {
                    Ok(note) => Reply::Started { entry: spawn.entry, note },
                    Err(Failure { message, code }) => Reply::Failed { entry: spawn.entry, message, code },
                };
                self.reply(&reply);
            }
            Ok(Request::Resize { entry, size }) => {
                if let Some(terminal) = self.entries.get(&entry).and_then(|entry| entry.terminal.as_ref()) {
                    terminal.resize(size);
                }
            }
            Ok(Request::Signal { entry, signal }) => self.signal(entry, signal),
            Ok(Request::Close { entry }) => self.close(entry, Instant::now()),
            Ok(Request::Refused { message }) => {
                super::say(&message);
                self.back_off = LONGEST_BACK_OFF;
                return Err(Broken);
            }
            Err(_) => self.refuse_unknown(frame),
        }
        Ok(())
    }

    /// A request that this version does not know: a newer hearthd is told so where it waits for an answer.
    fn refuse_unknown(&mut self, frame: &Frame) {
        #[derive(serde::Deserialize)]
        struct Numbered {
            entry: EntryNumber,
        }
        if let Ok(Numbered { entry }) = frame.parse() {
            let version = env!("CARGO_PKG_VERSION");
            let message =
                format!("the helper in this container is hearth {version} and cannot do that: rebuild the workspace");
            self.reply(&Reply::Failed { entry, message, code: 1 });
        }
    }

    fn begin(&mut self, spawn: &Spawn, descriptors: Vec<OwnedFd>) -> Result<Option<String>, Failure> {
        let broken = |what: &dyn std::fmt::Display| Failure { message: format!("cannot begin: {what}"), code: 126 };
        let mut descriptors = descriptors.into_iter();
        let (Some(input), Some(output)) = (descriptors.next(), descriptors.next()) else {
            return Err(broken(&"descriptors are missing"));
        };
        let (terminal, streams) = match (spawn.terminal, descriptors.next()) {
            (Some(size), _) => {
                let opened = Terminal::open(size, input, output);
                let (terminal, end) = opened.map_err(|error| broken(&format!("no terminal: {error}")))?;
                (Some(terminal), spawn::on_terminal(end).map_err(|error| broken(&error))?)
            }
            (None, Some(errors)) => (None, Streams { input, output, errors, terminal: false }),
            (None, None) => return Err(broken(&"descriptors are missing")),
        };
        let started = spawn::spawn(spawn, streams, self.registry.as_fd())?;
        self.entries.insert(spawn.entry, Entry { pid: started.pid, terminal, end: None });
        Ok(started.note)
    }

    fn signal(&mut self, number: EntryNumber, signal: i32) {
        let Some(entry) = self.entries.get(&number) else { return };
        let Ok(signal) = Signal::try_from(signal) else { return };
        let told = entry.terminal.as_ref().is_some_and(|terminal| terminal.signal(signal));
        if !told && entry.end.is_none() {
            let _ = killpg(entry.pid, signal);
        }
    }

    fn close(&mut self, number: EntryNumber, now: Instant) {
        if let Some(entry) = self.entries.remove(&number) {
            // Closing the terminal hangs up its foreground; a session without one is told by us.
            self.endings.begin(entry.pid, now);
        }
    }

    /// hearthd is gone, and with it the other ends of all pipes.
    fn hang_up(&mut self, now: Instant) {
        self.link = None;
        self.dial_later(now);
        for (_, entry) in std::mem::take(&mut self.entries) {
            self.endings.begin(entry.pid, now);
        }
    }
}

fn killed_by(signal: Signal) -> End {
    let number = u8::try_from(signal as i32).ok().and_then(std::num::NonZeroU8::new);
    number.map_or(End::Code(u8::MAX), End::Signal)
}

fn tell(registry: BorrowedFd<'_>, record: registry::Record) {
    let _ = write(registry, &record);
}
