//! `hearth stop`

use crate::api::wire::WorkspaceDetail;
use crate::cli::Context;
use crate::cli::client::Patience;
use crate::cli::error::Result;
use crate::cli::target::Target;

/// Stop a workspace; the home is kept, everything else in it is lost
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let out = context.out;
        if out.live {
            out.say(format_args!("stopping {workspace} …"));
        }
        let path = format!("/v1/workspaces/{workspace}/stop");
        let _: serde_json::Value = client.post(&path, &serde_json::json!({}), Patience::UntilDone).await?;
        let detail: WorkspaceDetail = client.get(&format!("/v1/workspaces/{workspace}")).await?;
        out.print_as(&detail, |detail| format!("{workspace} is {}\n", detail.summary.state))
    }
}
