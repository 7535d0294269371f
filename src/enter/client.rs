//! The client's end of `hearth ssh`: the terminal or the pipes of this process on one side, frames on the other.
//!
//! Local input and output are blocking and may be files, so each has a thread; frames are read and written on the
//! caller's. What the server may send and what may be read locally is bounded by windows, whoever is slow.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU8;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nix::fcntl::{FcntlArg, fcntl};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::End;
use super::entry::PIPE_SIZE;
use super::frames::{self, CHUNK, Ending, Frame, FrameReader, Open, WINDOW};
use super::terminal::{self, RawMode, Signals, Told};

/// How long a process may take to end by a signal that was passed on, when this process was told to end.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// Where input comes from and output goes to.
pub struct Local {
    /// `None` is end-of-file at once.
    pub input: Option<Box<dyn Read + Send>>,
    pub output: Box<dyn Write + Send>,
    pub errors: Box<dyn Write + Send>,
    /// Whether it is this process's own terminal and signals that count.
    pub own: bool,
}

impl Local {
    /// Returns the standard streams of this process, unbuffered.
    pub fn standard() -> io::Result<Self> {
        for end in [io::stdin().as_fd(), io::stdout().as_fd()] {
            // Only pipes have a size, and one that stays as it is does too.
            let _ = fcntl(end, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        }
        Ok(Self {
            input: Some(Box::new(File::from(io::stdin().as_fd().try_clone_to_owned()?))),
            output: Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            errors: Box::new(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
            own: true,
        })
    }
}

/// Returns what of this process's environment goes along: its terminal and its language.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars().filter(|(name, _)| frames::is_permitted(name)).collect()
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Ended(End),
    /// The connection to hearthd or the container was lost; the text says which.
    Lost(String),
}

impl Outcome {
    /// Returns the exit code for the shell: the process's own, 128 + n after a signal, 3 when it was lost.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ended(end) => end.exit_code(),
            Self::Lost(_) => 3,
        }
    }
}

/// Runs what `open` says over an upgraded connection, to its end.
///
/// With a terminal in `open`, this process's terminal is in raw mode meanwhile, follows its size, and is restored on
/// every way out. Without one, SIGINT, SIGQUIT, SIGTERM and SIGHUP are passed on once, and end this process the second
/// time.
pub async fn attach(stream: impl AsyncRead + AsyncWrite, open: Open, local: Local) -> io::Result<Outcome> {
    let interactive = open.terminal.is_some();
    let raw = if interactive && local.own { RawMode::enter()? } else { None };
    let signals = local.own.then(Signals::catch).transpose()?;
    let (read, mut write) = tokio::io::split(stream);
    let (out, mut outgoing) = mpsc::channel(8);
    let session = Session {
        out: out.clone(),
        credit: Arc::default(),
        output: Sink::new(local.output, out.clone()),
        errors: Sink::new(local.errors, out.clone()),
        interactive,
        raw,
    };
    let writing = async {
        while let Some(frame) = outgoing.recv().await {
            if frames::write(&mut write, frame).await.is_err() {
                break;
            }
        }
        // The reading side learns why.
        std::future::pending().await
    };
    let _ = out.send(Frame::Open(open)).await;
    let _ = out.send(Frame::Window(u32::try_from(WINDOW).unwrap_or(u32::MAX))).await;
    session.start_input(local.input);
    Ok(tokio::select! {
        outcome = session.run(FrameReader::new(read)) => outcome,
        outcome = session.obey(signals) => outcome,
        outcome = writing => outcome,
    })
}

struct Session {
    out: mpsc::Sender<Frame>,
    credit: Arc<Credit>,
    output: Sink,
    errors: Sink,
    interactive: bool,
    raw: Option<RawMode>,
}

impl Session {
    fn start_input(&self, input: Option<Box<dyn Read + Send>>) {
        let (out, credit) = (self.out.clone(), self.credit.clone());
        std::thread::spawn(move || {
            if let Some(input) = input {
                read_input(input, &credit, &out);
            }
            let _ = out.blocking_send(Frame::StdinEof);
        });
    }

    /// Takes frames until the process ended and its output was written.
    async fn run(&self, mut frames: FrameReader<impl AsyncRead + Unpin>) -> Outcome {
        let mut failed = self.output.failed.clone();
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                // Nobody reads our output: we end as any program in a pipeline does.
                _ = failed.wait_for(|failed| *failed) => return Outcome::Ended(by_signal(libc::SIGPIPE)),
            };
            match frame {
                Ok(Some(Frame::Stdout(bytes))) => self.output.put(bytes),
                Ok(Some(Frame::Stderr(bytes))) => self.errors.put(bytes),
                Ok(Some(Frame::Message(text))) => self.say(&text),
                Ok(Some(Frame::Window(more))) => self.credit.add(more),
                Ok(Some(Frame::Exit(ending))) => {
                    self.output.finish().await;
                    self.errors.finish().await;
                    return match ending {
                        Ending::Ended(end) => Outcome::Ended(end),
                        Ending::Lost(text) => Outcome::Lost(text),
                    };
                }
                Ok(None) => return Outcome::Lost("hearthd closed the connection, and the processes were ended".into()),
                Ok(Some(Frame::Open(_) | Frame::Stdin(_) | Frame::StdinEof | Frame::Resize(_) | Frame::Signal(_))) => {
                    return Outcome::Lost("hearthd does not speak this hearth's protocol".into());
                }
                Err(error) => return Outcome::Lost(format!("the connection to hearthd broke: {error}")),
            }
        }
    }

    fn say(&self, text: &str) {
        match self.raw {
            Some(_) => self.errors.put_own(text.replace('\n', "\r\n")),
            None => self.errors.put_own(text.to_owned()),
        }
    }

    /// Does what this process is told by signals, until one is to end it.
    async fn obey(&self, signals: Option<Signals>) -> Outcome {
        let Some(mut signals) = signals else { return std::future::pending().await };
        let mut passed_on = self.interactive;
        loop {
            match signals.next().await {
                Told::Resized => {
                    if let Some(size) = terminal::size().filter(|_| self.interactive) {
                        let _ = self.out.send(Frame::Resize(size)).await;
                    }
                }
                Told::Continued => {
                    if let Some(raw) = &self.raw {
                        raw.again();
                    }
                }
                Told::Signalled(number) if passed_on => return Outcome::Ended(by_signal(number)),
                Told::Signalled(number) => {
                    passed_on = true;
                    let _ = self.out.send(Frame::Signal(number)).await;
                    if matches!(number, libc::SIGTERM | libc::SIGHUP) {
                        sleep(LAST_CHANCE).await;
                        return Outcome::Ended(by_signal(number));
                    }
                }
            }
        }
    }
}

fn by_signal(number: i32) -> End {
    u8::try_from(number).ok().and_then(NonZeroU8::new).map_or(End::Code(1), End::Signal)
}

/// Reads local input as far as the server takes it.
fn read_input(mut input: impl Read, credit: &Credit, out: &mpsc::Sender<Frame>) {
    let mut buffer = BytesMut::new();
    loop {
        let most = credit.wait().min(CHUNK);
        // What was sent gives its room back; only new room is filled with zeros.
        if buffer.len() < most {
            buffer.resize(CHUNK, 0);
        }
        match input.read(&mut buffer[..most]) {
            Ok(0) => return,
            Ok(length) => {
                credit.spend(length);
                if out.blocking_send(Frame::Stdin(buffer.split_to(length).freeze())).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(_) => return,
        }
    }
}

/// How much input the server takes.
#[derive(Default)]
struct Credit {
    bytes: Mutex<usize>,
    more: Condvar,
}

impl Credit {
    fn add(&self, more: u32) {
        *lock(&self.bytes) += usize::try_from(more).unwrap_or(0);
        self.more.notify_one();
    }

    fn wait(&self) -> usize {
        let mut bytes = lock(&self.bytes);
        while *bytes == 0 {
            bytes = self.more.wait(bytes).unwrap_or_else(PoisonError::into_inner);
        }
        *bytes
    }

    fn spend(&self, length: usize) {
        let mut bytes = lock(&self.bytes);
        *bytes = bytes.saturating_sub(length);
    }
}

/// Local output. It holds what the window lets the server send; its thread writes that and tells the server.
struct Sink {
    shared: Arc<Shared>,
    failed: tokio::sync::watch::Receiver<bool>,
    finished: Mutex<Option<oneshot::Receiver<()>>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    pieces: Vec<Bytes>,
    /// How many of their bytes count against the server's window.
    counted: usize,
    over: bool,
}

impl Sink {
    fn new(to: Box<dyn Write + Send>, out: mpsc::Sender<Frame>) -> Self {
        let shared = Arc::<Shared>::default();
        let (failed, failure) = tokio::sync::watch::channel(false);
        let (done, finished) = oneshot::channel();
        let theirs = shared.clone();
        std::thread::spawn(move || {
            if theirs.write_all(to, &out).is_err() {
                let _ = failed.send(true);
            }
            let _ = done.send(());
        });
        Self { shared, failed: failure, finished: Mutex::new(Some(finished)) }
    }

    fn put(&self, piece: Bytes) {
        let counted = piece.len();
        self.add(piece, counted);
    }

    /// Puts what the server did not count.
    fn put_own(&self, piece: String) {
        self.add(piece.into(), 0);
    }

    fn add(&self, piece: Bytes, counted: usize) {
        let mut waiting = lock(&self.shared.waiting);
        waiting.pieces.push(piece);
        waiting.counted += counted;
        self.shared.changed.notify_one();
    }

    /// Waits until all is written.
    async fn finish(&self) {
        lock(&self.shared.waiting).over = true;
        self.shared.changed.notify_one();
        let finished = lock(&self.finished).take();
        if let Some(finished) = finished {
            let _ = finished.await;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        lock(&self.shared.waiting).over = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn write_all(&self, mut to: impl Write, out: &mpsc::Sender<Frame>) -> io::Result<()> {
        loop {
            let mut waiting = lock(&self.waiting);
            while waiting.pieces.is_empty() {
                if waiting.over {
                    return Ok(());
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let pieces = std::mem::take(&mut waiting.pieces);
            let counted = std::mem::take(&mut waiting.counted);
            drop(waiting);
            for piece in pieces {
                to.write_all(&piece)?;
            }
            if counted > 0 {
                let _ = out.blocking_send(Frame::Window(u32::try_from(counted).unwrap_or(u32::MAX)));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
