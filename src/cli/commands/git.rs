//! `hearth git`

use crate::api::wire::GitKey;
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::target::person;
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
        let user = person(user, &client, "hearth git key USER").await?;
        let key: GitKey = client.get(&format!("/v1/users/{user}/git-key")).await?;
        context.out.print_as(&key, |key| format!("{}\n", key.public_key.trim_end()))
    }
}
