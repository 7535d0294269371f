//! This process's own terminal: raw mode that is always undone, its size, and the signals that concern it.

use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Size;

/// The terminal in raw mode; dropping it restores what was.
pub(super) struct RawMode {
    before: libc::termios,
    raw: libc::termios,
}

impl RawMode {
    /// Enters raw mode; `None` where standard input is no terminal.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Self { before: before.into(), raw: raw.into() }))
    }

    /// Enters it anew, after a shell had the terminal meanwhile.
    pub(super) fn again(&self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &Termios::from(self.raw));
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &Termios::from(self.before));
    }
}

/// Returns the size of the terminal that this process writes to; `None` where there is none to read and write.
pub fn terminal_size() -> Option<Size> {
    (io::stdin().is_terminal() && io::stdout().is_terminal()).then(size).flatten()
}

/// Returns the size of the terminal that standard input is.
#[expect(unsafe_code, reason = "there is no wrapper for TIOCGWINSZ")]
pub(super) fn size() -> Option<Size> {
    let mut size = nix::pty::Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let asked = unsafe { libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (asked == 0).then_some(Size { rows: size.ws_row, cols: size.ws_col })
}

/// What a signal tells this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Resized,
    Continued,
    /// The number of a signal that asks for an end: of the command (SIGINT, SIGQUIT) or of this process too.
    Signalled(i32),
}

/// The signals that concern an entry.
pub(super) struct Signals {
    resized: Signal,
    continued: Signal,
    interrupted: Signal,
    quit: Signal,
    terminated: Signal,
    hung_up: Signal,
}

impl Signals {
    /// Catches them from here on.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            continued: signal(SignalKind::from_raw(libc::SIGCONT))?,
            interrupted: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.resized.recv() => Told::Resized,
            _ = self.continued.recv() => Told::Continued,
            _ = self.interrupted.recv() => Told::Signalled(libc::SIGINT),
            _ = self.quit.recv() => Told::Signalled(libc::SIGQUIT),
            _ = self.terminated.recv() => Told::Signalled(libc::SIGTERM),
            _ = self.hung_up.recv() => Told::Signalled(libc::SIGHUP),
        }
    }
}
