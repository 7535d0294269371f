//! Walks a home. The tree is its user's to shape. So every entry is opened by its one name in a directory that is held
//! open, without following a link and without crossing into another mount, and whoever visits it works on what was opened.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is done with what a walk comes by.
pub(super) trait Visit {
    /// Takes one entry, opened for its path alone; returns what it is.
    fn entry(&mut self, entry: &OwnedFd) -> Result<Stat, Errno>;
    /// Takes in that an entry could not be visited: it hinders no other.
    fn failed(&mut self, error: Errno);
    /// Says whether there is any need to see more.
    fn goes_on(&self) -> bool {
        true
    }
}

/// Opens the directory that a walk begins at.
pub(super) fn root(home: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, home, flags, Mode::empty())?)
}

/// Visits everything below a directory.
pub(super) fn walk(root: &OwnedFd, visit: &mut impl Visit) -> io::Result<()> {
    allow_depth();
    let mut stack = vec![read_dir(root)?];
    while visit.goes_on()
        && let Some((dir, entries)) = stack.last_mut()
    {
        let Some(entry) = entries.next() else {
            stack.pop();
            continue;
        };
        match entry.and_then(|entry| below(visit, dir, entry.file_name())) {
            Ok(Some(directory)) => stack.push(directory),
            Ok(None) | Err(Errno::XDEV | Errno::NOENT) => {}
            Err(error) => visit.failed(error),
        }
    }
    Ok(())
}

/// A directory takes two descriptors while it is walked, and nothing bounds how deep a home is.
fn allow_depth() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn below(visit: &mut impl Visit, dir: &OwnedFd, name: &CStr) -> Result<Option<Directory>, Errno> {
    if matches!(name.to_bytes(), b"." | b"..") {
        return Ok(None);
    }
    let entry = open(dir, name)?;
    let stat = visit.entry(&entry)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    is_directory.then(|| read_dir(&entry)).transpose()
}

type Directory = (OwnedFd, Dir);

fn read_dir(entry: &OwnedFd) -> Result<Directory, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(entry, c".", flags, Mode::empty())?;
    let entries = Dir::read_from(&dir)?;
    Ok((dir, entries))
}

/// Opens what has that name in a directory, whatever it is, if it is on the same mount.
fn open(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match openat2(dir, name, flags, Mode::empty(), within) {
        // An old kernel, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_on_mount(dir, name),
        opened => opened,
    }
}

fn open_on_mount(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let entry = openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    match (mount_of(dir), mount_of(&entry)) {
        (Some(here), Some(there)) if here == there => Ok(entry),
        _ => Err(Errno::XDEV),
    }
}

/// Two mounts of one filesystem have the same device, never the same id.
fn mount_of(fd: &impl AsFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_a_mount_is_seen_without_openat2_too() {
        let root = root(Path::new("/")).unwrap();
        assert_eq!(open(&root, c"proc").unwrap_err(), Errno::XDEV);
        assert_eq!(open_on_mount(&root, c"proc").unwrap_err(), Errno::XDEV);
        open(&root, c"etc").unwrap();
        open_on_mount(&root, c"etc").unwrap();
    }
}
