//! Files and directories that others could read or write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Check;
use crate::config::host::{FileFact, FileStamp};
use crate::config::problem::Fault;
use crate::config::source::At;

impl Check<'_> {
    /// Whoever can write the configuration, or replace a file of it, can become root on this machine.
    pub(super) fn config_files(&self) {
        let mut seen = BTreeSet::new();
        for (number, source) in self.sources.files().iter().enumerate() {
            let path = Path::new(&*source.path);
            let resolved = self.host.resolve(path);
            let directories = [path, resolved.as_path()].map(parent);
            for (path, what) in
                std::iter::once((path.to_owned(), "file")).chain(directories.map(|path| (path, "directory")))
            {
                if seen.insert(path.clone()) {
                    self.only_trusted_writers(&path, what, number);
                }
            }
        }
    }

    /// Where the configuration lies.
    pub(super) fn config_directories(&self) -> BTreeSet<PathBuf> {
        let files = self.sources.files().iter().map(|source| Path::new(&*source.path));
        files.filter(|path| path.is_absolute()).map(parent).collect()
    }

    fn only_trusted_writers(&self, path: &Path, what: &str, file: usize) {
        let FileFact::There { owner, mode, .. } = self.host.file(path) else { return };
        let shown = path.display();
        if !self.is_trusted(owner) {
            let message = format!("the {what} belongs to uid {owner}, who could change the configuration");
            self.error(Fault::of_whole(shown.to_string(), file, message).help(format!("chown root {shown}")));
        }
        if mode & 0o022 != 0 {
            let message = format!("others can write this {what} (mode {:04o})", mode & 0o7777);
            self.error(Fault::of_whole(shown.to_string(), file, message).help(format!("chmod go-w {shown}")));
        }
    }

    /// A file that holds a secret is its owner's alone. Returns its stamp.
    pub(super) fn secret_file(&self, path: &At<PathBuf>) -> FileStamp {
        let shown = path.display();
        let fact = self.host.file(path);
        let stamp = if let FileFact::There { stamp, .. } = &fact { *stamp } else { FileStamp::default() };
        match fact {
            FileFact::Missing => {
                let help = "make the file first: it holds the secret and nothing else";
                self.error(Fault::new(path.place, format!("there is no file `{shown}`")).help(help));
            }
            FileFact::Hidden(why) => {
                let message = format!("`{shown}` cannot be looked at: {why}");
                let fault = Fault::new(path.place, message).help("check as root to be sure of this file");
                self.notes.warning(fault);
            }
            FileFact::There { directory: true, .. } => {
                self.error(Fault::new(path.place, format!("`{shown}` is a directory")).help("name a file"));
            }
            FileFact::There { owner, mode, .. } => {
                if mode & 0o077 != 0 {
                    let message = format!("others can read or write `{shown}` (mode {:04o})", mode & 0o7777);
                    self.error(Fault::new(path.place, message).help(format!("chmod 600 {shown}")));
                }
                if !self.is_trusted(owner) {
                    let message = format!("`{shown}` belongs to uid {owner}");
                    self.error(Fault::new(path.place, message).help(format!("chown root {shown}")));
                }
            }
        }
        stamp
    }

    fn is_trusted(&self, owner: u32) -> bool {
        owner == 0 || owner == self.host.uid()
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}
