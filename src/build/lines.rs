//! A program's output in lines fit for a terminal (rule X4), whatever pieces it came in.

use std::collections::VecDeque;

use crate::model::output_line;

/// A longer line is broken.
const LONGEST: usize = 8 << 10;
const TAIL_LINES: usize = 20;
/// A longer line is cut in a tail.
const TAIL_LINE: usize = 400;

/// Puts pieces together to lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes a piece; returns the lines that it completes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = vec![];
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(LONGEST) {
                if self.partial.len() + part.len() > LONGEST {
                    lines.extend(self.end());
                }
                self.partial.extend(part);
            }
            if self.partial.ends_with(b"\n") {
                self.partial.pop();
                lines.push(output_line(&self.partial));
                self.partial.clear();
            }
        }
        lines
    }

    /// Returns what came after the last line.
    pub(super) fn end(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then(|| output_line(&rest))
    }
}

/// The last lines of an output, as a warning carries them (rule L8).
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<String>);

impl Tail {
    /// Takes a line.
    pub(super) fn push(&mut self, line: &str) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(cut(line));
    }

    /// Returns the lines.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

/// Returns a line no longer than a warning shows.
pub(super) fn cut(line: &str) -> String {
    match line.char_indices().nth(TAIL_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found: Vec<String> = pieces.iter().flat_map(|piece| lines.push(piece)).collect();
        found.extend(lines.end());
        found
    }

    #[test]
    fn x4_lines_are_bounded_and_neutralised() {
        assert_eq!(all(&[b"one\ntw", b"o\n\nrest"]), ["one", "two", "", "rest"]);
        assert_eq!(all(&[b"a\x1b[0m\x07\r\n"]), ["a\\x07"]);
        let long = vec![b'x'; 3 * LONGEST + 1];
        assert_eq!(
            all(&[&long, b"\nnext\n"]).iter().map(String::len).collect::<Vec<_>>(),
            [LONGEST, LONGEST, LONGEST, 1, 4]
        );
    }

    #[test]
    fn l8_the_tail_is_the_last_twenty_lines() {
        let mut tail = Tail::default();
        (0..30).for_each(|n| tail.push(&n.to_string()));
        tail.push(&"é".repeat(1000));
        let lines = tail.into_lines();
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[0], "11");
        assert_eq!(lines[19].chars().count(), TAIL_LINE + 1);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(proptest::sample::select(b"ab\n\r\xc3\xa9".to_vec()), 0..100), at in 0usize..100) {
            let at = at.min(bytes.len());
            prop_assert_eq!(all(&[&bytes[..at], &bytes[at..]]), all(&[&bytes]));
        }
    }
}
