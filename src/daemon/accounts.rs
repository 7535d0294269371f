//! The host's accounts: uid → name and groups, asked of `getent` and `id`, because the static binary has no NSS and
//! accounts may live in LDAP.
//!
//! Groups are the account database's, not the caller's process's: a set-group-id program gives nobody a role.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;

use crate::model::Now;

/// How long an answer holds.
const KEPT: Duration = Duration::from_secs(60);

/// How many answers are kept: a user may come with every uid of their subordinate range.
const MAX_KEPT: usize = 1024;

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What `getent` ends with for a key that is in no database.
const NO_SUCH_KEY: i32 = 2;

/// An account of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub groups: Vec<String>,
}

/// Why the host could not be asked; says nothing about the account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("cannot run `{program}`")]
    Unusable { program: String, source: io::Error },
    #[error("`{program}` took longer than {limit:?}")]
    Slow { program: String, limit: Duration },
    #[error("`{program}` failed: {text}")]
    Failed { program: String, text: String },
    #[error("the account of uid {uid} has a name that cannot be used: {name:?}")]
    Odd { uid: u32, name: String },
}

/// One uid's answer; its lock keeps a second question of the same uid waiting for the first one's answer.
type Slot = Arc<tokio::sync::Mutex<Option<(Duration, Option<Account>)>>>;

/// The accounts of the host, with a short memory.
#[derive(Debug)]
pub struct Accounts {
    getent: PathBuf,
    id: PathBuf,
    limit: Duration,
    slots: Mutex<BTreeMap<u32, Slot>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { getent: "getent".into(), id: "id".into(), limit: LIMIT, slots: Mutex::default() }
    }
}

impl Accounts {
    /// Returns the account of a uid with all its groups; `None` where the host knows none.
    ///
    /// # Errors
    /// [`AccountError`] where the host gives no answer; no answer is remembered then.
    pub async fn of_uid(&self, uid: u32, now: Now) -> Result<Option<Account>, AccountError> {
        // Root is an admin whatever its groups, and must get in when a directory server is away.
        if uid == 0 {
            return Ok(Some(Account { name: "root".into(), groups: vec!["root".into()] }));
        }
        let slot = self.slot(uid);
        let mut answer = slot.lock().await;
        if let Some((at, account)) = answer.as_ref()
            && now.boot.saturating_sub(*at) < KEPT
        {
            return Ok(account.clone());
        }
        *answer = None;
        let account = self.ask(uid).await?;
        *answer = Some((now.boot, account.clone()));
        Ok(account)
    }

    fn slot(&self, uid: u32) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_KEPT && !slots.contains_key(&uid) {
            slots.clear();
        }
        slots.entry(uid).or_default().clone()
    }

    async fn ask(&self, uid: u32) -> Result<Option<Account>, AccountError> {
        let entry = self.run(&self.getent, &["passwd", &uid.to_string()]).await?;
        if entry.status.code() == Some(NO_SUCH_KEY) {
            return Ok(None);
        }
        let name = account_name(&entry.stdout, uid).ok_or_else(|| failed(&self.getent, &entry))?;
        if !is_usable(&name) {
            return Err(AccountError::Odd { uid, name: name.chars().take(64).collect() });
        }
        // `id` also fails when one of the groups has no name; what it says of the others still holds.
        let groups = self.run(&self.id, &["-nGz", "--", &name]).await?;
        match group_names(&groups.stdout) {
            names if names.is_empty() => Err(failed(&self.id, &groups)),
            names => Ok(Some(Account { name, groups: names })),
        }
    }

    async fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output, AccountError> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).env_clear().env("LC_ALL", "C");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let program = program.display().to_string();
        match tokio::time::timeout(self.limit, command.output()).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(source)) => Err(AccountError::Unusable { program, source }),
            Err(_) => Err(AccountError::Slow { program, limit: self.limit }),
        }
    }
}

fn failed(program: &Path, output: &Output) -> AccountError {
    let text = String::from_utf8_lossy(&output.stderr);
    let text = match text.trim() {
        "" => format!("{}, with no account on its output", output.status),
        text => text.chars().take(200).collect(),
    };
    AccountError::Failed { program: program.display().to_string(), text }
}

/// Returns the name in a line of passwd(5), where the line is of that uid.
fn account_name(passwd: &[u8], uid: u32) -> Option<String> {
    let text = std::str::from_utf8(passwd).ok()?;
    let mut fields = text.lines().next()?.split(':');
    let name = fields.next()?;
    (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
}

/// Directory servers give names with `@`, `\`, dots and spaces. What is refused could be taken for an option, a
/// number (`+1000`) or something else than one name.
fn is_usable(name: &str) -> bool {
    (1..=256).contains(&name.len())
        && !name.starts_with(['-', '+'])
        && !name.contains(|c: char| c.is_control() || c == ':' || c == '/')
}

/// A group whose name cannot be found is left out: `id` gives its number, which another group may have as its name.
fn group_names(output: &[u8]) -> Vec<String> {
    output
        .split(|byte| *byte == 0)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| !name.is_empty() && !name.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(second: u64) -> Now {
        Now { wall: "2026-01-02T03:04:05Z".parse().unwrap(), boot: Duration::from_secs(second) }
    }

    /// Accounts as shell scripts tell them; `$LOG` gets a line per question.
    fn told_by(getent: &str, id: &str) -> (tempfile::TempDir, Accounts) {
        let dir = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = dir.path().join(name);
            let log = dir.path().join("log");
            let text = format!("#!/bin/sh\nLOG={}\necho \"{name} $*\" >> $LOG\n{text}\n", log.display());
            // Written by another process: a child of a neighbouring test could hold our descriptor, and what is open
            // for writing cannot be executed.
            let write = "printf %s \"$2\" > \"$1\" && chmod 0755 \"$1\"";
            let status = std::process::Command::new("sh").args(["-c", write, "sh"]).arg(&path).arg(text).status();
            assert!(status.unwrap().success());
            path
        };
        let (getent, id) = (script("getent", getent), script("id", id));
        (dir, Accounts { getent, id, ..Accounts::default() })
    }

    fn questions(dir: &Path) -> Vec<String> {
        std::fs::read_to_string(dir.join("log")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    const ALICE: &str = "echo 'alice:x:1000:1000:Alice:/home/alice:/bin/sh'";
    const HER_GROUPS: &str = r"printf 'alice\0domain users\0'";

    #[tokio::test]
    async fn the_hosts_own_accounts() {
        let accounts = Accounts::default();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let (name, uid) = passwd
            .lines()
            .filter_map(|line| {
                let fields: Vec<_> = line.split(':').collect();
                Some((fields[0].to_owned(), fields.get(2)?.parse().ok()?))
            })
            .find(|(_, uid)| *uid != 0)
            .unwrap();
        let account = accounts.of_uid(uid, now(1)).await.unwrap().unwrap();
        assert_eq!(account.name, name);
        assert!(!account.groups.is_empty());
        assert_eq!(accounts.of_uid(3_999_999_999, now(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_holds_for_a_minute() {
        let (dir, accounts) = told_by(ALICE, HER_GROUPS);
        let alice = Account { name: "alice".into(), groups: vec!["alice".into(), "domain users".into()] };
        for second in [100, 159] {
            assert_eq!(accounts.of_uid(1000, now(second)).await.unwrap(), Some(alice.clone()));
        }
        assert_eq!(questions(dir.path()), ["getent passwd 1000", "id -nGz -- alice"]);
        accounts.of_uid(1000, now(160)).await.unwrap();
        assert_eq!(questions(dir.path()).len(), 4);
    }

    #[tokio::test]
    async fn many_questions_at_once_are_asked_once() {
        let (dir, accounts) = told_by(ALICE, HER_GROUPS);
        let asked = (0..20).map(|_| accounts.of_uid(1000, now(100)));
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.unwrap().unwrap().name, "alice");
        }
        assert_eq!(questions(dir.path()).len(), 2);
    }

    #[tokio::test]
    async fn a_uid_without_account_is_nobody_and_root_needs_no_answer() {
        let (dir, accounts) = told_by("exit 2", "exit 1");
        assert_eq!(accounts.of_uid(1000, now(100)).await.unwrap(), None);
        assert_eq!(accounts.of_uid(1000, now(101)).await.unwrap(), None);
        assert_eq!(questions(dir.path()), ["getent passwd 1000"]);
        assert_eq!(accounts.of_uid(0, now(100)).await.unwrap().unwrap().name, "root");
    }

    #[tokio::test]
    async fn x1_no_answer_is_an_error_and_gives_nobody_a_name() {
        for (getent, id, text) in [
            ("echo 'sssd is away' >&2; exit 1", HER_GROUPS, "sssd is away"),
            ("true", HER_GROUPS, "with no account"),
            ("echo 'alice:x:1001:1000:::'", HER_GROUPS, "with no account"),
            (ALICE, "echo 'no such user' >&2; exit 1", "no such user"),
            ("exec sleep 600", HER_GROUPS, "took longer"),
        ] {
            let (dir, mut accounts) = told_by(getent, id);
            if text == "took longer" {
                accounts.limit = Duration::from_millis(50);
            }
            for _ in 0..2 {
                let error = accounts.of_uid(1000, now(100)).await.unwrap_err().to_string();
                assert!(error.contains(text), "{getent}: {error}");
            }
            drop(dir);
        }
        let missing = Accounts { getent: "/nonexistent/getent".into(), ..Accounts::default() };
        assert!(matches!(missing.of_uid(1000, now(100)).await, Err(AccountError::Unusable { .. })));
    }

    #[tokio::test]
    async fn an_odd_name_never_reaches_a_command_line() {
        for name in ["", "-G", "--help", "+0", "a/b", r"a\tb"] {
            let (dir, accounts) = told_by(&format!("printf '%b:x:1000:1000:::\\n' '{name}'"), HER_GROUPS);
            let error = accounts.of_uid(1000, now(100)).await.unwrap_err();
            assert!(matches!(error, AccountError::Odd { .. }), "{name}: {error}");
            assert_eq!(questions(dir.path()), ["getent passwd 1000"]);
        }
        for name in ["alice", "alice@example.org", r"EXAMPLE\alice", "alice smith", "élise", "1000"] {
            assert!(is_usable(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_group_without_a_name_takes_no_other_away_and_is_nobodys() {
        let (_dir, accounts) = told_by(ALICE, r"printf 'alice\00027\0sudo\0'; exit 1");
        assert_eq!(accounts.of_uid(1000, now(100)).await.unwrap().unwrap().groups, ["alice", "sudo"]);
    }

    #[tokio::test]
    async fn x4_the_memory_is_bounded() {
        let (_dir, accounts) = told_by("exit 2", "exit 1");
        for uid in 1..=3 * MAX_KEPT as u32 {
            drop(accounts.slot(uid));
            assert!(accounts.slots.lock().unwrap().len() <= MAX_KEPT);
        }
    }
}
