//! `hearth cancel`

use crate::api::wire::Accepted;
use crate::cli::Context;
use crate::cli::client::Patience;
use crate::cli::error::Result;
use crate::cli::target::Target;

/// Cancel the build of a workspace that waits or runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let path = format!("/v1/workspaces/{workspace}/cancel");
        let accepted: Accepted = client.post(&path, &serde_json::json!({}), Patience::UntilDone).await?;
        context.out.print_as(&accepted, |accepted| match accepted.build {
            Some(build) => format!("{workspace}: build {build} is cancelled\n"),
            None => format!("{workspace}: nothing to cancel\n"),
        })
    }
}
