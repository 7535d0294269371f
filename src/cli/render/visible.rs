//! Text that comes from elsewhere, in lines that do nothing to a terminal (rule X4).

use crate::model::neutralise;

/// The longest line that is kept whole; what is longer is broken.
const MAX_LINE: usize = 16 * 1024;

/// Returns a text of one line with nothing in it that a terminal would obey.
pub(crate) fn line(text: &str) -> String {
    neutralise(text.replace(['\n', '\t'], " ").as_bytes())
}

/// Returns a text of several lines, each as [`line`] makes it.
pub(crate) fn text(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Cuts a stream of bytes into harmless lines, however it arrives.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes bytes and calls `each` with every line that is complete.
    pub(crate) fn push<E>(&mut self, bytes: &[u8], mut each: impl FnMut(String) -> Result<(), E>) -> Result<(), E> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (body, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |body| (body, true));
            let mut body = body;
            while self.partial.len() + body.len() > MAX_LINE {
                let (now, later) = body.split_at(MAX_LINE - self.partial.len());
                self.partial.extend_from_slice(now);
                body = later;
                each(self.take())?;
            }
            self.partial.extend_from_slice(body);
            if ended {
                each(self.take())?;
            }
        }
        Ok(())
    }

    /// Returns what came without a line end, at the end of the stream.
    pub(crate) fn finish(mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    /// A progress bar redraws its line behind a carriage return: its last drawing is kept.
    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.partial);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        let last = bytes.rsplit(|byte| *byte == b'\r').next().unwrap_or(bytes);
        neutralise(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x4_a_terminal_obeys_nothing_in_it() {
        assert_eq!(line("a\x1b]0;title\x07\nb\x1b[31m"), "a\\x1b]0;title\\x07 b");
        assert_eq!(text("one\ntwo\x07"), "one\ntwo\\x07");
    }

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut seen = vec![];
        let mut lines = Lines::default();
        for chunk in chunks {
            let kept: Result<(), ()> = lines.push(chunk, |line| {
                seen.push(line);
                Ok(())
            });
            kept.unwrap();
        }
        seen.extend(lines.finish());
        seen
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        let all: &[u8] = b"one\r\ntw\xff\to\n 10%\r 100%\n\nend";
        let expected = ["one", "tw\u{fffd}\to", " 100%", "", "end"];
        assert_eq!(cut(&[all]), expected);
        assert_eq!(cut(&all.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn x4_a_line_without_end_is_broken() {
        let pieces = cut(&[&vec![b'x'; MAX_LINE * 2 + 5]]);
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 5]);
    }
}
