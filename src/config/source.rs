//! The files as they were read, and places in them: a span of bytes becomes file, line and column here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::settings::Origin;

/// The main file and what stands beside it in `conf.d`, in the order in which they count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, String)>", into = "Vec<(String, String)>")]
pub struct Sources {
    files: Vec<SourceFile>,
}

/// A file with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub path: Arc<str>,
    pub text: Arc<str>,
    /// Where each line begins, in bytes.
    lines: Vec<u32>,
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

/// A value with the place where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Sources {
    /// Returns sources of a main file alone.
    pub fn new(path: &str, text: &str) -> Self {
        Self { files: vec![SourceFile::new(path, text)] }
    }

    /// Adds a file of `conf.d`.
    pub fn push(&mut self, path: &str, text: &str) {
        self.files.push(SourceFile::new(path, text));
    }

    /// Returns the files; the first is the main one.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Returns line and column of a place's start: from 1, columns in characters.
    pub fn position(&self, place: Place) -> (u32, u32) {
        self.files.get(place.file).map_or((1, 1), |file| file.position(place.start))
    }

    /// Returns the place as the origin of a value.
    pub fn origin(&self, place: Place) -> Origin {
        let (line, column) = self.position(place);
        let path = self.files.get(place.file).map_or_else(|| "".into(), |file| file.path.clone());
        Origin::File { path, line, column }
    }

    /// Returns a hash of all names and texts: equal when nothing that counts has changed.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in self.files.iter().flat_map(|file| [&file.path, &file.text]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl From<Vec<(String, String)>> for Sources {
    fn from(files: Vec<(String, String)>) -> Self {
        Self { files: files.iter().map(|(path, text)| SourceFile::new(path, text)).collect() }
    }
}

impl From<Sources> for Vec<(String, String)> {
    fn from(sources: Sources) -> Self {
        sources.files.iter().map(|file| (file.path.to_string(), file.text.to_string())).collect()
    }
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at as u32 + 1)).collect();
        Self { path: path.into(), text: text.into(), lines }
    }

    fn position(&self, at: usize) -> (u32, u32) {
        let (line, start) = self.line_at(at);
        let column = self.text[start..].char_indices().take_while(|(offset, _)| start + offset < at).count();
        (line as u32 + 1, column as u32 + 1)
    }

    /// Returns the number of a line, from 0, and where it begins.
    fn line_at(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start as usize <= at).saturating_sub(1);
        (line, self.lines.get(line).map_or(0, |start| *start as usize))
    }

    /// Returns the number of the line, from 1, its text, and the piece of it that lies between the two bytes.
    pub fn line(&self, start: usize, end: usize) -> (usize, &str, std::ops::Range<usize>) {
        let (line, begin) = self.line_at(start.min(self.text.len()));
        let next = self.lines.get(line + 1).map_or(self.text.len(), |next| *next as usize);
        let text = self.text[begin..next].trim_end_matches(['\n', '\r']);
        let clip = |at: usize| {
            let mut at = at.saturating_sub(begin).min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        (line + 1, text, clip(start)..clip(end.max(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_lines_and_columns_count_from_one_and_columns_are_characters() {
        let sources = Sources::new("hearth.toml", "a = 1\nß = \"x\"\r\nlast");
        let position = |start| sources.position(Place { file: 0, start, end: start });
        assert_eq!(position(0), (1, 1));
        assert_eq!(position(4), (1, 5));
        assert_eq!(position(6), (2, 1));
        assert_eq!(position(8), (2, 2), "after the two bytes of ß");
        assert_eq!(position(16), (3, 1));
        assert_eq!(position(20), (3, 5), "the end of the file");
        assert_eq!(sources.files()[0].line(8, 400), (2, "ß = \"x\"", 2..8));
    }

    #[test]
    fn the_hash_knows_a_text_that_moved_to_another_file() {
        let hash = |files: &[(&str, &str)]| {
            let files: Vec<_> = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
            Sources::from(files).hash()
        };
        assert_eq!(hash(&[("a", "x")]), hash(&[("a", "x")]));
        assert_ne!(hash(&[("a", "x"), ("b", "")]), hash(&[("a", ""), ("b", "x")]));
        assert_ne!(hash(&[("a", "bc")]), hash(&[("ab", "c")]));
    }
}
