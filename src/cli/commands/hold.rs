//! `hearth hold`

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::str::FromStr;
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use jiff::tz::TimeZone;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::api::wire::{HoldRequest, Holding, ReleaseRequest, Released};
use crate::cli::client::{Client, Patience};
use crate::cli::error::{Error, Kind, Result};
use crate::cli::render::time::{between, when};
use crate::cli::target::{Name, Target};
use crate::cli::{Context, complete};
use crate::model::{Span, WorkspaceId};

/// Keep a workspace on for a time, or until a command ends
///
/// `hearth hold alice/main 4h -m training` keeps it on for four hours, whether or not it is used. `hearth hold -- make
/// all` keeps it on while the command runs, at most as long as the org's `hold_max`, and ends with its exit code,
/// 128 + n after signal n. `hearth release` ends holds, `hearth why` shows them. Inside a workspace it need not be
/// named.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Workspace, and for how long: `4h`, `1h30m`; inside a workspace that can be left out
    #[arg(value_name = "WORKSPACE|DURATION", num_args = 0..=2, add = ArgValueCandidates::new(complete::workspaces))]
    what: Vec<Word>,
    /// What for, shown to others
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Command to run, and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
}

/// A workspace or a time. No name begins with a digit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Workspace(Name),
    Lasts(Duration),
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let span: Span = text.parse().map_err(|error: crate::model::QuantityError| error.to_string())?;
            return Ok(Word::Lasts(span.0));
        }
        text.parse().map(Word::Workspace).map_err(|error: crate::model::NameError| error.to_string())
    }
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let (target, lasts) = self.words()?;
        let client = context.client()?;
        let workspace = target.resolve(&client).await?;
        let holder = Holder { context, client, workspace, message: self.message };
        match lasts {
            Some(lasts) => {
                let held = holder.ask(Some(lasts), false).await?;
                let until = when(held.until, context.now(), &TimeZone::system());
                context.out.print_as(&held, |held| format!("{} is held until {until}\n", held.workspace))?;
                Ok(0)
            }
            None => holder.run(&self.command).await,
        }
    }

    fn words(&self) -> Result<(Target, Option<Duration>)> {
        let usage = |message: &str| {
            Error::new(Kind::Usage, message).hint("hearth hold WORKSPACE 4h, or hearth hold WORKSPACE -- COMMAND")
        };
        let (target, lasts) = match &self.what[..] {
            [] => (None, None),
            [Word::Workspace(name)] => (Some(name), None),
            [Word::Lasts(lasts)] => (None, Some(*lasts)),
            [Word::Workspace(name), Word::Lasts(lasts)] | [Word::Lasts(lasts), Word::Workspace(name)] => {
                (Some(name), Some(*lasts))
            }
            _ => return Err(usage("one workspace and one time, in any order")),
        };
        match (lasts, self.command.is_empty()) {
            (None, true) => Err(usage("for how long?")),
            (Some(_), false) => Err(usage("either a time or a command, not both")),
            (Some(_), true) | (None, false) => Ok((Target::of(target.cloned()), lasts)),
        }
    }
}

/// Somebody who holds a workspace.
struct Holder<'a> {
    context: &'a Context,
    client: Client,
    workspace: WorkspaceId,
    message: Option<String>,
}

impl Holder<'_> {
    async fn ask(&self, lasts: Option<Duration>, until_command_ends: bool) -> Result<Holding> {
        let seconds = lasts.map(|lasts| lasts.as_secs());
        let request = HoldRequest { seconds, until_command_ends, renew: None, message: self.message.clone() };
        self.post("hold", &request).await
    }

    async fn post<T: serde::de::DeserializeOwned>(&self, verb: &str, body: &impl serde::Serialize) -> Result<T> {
        self.client.post(&format!("/v1/workspaces/{}/{verb}", self.workspace), body, Patience::Short).await
    }

    /// Runs the command under a hold and returns its exit code.
    async fn run(&self, command: &[String]) -> Result<u8> {
        let Some((program, arguments)) = command.split_first() else { return Ok(0) };
        let signals = Signals::catch()?;
        let held = self.ask(None, true).await?;
        let number = Cell::new(held.hold);
        let spawned = Command::new(program).args(arguments).spawn();
        let code = match spawned {
            Ok(mut child) => {
                let status = tokio::select! {
                    status = signals.pass_on(&mut child) => status,
                    () = self.keep(held, &number) => unreachable_end(),
                };
                status.map(exit_code).map_err(|error| Error::new(Kind::Failed, format!("`{program}` is lost: {error}")))
            }
            Err(error) => {
                let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
                self.context.out.say_raw(format_args!("hearth: cannot run `{program}`: {error}\n"));
                Ok(code)
            }
        };
        // One that cannot be released ends by itself soon: nobody renews it.
        let _: Result<Released> = self.post("release", &ReleaseRequest { hold: Some(number.get()) }).await;
        code
    }

    /// Renews the hold for as long as it may last. Never ends: the command runs on whatever becomes of the hold.
    async fn keep(&self, held: Holding, number: &Cell<u64>) {
        let Some(within) = held.renew_within else { return std::future::pending().await };
        let (lease, every) = (Duration::from_secs(within), Duration::from_secs((within / 4).max(1)));
        let mut renewed_at = self.context.now();
        loop {
            let left = between(self.context.now(), held.until);
            sleep(left.clamp(Duration::from_secs(1).min(every), every)).await;
            let request = HoldRequest { renew: Some(number.get()), ..HoldRequest::default() };
            let now = self.context.now();
            match self.post::<Holding>("hold", &request).await {
                Ok(_) => renewed_at = now,
                // hearthd may be restarting.
                Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Failed) => {}
                Err(over) => {
                    let left = between(now, held.until);
                    // One that ended sooner than for want of renewing was ended by somebody.
                    let lapsed = between(renewed_at, now) >= lease && left > Duration::from_secs(1);
                    match if lapsed { self.ask(Some(left), true).await } else { Err(over) } {
                        Ok(again) => {
                            number.set(again.hold);
                            renewed_at = now;
                        }
                        Err(error) => {
                            let why = error.message;
                            self.context.out.say(format_args!("hearth: {why}; the command runs on without it"));
                            return std::future::pending().await;
                        }
                    }
                }
            }
        }
    }
}

/// Holding never ends before the command does.
fn unreachable_end() -> std::io::Result<ExitStatus> {
    Err(std::io::ErrorKind::Interrupted.into())
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The signals that are the command's business. Those of the keyboard reach it from the terminal as well.
struct Signals {
    term: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        let caught = |kind| signal(kind).map_err(|error| Error::new(Kind::Failed, format!("no signals: {error}")));
        Ok(Self {
            term: caught(SignalKind::terminate())?,
            hangup: caught(SignalKind::hangup())?,
            interrupt: caught(SignalKind::interrupt())?,
            quit: caught(SignalKind::quit())?,
        })
    }

    /// Waits for the command's end, and passes on what it is told meanwhile.
    async fn pass_on(mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        loop {
            let signal = tokio::select! {
                status = child.wait() => return status,
                Some(()) = self.term.recv() => Signal::SIGTERM,
                Some(()) = self.hangup.recv() => Signal::SIGHUP,
                Some(()) = self.interrupt.recv() => continue,
                Some(()) = self.quit.recv() => continue,
            };
            // One that is gone already needs no telling.
            let _ = pid.map(|pid| kill(pid, signal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(what: &[&str], command: &[&str]) -> Result<(Target, Option<Duration>), (Kind, String)> {
        let what = what.iter().map(|word| word.parse().unwrap()).collect();
        let command = command.iter().map(ToString::to_string).collect();
        Args { what, message: None, command }.words().map_err(|error| (error.kind, error.message))
    }

    #[test]
    fn p5_a_workspace_and_a_time_in_any_order_or_a_command() {
        let (full, own) = (Target::of(Some("alice/main".parse().unwrap())), Target::of(None));
        let hours = Some(Duration::from_secs(4 * 3600));
        assert_eq!(words(&["alice/main", "4h"], &[]), Ok((full.clone(), hours)));
        assert_eq!(words(&["4h", "alice/main"], &[]), Ok((full.clone(), hours)));
        assert_eq!(words(&["4h"], &[]), Ok((own.clone(), hours)));
        assert_eq!(words(&[], &["make"]), Ok((own, None)));
        assert_eq!(words(&["alice/main"], &["make"]), Ok((full, None)));
        for (what, command) in [(&[][..], &[][..]), (&["main"], &[]), (&["4h"], &["make"]), (&["4h", "5h"], &[])] {
            assert_eq!(words(what, command).unwrap_err().0, Kind::Usage, "{what:?} {command:?}");
        }
        assert!("4x".parse::<Word>().is_err());
        assert!("Main".parse::<Word>().is_err());
    }

    #[test]
    fn p5_the_exit_code_is_the_commands() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
