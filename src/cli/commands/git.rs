//! `hearth git`

use crate::api::wire::{GitKey, Status};
use crate::cli::Context;
use crate::cli::error::{Error, Kind, Result};
use crate::model::UserName;

/// Show what workspaces use to reach Git servers
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Key(KeyArgs),
}

/// Print the public key to give to a Git server
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// User whose key it is; you if it is left out
    #[arg(value_name = "USER")]
    user: Option<UserName>,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let Command::Key(KeyArgs { user }) = self;
        let client = context.client()?;
        let user = match user {
            Some(user) => user,
            None => only_user(client.get::<Status>("/v1/status").await?)?,
        };
        let key: GitKey = client.get(&format!("/v1/users/{user}/git-key")).await?;
        context.out.print_as(&key, |key| format!("{}\n", key.public_key.trim_end()))
    }
}

fn only_user(status: Status) -> Result<UserName> {
    let mut users = status.you.users.into_iter();
    match (users.next(), users.next()) {
        (Some(user), None) => Ok(user),
        (None, _) => Err(Error::new(Kind::Usage, format!("`{}` is no user of hearth: whose key?", status.you.name))
            .hint("hearth git key USER")),
        (Some(one), Some(other)) => Err(Error::new(Kind::Usage, "you are several users of hearth: whose key?")
            .hint(format!("hearth git key {one}, or {other}"))),
    }
}
