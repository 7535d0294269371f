//! How a container looks to its user: which programs and hooks are there, whether the home takes a file (rule H5).
//!
//! Looked at by inject, and again after each hook: configure may have installed what the image lacks.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess, getuid};

use super::bundle::{CONFIGURE, Facts, Home, Personalize};
use super::shell;

/// What is written to `~/personalize` where there is none: nothing that runs.
pub(super) const DEFAULT_PERSONALIZE: &str = "\
#!/bin/sh
# ~/personalize makes a new workspace yours. hearth runs it at the end of every build, as you, in your home,
# after your dotfiles (if you have some) were installed. Its output is kept in ~/personalize.log.
#
# The home outlives a rebuild, everything else in the container does not: install here what you want besides the
# image, and let it do no harm when it runs again.
#
#     sudo apt-get update && sudo apt-get install --yes ripgrep
#
# `hearth personalize` runs it by hand. hearth never overwrites it.
";

/// Looks at everything. Has to be asked as the user.
pub(super) fn look(home: &str) -> Facts {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let uid = getuid().as_raw();
    let own_shell = shell::account(uid).map(|account| account.shell);
    Facts {
        configure: Path::new(CONFIGURE).symlink_metadata().is_ok(),
        personalize: personalize(Path::new(home)),
        git: find_program("git", &path).is_some(),
        ssh: find_program("ssh", &path).is_some(),
        shell: shell::shell(uid).map(|shell| shell.display().to_string()),
        missing_shell: own_shell.filter(|shell| !is_program(Path::new(shell))),
        home: try_home(Path::new(home)),
    }
}

/// Returns where the program of that name lies.
pub(super) fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|path| path.is_absolute() && is_program(path))
}

/// Returns whether that is a file that we may run.
pub(super) fn is_program(path: &Path) -> bool {
    path.is_file() && eaccess(path, AccessFlags::X_OK).is_ok()
}

/// Says what `~/personalize` is.
pub(super) fn personalize(home: &Path) -> Personalize {
    let path = home.join("personalize");
    match path.symlink_metadata() {
        Err(_) => Personalize::Nothing,
        // Reading no more than a default's length: the file may be anything.
        Ok(found) if found.is_file() && found.len() == DEFAULT_PERSONALIZE.len() as u64 => match std::fs::read(path) {
            Ok(text) if text == DEFAULT_PERSONALIZE.as_bytes() => Personalize::Default,
            _ => Personalize::Own,
        },
        Ok(_) => Personalize::Own,
    }
}

/// Quotas and full disks show at a write alone.
fn try_home(home: &Path) -> Home {
    let path = home.join(format!(".hearth-{}", std::process::id()));
    let tried =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            let written = file.write_all(&[b'x'; 4096]);
            std::fs::remove_file(&path)?;
            written
        });
    match tried {
        Ok(()) => Home::Writable,
        Err(error) if is_full(&error) => Home::Full,
        Err(error) => Home::NotWritable(error.to_string()),
    }
}

/// Returns whether an error says that there is no room left.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn h3_the_default_is_told_from_the_users_own() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("personalize");
        assert_eq!(personalize(home.path()), Personalize::Nothing);
        std::fs::write(&file, DEFAULT_PERSONALIZE).unwrap();
        assert_eq!(personalize(home.path()), Personalize::Default);
        std::fs::write(&file, DEFAULT_PERSONALIZE.replace("hearth", "HEARTH")).unwrap();
        assert_eq!(personalize(home.path()), Personalize::Own);
        std::fs::remove_file(&file).unwrap();
        symlink("/nowhere", &file).unwrap();
        assert_eq!(personalize(home.path()), Personalize::Own);
    }

    #[test]
    fn h3_the_default_runs_nothing() {
        assert!(DEFAULT_PERSONALIZE.lines().all(|line| line.starts_with('#')));
    }

    #[test]
    fn programs_are_looked_for_in_absolute_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        assert_eq!(find_program("sh", OsStr::new("relative:/nowhere:/bin")), Some("/bin/sh".into()));
        assert_eq!(find_program("plain", dir.path().as_os_str()), None);
    }
}
