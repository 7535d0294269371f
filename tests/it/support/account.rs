//! Host accounts that every Debian has, to play owners, managers and strangers.

use std::ffi::OsStr;
use std::process::Command;

/// A host account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account(pub(crate) &'static str);

/// In the tests: a user's account.
pub(crate) const GAMES: Account = Account("games");
/// In the tests: another user's account.
pub(crate) const WWW_DATA: Account = Account("www-data");
/// In the tests: a manager.
pub(crate) const BACKUP: Account = Account("backup");
/// In the tests: an auditor.
pub(crate) const LIST: Account = Account("list");
/// In the tests: nobody that the configuration knows.
pub(crate) const NOBODY: Account = Account("nobody");

impl Account {
    /// Returns its uid.
    pub(crate) fn uid(self) -> u32 {
        nix::unistd::User::from_name(self.0).unwrap().unwrap_or_else(|| panic!("no account {}", self.0)).uid.as_raw()
    }

    /// Returns a command that runs `program` as this account, as `su` would, with root's environment left behind.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        let ids = [format!("--reuid={}", self.0), format!("--regid={}", primary_group(self.0)), "--init-groups".into()];
        command.args(ids).arg("--").arg(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("USER", self.0);
        command
    }
}

fn primary_group(account: &str) -> String {
    let user = nix::unistd::User::from_name(account).unwrap();
    user.unwrap_or_else(|| panic!("no account {account}")).gid.to_string()
}
