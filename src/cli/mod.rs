//! The command line: the tree of commands, and how each of them ends.
//!
//! A command is a file of `commands/`: its `Args` and its `run`. stdout is data, stderr is talk; the kind of an error
//! gives the exit code (design section 8). Everything goes through hearthd's API; only `config check` and
//! `config schema` read files themselves.

mod client;
mod commands;
mod complete;
mod confirm;
mod endpoint;
mod error;
mod follow;
mod render;
mod target;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use client::Client;
use endpoint::Endpoint;
use error::{Error, Kind, Result};
use render::Output;

use crate::model::Moment;

/// Work in workspaces on this server
///
/// A workspace is named `name` where it is your own, else `user/name`; inside a workspace commands are about that
/// one unless another is named.
///
/// Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 hearthd or Docker unreachable, 4 not permitted,
/// 5 no such thing, 6 conflict, 130 detached with Ctrl-C. `hearth ssh` passes on the code of the command it ran.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, max_term_width = 100, infer_long_args = false)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: commands::Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// Talk to the hearthd behind this socket
    #[arg(long, global = true, env = "HEARTH_SOCKET", value_name = "PATH", hide_env_values = true)]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but data and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// What a command works with.
#[derive(Debug, Clone)]
struct Context {
    out: Output,
    socket: Option<PathBuf>,
}

impl Context {
    fn client(&self) -> Result<Client> {
        Ok(Client::new(Endpoint::find(self.socket.clone())?).saying(self.out))
    }

    #[expect(clippy::disallowed_methods, reason = "the command line's only look at the clock, to show ages")]
    fn now(&self) -> Moment {
        Moment::now()
    }
}

/// Runs the command line `args`, the program's name first, and returns the exit code.
pub fn run(args: Vec<OsString>) -> u8 {
    if complete::answered(&args) {
        return 0;
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe behind `--help` is not worth a word.
            _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let context = Context { out: Output::new(cli.globals.json, cli.globals.quiet), socket: cli.globals.socket };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(cli.command.run(&context)),
        Err(error) => Err(Error::new(Kind::Failed, format!("cannot start: {error}"))),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            if error.kind != Kind::OutputClosed {
                context.out.error(&error);
            }
            error.kind.exit_code()
        }
    }
}

/// Returns the tree of commands, for completions and man pages.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_in_one_line_without_a_full_stop() {
        fn walk(command: &clap::Command, path: &str) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && about.len() < 90 && !about.ends_with('.'), "{path}: {about:?}");
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{path} {}: {help:?}", argument.get_id());
            }
            for sub in command.get_subcommands() {
                walk(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        walk(&command(), "hearth");
    }

    #[test]
    fn a_usage_error_is_2_and_help_is_0() {
        let code = |args: &[&str]| Cli::try_parse_from(args).unwrap_err().exit_code();
        assert_eq!(code(&["hearth", "bogus"]), 2);
        assert_eq!(code(&["hearth", "stop", "Not A Name"]), 2);
        assert_eq!(code(&["hearth"]), 2);
        assert_eq!(code(&["hearth", "--help"]), 0);
    }
}
