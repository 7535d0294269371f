//! One connection of a helper: requests and far ends of pipes out, replies in, each matched to who waits for it.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::entry::{self, Control, Entry, EntrySpec, Exit};
use super::{End, EnterError};
use crate::helper::protocol::{
    self, Decoder, EntryNumber, Frame, FrameError, MAX_REPLY, MAX_REQUEST, Reply, Request, Spawn,
};
use crate::model::{WorkspaceId, neutralise};

/// The most entries of a workspace at one time.
pub(super) const MOST_ENTRIES: usize = 128;
/// How long the helper may take to answer or to read what it is sent.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest text that is taken from a helper.
const LONGEST_TEXT: usize = 400;

/// A request on its way, with the descriptors that go with it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) request: Request,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// A helper that said hello.
#[derive(Clone)]
pub(super) struct Line {
    outgoing: mpsc::Sender<Outgoing>,
    waiting: Arc<Mutex<Waiting>>,
    gone: CancellationToken,
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    last: EntryNumber,
    entries: BTreeMap<EntryNumber, Slot>,
}

struct Slot {
    answer: Option<oneshot::Sender<Answer>>,
    exit: oneshot::Sender<End>,
}

enum Answer {
    Started { note: Option<String> },
    Failed { message: String, code: u8 },
}

/// Why a connection ends. The helper dials again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("it hung up")]
    HungUp,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it does not read")]
    Stuck,
    #[error("it began with something else than hello")]
    NoHello,
    #[error("it speaks version {0} of the protocol")]
    Version(u32),
}

/// A connection that is to be served until it ends.
pub(super) struct Connection {
    stream: UnixStream,
    incoming: Incoming,
    requests: mpsc::Receiver<Outgoing>,
    line: Line,
}

impl Connection {
    /// Waits for hello. `gone` ends the connection, and is cancelled when it ended.
    pub(super) async fn greet(stream: UnixStream, gone: CancellationToken) -> Result<(Self, Line), Broken> {
        let mut incoming = Incoming { decoder: Decoder::new(MAX_REPLY) };
        let hello = timeout(ANSWER, incoming.next(&stream)).await.map_err(|_| Broken::NoHello)??;
        match hello.parse() {
            Ok(Reply::Hello { protocol: protocol::VERSION, version: _ }) => (),
            Ok(Reply::Hello { protocol, .. }) => {
                let message = format!("hearthd does not speak version {protocol} of the helper's protocol");
                let refusal = Outgoing { request: Request::Refused { message }, descriptors: Vec::new() };
                send(&stream, refusal).await?;
                return Err(Broken::Version(protocol));
            }
            Ok(Reply::Started { .. } | Reply::Failed { .. } | Reply::Exited { .. }) => return Err(Broken::NoHello),
            Err(error) => return Err(error.into()),
        }
        // Room for what is asked and, besides, for the closing of every entry, which must never wait.
        let (outgoing, requests) = mpsc::channel(2 * MOST_ENTRIES);
        let line = Line { outgoing, waiting: Arc::default(), gone };
        Ok((Self { stream, incoming, requests, line: line.clone() }, line))
    }

    /// Serves until either side ends it, and says why it did.
    pub(super) async fn serve(mut self) -> Broken {
        let (stream, gone) = (&self.stream, self.line.gone.clone());
        let writing = async {
            while let Some(request) = self.requests.recv().await {
                if let Err(broken) = send(stream, request).await {
                    return broken;
                }
            }
            Broken::HungUp
        };
        let reading = async {
            loop {
                let reply = match self.incoming.next(stream).await.and_then(|frame| Ok(frame.parse()?)) {
                    Ok(reply) => reply,
                    Err(broken) => return broken,
                };
                self.line.deliver(reply);
            }
        };
        tokio::select! {
            why = reading => why,
            why = writing => why,
            () = gone.cancelled() => Broken::HungUp,
        }
    }
}

impl Drop for Connection {
    /// However it ended, nobody waits for it any longer.
    fn drop(&mut self) {
        self.line.gone.cancel();
        self.line.waiting().entries.clear();
    }
}

impl Line {
    /// Starts what `spec` says.
    pub(super) async fn open(&self, workspace: &WorkspaceId, spec: EntrySpec) -> Result<Entry, EnterError> {
        let silent = || EnterError::Silent(workspace.clone());
        let pipes = entry::pipes(spec.terminal.is_some());
        let (near, descriptors) = pipes.map_err(|cause| EnterError::Pipes { workspace: workspace.clone(), cause })?;
        let close = timeout(ANSWER, self.outgoing.clone().reserve_owned()).await;
        let close = close.map_err(|_| silent())?.map_err(|_| silent())?;
        let (number, answer, exit) = self.wait_for(workspace)?;
        let EntrySpec { run, env, cwd, terminal } = spec;
        let request = Request::Spawn(Spawn { entry: number, run, env, cwd, terminal });
        if protocol::encode(&request, 0, MAX_REQUEST).is_err() {
            self.forget(number);
            return Err(EnterError::TooLong);
        }
        let control = Control::new(number, self.outgoing.clone(), close);
        // From here on the end of this call, whichever way, closes what was asked for.
        let opening = async {
            self.outgoing.send(Outgoing { request, descriptors }).await.map_err(|_| silent())?;
            answer.await.map_err(|_| silent())
        };
        match timeout(ANSWER, opening).await.map_err(|_| silent()).flatten() {
            Ok(Answer::Started { note }) => {
                let (stdin, stdout, stderr) = (Some(near.stdin), Some(near.stdout), near.stderr);
                Ok(Entry { stdin, stdout, stderr, note, control, exit: Exit(exit) })
            }
            Ok(Answer::Failed { message, code }) => Err(EnterError::Refused { message, code }),
            Err(error) => {
                self.forget(number);
                Err(error)
            }
        }
    }

    /// Ends the connection.
    pub(super) fn hang_up(&self) {
        self.gone.cancel();
    }

    /// Says whether the connection ended.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Returns how many entries are open.
    pub(super) fn entries(&self) -> usize {
        self.waiting().entries.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<(EntryNumber, oneshot::Receiver<Answer>, oneshot::Receiver<End>), EnterError> {
        let mut waiting = self.waiting();
        // Somebody who hung up early leaves a slot that nobody waits for any more.
        waiting.entries.retain(|_, slot| !slot.exit.is_closed());
        if waiting.entries.len() >= MOST_ENTRIES {
            return Err(EnterError::TooMany { workspace: workspace.clone(), most: MOST_ENTRIES });
        }
        waiting.last += 1;
        let number = waiting.last;
        let (answer, answered) = oneshot::channel();
        let (exit, exited) = oneshot::channel();
        waiting.entries.insert(number, Slot { answer: Some(answer), exit });
        Ok((number, answered, exited))
    }

    fn forget(&self, number: EntryNumber) {
        self.waiting().entries.remove(&number);
    }

    /// Hands a reply to who waits for it; one that nobody waits for is nothing.
    fn deliver(&self, reply: Reply) {
        let mut waiting = self.waiting();
        match reply {
            Reply::Started { entry, note } => {
                if let Some(answer) = waiting.entries.get_mut(&entry).and_then(|slot| slot.answer.take()) {
                    let _ = answer.send(Answer::Started { note: note.as_deref().map(harmless) });
                }
            }
            Reply::Failed { entry, message, code } => {
                if let Some(answer) = waiting.entries.remove(&entry).and_then(|slot| slot.answer) {
                    let _ = answer.send(Answer::Failed { message: harmless(&message), code });
                }
            }
            Reply::Exited { entry, end } => {
                if let Some(slot) = waiting.entries.remove(&entry) {
                    let _ = slot.exit.send(end);
                }
            }
            Reply::Hello { .. } => debug!("a helper said hello twice"),
        }
    }
}

/// Makes a text from a container short, and fit for a person's terminal (X4).
fn harmless(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(end, _)| end);
    let mut plain = neutralise(&text.as_bytes()[..end]);
    if end < text.len() {
        plain.push('…');
    }
    plain
}

struct Incoming {
    decoder: Decoder,
}

impl Incoming {
    /// Returns the next frame. No room for descriptors is offered: the kernel drops what a container sends.
    async fn next(&mut self, stream: &UnixStream) -> Result<Frame, Broken> {
        loop {
            if let Some(frame) = self.decoder.take()? {
                if frame.descriptors != 0 {
                    return Err(FrameError::TooManyDescriptors(frame.descriptors).into());
                }
                return Ok(frame);
            }
            stream.readable().await?;
            let mut bytes = [0; 4096];
            match stream.try_read(&mut bytes) {
                Ok(0) => return Err(Broken::HungUp),
                Ok(length) => self.decoder.push(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn send(stream: &UnixStream, outgoing: Outgoing) -> Result<(), Broken> {
    let Outgoing { request, descriptors } = outgoing;
    let count = u8::try_from(descriptors.len()).unwrap_or(u8::MAX);
    let frame = protocol::encode(&request, count, MAX_REQUEST)?;
    timeout(ANSWER, send_all(stream, &frame, descriptors)).await.map_err(|_| Broken::Stuck)?.map_err(Broken::Io)
}

/// Sends a frame; the descriptors go with its first byte and are closed here.
async fn send_all(stream: &UnixStream, mut frame: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let mut descriptors = Some(descriptors).filter(|descriptors| !descriptors.is_empty());
    while !frame.is_empty() {
        let sent = stream.async_io(Interest::WRITABLE, || {
            let numbers: Vec<RawFd> = descriptors.iter().flatten().map(AsRawFd::as_raw_fd).collect();
            let control = [ControlMessage::ScmRights(&numbers)];
            let control = if numbers.is_empty() { &[][..] } else { &control[..] };
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            Ok(sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(frame)], control, flags, None)?)
        });
        frame = &frame[sent.await?..];
        descriptors = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x4_texts_from_a_container_are_short_and_plain() {
        assert_eq!(harmless("a\x1b]0;title\n"), "a\\x1b]0;title\\x0a");
        assert_eq!(harmless(&"é".repeat(1000)).chars().count(), LONGEST_TEXT + 1);
    }
}
