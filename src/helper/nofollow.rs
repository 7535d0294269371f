//! Files of a directory reached without following a symbolic link, replaced whole.
//!
//! inject writes as root where a user with sudo may have been before (containers are restarted as they are, rule L9):
//! what is a link, a pipe or a device there is refused, never written through.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

/// No configuration file is longer; one that is, is not touched.
const LIMIT: u64 = 1 << 20;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory, held open.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

/// A regular file as it lies there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) content: Vec<u8>,
    stat: FileStat,
}

impl Dir {
    /// Opens an absolute path; no component may be a symbolic link.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut dir = Self(open("/", DIRECTORY, Mode::empty())?);
        for component in path.components() {
            match component {
                Component::RootDir => {}
                Component::Normal(name) => dir = dir.enter(name)?,
                Component::CurDir | Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL.into()),
            }
        }
        Ok(dir)
    }

    /// Opens a path wherever it leads: for whom is nobody but the user.
    pub(super) fn follow(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?))
    }

    /// Opens a directory in it.
    pub(super) fn enter(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name.as_ref(), DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory in it, made with that mode where there is none.
    pub(super) fn enter_or_make(&self, name: &str, mode: u32) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_bits_truncate(mode)) {
            Ok(()) | Err(Errno::EEXIST) => self.enter(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a regular file; `None` where there is nothing.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Found>> {
        // A pipe would block an opener, a device may do anything: look before.
        let stat = match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        must_be_a_file(&stat)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        must_be_a_file(&stat)?;
        let mut content = Vec::new();
        File::from(file).take(LIMIT + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LIMIT {
            return Err(Errno::EFBIG.into());
        }
        Ok(Some(Found { content, stat }))
    }

    /// Puts a file there whole or not at all: whoever reads meanwhile sees the old one or the new one. It keeps the
    /// owner and mode of `before`; else it is ours with `mode`.
    pub(super) fn replace(&self, name: &str, content: &[u8], mode: u32, before: Option<&Found>) -> io::Result<()> {
        let new = format!(".{name}.hearth-new");
        let _ = unlinkat(&self.0, new.as_str(), UnlinkatFlags::NoRemoveDir);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.0, new.as_str(), flags, Mode::from_bits_truncate(0o600))?;
        let written = (|| {
            let mut file = File::from(file);
            file.write_all(content)?;
            if let Some(Found { stat, .. }) = before {
                fchown(&file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
            }
            let mode = before.map_or(mode, |found| found.stat.st_mode & 0o777);
            fchmod(&file, Mode::from_bits_truncate(mode))?;
            Ok(renameat(&self.0, new.as_str(), &self.0, name)?)
        })();
        if written.is_err() {
            let _ = unlinkat(&self.0, new.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Opens a regular file for writing from its beginning, made with mode 0600 where there is none.
    pub(super) fn truncate(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::from_bits_truncate(0o600))?;
        must_be_a_file(&fstat(&file)?)?;
        let file = File::from(file);
        file.set_len(0)?;
        Ok(file)
    }

    /// Makes a file where there is nothing, not even a link that leads nowhere; returns whether it did.
    pub(super) fn make_if_absent(&self, name: &str, content: &[u8], mode: u32) -> io::Result<bool> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::from_bits_truncate(0o600)) {
            Ok(file) => file,
            Err(Errno::EEXIST) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut file = File::from(file);
        let written = file.write_all(content);
        if let Err(error) = written {
            let _ = self.remove(name);
            return Err(error);
        }
        fchmod(&file, Mode::from_bits_truncate(mode))?;
        Ok(true)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(&self.0, name.as_ref().as_bytes(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Makes the symbolic link `name`, in place of what was there.
    pub(super) fn link(&self, name: &str, target: &str) -> io::Result<()> {
        let new = format!(".{name}.hearth-new");
        let _ = self.remove(&new);
        nix::unistd::symlinkat(target, &self.0, new.as_str())?;
        Ok(renameat(&self.0, new.as_str(), &self.0, name)?)
    }

    /// Returns the names in it.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut dir = nix::dir::Dir::from_fd(openat(&self.0, ".", DIRECTORY, Mode::empty())?)?;
        let mut names = vec![];
        for entry in dir.iter() {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }
}

fn must_be_a_file(stat: &FileStat) -> io::Result<()> {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => Ok(()),
        SFlag::S_IFLNK => Err(io::Error::other("it is a symbolic link")),
        SFlag::S_IFDIR => Err(Errno::EISDIR.into()),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(&temp.path().canonicalize().unwrap()).unwrap();
        (temp, dir)
    }

    #[test]
    fn x3_links_pipes_and_devices_are_never_written_through() {
        let (temp, dir) = dir();
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), temp.path().join("link")).unwrap();
        nix::unistd::mkfifo(&temp.path().join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        std::fs::create_dir(temp.path().join("real")).unwrap();
        symlink("real", temp.path().join("dir")).unwrap();

        assert!(dir.read("link").unwrap_err().to_string().contains("symbolic link"));
        assert!(dir.read("pipe").is_err());
        assert!(dir.truncate("link").is_err());
        assert!(dir.truncate("pipe").is_err());
        assert!(dir.enter("dir").is_err());
        assert!(Dir::open(&temp.path().canonicalize().unwrap().join("dir")).is_err());
        assert!(!dir.make_if_absent("link", b"x", 0o644).unwrap());
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let (temp, dir) = dir();
        let path = temp.path().join("file");
        dir.replace("file", b"one", 0o644, None).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o644);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = dir.read("file").unwrap().unwrap();
        dir.replace("file", b"two", 0o644, Some(&before)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(dir.names().unwrap(), ["file"]);
    }
}
