//! What commands put on the terminal: data on stdout, talk on stderr, colours only where somebody sees them.

pub(crate) mod progress;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod visible;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::error::{Error, Kind, Result};
use crate::model::Moment;

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
    Busy,
}

impl Style {
    /// Returns the text in this style, or as it is where there are no colours.
    pub(crate) fn paint(self, text: &str, colours: bool) -> String {
        let code = match self {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
            Style::Busy => "36",
        };
        if colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Where output goes and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// `--json`
    pub(crate) json: bool,
    /// `-q`: no talk.
    pub(crate) quiet: bool,
    /// Whether stdout shows colours.
    pub(crate) colours: bool,
    /// Whether stderr is a terminal: live lines.
    pub(crate) live: bool,
    /// Whether stderr shows colours.
    pub(crate) talk_colours: bool,
}

impl Output {
    /// Returns the output as the flags and the terminal want it.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colourful = !set("NO_COLOR") && !dumb;
        let live = io::stderr().is_terminal() && !dumb;
        Self { json, quiet, colours: colourful && io::stdout().is_terminal(), live, talk_colours: colourful && live }
    }

    /// Writes data to stdout.
    pub(crate) fn print(&self, text: impl fmt::Display) -> Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Writes data to stdout as JSON.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::new(Kind::Failed, format!("cannot write JSON: {error}")))?;
        self.print(format_args!("{text}\n"))
    }

    /// Writes the value as JSON where that was asked for, else as text.
    pub(crate) fn print_as<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if self.json { self.print_json(value) } else { self.print(text(value)) }
    }

    /// Writes a line of talk to stderr, unless that was not wanted.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        if !self.quiet {
            self.say_raw(format_args!("{line}\n"));
        }
    }

    /// Says, once, that what is shown may be out of date (rule L12).
    pub(crate) fn away(&self, since: Moment) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::Relaxed) {
            let since = since.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string();
            let text = format!("Docker does not answer since {since}: this is what the last look at it showed");
            self.say(Style::Warn.paint(&text, self.talk_colours));
        }
    }

    /// Writes to stderr as it is. A terminal that is gone is no reason to fail.
    pub(crate) fn say_raw(&self, text: impl fmt::Display) {
        let mut err = io::stderr().lock();
        _ = write!(err, "{text}");
        _ = err.flush();
    }

    /// Writes what went wrong to stderr, with the next command on a line of its own.
    pub(crate) fn error(&self, error: &Error) {
        if self.json {
            self.say_raw(format_args!("{}\n", error.to_json()));
        } else {
            self.say_raw(error_text(error, self.talk_colours));
        }
    }
}

/// Returns the failure as people read it.
pub(crate) fn error_text(error: &Error, colours: bool) -> String {
    let mut out = format!("{} {}\n", Style::Bad.paint("error:", colours), visible::text(&error.message));
    if let Some(hint) = &error.hint {
        out.push_str(&format!("{} {}\n", Style::Busy.paint("hint:", colours), visible::text(hint)));
    }
    out
}

/// Returns the width of the terminal that shows the talk; 80 where it cannot be told.
pub(crate) fn width() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0).max(20))
}

#[cfg(test)]
mod tests {
    use super::table::{Cell, table};
    use super::*;

    #[test]
    fn tables_line_up_with_and_without_colours() {
        let rows = [
            [Cell::from("alice/main"), Cell::new("running", Style::Good), Cell::default()],
            [Cell::from("bob/x"), Cell::new("off", Style::Dim), Cell::from("note\x1b[2J")],
        ];
        insta::assert_snapshot!(table(["WORKSPACE", "STATE", "NOTES"], &rows, false), @r"
        WORKSPACE   STATE    NOTES
        alice/main  running
        bob/x       off      note
        ");
        let coloured = table(["WORKSPACE", "STATE", "NOTES"], &rows, true);
        assert!(coloured.contains("alice/main  \x1b[32mrunning\x1b[0m\n"), "{coloured:?}");
    }

    #[test]
    fn errors_have_their_hint_on_a_line_of_its_own() {
        let error = Error::new(Kind::NotFound, "there is no workspace `x/y`").hint("hearth list");
        assert_eq!(error_text(&error, false), "error: there is no workspace `x/y`\nhint: hearth list\n");
    }
}
