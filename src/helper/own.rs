//! Gives the files of a home to its user (rule L5). Runs as root: within inject for a fresh home, as `hearth own` in a
//! container with nothing but the home mounted where an image's user has another uid than the one before.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{AtFlags, FileType, Mode, Stat, chmod, chownat, fstat};
use rustix::io::Errno;

use super::bundle::Owned;
use super::tree::{self, Visit};
use crate::helper::complain;

/// A uid and a gid.
pub(super) type Owner = (u32, u32);

/// Whose files are given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The mount point alone, and only if it is root's.
    MountPoint,
    /// Everybody's.
    All,
    /// The uid's, and what has the gid.
    Of(Owner),
}

/// Runs `hearth own HOME UID:GID UID:GID`, from the one to the other, and prints an [`Owned`]; or `hearth own --pause`,
/// which does nothing until it is killed.
pub(super) fn run(args: &[&str]) -> ExitCode {
    let (home, old, new) = match args {
        ["--pause"] => loop {
            nix::unistd::pause();
        },
        [home, old, new] => match (owner(old), owner(new)) {
            (Some(old), Some(new)) => (home, old, new),
            _ => return complain("an owner is written UID:GID, and the uid is not 0"),
        },
        _ => return complain("usage: hearth own HOME UID:GID UID:GID"),
    };
    match give(Path::new(home), Whose::Of(old), new) {
        Ok(owned) => match serde_json::to_vec(&owned).map(|json| io::stdout().write_all(&json)) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => complain(&format!("cannot give {home} to another user: {error}")),
    }
}

fn owner(text: &str) -> Option<Owner> {
    let (uid, gid) = text.split_once(':')?;
    let owner = (uid.parse().ok()?, gid.parse().ok()?);
    (owner.0 != 0).then_some(owner)
}

/// Gives a home, or what of it is meant, to `new`. One entry that cannot be given hinders no other.
pub(super) fn give(home: &Path, whose: Whose, new: Owner) -> io::Result<Owned> {
    let root = tree::root(home)?;
    let mut giving = Giving { whose, new, owned: Owned::default() };
    giving.entry(&root)?;
    // Its change time says from here on that the home was in use: one in the trash is kept by that (rule L10).
    let _ = chownat(&root, c"", None, None, AtFlags::EMPTY_PATH);
    if whose != Whose::MountPoint {
        tree::walk(&root, &mut giving)?;
    }
    Ok(giving.owned)
}

struct Giving {
    whose: Whose,
    new: Owner,
    owned: Owned,
}

impl Visit for Giving {
    /// Gives one entry, if it is meant.
    fn entry(&mut self, entry: &OwnedFd) -> Result<Stat, Errno> {
        let stat = fstat(entry)?;
        let (uid, gid) = self.becomes((stat.st_uid, stat.st_gid));
        if (uid, gid) == (stat.st_uid, stat.st_gid) {
            return Ok(stat);
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        chownat(entry, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        self.owned.given += 1;
        if matches!(self.whose, Whose::Of(_)) {
            keep_set_id(entry, &stat);
        }
        Ok(stat)
    }

    fn failed(&mut self, error: Errno) {
        self.owned.failed += 1;
        self.owned.error.get_or_insert_with(|| io::Error::from(error).to_string());
    }
}

impl Giving {
    fn becomes(&self, (uid, gid): Owner) -> Owner {
        match self.whose {
            Whose::MountPoint if uid == 0 => self.new,
            Whose::MountPoint => (uid, gid),
            Whose::All => self.new,
            Whose::Of((old_uid, old_gid)) => {
                // A user's group may be root's own: then it is theirs on their files only.
                let theirs = uid == old_uid;
                let group = gid == old_gid && (theirs || old_gid != 0);
                (if theirs { self.new.0 } else { uid }, if group { self.new.1 } else { gid })
            }
        }
    }
}

/// The kernel takes set-user-ID and set-group-ID off a file whose owner changes; it is the same person's still.
fn keep_set_id(entry: &OwnedFd, before: &Stat) {
    let mode = Mode::from_raw_mode(before.st_mode);
    let is_file = FileType::from_raw_mode(before.st_mode) == FileType::RegularFile;
    if is_file && mode.intersects(Mode::SUID | Mode::SGID) {
        let _ = chmod(format!("/proc/self/fd/{}", entry.as_raw_fd()), mode);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
    use std::path::PathBuf;

    use super::*;

    /// A home with a bit of everything in it, its mount point root's, the rest `owner`'s.
    fn home(owner: Owner) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        for file in ["file", "a/file", "a/b/file", "roots", "set", "\u{1b}[31m odd"] {
            std::fs::write(path(file), "x").unwrap();
        }
        symlink("/etc/passwd", path("out")).unwrap();
        symlink("a", path("in")).unwrap();
        std::fs::hard_link(path("file"), path("a/same")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
        for (name, (uid, gid)) in all(dir.path()).into_iter().map(|path| (path, owner)) {
            lchown(name, Some(uid), Some(gid)).unwrap();
        }
        lchown(path("roots"), Some(0), Some(0)).unwrap();
        std::fs::set_permissions(path("set"), PermissionsExt::from_mode(0o6755)).unwrap();
        dir
    }

    /// Everything below a directory, links not followed.
    fn all(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                found.extend(all(&path));
            }
            found.push(path);
        }
        found
    }

    fn owner_of(path: &Path) -> Owner {
        let found = path.symlink_metadata().unwrap();
        (found.uid(), found.gid())
    }

    #[test]
    fn l5_all_of_a_fresh_home_is_given_and_nothing_else() {
        let home = home((1000, 1000));
        let passwd = owner_of(Path::new("/etc/passwd"));
        let owned = give(home.path(), Whose::All, (1234, 1235)).unwrap();
        let found = all(home.path());
        assert!(found.len() > 10);
        for path in &found {
            assert_eq!(owner_of(path), (1234, 1235), "{}", path.display());
        }
        assert_eq!(owner_of(home.path()), (1234, 1235));
        assert_eq!(owner_of(Path::new("/etc/passwd")), passwd);
        // A file with two names is given once.
        assert_eq!(owned, Owned { given: found.len() as u64, failed: 0, error: None });
        assert_eq!(give(home.path(), Whose::All, (1234, 1235)).unwrap().given, 0);
    }

    #[test]
    fn l5_only_what_was_the_users_goes_to_the_new_uid() {
        let home = home((1000, 1000));
        lchown(home.path().join("a/b"), Some(1000), Some(50)).unwrap();
        lchown(home.path().join("a/file"), Some(50), Some(1000)).unwrap();
        give(home.path(), Whose::Of((1000, 1000)), (2000, 2001)).unwrap();
        let owner = |name: &str| owner_of(&home.path().join(name));
        assert_eq!((owner("file"), owner("out"), owner("pipe")), ((2000, 2001), (2000, 2001), (2000, 2001)));
        assert_eq!((owner("roots"), owner_of(home.path())), ((0, 0), (0, 0)));
        assert_eq!((owner("a/b"), owner("a/file"), owner("a/b/file")), ((2000, 50), (50, 2001), (2000, 2001)));
        assert_eq!(home.path().join("set").metadata().unwrap().mode() & 0o7777, 0o6755);
    }

    #[test]
    fn l5_roots_own_group_stays_on_what_is_roots() {
        let home = home((1000, 0));
        give(home.path(), Whose::Of((1000, 0)), (2000, 2000)).unwrap();
        assert_eq!(owner_of(&home.path().join("file")), (2000, 2000));
        assert_eq!(owner_of(&home.path().join("roots")), (0, 0));
    }

    #[test]
    fn l5_later_only_a_root_owned_mount_point_is_corrected() {
        let home = home((1000, 1000));
        assert_eq!(give(home.path(), Whose::MountPoint, (1234, 1234)).unwrap().given, 1);
        assert_eq!(owner_of(home.path()), (1234, 1234));
        assert_eq!(give(home.path(), Whose::MountPoint, (4321, 4321)).unwrap().given, 0);
        assert_eq!(owner_of(&home.path().join("file")), (1000, 1000));
    }

    #[test]
    fn l5_a_home_that_is_a_link_is_not_followed() {
        let home = home((1000, 1000));
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link");
        symlink(home.path(), &link).unwrap();
        assert!(give(&link, Whose::All, (1234, 1234)).is_err());
        assert_eq!(owner_of(&home.path().join("file")), (1000, 1000));
    }

    #[test]
    fn l5_a_deep_home_is_walked_to_its_end() {
        let home = tempfile::tempdir().unwrap();
        let mut deep = home.path().to_owned();
        for _ in 0..800 {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(give(home.path(), Whose::All, (1234, 1234)).unwrap(), Owned { given: 801, failed: 0, error: None });
    }

    #[test]
    fn an_owner_is_never_root() {
        assert_eq!(owner("1000:0"), Some((1000, 0)));
        for bad in ["0:0", "0:1000", "1000", "a:b", "-1:1", ":"] {
            assert_eq!(owner(bad), None, "{bad}");
        }
    }
}
