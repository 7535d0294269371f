//! Reads the files: the thin shell around [`read`](super::read).

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host::{FileFact, FileStamp, HostFacts};
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

/// Returns the directories in which something can happen that changes the configuration: those of the files, and those of
/// every link on the way to them, whose swap no watch of its target would see.
pub fn watched(main: &Path) -> BTreeSet<PathBuf> {
    let conf_d = conf_d(main);
    let files = drop_ins(&conf_d).unwrap_or_default();
    let mut directories: BTreeSet<PathBuf> = [parent(main).to_owned()].into();
    for path in [main, conf_d.as_path()].into_iter().chain(files.iter().map(PathBuf::as_path)) {
        let end = follow(path, &mut directories);
        directories.insert(if end.is_dir() { end } else { parent(&end).to_owned() });
    }
    directories
}

/// Walks a path link by link, noting the directory that each link stands in. Returns where it leads.
fn follow(path: &Path, directories: &mut BTreeSet<PathBuf>) -> PathBuf {
    const MOST_LINKS: usize = 40;
    let mut left: VecDeque<OsString> = path.iter().map(OsStr::to_owned).collect();
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." && at.file_name().is_some() {
            at.pop();
            continue;
        }
        match fs::read_link(at.join(&name)) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                directories.insert(if at.as_os_str().is_empty() { PathBuf::from(".") } else { at.clone() });
                for part in target.iter().rev() {
                    left.push_front(part.to_owned());
                }
            }
            Ok(_) | Err(_) => at.push(name),
        }
    }
    at
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
    let problem =
        |message: String, help: String| Box::new(Problem::of_file(directory.to_string_lossy(), message, Some(help)));
    let unreadable = |error: &io::Error| problem(format!("cannot read the directory: {error}"), readable(directory));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if is_link(directory) {
                Err(problem(NOWHERE.to_owned(), readable(directory)))
            } else {
                Ok(Vec::new())
            };
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
            let help = "put several users into one file".to_owned();
            return Err(problem(format!("more than {MOST_FILES} files"), help));
        }
    }
    paths.sort();
    Ok(paths)
}

/// What was there and is not to be read is an error, and no empty file.
const NOWHERE: &str = "this is a link that leads nowhere";

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn readable(path: &Path) -> String {
    format!("make it readable for hearthd, or remove it: `ls -ld {}`", path.display())
}

fn text(path: &Path) -> Result<String, Box<Problem>> {
    let problem =
        |message: String, help: String| Box::new(Problem::of_file(path.to_string_lossy(), message, Some(help)));
    let unreadable = |error: io::Error| match error.kind() == io::ErrorKind::NotFound {
        true if is_link(path) => problem(NOWHERE.to_owned(), readable(path)),
        true => problem("there is no such file".to_owned(), "name another with `--config`, or write it".to_owned()),
        false => problem(format!("cannot read the file: {error}"), readable(path)),
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
            Ok(metadata) => FileFact::There {
                owner: metadata.uid(),
                mode: metadata.mode() & 0o7777,
                directory: metadata.is_dir(),
                stamp: FileStamp {
                    inode: metadata.ino(),
                    size: metadata.size(),
                    modified: (metadata.mtime(), metadata.mtime_nsec()),
                },
            },
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
