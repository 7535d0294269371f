//! What hearthd and the helper say to each other on the workspace socket; both ends use this file.
//!
//! A frame is the length of its JSON (`u32`, big-endian), the number of descriptors that came with it (`u8`), and the
//! JSON. Descriptors travel from hearthd to the helper only. The first byte of a connection is therefore always 0,
//! which no HTTP request begins with: that is how hearthd tells the helper from one.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of this protocol. hearthd also speaks the one of the previous minor version of hearth.
pub const VERSION: u32 = 1;
/// The longest JSON that hearthd sends: a command line and an environment.
pub const MAX_REQUEST: usize = 1 << 20;
/// The longest JSON that the helper sends, and the most that hearthd keeps of what comes from a container.
pub const MAX_REPLY: usize = 8 << 10;
/// The most descriptors in one frame.
pub const MAX_DESCRIPTORS: usize = 3;

const HEADER: usize = 5;

/// The number of an entry: chosen by hearthd, never used twice on a connection.
pub type EntryNumber = u64;

/// What hearthd asks of the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Start a process on the descriptors of this frame: input, output and, without a terminal, errors.
    Spawn(Spawn),
    Resize {
        entry: EntryNumber,
        size: Size,
    },
    /// Signal the foreground of its terminal, or its process group.
    Signal {
        entry: EntryNumber,
        signal: i32,
    },
    /// Nobody is at the other end any more: end the session and all that is in it.
    Close {
        entry: EntryNumber,
    },
    /// This helper is not wanted; the connection ends after it.
    Refused {
        message: String,
    },
}

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    pub entry: EntryNumber,
    pub run: Run,
    /// Added to the container's own environment, winning over it.
    pub env: Vec<(String, String)>,
    /// Where it starts; `/` if that cannot be entered.
    pub cwd: String,
    pub terminal: Option<Size>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// The user's shell, as a login shell.
    LoginShell,
    /// A program with its arguments as they are; no shell is needed.
    Command(Vec<String>),
    /// A line for the user's shell (`$SHELL -c LINE`).
    Line(String),
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

/// What the helper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    /// The first frame of a connection.
    Hello { protocol: u32, version: String },
    /// The process runs; the note is for the person (a home that could not be entered).
    Started { entry: EntryNumber, note: Option<String> },
    /// It could not be started; the code is the shell's (127 not found, 126 cannot be run).
    Failed { entry: EntryNumber, message: String, code: u8 },
    /// It ended, and all of its terminal's output was written.
    Exited { entry: EntryNumber, end: End },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Code(u8),
    Signal(NonZeroU8),
}

impl End {
    /// Returns the exit code that a shell would show: 128 + n after a signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.get().saturating_add(128),
        }
    }
}

/// What is wrong with a frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("a frame of {length} bytes, where {limit} are the most")]
    TooLong { length: usize, limit: usize },
    #[error("a frame with {0} descriptors")]
    TooManyDescriptors(usize),
    #[error("a frame that makes no sense: {0}")]
    Senseless(String),
}

/// Writes a frame.
pub fn encode(message: &impl Serialize, descriptors: u8, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, message).map_err(|error| FrameError::Senseless(error.to_string()))?;
    let length = frame.len() - HEADER;
    match u32::try_from(length) {
        Ok(header) if length <= limit => frame[..4].copy_from_slice(&header.to_be_bytes()),
        _ => return Err(FrameError::TooLong { length, limit }),
    }
    frame[4] = descriptors;
    Ok(frame)
}

/// A whole frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub descriptors: usize,
    pub json: Vec<u8>,
}

impl Frame {
    /// Reads the JSON.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        // The error's own text quotes what was sent.
        serde_json::from_slice(&self.json).map_err(|error| {
            FrameError::Senseless(format!("{:?} error at column {}", error.classify(), error.column()))
        })
    }
}

/// Puts frames together from pieces; holds at most one frame and one piece.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    buffer: Vec<u8>,
}

impl Decoder {
    /// Makes one that refuses frames longer than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new() }
    }

    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole frame. After an error the connection is of no more use.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, descriptors] = *header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let descriptors = usize::from(descriptors);
        if length > self.limit {
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        if descriptors > MAX_DESCRIPTORS {
            return Err(FrameError::TooManyDescriptors(descriptors));
        }
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let frame = Frame { descriptors, json: json.to_vec() };
        self.buffer.drain(..HEADER + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spawn() -> Request {
        Request::Spawn(Spawn {
            entry: 7,
            run: Run::Command(vec!["ls".into(), "-l\n".into()]),
            env: vec![("TERM".into(), "xterm".into())],
            cwd: "/home/coder".into(),
            terminal: Some(Size { rows: 24, cols: 80 }),
        })
    }

    #[test]
    fn what_is_written_is_read_in_whatever_pieces() {
        let mut bytes = encode(&spawn(), 3, MAX_REQUEST).unwrap();
        bytes.extend(encode(&Request::Close { entry: 7 }, 0, MAX_REQUEST).unwrap());
        for size in [1, 2, 5, 7, bytes.len()] {
            let mut decoder = Decoder::new(MAX_REQUEST);
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.take().unwrap() {
                    seen.push((frame.descriptors, frame.parse::<Request>().unwrap()));
                }
            }
            assert_eq!(seen, [(3, spawn()), (0, Request::Close { entry: 7 })]);
        }
    }

    #[test]
    fn a_connection_begins_with_a_zero_byte() {
        let longest = "x".repeat(MAX_REQUEST - 2);
        assert_eq!(encode(&longest, 0, MAX_REQUEST).unwrap()[0], 0);
        assert!(encode(&format!("{longest}x"), 0, MAX_REQUEST).is_err());
    }

    #[test]
    fn x4_a_giant_frame_is_refused_by_its_header() {
        let mut decoder = Decoder::new(MAX_REPLY);
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert_eq!(decoder.take(), Err(FrameError::TooLong { length: 0xffff_ffff, limit: MAX_REPLY }));
        let mut decoder = Decoder::new(MAX_REPLY);
        decoder.push(&[0, 0, 0, 2, 4]);
        assert_eq!(decoder.take(), Err(FrameError::TooManyDescriptors(4)));
    }

    proptest! {
        #[test]
        fn x4_arbitrary_bytes_neither_panic_nor_grow(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4096), 0..16)) {
            let mut decoder = Decoder::new(MAX_REPLY);
            'connection: for piece in &pieces {
                decoder.push(piece);
                loop {
                    match decoder.take() {
                        Ok(Some(frame)) => drop(frame.parse::<Reply>()),
                        Ok(None) => break,
                        Err(_) => break 'connection,
                    }
                }
                prop_assert!(decoder.buffer.len() < HEADER + MAX_REPLY);
                prop_assert!(decoder.buffer.capacity() <= 2 * (HEADER + MAX_REPLY + 4096));
            }
        }

        #[test]
        fn x4_plausible_lengths_with_arbitrary_json(json in "\\PC{0,200}", descriptors in 0u8..4) {
            let mut decoder = Decoder::new(MAX_REPLY);
            decoder.push(&u32::try_from(json.len()).unwrap().to_be_bytes());
            decoder.push(&[descriptors]);
            decoder.push(json.as_bytes());
            let frame = decoder.take().unwrap().unwrap();
            prop_assert_eq!(&frame.json, json.as_bytes());
            let _ = frame.parse::<Reply>();
            prop_assert_eq!(decoder.take(), Ok(None));
        }
    }
}
