//! What is not valid TOML. Of a key that stands twice both places are named, which the parser knows only one of.

use toml::de::{DeTable, DeValue, Error};

use super::table::at;
use crate::config::problem::{Fault, Notes};
use crate::config::source::Place;

/// Notes the parser's errors; returns whether the tree is broken. A key that stands twice does not break it.
pub(super) fn note(file: usize, text: &str, errors: &[Error], notes: &Notes) -> bool {
    let place = |error: &Error| at(file, error.span().unwrap_or(0..0));
    let (twice, broken): (Vec<_>, Vec<_>) = errors.iter().partition(|error| error.message() == "duplicate key");
    let first_broken = broken.iter().map(|error| place(error)).min_by_key(|place| place.start);
    if let Some(first) = first_broken {
        // The rest of a broken line is not worth judging either.
        let line = text[..first.start.min(text.len())].rfind('\n').map_or(0, |newline| newline + 1);
        notes.forget_from(Place { start: line, ..first });
    }
    for error in &broken {
        let help = "the files are TOML: `[table]`, `key = value`, strings in quotes";
        notes.error(Fault::new(place(error), error.message()).help(help));
    }
    note_twice(twice.into_iter().map(place), text, notes);
    !broken.is_empty()
}

fn note_twice(seconds: impl Iterator<Item = Place>, text: &str, notes: &Notes) {
    let mut tables: Vec<Vec<String>> = Vec::new();
    for second in seconds {
        let path = path_of(text, second).unwrap_or_default();
        // Where a table stands twice, its keys do so too; that goes without saying.
        let within_twice = tables.iter().any(|table| path.len() > table.len() && path.starts_with(table));
        if is_header(&text[line_of(text, second)..]) || !within_twice {
            notes.error(twice_fault(text, second, &path.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        if !path.is_empty() {
            tables.push(path);
        }
    }
}

fn twice_fault(text: &str, second: Place, path: &[&str]) -> Fault {
    let message = match path {
        ["orgs", org] => format!("org `{org}` is defined twice"),
        ["users", user] => format!("user `{user}` is defined twice"),
        ["users", user, "workspaces", workspace] => format!("workspace `{user}/{workspace}` is defined twice"),
        _ => format!("`{}` stands twice", text.get(second.start..second.end).unwrap_or_default()),
    };
    let fault = Fault::new(second, message).help("leave one of them out");
    let (above, _) = DeTable::parse_recoverable(&text[..line_of(text, second)]);
    match span_of(above.get_ref(), path) {
        Some(first) => fault.also(at(second.file, first), "the first is here"),
        None => fault,
    }
}

/// Returns where the line begins that a place is in.
fn line_of(text: &str, place: Place) -> usize {
    text[..place.start].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns the path of a key: that of the header above it and its own, read as a file of these two lines.
fn path_of(text: &str, key: Place) -> Option<Vec<String>> {
    let line = line_of(text, key);
    let header = if is_header(&text[line..]) { "" } else { last_header(&text[..line]) };
    let end = text[key.end..].find('\n').map_or(text.len(), |newline| key.end + newline);
    let alone = format!("{header}\n{}", &text[line..end]);
    let offset = header.len() + 1 + key.start - line;
    let (alone, _) = DeTable::parse_recoverable(&alone);
    path_to(alone.get_ref(), offset)
}

fn last_header(text: &str) -> &str {
    text.lines().rev().find(|line| is_header(line)).unwrap_or_default()
}

fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// Returns the names that lead to the key that begins at `offset`.
fn path_to(table: &DeTable<'_>, offset: usize) -> Option<Vec<String>> {
    for (key, value) in table {
        let below = if key.span().start == offset {
            Some(Vec::new())
        } else {
            last_table(value.get_ref()).and_then(|table| path_to(table, offset))
        };
        if let Some(mut path) = below {
            path.insert(0, key.get_ref().to_string());
            return Some(path);
        }
    }
    None
}

fn span_of(table: &DeTable<'_>, path: &[&str]) -> Option<std::ops::Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == *first)?;
    if rest.is_empty() { Some(key.span()) } else { span_of(last_table(value.get_ref())?, rest) }
}

/// Returns a table, or the last of a `[[…]]`, which is the one that headers below it mean.
fn last_table<'d>(value: &'d DeValue<'d>) -> Option<&'d DeTable<'d>> {
    value.as_table().or_else(|| value.as_array()?.last()?.get_ref().as_table())
}
