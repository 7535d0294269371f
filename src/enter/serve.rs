//! hearthd's end of `hearth ssh`: frames on one side, an [`Entry`] on the other.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::entries::{Attached, Touch};
use super::entry::{Control, Exit};
use super::frames::{self, CHUNK, Ending, Frame, FrameReader, Open, WINDOW};
use super::{End, EnterError, Entry, Lost};

/// How long a client may take to say what it wants.
const OPEN: Duration = Duration::from_secs(10);
/// How long a client may take to read the last words.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long output is waited for after the process ended, when something else holds its pipes open.
const AFTERGLOW: Duration = Duration::from_millis(250);
const FIRST_READ: usize = 16 << 10;
/// What a client is told whose session ends because hearthd does.
const STOPPING: &str =
    "hearthd stops or restarts, which ended the processes of this session; what runs without it goes on";

/// What [`serve`] is given to serve.
pub struct Opened {
    pub entry: Entry,
    /// Said before anything else, whole lines: warnings of the last build, for example. May be empty.
    pub greeting: String,
    /// What says that somebody is here, until it has ended.
    pub attached: Attached,
    /// Cancelled when hearthd itself ends: what is lost then was not lost by the container.
    pub stopping: CancellationToken,
}

/// How it went, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// The process ended.
    Ended(End),
    /// The container or its helper went away.
    Lost,
    /// The client went away, and the process was ended.
    Left,
    /// There was nothing to enter, or the client made no sense.
    Refused(String),
}

/// Serves a client until its process ended or it went away; in that case the process and its session are ended.
///
/// `stream` is the upgraded connection; `open` makes the entry that the client asks for. Whether the client may do so
/// was checked before.
pub async fn serve<S, F, Fut>(stream: S, open: F) -> Served
where
    S: AsyncRead + AsyncWrite,
    F: FnOnce(Open) -> Fut,
    Fut: Future<Output = Result<Opened, EnterError>>,
{
    let (read, mut write) = tokio::io::split(stream);
    let (out, mut outgoing) = mpsc::channel(8);
    let mut writing = pin!(async move {
        while let Some(frame) = outgoing.recv().await {
            frames::write(&mut write, frame).await?;
        }
        write.shutdown().await.map_err(frames::FrameError::Io)
    });
    let served = tokio::select! {
        served = session(FrameReader::new(read), out, open) => served,
        _ = &mut writing => return Served::Left,
    };
    let _ = timeout(LAST_WORDS, writing).await;
    served
}

async fn session<R, F, Fut>(mut frames: FrameReader<R>, out: mpsc::Sender<Frame>, open: F) -> Served
where
    R: AsyncRead + Unpin,
    F: FnOnce(Open) -> Fut,
    Fut: Future<Output = Result<Opened, EnterError>>,
{
    let Ok(Ok(Some(Frame::Open(request)))) = timeout(OPEN, frames.next()).await else {
        return Served::Refused("the client did not say what it wants".into());
    };
    let Opened { entry, mut greeting, mut attached, stopping } = match open(request).await {
        Ok(opened) => opened,
        Err(error) => return refuse(&out, &error).await,
    };
    let Entry { stdin, stdout, stderr, note, control, exit } = entry;
    if let Some(note) = note {
        greeting.push_str(&note);
        greeting.push('\n');
    }
    if !greeting.is_empty() {
        let _ = out.send(Frame::Message(greeting)).await;
    }
    let _ = out.send(window(WINDOW)).await;
    let (credit, touch) = (Semaphore::new(0), attached.touch());
    let ending = tokio::select! {
        ending = output(stdout, stderr, exit, (&credit, &touch), &out) => ending,
        () = input(&mut frames, stdin, &control, (&credit, &touch), &out) => return Served::Left,
        () = messages(&mut attached, &out) => return Served::Left,
    };
    let (served, ending) = match ending {
        Ok(end) => (Served::Ended(end), Ending::Ended(end)),
        Err(_) if stopping.is_cancelled() => (Served::Lost, Ending::Lost(STOPPING.to_owned())),
        Err(lost) => (Served::Lost, Ending::Lost(lost.to_string())),
    };
    let _ = out.send(Frame::Exit(ending)).await;
    served
}

async fn refuse(out: &mpsc::Sender<Frame>, error: &EnterError) -> Served {
    let code = match error {
        EnterError::Refused { code, .. } => *code,
        EnterError::Closed(_)
        | EnterError::NoHelper(_)
        | EnterError::Silent(_)
        | EnterError::TooMany { .. }
        | EnterError::TooLong
        | EnterError::Pipes { .. }
        | EnterError::Listen { .. } => 1,
    };
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let _ = out.send(Frame::Message(format!("{message}\n"))).await;
    let _ = out.send(Frame::Exit(Ending::Ended(End::Code(code)))).await;
    Served::Refused(message)
}

/// Hands on what the person is to be told.
async fn messages(attached: &mut Attached, out: &mpsc::Sender<Frame>) {
    loop {
        let message = attached.message().await;
        if out.send(Frame::Message(message)).await.is_err() {
            return;
        }
    }
}

/// Sends what the process writes, until it ended and its output with it.
async fn output(
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    exit: Exit,
    flow: (&Semaphore, &Touch),
    out: &mpsc::Sender<Frame>,
) -> Result<End, Lost> {
    let ended = CancellationToken::new();
    let pumps = async {
        tokio::join!(pump(stdout, Frame::Stdout, flow, out, &ended), pump(stderr, Frame::Stderr, flow, out, &ended),)
    };
    let exit = async {
        let end = exit.await;
        ended.cancel();
        end
    };
    tokio::join!(pumps, exit).1
}

async fn pump(
    from: Option<pipe::Receiver>,
    frame: fn(Bytes) -> Frame,
    (credit, touch): (&Semaphore, &Touch),
    out: &mpsc::Sender<Frame>,
    ended: &CancellationToken,
) {
    let Some(mut from) = from else { return };
    let mut buffer = BytesMut::new();
    let mut size = FIRST_READ;
    let mut patience = AFTERGLOW;
    loop {
        buffer.reserve(size);
        let mut room = (&mut buffer).limit(size);
        let read = from.read_buf(&mut room);
        let read = if ended.is_cancelled() {
            // All that the process wrote is in the pipe; only what it left behind can still come.
            let start = Instant::now();
            let read = timeout(patience, read).await;
            patience = patience.saturating_sub(start.elapsed());
            let Ok(read) = read else { return };
            read
        } else {
            tokio::select! {
                read = read => read,
                () = ended.cancelled() => continue,
            }
        };
        let Ok(length @ 1..) = read else { return };
        touch.touched();
        if length == size {
            size = (2 * size).min(CHUNK);
        }
        let Ok(permits) = credit.acquire_many(u32::try_from(length).unwrap_or(u32::MAX)).await else { return };
        permits.forget();
        if out.send(frame(buffer.split().freeze())).await.is_err() {
            return;
        }
    }
}

/// Does what the client says until it goes away.
async fn input<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    mut stdin: Option<pipe::Sender>,
    control: &Control,
    (credit, touch): (&Semaphore, &Touch),
    out: &mpsc::Sender<Frame>,
) {
    let mut pending = BytesMut::new();
    let mut ended = false;
    let mut taken = 0;
    loop {
        if ended && pending.is_empty() {
            stdin = None;
        }
        let writing = async {
            match &mut stdin {
                Some(stdin) if !pending.is_empty() => stdin.write(&pending).await,
                Some(_) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            frame = frames.next() => match frame {
                Ok(Some(Frame::Stdin(bytes))) => {
                    if ended || pending.len() + bytes.len() > WINDOW {
                        return;
                    }
                    touch.touched();
                    taken += take(bytes, stdin.as_mut(), &mut pending);
                }
                Ok(Some(Frame::StdinEof)) => ended = true,
                Ok(Some(Frame::Resize(size))) => control.resize(size).await,
                Ok(Some(Frame::Signal(signal))) => control.signal(signal).await,
                Ok(Some(Frame::Window(more))) => {
                    let more = usize::try_from(more).unwrap_or(usize::MAX);
                    if more > 4 * WINDOW || credit.available_permits() > 4 * WINDOW {
                        return;
                    }
                    credit.add_permits(more);
                }
                Ok(Some(Frame::Open(_) | Frame::Stdout(_) | Frame::Stderr(_) | Frame::Message(_) | Frame::Exit(_)) | None)
                | Err(_) => return,
            },
            written = writing => match written {
                Ok(length) => {
                    pending.advance(length);
                    taken += length;
                }
                Err(_) => (stdin, pending) = (None, BytesMut::new()),
            },
        }
        if taken >= WINDOW / 4 {
            let _ = out.send(window(taken)).await;
            taken = 0;
        }
    }
}

/// Hands input on as far as the process takes it at once and keeps the rest. Returns how much went.
fn take(mut bytes: Bytes, stdin: Option<&mut pipe::Sender>, pending: &mut BytesMut) -> usize {
    let Some(stdin) = stdin else { return 0 };
    let mut taken = 0;
    if pending.is_empty() {
        // An error shows again at the next write, which waits.
        taken = stdin.try_write(&bytes).unwrap_or(0);
        bytes.advance(taken);
    }
    pending.extend_from_slice(&bytes);
    taken
}

fn window(bytes: usize) -> Frame {
    Frame::Window(u32::try_from(bytes).unwrap_or(u32::MAX))
}
