//! An entry: one process in a container, with hearthd's ends of its pipes.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::line::Outgoing;
use super::{End, Run, Size};
use crate::helper::protocol::{EntryNumber, Request};

/// What pipes of commands may hold; the default of 64 KiB costs a third of the throughput.
pub(super) const PIPE_SIZE: i32 = 1 << 20;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySpec {
    pub run: Run,
    /// Added to the container's own environment, winning over it; the helper sets `SHELL`.
    pub env: Vec<(String, String)>,
    /// Where it starts; `/` if that cannot be entered.
    pub cwd: String,
    /// A terminal of that size, else clean pipes.
    pub terminal: Option<Size>,
}

/// A process that runs. Dropping it ends the process and its whole session.
#[derive(Debug)]
pub struct Entry {
    /// Dropping this alone is end-of-file for the process.
    pub stdin: Option<pipe::Sender>,
    pub stdout: Option<pipe::Receiver>,
    /// There is none with a terminal.
    pub stderr: Option<pipe::Receiver>,
    /// Something to tell the person, such as a home that could not be entered.
    pub note: Option<String>,
    pub control: Control,
    pub exit: Exit,
}

/// Resizes, signals and ends an entry.
#[derive(Debug)]
pub struct Control {
    number: EntryNumber,
    line: mpsc::Sender<Outgoing>,
    close: Option<mpsc::OwnedPermit<Outgoing>>,
}

impl Control {
    pub(super) fn new(number: EntryNumber, line: mpsc::Sender<Outgoing>, close: mpsc::OwnedPermit<Outgoing>) -> Self {
        Self { number, line, close: Some(close) }
    }

    /// Changes the size of the terminal, if there is one.
    pub async fn resize(&self, size: Size) {
        self.send(Request::Resize { entry: self.number, size }).await;
    }

    /// Signals the terminal's foreground, or the process group.
    pub async fn signal(&self, signal: i32) {
        self.send(Request::Signal { entry: self.number, signal }).await;
    }

    async fn send(&self, request: Request) {
        // Without a helper there is nothing left to tell.
        let _ = self.line.send(Outgoing { request, descriptors: Vec::new() }).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(permit) = self.close.take() {
            permit.send(Outgoing { request: Request::Close { entry: self.number }, descriptors: Vec::new() });
        }
    }
}

/// The helper is gone, and the process with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection to the container was lost and its processes were ended")]
pub struct Lost;

/// Resolves when the process ended and its terminal's output was written.
#[derive(Debug)]
pub struct Exit(pub(super) oneshot::Receiver<End>);

impl Future for Exit {
    type Output = Result<End, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Lost)
    }
}

/// hearthd's ends of an entry's pipes.
pub(super) struct Near {
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: Option<pipe::Receiver>,
}

/// Makes the pipes of an entry: our ends, which never block, and the far ends, in the order of the protocol.
pub(super) fn pipes(terminal: bool) -> io::Result<(Near, Vec<OwnedFd>)> {
    let (stdin, far_input) = pipe::pipe()?;
    let (far_output, stdout) = pipe::pipe()?;
    let mut far = vec![far_input.into_blocking_fd()?, far_output.into_blocking_fd()?];
    let mut stderr = None;
    if !terminal {
        let (far_errors, near) = pipe::pipe()?;
        far.push(far_errors.into_blocking_fd()?);
        stderr = Some(near);
        for fd in &far[..2] {
            // Refused where the user of hearthd has too many large pipes already: the default does too.
            let _ = fcntl(fd, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
    }
    for fd in &far {
        // The process is of another user than hearthd, and may open `/dev/stdout` or `/dev/stdin` anew.
        fchmod(fd.as_fd(), Mode::from_bits_truncate(0o666))?;
    }
    Ok((Near { stdin, stdout, stderr }, far))
}
