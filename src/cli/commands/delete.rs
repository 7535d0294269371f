//! `hearth delete`

use crate::api::wire::{Home, HomeState};
use crate::cli::client::Patience;
use crate::cli::error::Result;
use crate::cli::target::Target;
use crate::cli::{Context, confirm};

/// Delete a workspace that no file declares any more; its home goes to the trash
///
/// One that a file declares is deleted there: the error names the place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Do not ask for the name
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let homes: Vec<Home> = client.get("/v1/homes").await?;
        // Of one that a file declares there is nothing to ask: the answer is no.
        // One that hearthd's database does not know has a note that says so, and stays.
        let is_its = |home: &&Home| home.workspace == workspace && home.state == HomeState::Orphaned;
        let orphan = homes.iter().filter(is_its).find(|home| home.note.is_none());
        if let Some(home) = orphan.filter(|_| !self.yes) {
            let what = format!("{workspace} is deleted, and its home {} goes to the trash.", home.home);
            confirm::by_name(context, &what, &workspace.to_string())?;
        }
        let home: Option<Home> = client.delete(&format!("/v1/workspaces/{workspace}"), Patience::Short).await?;
        context.out.print_as(&home, |home| {
            let told = home.as_ref().map(super::home::told).unwrap_or_default();
            format!("{workspace} is deleted\n{told}")
        })
    }
}
