//! `hearth release`

use crate::api::wire::{ReleaseRequest, Released};
use crate::cli::Context;
use crate::cli::client::Patience;
use crate::cli::error::Result;
use crate::cli::target::Target;

/// End the holds of a workspace: from here on it goes off when it is not used
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let path = format!("/v1/workspaces/{workspace}/release");
        let released: Released = client.post(&path, &ReleaseRequest::default(), Patience::Short).await?;
        context.out.print_as(&released, |released| match released.released {
            0 => format!("{workspace} was not held\n"),
            1 => format!("{workspace} is held no more: one hold ended\n"),
            count => format!("{workspace} is held no more: {count} holds ended\n"),
        })
    }
}
