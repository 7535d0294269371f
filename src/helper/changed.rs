//! Says when a home, or anything in it, was last changed (rule L10): `hearth changed HOME`, as root in a container with
//! nothing but the home mounted, read-only. It goes by the change time, which nobody can set.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Stat, fstat};
use rustix::io::Errno;

use super::bundle::Changed;
use super::tree::{self, Visit};
use crate::helper::complain;
use crate::model::Moment;

/// Runs it and prints a [`Changed`].
pub(super) fn run(args: &[&str]) -> ExitCode {
    let [home] = args else { return complain("usage: hearth changed HOME") };
    match last_change(Path::new(home)) {
        Ok(changed) => match serde_json::to_vec(&changed).map(|json| io::stdout().write_all(&json)) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => complain(&format!("cannot look into {home}: {error}")),
    }
}

fn last_change(home: &Path) -> io::Result<Changed> {
    let root = tree::root(home)?;
    let mut looking = Looking(Changed { at: Moment::MIN, failed: 0, error: None });
    looking.entry(&root)?;
    tree::walk(&root, &mut looking)?;
    Ok(looking.0)
}

struct Looking(Changed);

impl Visit for Looking {
    fn entry(&mut self, entry: &OwnedFd) -> Result<Stat, Errno> {
        let stat = fstat(entry)?;
        let nanoseconds = i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec);
        // A time that no clock shows is later than any other.
        self.0.at = self.0.at.max(Moment::from_nanosecond(nanoseconds).unwrap_or(Moment::MAX));
        Ok(stat)
    }

    fn failed(&mut self, error: Errno) {
        self.0.failed += 1;
        self.0.error.get_or_insert_with(|| io::Error::from(error).to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn changed_at(path: &Path) -> Moment {
        let found = path.symlink_metadata().unwrap();
        Moment::from_nanosecond(i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec())).unwrap()
    }

    #[test]
    fn l10_a_change_far_below_the_root_counts_whatever_its_times_are_set_to() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b/file");
        fs::create_dir_all(home.path().join("a/b/c")).unwrap();
        fs::write(&deep, "x").unwrap();
        symlink("/proc/self/stat", home.path().join("out")).unwrap();
        let before = last_change(home.path()).unwrap();
        assert_eq!((before.failed, before.error), (0, None));
        while changed_at(&deep) <= before.at {
            fs::write(&deep, "y").unwrap();
            fs::File::open(&deep).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        assert_eq!(last_change(home.path()).unwrap().at, changed_at(&deep));
        assert!(changed_at(home.path()) < changed_at(&deep), "the root has not changed");
    }

    #[test]
    fn l10_a_home_that_cannot_be_looked_into_is_said() {
        assert!(last_change(Path::new("/nowhere")).is_err());
        let link = tempfile::tempdir().unwrap();
        symlink("/etc", link.path().join("home")).unwrap();
        assert!(last_change(&link.path().join("home")).is_err());
    }
}
