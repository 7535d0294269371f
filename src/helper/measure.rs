//! Measures how much disk a home takes: `hearth measure HOME`, as its user, in the container that they use it in.
//!
//! As `du` does: blocks that are there, a file with several names once, nothing on other mounts, no link followed. What
//! cannot be seen whole within the limits has no answer: a number that is too small would be taken for the size.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::bundle::{MEASURE_LIMIT, Measured};
use super::tree::{self, Visit};
use crate::helper::complain;

/// So many entries are looked at: those with several names are remembered, on the account of the user's memory.
const MOST: u64 = 4_000_000;
/// The kernel counts in these, whatever a file system's own blocks are.
const BLOCK: u64 = 512;

/// Runs it and prints a [`Measured`].
pub(super) fn run(args: &[&str]) -> ExitCode {
    let [home] = args else { return complain("usage: hearth measure HOME") };
    // Behind everything that the user does; the disk's scheduler goes by it as well.
    let _ = rustix::process::nice(19);
    // Where the workspace's memory is used up, this process goes before any of theirs.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Ends this process: a disk that does not answer must not keep it, nor must a hearthd that was killed.
    nix::unistd::alarm::set(u32::try_from(MEASURE_LIMIT.as_secs()).unwrap_or(u32::MAX));
    match measure(Path::new(home), MOST) {
        Ok(bytes) => match serde_json::to_vec(&Measured { bytes }).map(|json| io::stdout().write_all(&json)) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => complain(&format!("cannot tell how large {home} is: {error}")),
    }
}

fn measure(home: &Path, most: u64) -> io::Result<u64> {
    let root = tree::root(home)?;
    let mut measuring = Measuring { left: most, blocks: 0, known: BTreeSet::new(), error: None };
    measuring.entry(&root)?;
    tree::walk(&root, &mut measuring)?;
    match measuring.error {
        None => Ok(measuring.blocks.saturating_mul(BLOCK)),
        Some(error) => Err(error),
    }
}

struct Measuring {
    /// How many more entries are looked at.
    left: u64,
    blocks: u64,
    /// Files with several names, by device and inode.
    known: BTreeSet<(u64, u64)>,
    /// Why it cannot be told.
    error: Option<io::Error>,
}

impl Visit for Measuring {
    fn entry(&mut self, entry: &OwnedFd) -> Result<Stat, Errno> {
        let stat = fstat(entry)?;
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.error = Some(io::Error::other("it holds too many files")),
        }
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // A directory has a link for each one in it, and one name.
        if is_directory || stat.st_nlink == 1 || self.known.insert((stat.st_dev, stat.st_ino)) {
            self.blocks = self.blocks.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0));
        }
        Ok(stat)
    }

    fn failed(&mut self, error: Errno) {
        self.error.get_or_insert_with(|| error.into());
    }

    fn goes_on(&self) -> bool {
        self.error.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::process::Command;

    use super::*;

    const MIB: usize = 1 << 20;

    fn taken(path: &Path) -> u64 {
        path.symlink_metadata().unwrap().blocks() * BLOCK
    }

    /// What everybody else would say.
    fn du(home: &Path) -> u64 {
        let said = Command::new("du").args(["-s", "--block-size=1"]).arg(home).output().unwrap();
        String::from_utf8(said.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_on_the_disk_counts_once_and_what_is_elsewhere_not_at_all() {
        let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| home.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/file"), vec![1; MIB]).unwrap();
        for name in ["again", "a/again", "a/b/again"] {
            fs::hard_link(path("a/b/file"), path(name)).unwrap();
        }
        let sparse = File::create(path("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        fs::write(elsewhere.path().join("large"), vec![1; 8 * MIB]).unwrap();
        symlink(elsewhere.path(), path("out")).unwrap();
        symlink(elsewhere.path().join("large"), path("large")).unwrap();
        symlink(".", path("a/loop")).unwrap();
        symlink("loop", path("loop")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();

        let bytes = measure(home.path(), MOST).unwrap();
        let parts = ["", "a", "a/b", "a/b/file", "sparse", "out", "large", "a/loop", "loop", "pipe"];
        assert_eq!(bytes, parts.iter().map(|name| taken(&path(name))).sum::<u64>());
        assert_eq!(bytes, du(home.path()));
        assert!((MIB as u64..2 * MIB as u64).contains(&bytes), "{bytes}");
    }

    #[test]
    fn depth_is_no_limit() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join(["d"; 600].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), vec![1; MIB]).unwrap();
        let bytes = measure(home.path(), MOST).unwrap();
        assert!(bytes >= MIB as u64, "{bytes}");
        assert_eq!(bytes, du(home.path()));
    }

    #[test]
    fn x4_what_is_more_than_the_limit_has_no_answer_and_is_not_looked_at() {
        let home = tempfile::tempdir().unwrap();
        for name in 0..9 {
            fs::write(home.path().join(name.to_string()), "x").unwrap();
        }
        measure(home.path(), 10).unwrap();
        let error = measure(home.path(), 9).unwrap_err();
        assert_eq!(error.to_string(), "it holds too many files");
        let root = tree::root(home.path()).unwrap();
        let mut measuring = Measuring { left: 3, blocks: 0, known: BTreeSet::new(), error: None };
        tree::walk(&root, &mut measuring).unwrap();
        let seen = fs::read_dir(home.path()).unwrap().count() as u64;
        assert!(measuring.error.is_some() && measuring.blocks < seen * taken(&home.path().join("0")) / BLOCK);
    }

    #[test]
    fn what_cannot_be_read_has_no_answer_and_what_is_gone_meanwhile_is_none_of_it() {
        let home = tempfile::tempdir().unwrap();
        let mut measuring = Measuring { left: 9, blocks: 0, known: BTreeSet::new(), error: None };
        assert!(measuring.goes_on());
        measuring.failed(Errno::ACCESS);
        assert!(!measuring.goes_on());
        assert!(measure(&home.path().join("gone"), MOST).is_err());
        symlink("/etc", home.path().join("link")).unwrap();
        assert!(measure(&home.path().join("link"), MOST).is_err(), "the home itself is no link");
    }
}
