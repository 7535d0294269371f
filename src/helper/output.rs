//! What a hook prints: streamed to hearthd, kept in a log in the home, bounded (rule H4).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use super::facts::is_full;
use crate::model::output_line;

/// No more of one hook's output is kept from its beginning.
pub(super) const LIMIT: u64 = 10 << 20;
/// So much is always known of its end.
const RECENT: usize = 16 << 10;
/// A pipe that is ready takes so much without blocking (PIPE_BUF).
const ATOMIC: usize = 4096;
/// With so much waiting for hearthd, the hook waits too.
const PENDING: usize = 64 << 10;
const TAIL_LINES: usize = 20;
const TAIL_LINE: usize = 400;

/// Where the output of one hook goes.
#[derive(Debug)]
pub(super) struct Output<W> {
    to: Option<W>,
    log: Option<File>,
    log_is_full: bool,
    /// Taken, not yet given to `to`.
    pending: VecDeque<u8>,
    kept: u64,
    left_out: u64,
    recent: VecDeque<u8>,
    limit: u64,
}

impl<W: Write + AsFd> Output<W> {
    /// Returns an output to `to` and `log`.
    pub(super) fn new(to: W, log: Option<File>, limit: u64) -> Self {
        let (pending, recent) = (VecDeque::new(), VecDeque::new());
        Self { to: Some(to), log, log_is_full: false, pending, kept: 0, left_out: 0, recent, limit }
    }

    /// Takes a line of hearth's own.
    pub(super) fn say(&mut self, line: &str) {
        self.take(format!("hearth: {line}\n").as_bytes());
    }

    /// Takes a piece of output.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.recent.extend(bytes.iter().rev().take(RECENT).rev());
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX);
        let (kept, rest) = bytes.split_at(bytes.len().min(room));
        self.kept += kept.len() as u64;
        self.give(kept);
        if self.left_out == 0 && !rest.is_empty() {
            let note = format!("\nhearth: the output is longer than {} MiB; the rest is left out\n", self.limit >> 20);
            self.give(note.as_bytes());
        }
        self.left_out += rest.len() as u64;
    }

    /// Takes what a pipe holds, at most one piece; returns whether there may be more of it.
    pub(super) fn take_from(&mut self, pipe: &mut impl Read) -> io::Result<Took> {
        let mut buffer = [0; 32 << 10];
        match pipe.read(&mut buffer) {
            Ok(0) => Ok(Took::End),
            Ok(n) => {
                self.take(&buffer[..n]);
                Ok(Took::Some)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Took::Nothing),
            Err(error) => Err(error),
        }
    }

    fn give(&mut self, bytes: &[u8]) {
        if self.to.is_some() {
            self.pending.extend(bytes);
        }
        // A full home does not stop the hook (rule H5).
        if let Some(log) = &mut self.log
            && let Err(error) = log.write_all(bytes)
        {
            self.log_is_full = is_full(&error);
            self.log = None;
        }
    }

    /// Returns whether more may be taken before some was given on.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < PENDING
    }

    /// Returns what to wait for until it can be written to.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// Writes on as much as is taken without blocking by a pipe that is ready.
    pub(super) fn write_some(&mut self) {
        let Some(to) = &mut self.to else { return };
        let (front, _) = self.pending.as_slices();
        match to.write(&front[..front.len().min(ATOMIC)]).and_then(|n| to.flush().map(|()| n)) {
            Ok(n) => drop(self.pending.drain(..n)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // Nobody listens any more; the hook and its log go on.
            Err(_) => {
                self.to = None;
                self.pending.clear();
            }
        }
    }

    /// Writes the rest: what is left out in the middle of, its end.
    pub(super) fn finish(&mut self) {
        if self.left_out > 0 {
            let known = usize::try_from(self.left_out).map_or(RECENT, |left_out| left_out.min(RECENT));
            let end: Vec<u8> = self.recent.iter().skip(self.recent.len().saturating_sub(known)).copied().collect();
            let missing = (self.left_out - end.len() as u64) >> 10;
            let note = format!("hearth: {missing} KiB were left out; its last lines:\n");
            self.give(note.as_bytes());
            self.give(&end);
        }
        while self.waits_for().is_some() {
            self.write_some();
        }
    }

    /// Returns whether the home had no room for the log.
    pub(super) fn log_is_full(&self) -> bool {
        self.log_is_full
    }

    /// Returns whether the end of the output holds a text.
    pub(super) fn ends_with_talk_of(&self, text: &str) -> bool {
        let recent: Vec<u8> = self.recent.iter().copied().collect();
        String::from_utf8_lossy(&recent).contains(text)
    }

    /// Returns the last lines.
    pub(super) fn tail(&self) -> Vec<String> {
        let recent: Vec<u8> = self.recent.iter().copied().collect();
        let text = recent.strip_suffix(b"\n").unwrap_or(&recent);
        if text.is_empty() {
            return vec![];
        }
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines[first..].iter().map(|line| output_line(line).chars().take(TAIL_LINE).collect()).collect()
    }
}

/// What came of reading from a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    Some,
    Nothing,
    End,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes the pieces and writes some after each; returns what arrived and what is in the log.
    fn run(limit: u64, pieces: &[impl AsRef<[u8]>]) -> (Vec<u8>, Vec<u8>, Output<File>) {
        let [to, log] = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let mut output = Output::new(to.try_clone().unwrap(), Some(log.try_clone().unwrap()), limit);
        for piece in pieces {
            output.take(piece.as_ref());
            if output.waits_for().is_some() {
                output.write_some();
            }
        }
        output.finish();
        let read = |mut file: File| {
            let mut bytes = vec![];
            std::io::Seek::rewind(&mut file).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        (read(to), read(log), output)
    }

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    /// What is to arrive of a whole output, however it came in pieces.
    fn expected(limit: usize, whole: &[u8]) -> Vec<u8> {
        if whole.len() <= limit {
            return whole.to_vec();
        }
        let (kept, left_out) = whole.split_at(limit);
        let end = &left_out[left_out.len().saturating_sub(RECENT)..];
        let missing = (left_out.len() - end.len()) >> 10;
        let too_long = format!("\nhearth: the output is longer than {} MiB; the rest is left out\n", limit >> 20);
        let note = format!("hearth: {missing} KiB were left out; its last lines:\n");
        [kept, too_long.as_bytes(), note.as_bytes(), end].concat()
    }

    proptest! {
        #[test]
        fn h4_output_arrives_whole_and_bounded_however_it_comes_in_pieces(
            limit in 0..60_000usize,
            pieces in prop::collection::vec(
                prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(vec![b'x'; 9000]), Just(b"a line\n".repeat(700))],
                0..20,
            ),
        ) {
            let (to, log, output) = run(limit as u64, &pieces);
            let whole = pieces.concat();
            prop_assert!(to == expected(limit, &whole), "{} of {} bytes arrived", to.len(), whole.len());
            prop_assert!(log == to);
            prop_assert!(to.len() <= limit + RECENT + 200);
            let tail = output.tail();
            prop_assert!(tail.len() <= TAIL_LINES && tail.iter().all(|line| line.chars().count() <= TAIL_LINE));
            prop_assert!(!tail.iter().any(|line| line.contains(|c: char| c.is_control() && c != '\t')));
        }
    }

    #[test]
    fn h4_output_goes_to_both_places() {
        let (to, log, output) = run(100, &[b"one\n", b"two\n"]);
        assert_eq!(text(&to), "one\ntwo\n");
        assert_eq!(log, to);
        assert_eq!(output.tail(), ["one", "two"]);
    }

    #[test]
    fn h4_endless_output_is_cut_with_a_note_and_its_end_is_known() {
        let line = b"0123456789\n";
        let mut pieces: Vec<&[u8]> = vec![&line[..]; 20_000];
        pieces.push(b"the reason\n");
        let (to, log, output) = run(100_000, &pieces);
        assert!(to.len() < 100_000 + 20_000, "{}", to.len());
        assert!(text(&to).contains("left out"), "no note");
        assert!(to.ends_with(b"the reason\n"));
        assert_eq!(log, to);
        assert_eq!(output.tail().len(), 20);
        assert_eq!(output.tail()[19], "the reason");
    }

    #[test]
    fn h4_a_little_too_much_is_whole_but_for_the_note() {
        let (to, _, _) = run(4, &[b"abcdefgh"]);
        let to = text(&to);
        assert!(to.starts_with("abcd\n"), "{to}");
        assert!(to.ends_with("\nefgh"), "{to}");
    }

    #[test]
    fn l8_the_tail_is_bounded_and_readable() {
        let long = vec![b'x'; 5000];
        let (_, _, output) = run(LIMIT, &[&b"10%\r20%\r100%\r\n\x1b[31mred\x1b[0m\n\xff\n"[..], &long]);
        let tail = output.tail();
        assert_eq!(tail[..3], ["100%", "red", "\u{fffd}"]);
        assert_eq!(tail[3].len(), TAIL_LINE);
    }

    #[test]
    fn h5_a_log_that_cannot_be_written_does_not_stop_the_hook() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut output = Output::new(File::options().write(true).open("/dev/null").unwrap(), Some(full), 100);
        output.take(b"text\n");
        output.finish();
        assert!(output.log_is_full());
        assert_eq!(output.tail(), ["text"]);
    }
}
