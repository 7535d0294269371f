//! Reads one table of a file: takes the keys it is asked for, notes what is wrong with them, and at the end what nobody
//! asked for.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::Wrong;
use crate::config::keys;
use crate::config::problem::{Fault, Notes};
use crate::config::source::{At, Place};
use crate::config::text::{listed, nearest};

type Value<'d> = Spanned<DeValue<'d>>;

/// Where the keys of a table stand.
pub(crate) type Places = BTreeMap<&'static str, Place>;

/// A table that is being read.
pub(super) struct Table<'d> {
    keys: &'static keys::Table,
    notes: &'d Notes,
    /// As a header would have it: `orgs.acme.limits`.
    path: String,
    /// Of its name.
    pub(super) place: Place,
    /// Whether it has a header or braces of its own, and is not there only for what is below it.
    pub(super) explicit: bool,
    left: BTreeMap<&'d str, (Place, &'d Value<'d>)>,
    found: Places,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    /// Opens the top of a file.
    pub(super) fn root(table: &'d DeTable<'d>, file: usize, notes: &'d Notes) -> Self {
        Self::new(&keys::ROOT, table, String::new(), Place { file, start: 0, end: 0 }, true, notes)
    }

    fn new(
        keys: &'static keys::Table,
        table: &'d DeTable<'d>,
        path: String,
        place: Place,
        explicit: bool,
        notes: &'d Notes,
    ) -> Self {
        let left = table.iter().map(|(key, value)| (key.get_ref().as_ref(), (at(place.file, key.span()), value)));
        Self { keys, notes, path, place, explicit, left: left.collect(), found: Places::new(), asked: Vec::new() }
    }

    /// Returns the table as a person would name it.
    pub(super) fn shown(&self) -> String {
        match (self.path.as_str(), self.keys.header.starts_with("[[")) {
            ("", _) => "the top of the file".to_owned(),
            (path, true) => format!("`[[{path}]]`"),
            (path, false) => format!("`[{path}]`"),
        }
    }

    /// Takes a key out, noting when one is missing that must be there.
    fn take(&mut self, name: &str) -> Option<(&'static keys::Key, Place, &'d Value<'d>)> {
        let key = self.keys.key(name).expect("the reader asks for keys of its own table");
        self.asked.push(key.name);
        let Some((place, value)) = self.left.remove(key.name) else {
            if key.required {
                let message = format!("{} needs the key `{}`", self.shown(), key.name);
                let help = format!("write `{} = {}` in it", key.name, key.example);
                self.notes.error(Fault::absence(self.place, message).help(help));
            }
            return None;
        };
        self.found.insert(key.name, at(place.file, value.span()));
        Some((key, place, value))
    }

    /// Reads a single value.
    pub(super) fn value<T>(&mut self, name: &str, read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>) -> Option<At<T>> {
        let (key, _, value) = self.take(name)?;
        self.read(key, "", value, &read)
    }

    /// `what` is what of the key it is: itself, or an item of it.
    fn read<T>(
        &self,
        key: &keys::Key,
        what: &str,
        value: &Value<'_>,
        read: &impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let place = at(self.place.file, value.span());
        match read(value.get_ref()) {
            Ok(value) => Some(At { value, place }),
            Err(Wrong::Value(error)) => {
                self.notes.error(Fault::new(place, error.message).help(error.hint));
                None
            }
            Err(Wrong::Type(expected)) => {
                let message = format!("{what}`{}` is {}, not {expected}", key.name, kind_of(value.get_ref()));
                self.notes.error(Fault::new(place, message).help(self.written_like(key)));
                None
            }
        }
    }

    fn wrong_type(&self, key: &keys::Key, place: Place, expected: &str, found: &DeValue<'_>) {
        let message = format!("`{}` is {}, not {expected}", key.name, kind_of(found));
        self.notes.error(Fault::new(place, message).help(self.written_like(key)));
    }

    fn written_like(&self, key: &keys::Key) -> String {
        match (key.kind, key.example) {
            (keys::Kind::Tables(_), _) => format!("write a table for each: `[[{}]]`", self.below(key.name)),
            (keys::Kind::Named(..), _) => format!("write a table for each: `[{}.NAME]`", self.below(key.name)),
            (_, "") => format!("write a table: `[{}]`", self.below(key.name)),
            (_, example) => format!("write it like `{} = {example}`", key.name),
        }
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Reads a list; what is wrong with an item is noted and the item left out.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<Vec<At<T>>>> {
        let (key, _, value) = self.take(name)?;
        let place = at(self.place.file, value.span());
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, place, "a list", value.get_ref());
            return None;
        };
        let items = items.iter().filter_map(|item| self.read(key, "an item of ", item, &read)).collect();
        Some(At { value: items, place })
    }

    /// Opens a table with known keys.
    pub(super) fn table(&mut self, name: &str) -> Option<Table<'d>> {
        let (key, place, value) = self.take(name)?;
        let keys::Kind::Table(keys) = key.kind else { unreachable!("`{name}` is not a table of known keys") };
        self.open(key, keys, key.name, place, value)
    }

    /// Opens a value that may be a table of known keys; `None` without a note where it is something else.
    pub(super) fn table_or_value(&mut self, name: &str, keys: &'static keys::Table) -> Option<Table<'d>> {
        self.left.get(name)?.1.get_ref().as_table()?;
        let (key, place, value) = self.take(name)?;
        self.open(key, keys, key.name, place, value)
    }

    fn open(
        &self,
        key: &keys::Key,
        keys: &'static keys::Table,
        path: &str,
        place: Place,
        value: &'d Value<'d>,
    ) -> Option<Table<'d>> {
        let path = self.below(path);
        match value.get_ref().as_table() {
            Some(table) => {
                // A table that is there only for what is below it has the place of its name.
                let explicit = value.span().start != place.start;
                Some(Table::new(keys, table, path, place, explicit, self.notes))
            }
            None => {
                let message = format!("`{path}` is {}, not a table", kind_of(value.get_ref()));
                let fault = Fault::new(at(place.file, value.span()), message);
                self.notes.error(fault.help(self.written_like(key)));
                None
            }
        }
    }

    /// Opens the tables of a `[[…]]`.
    pub(super) fn tables(&mut self, name: &str) -> Vec<Table<'d>> {
        let Some((key, place, value)) = self.take(name) else { return Vec::new() };
        let keys::Kind::Tables(keys) = key.kind else { unreachable!("`{name}` is not a list of tables") };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, at(place.file, value.span()), "a list of tables", value.get_ref());
            return Vec::new();
        };
        let open = |item: &'d Value<'d>| self.open(key, keys, key.name, at(place.file, item.span()), item);
        items.iter().filter_map(open).collect()
    }

    /// Opens the tables of a table by names.
    pub(super) fn named<N>(&mut self, name: &str, read: impl Fn(&str) -> Result<N, Wrong>) -> Vec<(At<N>, Table<'d>)> {
        let Some((key, _, value)) = self.take(name) else { return Vec::new() };
        let keys::Kind::Named(_, keys) = key.kind else { unreachable!("`{name}` is not a table by names") };
        let open = |(text, name, value): (&'d str, At<N>, &'d Value<'d>)| {
            let path = format!("{}.{}", key.name, as_key(text));
            self.open(key, keys, &path, name.place, value).map(|table| (name, table))
        };
        self.by_name(key, value, read).into_iter().filter_map(open).collect()
    }

    /// Reads the values of a table by names.
    pub(super) fn entries<T>(
        &mut self,
        name: &str,
        read_name: impl Fn(&str) -> Result<String, Wrong>,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Vec<(At<String>, At<T>)> {
        let Some((key, _, value)) = self.take(name) else { return Vec::new() };
        let entries = self.by_name(key, value, read_name).into_iter();
        entries
            .filter_map(|(_, name, value)| self.read(key, "a value of ", value, &read).map(|value| (name, value)))
            .collect()
    }

    fn by_name<N>(
        &self,
        key: &keys::Key,
        value: &'d Value<'d>,
        read: impl Fn(&str) -> Result<N, Wrong>,
    ) -> Vec<(&'d str, At<N>, &'d Value<'d>)> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, at(self.place.file, value.span()), "a table", value.get_ref());
            return Vec::new();
        };
        let mut members = Vec::new();
        for (name, value) in table {
            let place = at(self.place.file, name.span());
            match read(name.get_ref()) {
                Ok(read) => members.push((name.get_ref().as_ref(), At { value: read, place }, value)),
                Err(wrong) => self.notes.error(wrong.at(place)),
            }
        }
        members
    }

    /// Ends the reading: what nobody asked for is unknown. Returns where the known keys stand.
    pub(super) fn finish(self) -> Places {
        debug_assert!(
            self.keys.keys.iter().all(|key| self.asked.contains(&key.name)),
            "{} has keys that nobody reads",
            self.keys.header
        );
        for (name, (place, _)) in &self.left {
            let fault = Fault::new(*place, format!("unknown key `{name}` in {}", self.shown()));
            self.notes.error(fault.help(self.instead_of(name)));
        }
        self.found
    }

    /// Returns what may have been meant by an unknown key.
    fn instead_of(&self, name: &str) -> String {
        let known: Vec<&str> = self.keys.keys.iter().map(|key| key.name).collect();
        if let Some(near) = nearest(name, known.iter().copied()) {
            return format!("did you mean `{near}`?");
        }
        match keys::ALL.iter().find(|table| table.key(name).is_some()) {
            Some(table) => format!("`{name}` belongs to `{}`", table.header),
            None if known.len() <= 12 => format!("the keys here are {}", listed(&known)),
            None => "`hearth config schema` has all keys".to_owned(),
        }
    }
}

/// Returns a name as it stands in a header.
fn as_key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

pub(super) fn at(file: usize, span: std::ops::Range<usize>) -> Place {
    Place { file, start: span.start, end: span.end }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
