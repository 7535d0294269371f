//! Text from inside a container, made fit for a terminal (rule X4). The one place that decides what that means.
//!
//! Colours and cursor movements (`ESC [ … letter`) are dropped whole, for build tools print them by the thousand. Any
//! other control character stays visible as `\x1b`: nothing that could act on a terminal gets through, and
//! nothing that somebody tried to hide disappears.

use std::fmt::Write;

/// Returns bytes as one line that does nothing to a terminal: UTF-8 and tabs stay, what is not UTF-8 becomes `�`.
pub fn neutralise(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\x1b'
            && let Some(after) = after_csi(rest.as_str())
        {
            rest = after.chars();
        } else if is_harmless(c) {
            out.push(c);
        } else if u32::from(c) < 0x100 {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
    out
}

/// Returns a line of a program's output as it would stand on a terminal in the end: what a carriage return takes back,
/// as progress bars do, is gone.
pub fn output_line(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    neutralise(line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default())
}

/// What follows a control sequence (ECMA-48 5.4), where `text`, which came after an ESC, begins with the rest of one.
fn after_csi(text: &str) -> Option<&str> {
    let body = text.strip_prefix('[')?;
    let end = body.find(|c| !('\x20'..='\x3f').contains(&c))?;
    let last = body[end..].chars().next()?;
    (('\x40'..='\x7e').contains(&last) && end <= 32).then(|| &body[end + 1..])
}

/// Control characters act on a terminal; bidirectional overrides and line separators make a line look like another.
fn is_harmless(c: char) -> bool {
    let deceives = matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    c == '\t' || !(c.is_control() || deceives)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn x4_text_stays_and_control_characters_do_not() {
        for (bytes, expected) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            ("größe ✓ 日本".as_bytes(), "größe ✓ 日本"),
            (b"\x1b[1;32mok\x1b[0m \x1b[2K\x1b[?25lx", "ok x"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"a\x1b", "a\\x1b"),
            (b"a\x1b[", "a\\x1b["),
            (b"a\x1b[31", "a\\x1b[31"),
            (b"\x1b[\x1b[31mred", "\\x1b[red"),
            (b"a\rb\x08c\0d\x7f", "a\\x0db\\x08c\\x00d\\x7f"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("\u{9b}31m".as_bytes(), "\\x9b31m"),
            ("a\u{202e}b\u{2028}".as_bytes(), "a\\u{202e}b\\u{2028}"),
        ] {
            assert_eq!(neutralise(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn of_a_line_that_was_written_over_the_last_writing_stays() {
        assert_eq!(output_line(b"10%\r20%\r100%\r"), "100%");
        assert_eq!(output_line(b"plain"), "plain");
        assert_eq!(output_line(b""), "");
    }

    proptest! {
        #[test]
        fn x4_nothing_that_acts_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = neutralise(&bytes);
            prop_assert!(text.chars().all(is_harmless), "{text:?}");
        }

        #[test]
        fn once_is_enough(text in "[\\x00-\\x7f]{0,60}") {
            let once = neutralise(text.as_bytes());
            prop_assert_eq!(neutralise(once.as_bytes()), once);
        }
    }
}
