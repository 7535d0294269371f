//! `hearth personalize`

use crate::api::wire::{Accepted, BuildDetail};
use crate::cli::Context;
use crate::cli::client::Patience;
use crate::cli::error::{Error, Kind, Result};
use crate::cli::follow::{End, Until, Watched, follow};
use crate::cli::render::progress::warning_text;
use crate::cli::target::Target;
use crate::model::Hook;

/// Run dotfiles and `~/personalize` again in a running workspace
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Return at once; it goes on
    #[arg(long, short)]
    detach: bool,
    /// Show all output, not only where it fails
    #[arg(long, short)]
    verbose: bool,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let path = format!("/v1/workspaces/{workspace}/personalize");
        let accepted: Accepted = client.post(&path, &serde_json::json!({}), Patience::Short).await?;
        let out = context.out;
        let Some(build) = accepted.build.filter(|_| !self.detach) else {
            out.print_as(&accepted, |_| format!("{workspace} is being personalized\n"))?;
            return Ok(0);
        };
        let watched = Watched { workspace: &workspace, build, until: Until::HooksEnded, verbose: self.verbose };
        match follow(context, &client, watched).await? {
            End::Detached => Ok(super::build::detached(context, &workspace, build)),
            End::Reached(detail) => ended(context, &workspace.to_string(), &detail),
        }
    }
}

fn ended(context: &Context, workspace: &str, build: &BuildDetail) -> Result<u8> {
    let out = context.out;
    let ours = |hook: Hook| matches!(hook, Hook::Dotfiles | Hook::Personalize);
    let warnings: Vec<_> = build.warnings.iter().filter(|warning| ours(warning.hook)).collect();
    if out.json {
        out.print_json(build)?;
    }
    if warnings.is_empty() {
        if !out.json {
            out.print(format_args!("{workspace} is personalized\n"))?;
        }
        return Ok(0);
    }
    for warning in warnings {
        out.say_raw(warning_text(warning, out.talk_colours));
    }
    Err(Error::new(Kind::Failed, format!("`{workspace}` runs, but was not personalized as it should be"))
        .hint(format!("hearth logs {workspace}, or ~/personalize.log inside")))
}
