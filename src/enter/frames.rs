//! What `hearth ssh` and hearthd say to each other after `POST …/enter` was upgraded to [`PROTOCOL`].
//!
//! A frame is its kind (`u8`), the length of its payload (`u32`, big-endian) and the payload. The client begins with
//! `Open`. Input flows as far as the server's `Window` frames allow, output as far as the client's do, so that one
//! direction never holds up the other, nor a resize, a signal or the end of either side.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{End, Run, Size};

/// The name in the HTTP upgrade.
pub const PROTOCOL: &str = "hearth-enter/1";
/// The most bytes of input or output in one frame.
pub(super) const CHUNK: usize = 256 << 10;
/// How many bytes may be on their way in each direction.
pub(super) const WINDOW: usize = 1 << 20;
/// The longest payload: a command line and its environment.
const LONGEST: usize = 1 << 20;
const HEADER: usize = 5;

/// The first frame of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub run: Run,
    /// A terminal of that size, else clean pipes.
    pub terminal: Option<Size>,
    /// What the client would like to set; [`environment`](Self::environment) is what it may.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Open {
    /// Returns the variables that a client may set: its terminal and its language.
    pub fn environment(&self) -> impl Iterator<Item = (String, String)> {
        let permitted = self.env.iter().filter(|(name, value)| {
            is_permitted(name) && value.len() <= 256 && !value.contains(|c: char| c.is_control())
        });
        permitted.take(32).map(|(name, value)| (name.clone(), value.clone()))
    }
}

/// Says whether a client may set a variable.
pub(super) fn is_permitted(name: &str) -> bool {
    let language = name.strip_prefix("LC_").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_uppercase()));
    language || matches!(name, "TERM" | "COLORTERM" | "LANG" | "LANGUAGE")
}

/// How it ended, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    Ended(End),
    /// The container or its helper went away under it; the text is for the person.
    Lost(String),
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Open(Open),
    Stdin(Bytes),
    StdinEof,
    Resize(Size),
    Signal(i32),
    Stdout(Bytes),
    Stderr(Bytes),
    /// Text for the person, whole lines.
    Message(String),
    Exit(Ending),
    /// So many more bytes may be sent.
    Window(u32),
}

/// What is wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes")]
    TooLong(usize),
    #[error("a frame of the unknown kind {0}")]
    Unknown(u8),
    #[error("a frame that makes no sense: {0}")]
    Senseless(#[from] serde_json::Error),
    #[error("a frame that is cut off")]
    CutOff,
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Stdin(_) => 2,
            Self::StdinEof => 3,
            Self::Resize(_) => 4,
            Self::Signal(_) => 5,
            Self::Window(_) => 6,
            Self::Stdout(_) => 65,
            Self::Stderr(_) => 66,
            Self::Message(_) => 67,
            Self::Exit(_) => 68,
        }
    }

    fn payload(self) -> Result<Bytes, FrameError> {
        Ok(match self {
            Self::Open(open) => serde_json::to_vec(&open)?.into(),
            Self::Stdin(bytes) | Self::Stdout(bytes) | Self::Stderr(bytes) => bytes,
            Self::StdinEof => Bytes::new(),
            Self::Resize(size) => serde_json::to_vec(&size)?.into(),
            Self::Signal(signal) => Bytes::copy_from_slice(&signal.to_be_bytes()),
            Self::Window(bytes) => Bytes::copy_from_slice(&bytes.to_be_bytes()),
            Self::Message(text) => text.into(),
            Self::Exit(ending) => serde_json::to_vec(&ending)?.into(),
        })
    }

    fn parse(kind: u8, mut payload: Bytes) -> Result<Self, FrameError> {
        Ok(match kind {
            1 => Self::Open(serde_json::from_slice(&payload)?),
            2 => Self::Stdin(payload),
            3 => Self::StdinEof,
            4 => Self::Resize(serde_json::from_slice(&payload)?),
            5 => Self::Signal(payload.try_get_i32().map_err(|_| FrameError::CutOff)?),
            6 => Self::Window(payload.try_get_u32().map_err(|_| FrameError::CutOff)?),
            65 => Self::Stdout(payload),
            66 => Self::Stderr(payload),
            67 => Self::Message(String::from_utf8_lossy(&payload).into_owned()),
            68 => Self::Exit(serde_json::from_slice(&payload)?),
            _ => return Err(FrameError::Unknown(kind)),
        })
    }
}

/// Reads frames.
pub(super) struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new() }
    }

    /// Returns the next frame, `None` at the end. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let missing = match self.buffer.get(..HEADER) {
                Some(&[kind, a, b, c, d]) => {
                    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                    if length > LONGEST {
                        return Err(FrameError::TooLong(length));
                    }
                    if self.buffer.len() >= HEADER + length {
                        self.buffer.advance(HEADER);
                        return Frame::parse(kind, self.buffer.split_to(length).freeze()).map(Some);
                    }
                    HEADER + length - self.buffer.len()
                }
                _ => HEADER,
            };
            // Little at first, much as soon as much comes; memory follows what arrives, not what a header promises.
            let room = missing.clamp(8 << 10, CHUNK + HEADER);
            self.buffer.reserve(room);
            if self.from.read_buf(&mut (&mut self.buffer).limit(room)).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::CutOff) };
            }
        }
    }
}

/// Writes a frame.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), frame: Frame) -> Result<(), FrameError> {
    let kind = frame.kind();
    let mut payload = frame.payload()?;
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= LONGEST);
    let length = length.ok_or(FrameError::TooLong(payload.len()))?;
    let [a, b, c, d] = length.to_be_bytes();
    let header = [kind, a, b, c, d];
    let mut header = &header[..];
    while !header.is_empty() {
        let written = to.write_vectored(&[IoSlice::new(header), IoSlice::new(&payload)]).await?;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        let of_header = written.min(header.len());
        header.advance(of_header);
        payload.advance(written - of_header);
    }
    to.write_all(&payload).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use proptest::prelude::*;

    use super::*;

    fn frames() -> Vec<Frame> {
        let env = BTreeMap::from([("TERM".into(), "xterm".into())]);
        vec![
            Frame::Open(Open { run: Run::LoginShell, terminal: Some(Size { rows: 2, cols: 3 }), env }),
            Frame::Stdin(Bytes::from_static(b"abc")),
            Frame::Stdin(vec![7; 2 * CHUNK].into()),
            Frame::StdinEof,
            Frame::Resize(Size { rows: 24, cols: 80 }),
            Frame::Signal(15),
            Frame::Window(77),
            Frame::Stdout(Bytes::from_static(b"out")),
            Frame::Stderr(Bytes::from_static(b"")),
            Frame::Message("it is\n".into()),
            Frame::Exit(Ending::Ended(End::Signal(NonZeroU8::MIN))),
            Frame::Exit(Ending::Lost("gone".into())),
        ]
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let (mut near, far) = tokio::io::duplex(1000);
        let mut reader = FrameReader::new(far);
        let writing = async {
            for frame in frames() {
                write(&mut near, frame).await.unwrap();
            }
            drop(near);
        };
        let reading = async {
            let mut seen = Vec::new();
            while let Some(frame) = reader.next().await.unwrap() {
                seen.push(frame);
            }
            seen
        };
        let ((), seen) = tokio::join!(writing, reading);
        assert!(seen == frames());
    }

    #[test]
    fn a_client_may_set_its_terminal_and_language_only() {
        let env = [("TERM", "xterm"), ("LC_ALL", "C"), ("LD_PRELOAD", "x"), ("LC_A=", "x"), ("LANG", "a\nb")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let open = Open { run: Run::LoginShell, terminal: None, env };
        let names: Vec<_> = open.environment().map(|(name, _)| name).collect();
        assert_eq!(names, ["LC_ALL", "TERM"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_grow(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut reader = FrameReader::new(&bytes[..]);
                while let Ok(Some(_)) = reader.next().await {}
                assert!(reader.buffer.capacity() < 20_000 + 4 * CHUNK);
            });
        }
    }
}
