//! A terminal of an entry: the pty's master here, pipes to hearthd on the other side, and the bytes between them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{read, tcgetpgrp, write};

use super::protocol::Size;

/// How long output may still come after its process ended, where something else holds the terminal.
const AFTERGLOW: Duration = Duration::from_millis(200);
/// The time between two looks at a terminal that nothing has open while its process lives.
const UNUSED: Duration = Duration::from_millis(50);
const END_OF_TRANSMISSION: u8 = 4;

/// A terminal.
pub(super) struct Terminal {
    master: OwnedFd,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    to_process: Piece,
    to_person: Piece,
    /// Nothing has the terminal open: reading is of no use before this moment.
    unused_until: Option<Instant>,
    /// The process ended: when output stops being waited for.
    over_at: Option<Instant>,
    /// The process ended, and nothing else has the terminal open.
    is_closed: bool,
}

/// One piece on its way.
struct Piece {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Which of a terminal's descriptors is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Master,
    Input,
    Output,
}

impl Terminal {
    /// Opens one of the given size; returns it with the end for the process.
    pub(super) fn open(size: Size, input: OwnedFd, output: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        let pty = openpty(&winsize(size), None)?;
        for fd in [&pty.master, &pty.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        for fd in [&pty.master, &input, &output] {
            let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
            fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        let terminal = Self {
            master: pty.master,
            input: Some(input),
            output: Some(output),
            to_process: Piece::new(4096),
            to_person: Piece::new(4096),
            unused_until: None,
            over_at: None,
            is_closed: false,
        };
        Ok((terminal, pty.slave))
    }

    /// Returns what to wait for. A descriptor that is of no interest is left out: its hang-up would not let us sleep.
    pub(super) fn interests(&self, now: Instant) -> impl Iterator<Item = (Part, PollFd<'_>)> {
        let input = self.input.as_ref().filter(|_| self.to_process.is_empty());
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLOUT, !self.to_process.is_empty());
        master.set(PollFlags::POLLIN, self.to_person.is_empty());
        let master = (!master.is_empty() && self.unused_until.is_none_or(|until| until <= now)).then_some(master);
        // Its reader's going is noticed even when there is nothing to write.
        let output = if self.to_person.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let input = input.map(|fd| (Part::Input, PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let output = self.output.as_ref().map(|fd| (Part::Output, PollFd::new(fd.as_fd(), output)));
        let master = master.map(|events| (Part::Master, PollFd::new(self.master.as_fd(), events)));
        input.into_iter().chain(output).chain(master)
    }

    /// Returns when to look again though nothing happened.
    pub(super) fn due(&self) -> Option<Instant> {
        let over = self.over_at.filter(|_| self.to_person.is_empty());
        self.unused_until.into_iter().chain(over).min()
    }

    /// Moves what can be moved after `poll` reported `events` on `part`.
    pub(super) fn pump(&mut self, part: Part, events: PollFlags, now: Instant) {
        match part {
            Part::Input => self.read_input(),
            Part::Output if events.intersects(PollFlags::POLLERR) => self.drop_output(),
            Part::Output => self.write_output(now),
            Part::Master => {
                if events.contains(PollFlags::POLLOUT) {
                    self.write_master();
                }
                if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                    self.read_master(now);
                }
            }
        }
    }

    /// Notes that its process ended.
    pub(super) fn process_ended(&mut self, now: Instant) {
        self.over_at = Some(now + AFTERGLOW);
        self.unused_until = None;
        self.input = None;
    }

    /// Says whether the process ended and all that it wrote is on its way.
    pub(super) fn is_finished(&self, now: Instant) -> bool {
        self.over_at.is_some_and(|at| self.to_person.is_empty() && (self.is_closed || at <= now))
    }

    /// Changes the size; the kernel tells the foreground.
    #[expect(unsafe_code, reason = "there is no wrapper for TIOCSWINSZ")]
    pub(super) fn resize(&self, size: Size) {
        let size = winsize(size);
        unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    }

    /// Signals the foreground process group, if there is one.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        tcgetpgrp(&self.master).is_ok_and(|group| group.as_raw() > 1 && killpg(group, signal).is_ok())
    }

    fn read_input(&mut self) {
        let Some(input) = &self.input else { return };
        match self.to_process.fill(input) {
            Filled::Bytes => self.write_master(),
            Filled::Later => (),
            Filled::End => {
                self.input = None;
                self.to_process.put(END_OF_TRANSMISSION);
                self.write_master();
            }
        }
    }

    fn write_master(&mut self) {
        if !self.to_process.drain(&self.master) {
            self.to_process.clear();
        }
    }

    fn read_master(&mut self, now: Instant) {
        if !self.to_person.is_empty() {
            return;
        }
        match self.to_person.fill(&self.master) {
            Filled::Bytes => {
                self.unused_until = None;
                self.write_output(now);
            }
            Filled::Later => (),
            // EIO: nothing has the other end open. With the process gone that is the end.
            Filled::End if self.over_at.is_some() => self.is_closed = true,
            Filled::End => self.unused_until = Some(now + UNUSED),
        }
    }

    fn write_output(&mut self, now: Instant) {
        let written = self.output.as_ref().is_some_and(|output| self.to_person.drain(output));
        if !written {
            self.drop_output();
        }
        // However long that took, more may have been held up behind it.
        self.over_at = self.over_at.map(|_| now + AFTERGLOW);
    }

    /// Nobody reads any more: what the process writes is thrown away until hearthd closes the entry.
    fn drop_output(&mut self) {
        self.output = None;
        self.to_person.clear();
    }
}

enum Filled {
    Bytes,
    Later,
    End,
}

impl Piece {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size].into(), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    fn put(&mut self, byte: u8) {
        self.bytes[0] = byte;
        (self.start, self.end) = (0, 1);
    }

    fn fill(&mut self, from: impl AsFd) -> Filled {
        self.clear();
        match read(from, &mut self.bytes) {
            Ok(0) => Filled::End,
            Ok(length) => {
                self.end = length;
                Filled::Bytes
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Filled::Later,
            Err(_) => Filled::End,
        }
    }

    /// Writes what it can; false when the other side is gone.
    fn drain(&mut self, to: impl AsFd) -> bool {
        while !self.is_empty() {
            match write(&to, &self.bytes[self.start..self.end]) {
                Ok(length) => self.start += length,
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollTimeout, poll};

    use super::*;

    /// Moves what can be moved at that moment, as the helper does.
    fn pump(terminal: &mut Terminal, now: Instant) {
        for _ in 0..8 {
            if terminal.is_finished(now) {
                return;
            }
            let (parts, mut fds): (Vec<_>, Vec<_>) = terminal.interests(now).unzip();
            // The kernel passes what is written on to the master in its own time.
            poll(&mut fds, PollTimeout::from(20u8)).unwrap();
            let events: Vec<_> = fds.iter().map(|fd| fd.revents().unwrap()).collect();
            for (part, events) in parts.into_iter().zip(events).filter(|(_, events)| !events.is_empty()) {
                terminal.pump(part, events, now);
            }
        }
    }

    #[test]
    fn l2_a_slow_reader_gets_what_a_terminal_held_when_its_process_ended() {
        let (input, _kept) = nix::unistd::pipe().unwrap();
        let (reader, output) = nix::unistd::pipe().unwrap();
        fcntl(&output, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let (mut terminal, process) = Terminal::open(Size { rows: 24, cols: 80 }, input, output).unwrap();
        let start = Instant::now();
        // The pipe and the piece on its way hold 8 KiB; the rest stays in the terminal.
        let (mut written, mut seen) = (0, 0);
        for _ in 0..11 {
            written += write(&process, &[b'x'; 1000]).unwrap();
            pump(&mut terminal, start);
        }
        drop(process);
        terminal.process_ended(start);
        let mut now = start;
        for _ in 0..10 {
            now += 2 * AFTERGLOW;
            pump(&mut terminal, now);
            if terminal.is_finished(now) {
                break;
            }
            let mut bytes = [0; 4096];
            seen += read(&reader, &mut bytes).unwrap();
            pump(&mut terminal, now);
        }
        assert!(terminal.is_finished(now));
        drop(terminal);
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = read(&reader, &mut bytes) {
            seen += length;
        }
        assert_eq!(seen, written);
    }
}
