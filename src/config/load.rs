//! Reads the files: the thin shell around [`read`](super::read).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host::{FileFact, HostFacts};
use super::problem::{Problem, Problems};
use super::settings::Settings;
use super::source::Sources;
use super::{Checked, read};

/// Where the main file is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/hearth/hearth.toml";

/// No configuration is longer; a device or a log by mistake is.
const LONGEST: u64 = 8 << 20;
const MOST_FILES: usize = 10_000;

/// A configuration that was read and is in order.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    pub warnings: Vec<Problem>,
    /// The texts, for the accepted copy in the data directory: they serialise.
    pub sources: Sources,
    /// Of names and texts: as long as it is the same, nothing has changed.
    pub hash: String,
}

/// Reads the main file and the `conf.d/*.toml` beside it, and checks them as a whole.
///
/// # Errors
/// With every problem; a file or directory that is there and cannot be read is one.
pub fn load(main: &Path) -> Result<Loaded, Problems> {
    let sources = load_sources(main)?;
    let Checked { settings, warnings } = read(&sources, &Machine)?;
    let hash = sources.hash();
    Ok(Loaded { settings, warnings, sources, hash })
}

/// Reads the files and judges nothing.
///
/// # Errors
/// With every file or directory that is there and cannot be read, and when the main file is not there.
pub fn load_sources(main: &Path) -> Result<Sources, Problems> {
    let mut problems = Vec::new();
    let mut texts = Vec::new();
    let drop_ins = drop_ins(&conf_d(main)).unwrap_or_else(|problem| {
        problems.push(*problem);
        Vec::new()
    });
    for path in std::iter::once(main.to_owned()).chain(drop_ins) {
        match text(&path) {
            Ok(text) => texts.push((path.to_string_lossy().into_owned(), text)),
            Err(problem) => problems.push(*problem),
        }
    }
    if problems.is_empty() { Ok(Sources::from(texts)) } else { Err(Problems { problems, more: 0 }) }
}

/// Returns the directories in which something can happen that changes the configuration: those of the files, and of
/// every link on the way to them.
pub fn watched(main: &Path) -> BTreeSet<PathBuf> {
    let conf_d = conf_d(main);
    let mut directories = BTreeSet::new();
    let files = drop_ins(&conf_d).unwrap_or_default();
    for path in [main.to_owned(), conf_d.clone()].into_iter().chain(files) {
        let mut path = path;
        for _ in 0..40 {
            directories.insert(parent(&path).to_owned());
            let Ok(target) = fs::read_link(&path) else { break };
            path = parent(&path).join(target);
        }
        if path.is_dir() {
            directories.insert(path);
        }
    }
    directories
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn conf_d(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join("conf.d")
}

/// Returns the `*.toml` of a directory in name order. What editors leave behind (`.#x.toml`, `x.toml~`, `x.swp`) is not
/// of that kind.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, Box<Problem>> {
    let unreadable = |error: &io::Error| {
        let help = format!("make it readable for hearthd, or remove it: `ls -ld {}`", directory.display());
        Box::new(Problem::of_file(
            directory.to_string_lossy(),
            format!("cannot read the directory: {error}"),
            Some(help),
        ))
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // A link that leads nowhere was there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(directory).is_err() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(&error))?.file_name();
        let counts =
            Path::new(&name).extension() == Some(OsStr::new("toml")) && !name.as_encoded_bytes().starts_with(b".");
        if counts {
            paths.push(directory.join(name));
        }
        if paths.len() > MOST_FILES {
            let (file, message) = (directory.to_string_lossy(), format!("more than {MOST_FILES} files"));
            return Err(Box::new(Problem::of_file(file, message, Some("put several users into one file".to_owned()))));
        }
    }
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String, Box<Problem>> {
    let problem =
        |message: String, help: String| Box::new(Problem::of_file(path.to_string_lossy(), message, Some(help)));
    let shown = path.display();
    let unreadable = |error: io::Error| {
        // A link that leads nowhere was there.
        if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() {
            let help = format!("write it; {DEFAULT_PATH}.example shows how");
            return problem("there is no such file".to_owned(), help);
        }
        let help = format!("make it readable for hearthd, or remove it: `ls -l {shown}`");
        problem(format!("cannot read the file: {error}"), help)
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(problem("this is not a file".to_owned(), "name a TOML file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(problem(
            format!("the file is longer than {} MiB", LONGEST >> 20),
            "split it into files of `conf.d`".to_owned(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
        let column = String::from_utf8_lossy(good).chars().rev().take_while(|c| *c != '\n').count() as u32 + 1;
        let problem = problem("the file is not UTF-8 text here".to_owned(), "save it as UTF-8".to_owned());
        Box::new(Problem { line, column, ..*problem })
    })
}

/// The machine that this runs on.
#[derive(Debug, Clone, Copy)]
pub struct Machine;

impl HostFacts for Machine {
    fn timezone(&self) -> Option<String> {
        let link = fs::read_link("/etc/localtime").ok();
        let linked = link.as_deref().and_then(Path::to_str).and_then(|target| target.split_once("zoneinfo/"));
        let linked = linked.map(|(_, name)| name.trim_start_matches("posix/").trim_start_matches("right/").to_owned());
        linked.or_else(|| Some(fs::read_to_string("/etc/timezone").ok()?.trim().to_owned()))
    }

    fn uid(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn file(&self, path: &Path) -> FileFact {
        match fs::metadata(path) {
            Ok(metadata) => {
                FileFact::There { owner: metadata.uid(), mode: metadata.mode() & 0o7777, directory: metadata.is_dir() }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileFact::Missing,
            Err(error) => FileFact::Hidden(error.to_string()),
        }
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        let known = path.ancestors().find_map(|ancestor| Some((ancestor, fs::canonicalize(ancestor).ok()?)));
        let resolved = known.and_then(|(ancestor, resolved)| Some(resolved.join(path.strip_prefix(ancestor).ok()?)));
        resolved.map_or_else(|| path.to_owned(), |resolved| resolved.components().collect())
    }
}
