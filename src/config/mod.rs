//! Texts in, [`Settings`] out, or every problem at once (rules C1–C4).
//!
//! ```text
//!   main file, conf.d/*.toml ──load──▶ Sources ──file──▶ tables as written ──check──▶ Settings
//!                                         │                    │  names, references, limits, files
//!                                         └── places ──────────┴──▶ Problems: file, line, column, caret, help
//!
//!   Settings + Members ──effective──▶ Effective ──▶ show, spec, change
//! ```
//!
//! Only [`load`] touches the machine; all else is a function of its arguments (names of zones are looked up in the
//! machine's database). Whether and when a configuration comes into force is the daemon's.

pub mod change;
mod check;
pub mod effective;
mod file;
mod host;
pub mod image;
pub mod keys;
mod load;
pub mod member;
pub mod problem;
pub mod schema;
pub mod set;
pub mod settings;
pub mod show;
pub mod source;
pub mod spec;
pub mod ssh_key;
pub mod subnet;
#[cfg(test)]
mod tests;
pub mod text;

pub use effective::{Effective, InForce};
pub use host::{FileFact, FileStamp, HostFacts, Trusting};
pub use load::{DEFAULT_PATH, Loaded, Machine, load, load_sources, watched};
pub use member::{MemberUser, MemberWorkspace, Members};
pub use problem::{Problem, Problems};
pub use settings::Settings;
pub use source::Sources;
pub use spec::SpecSummary;

use std::path::Path;

use crate::model::PortMapping;

/// A configuration that is in order, and what is odd about it all the same.
#[derive(Debug, Clone)]
pub struct Checked {
    pub settings: Settings,
    pub warnings: Vec<Problem>,
}

/// Reads and checks a configuration as a whole.
///
/// # Errors
/// With every problem of every file.
pub fn read(sources: &Sources, host: &dyn HostFacts) -> Result<Checked, Problems> {
    let notes = problem::Notes::default();
    let (tables, syntax) = file::read(sources, &notes);
    // What is missing from a file that was half understood is not missing.
    let settings = match syntax {
        file::Syntax::Sound => Some(check::check(&tables, sources, host, &notes)),
        file::Syntax::Broken => None,
    };
    let (errors, warnings) = notes.into_parts();
    match settings {
        Some(settings) if errors.is_empty() => {
            Ok(Checked { settings, warnings: Problems::of(warnings, sources).problems })
        }
        Some(_) | None => Err(Problems::of(errors, sources)),
    }
}

/// Reads the copy of a configuration that was accepted before. The machine is asked for no more than stamps: what has
/// become of files since, such as a secret that others can read, does not keep hearthd from starting.
///
/// # Errors
/// When this version of hearth understands it differently.
pub fn read_accepted(sources: &Sources, timezone: Option<String>) -> Result<Checked, Problems> {
    let stamp = |path: &Path| match Machine.file(path) {
        FileFact::There { stamp, .. } => stamp,
        FileFact::Missing | FileFact::Hidden(_) => FileStamp::default(),
    };
    read(sources, &Trusting { timezone, stamp })
}

/// Returns whether two published ports need the same port of the host.
pub fn ports_clash(a: &PortMapping, b: &PortMapping) -> bool {
    check::ports_clash(a, b)
}

/// Returns the settings of a main file alone, on a machine where all files are in order.
///
/// # Panics
/// With every problem of it: for tests.
#[cfg(test)]
pub(crate) fn settings_from(text: &str) -> Settings {
    let host = Trusting { timezone: None, stamp: |_| FileStamp::default() };
    read(&Sources::new("hearth.toml", text), &host).unwrap_or_else(|problems| panic!("{problems}")).settings
}
