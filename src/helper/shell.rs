//! The user's entry in the image's `/etc/passwd`, read by ourselves: a static binary has no NSS.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is tried when passwd names no shell that can be run.
const FALLBACKS: [&str; 3] = ["/bin/bash", "/bin/sh", "/usr/bin/sh"];
/// The longest passwd that is read.
const LONGEST_PASSWD: u64 = 1 << 20;

/// A line of passwd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    pub name: String,
    pub home: String,
    pub shell: String,
}

/// Reads the entry of `uid`, if the image has one.
pub fn account(uid: u32) -> Option<Account> {
    use std::io::Read;
    let mut passwd = Vec::new();
    std::fs::File::open("/etc/passwd").ok()?.take(LONGEST_PASSWD).read_to_end(&mut passwd).ok()?;
    find(&String::from_utf8_lossy(&passwd), uid)
}

fn find(passwd: &str, uid: u32) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, _, _, home, shell] = fields[..] else { return None };
        let account = Account { name: name.into(), home: home.into(), shell: shell.trim().into() };
        (number.parse() == Ok(uid)).then_some(account)
    })
}

/// Returns the shell of `uid`: the one in passwd if it can be run, else the first usual one that can.
///
/// A shell that only turns people away (`nologin`) is no shell: whoever comes here may enter.
pub fn shell(uid: u32) -> Option<PathBuf> {
    let own = account(uid).map(|account| account.shell).unwrap_or_default();
    let turns_away = matches!(Path::new(&own).file_name().and_then(OsStr::to_str), Some("nologin" | "false" | "true"));
    let own = (!turns_away).then_some(own.as_str());
    own.into_iter().chain(FALLBACKS).map(Path::new).find(|path| can_be_run(path)).map(Path::to_path_buf)
}

fn can_be_run(path: &Path) -> bool {
    path.is_absolute() && path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_the_entry_is_found_by_uid() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\n+::::::\nbroken:x:1000\ncoder:x:1000:1000:,,,:/home/coder:/bin/zsh\r\n";
        let coder = Account { name: "coder".into(), home: "/home/coder".into(), shell: "/bin/zsh".into() };
        assert_eq!(find(passwd, 1000), Some(coder));
        assert_eq!(find(passwd, 1001), None);
        assert_eq!(find("", 0), None);
    }
}
