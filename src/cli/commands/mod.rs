//! The commands, one file each.

mod audit;
mod away;
mod build;
mod cancel;
mod completion;
mod config;
mod delete;
mod events;
mod git;
mod hold;
mod home;
mod list;
mod logs;
mod man;
mod personalize;
mod rebuild;
mod release;
mod schedule;
mod set;
mod show;
mod ssh;
mod start;
mod status;
mod stop;
mod version;
mod why;

use super::Context;
use super::error::Result;

/// What can be done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    #[command(alias = "ls")]
    List(list::Args),
    Show(show::Args),
    Start(start::Args),
    Stop(stop::Args),
    Rebuild(rebuild::Args),
    Cancel(cancel::Args),
    Logs(logs::Args),
    Delete(delete::Args),
    Why(why::Args),
    Hold(hold::Args),
    Release(release::Args),
    Ssh(ssh::Args),
    Personalize(personalize::Args),
    Set(set::SetArgs),
    Reset(set::ResetArgs),
    Schedule(schedule::Args),
    Away(away::Args),
    #[command(subcommand)]
    Git(git::Command),
    #[command(subcommand)]
    Home(home::Command),
    #[command(subcommand)]
    Config(config::Command),
    Status(status::Args),
    Events(events::Args),
    Audit(audit::Args),
    Version(version::Args),
    Completion(completion::Args),
    Man(man::Args),
}

impl Command {
    /// Runs the command and returns its exit code.
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        match self {
            Command::Ssh(args) => return args.run(context).await,
            Command::Hold(args) => return args.run(context).await,
            Command::Start(args) => return args.run(context).await,
            Command::Rebuild(args) => return args.run(context).await,
            Command::Personalize(args) => return args.run(context).await,
            Command::Config(command) => return command.run(context).await,
            Command::List(args) => args.run(context).await,
            Command::Show(args) => args.run(context).await,
            Command::Stop(args) => args.run(context).await,
            Command::Cancel(args) => args.run(context).await,
            Command::Logs(args) => args.run(context).await,
            Command::Set(args) => args.run(context).await,
            Command::Reset(args) => args.run(context).await,
            Command::Why(args) => args.run(context).await,
            Command::Release(args) => args.run(context).await,
            Command::Schedule(args) => args.run(context).await,
            Command::Away(args) => args.run(context).await,
            Command::Git(command) => command.run(context).await,
            Command::Home(command) => command.run(context).await,
            Command::Delete(args) => args.run(context).await,
            Command::Status(args) => args.run(context).await,
            Command::Events(args) => args.run(context).await,
            Command::Audit(args) => args.run(context).await,
            Command::Version(args) => args.run(context).await,
            Command::Completion(args) => args.run(context),
            Command::Man(args) => args.run(context),
        }?;
        Ok(0)
    }
}
