//! `hearth ssh`

use std::io::{Cursor, IsTerminal, stdin, stdout};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use crate::api::wire::{Accepted, StartRequest};
use crate::cli::Context;
use crate::cli::client::{Client, Patience, Upgraded};
use crate::cli::error::{Error, Kind, Result};
use crate::cli::follow::{DETACHED, End, Until, Watched, failure_of, follow, tail_of_log};
use crate::cli::render::progress::tail_text;
use crate::cli::target::Target;
use crate::enter::client::{Local, Outcome, attach, environment};
use crate::enter::{Open, PROTOCOL, Run, Size, terminal_size};
use crate::model::{BuildReason, WorkspaceId};

/// How long a workspace that runs may take until its inside answers.
const OPENING: Duration = Duration::from_secs(10);

/// Enter a workspace: a shell in it, or a command; one that is off is built first
///
/// The command's arguments reach it as they are, with no shell between. What was stopped in the last ten minutes is
/// built only for a terminal (`-t`), or by `hearth start`. A terminal is used where stdin and stdout are
/// one and no command is given. The exit code is the command's, 128 + n after signal n; hearth's own failures have
/// the codes of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Command to run, and its arguments
    #[arg(value_name = "CMD", last = true)]
    command: Vec<String>,
    /// Use a terminal even for a command
    #[arg(long, short = 't', conflicts_with = "no_tty")]
    tty: bool,
    /// Use no terminal
    #[arg(long, short = 'T')]
    no_tty: bool,
    /// Fail where the workspace is off, instead of building it
    #[arg(long)]
    no_start: bool,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let open = self.asked();
        let Some(Upgraded { stream, already_read }) = self.open(context, &client, &workspace, &open).await? else {
            return Ok(DETACHED);
        };
        let (read, write) = stream.into_split();
        let stream = tokio::io::join(Cursor::new(already_read).chain(read), write);
        let local = Local::standard();
        let entered = async { attach(stream, open, local?).await };
        let broken = |error| Error::new(Kind::Failed, format!("cannot use this terminal: {error}"));
        let outcome = entered.await.map_err(broken)?;
        if let Outcome::Lost(why) = &outcome {
            let hint = format!("hearth show {workspace} says how it is");
            return Err(Error::new(Kind::Unreachable, format!("`{workspace}` was left: {why}")).hint(hint));
        }
        Ok(outcome.exit_code())
    }

    /// Returns what is asked of the other end.
    fn asked(&self) -> Open {
        let run = if self.command.is_empty() { Run::LoginShell } else { Run::Command(self.command.clone()) };
        let terminals = stdin().is_terminal() && stdout().is_terminal();
        let terminal = self.terminal(terminals).then(|| terminal_size().unwrap_or(Size { rows: 24, cols: 80 }));
        Open { run, terminal, env: environment() }
    }

    fn terminal(&self, both_ends_are: bool) -> bool {
        !self.no_tty && (self.tty || (both_ends_are && self.command.is_empty()))
    }

    /// Opens the way in, building the workspace where it is off; nothing where somebody detached from that.
    async fn open(
        &self,
        context: &Context,
        client: &Client,
        workspace: &WorkspaceId,
        open: &Open,
    ) -> Result<Option<Upgraded>> {
        let path = format!("/v1/workspaces/{workspace}/enter");
        let mut deadline = None;
        loop {
            let refused = match client.upgrade(&path, PROTOCOL, &serde_json::json!({})).await {
                Ok(upgraded) => return Ok(Some(upgraded)),
                Err(error) if error.kind == Kind::Conflict && !self.no_start => error,
                Err(error) => return Err(error),
            };
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(refused);
            }
            if !start(context, client, workspace, open.terminal.is_some()).await? {
                return Ok(None);
            }
            match deadline {
                None => deadline = Some(Instant::now() + OPENING),
                Some(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

/// Has the workspace built where it is off, and waits until people may enter; false where somebody detached.
async fn start(context: &Context, client: &Client, workspace: &WorkspaceId, interactive: bool) -> Result<bool> {
    let out = context.out;
    let request = StartRequest { reason: Some(BuildReason::Connect), interactive };
    let accepted: Accepted =
        client.post(&format!("/v1/workspaces/{workspace}/start"), &request, Patience::Short).await?;
    let Some(build) = accepted.build else { return Ok(true) };
    out.say(format_args!("{workspace}: build {build}"));
    let watched = Watched { workspace, build, until: Until::Open, verbose: false };
    match follow(context, client, watched).await? {
        End::Detached => {
            super::build::detached(context, workspace, build);
            Ok(false)
        }
        End::Reached(built) => match failure_of(workspace, &built, &format!("{workspace} cannot be entered")) {
            None => Ok(true),
            Some(failure) => {
                let tail = tail_of_log(client, workspace, &built).await;
                out.say_raw(tail_text(&tail, out.talk_colours));
                Err(failure)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Line {
        Line::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn w3_the_command_is_taken_as_it_is() {
        for (line, command) in [
            ("ssh main", &[][..]),
            ("ssh main -- ls -la", &["ls", "-la"]),
            ("ssh main -- -x --json", &["-x", "--json"]),
            ("ssh main -- git -t --json --", &["git", "-t", "--json", "--"]),
            ("ssh -- true", &["true"]),
            ("ssh main -T -- x", &["x"]),
            ("ssh -t main -- sh -c a;b", &["sh", "-c", "a;b"]),
        ] {
            let line = parse(line);
            assert_eq!(line.args.command, command);
            assert!(!line.json);
        }
        assert!(parse("ssh --json main -- x").json);
        assert!(Line::try_parse_from(["ssh", "main", "ls"]).is_err(), "a forgotten `--` is said");
    }

    #[test]
    fn a_terminal_is_used_for_a_shell_between_terminals() {
        let uses = |line: &str, terminals| parse(line).args.terminal(terminals);
        assert!(uses("ssh main", true) && !uses("ssh main", false));
        assert!(!uses("ssh main -- top", true) && uses("ssh -t main -- top", false));
        assert!(!uses("ssh -T main", true));
        assert!(Line::try_parse_from(["ssh", "-t", "-T", "main"]).is_err());
    }
}
