//! What is wrong with a configuration, for a person (rule C2): `FILE:LINE:COL: message` first, the line with a caret, and
//! what would be right.

use std::cell::RefCell;
use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use super::source::{Place, Sources};

/// A problem as it is found: a place in the sources, what is wrong there and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    place: Place,
    message: String,
    help: Option<String>,
    also: Vec<(Place, String)>,
    /// Whether it is about something that is not there, and so about the rest of the file.
    absence: bool,
    /// The file or directory that it is about, where it is about no text.
    subject: Option<String>,
}

impl Fault {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: None, also: Vec::new(), absence: false, subject: None }
    }

    /// Returns a fault of something that is not there.
    pub(super) fn absence(place: Place, message: impl Into<String>) -> Self {
        Self { absence: true, ..Self::new(place, message) }
    }

    /// Returns a fault of a file or directory as a whole.
    pub(super) fn of_whole(subject: impl Into<String>, file: usize, message: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..Self::new(Place { file, start: 0, end: 0 }, message) }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place that belongs to it, and what is there.
    pub(super) fn also(mut self, place: Place, what: impl Into<String>) -> Self {
        self.also.push((place, what.into()));
        self
    }
}

/// What was found on the way: a note is taken and the reading goes on. Every part of the reading holds it at once.
#[derive(Debug, Default)]
pub(super) struct Notes {
    errors: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl Notes {
    pub(super) fn error(&self, fault: Fault) {
        self.errors.borrow_mut().push(fault);
    }

    pub(super) fn warning(&self, fault: Fault) {
        self.warnings.borrow_mut().push(fault);
    }

    /// Forgets what was noted of a file from a place on: behind a syntax error nothing is what it seems.
    pub(super) fn forget_from(&self, place: Place) {
        let stays =
            |fault: &Fault| fault.place.file != place.file || (fault.place.start < place.start && !fault.absence);
        self.errors.borrow_mut().retain(stays);
    }

    /// Forgets what is missing from a table: there is another of its name.
    pub(super) fn forget_absences(&self, place: Place) {
        self.errors.borrow_mut().retain(|fault| !fault.absence || fault.place != place);
    }

    /// Returns whether something in a place was found wrong, so that what follows from it need not be said.
    pub(super) fn is_faulty(&self, place: Place) -> bool {
        let within = |fault: &Fault| {
            fault.place.file == place.file && (place.start..=place.end).contains(&fault.place.start) && !fault.absence
        };
        self.errors.borrow().iter().any(within)
    }

    /// Returns errors and warnings.
    pub(super) fn into_parts(self) -> (Vec<Fault>, Vec<Fault>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

/// Texts of the files stand in messages: control characters are shown, not sent to a terminal, and nothing is endless.
fn tame(text: &str) -> String {
    const LONGEST: usize = 400;
    let mut tamed = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_control() { tamed.extend(c.escape_default()) } else { tamed.push(c) }
    }
    if text.chars().nth(LONGEST).is_some() {
        tamed.push('…');
    }
    tamed
}

/// A problem with its place and the line it stands in, ready to be printed or sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line with a caret under the fault; empty where the fault is a file's as a whole.
    pub snippet: String,
    /// Other places that belong to it: where a name was taken first, where a limit is set.
    pub also: Vec<Related>,
}

/// Another place that belongs to a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
    pub snippet: String,
}

impl Problem {
    fn of(fault: &Fault, sources: &Sources) -> Self {
        if let Some(subject) = &fault.subject {
            return Self::of_file(tame(subject), tame(&fault.message), fault.help.as_deref().map(tame));
        }
        let (line, column) = sources.position(fault.place);
        let related = |(place, message): &(Place, String)| {
            let (line, column) = sources.position(*place);
            let (file, snippet, message) = (file_name(sources, *place), snippet(sources, *place), tame(message));
            Related { file, line, column, message, snippet }
        };
        Self {
            file: file_name(sources, fault.place),
            line,
            column,
            message: tame(&fault.message),
            help: fault.help.as_deref().map(tame),
            snippet: snippet(sources, fault.place),
            also: fault.also.iter().map(related).collect(),
        }
    }

    /// Returns a problem of a file that has no text to show.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>, help: Option<String>) -> Self {
        Self {
            file: file.into(),
            line: 1,
            column: 1,
            message: message.into(),
            help,
            snippet: String::new(),
            also: Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        for Related { file, line, column, message, snippet } in &self.also {
            write!(f, "\n{file}:{line}:{column}: {message}\n{snippet}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// Every problem of a configuration, in the order of files and lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    pub problems: Vec<Problem>,
    /// How many there are past those that are told.
    pub more: usize,
}

/// A broken file can have a fault in every line of it; nobody reads past this many.
const MOST: usize = 500;

impl Problems {
    /// Returns a single problem.
    pub fn one(problem: Problem) -> Self {
        Self { problems: vec![problem], more: 0 }
    }

    pub(super) fn of(mut faults: Vec<Fault>, sources: &Sources) -> Self {
        faults.sort_by_key(|fault| fault.place);
        faults.dedup();
        let problems: Vec<_> = faults.iter().take(MOST).map(|fault| Problem::of(fault, sources)).collect();
        Self { more: faults.len() - problems.len(), problems }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n\n" })?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

fn file_name(sources: &Sources, place: Place) -> String {
    sources.files().get(place.file).map(|file| file.path.to_string()).unwrap_or_default()
}

/// Draws the line with a caret under the place; what goes past the line's end is left out.
fn snippet(sources: &Sources, place: Place) -> String {
    let Some(file) = sources.files().get(place.file) else { return String::new() };
    let (number, text, span) = file.line(place.start, place.end);
    let source = Snippet::source(text).line_start(number).annotation(AnnotationKind::Primary.span(span));
    Renderer::plain().render(&[Group::with_level(Level::ERROR).element(source)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_file_line_and_column_first_then_the_line_with_a_caret_then_what_is_right() {
        let sources = Sources::new("hearth.toml", "[server]\ntimezne = \"Europe/Berlin\"\nadmins = []\n");
        let fault = Fault::new(Place { file: 0, start: 9, end: 16 }, "unknown key `timezne`")
            .help("did you mean `timezone`?")
            .also(Place { file: 0, start: 35, end: 41 }, "and this");
        insta::assert_snapshot!(Problem::of(&fault, &sources), @r#"
        hearth.toml:2:1: unknown key `timezne`
          |
        2 | timezne = "Europe/Berlin"
          | ^^^^^^^
        hearth.toml:3:1: and this
          |
        3 | admins = []
          | ^^^^^^
        help: did you mean `timezone`?
        "#);
    }

    #[test]
    fn places_at_the_edges_are_drawn() {
        for text in ["", "\n", "ß", "a\tb\u{1b}[31m", &"x".repeat(5000)] {
            let sources = Sources::new("f", text);
            for (start, end) in [(0, 0), (0, 9999), (text.len(), text.len()), (text.len(), text.len() + 3)] {
                let drawn = snippet(&sources, Place { file: 0, start, end });
                assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
                assert!(drawn.len() < 1000, "{drawn:?}");
            }
        }
    }
}
