//! What the check asks of the machine: owners and modes of files, its zone. A value of this kind is handed in, so that the
//! check is the same with a machine made up.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What the machine says.
pub trait HostFacts {
    /// The name of the machine's zone, where it has one.
    fn timezone(&self) -> Option<String>;
    /// Who reads: root and this uid are trusted with files.
    fn uid(&self) -> u32;
    /// What lies at a path, links followed.
    fn file(&self, path: &Path) -> FileFact;
    /// The path with links followed, as far as it exists.
    fn resolve(&self, path: &Path) -> PathBuf;
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFact {
    Missing,
    /// It cannot be looked at; why.
    Hidden(String),
    There {
        owner: u32,
        /// Permission bits.
        mode: u32,
        directory: bool,
        stamp: FileStamp,
    },
}

/// Changes with a file's content, as far as can be told without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileStamp {
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
}

/// A machine on which everything is in order, for the copy of a configuration that was accepted before: what has become
/// of the files since does not keep hearthd from starting.
#[derive(Debug, Clone)]
pub struct Trusting {
    pub timezone: Option<String>,
    pub stamp: fn(&Path) -> FileStamp,
}

impl HostFacts for Trusting {
    fn timezone(&self) -> Option<String> {
        self.timezone.clone()
    }

    fn uid(&self) -> u32 {
        0
    }

    fn file(&self, path: &Path) -> FileFact {
        FileFact::There { owner: 0, mode: 0o600, directory: false, stamp: (self.stamp)(path) }
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}
