//! `hearth config`

mod check;
mod schema;

use crate::api::wire::{Changes, EffectiveValue, ReloadRequest};
use crate::cli::Context;
use crate::cli::client::Patience;
use crate::cli::error::Result;
use crate::cli::render::table::{Cell, table};
use crate::cli::render::{Style, visible};
use crate::cli::target::Target;

/// Check, show and reload the configuration
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Show(ShowArgs),
    Plan(PlanArgs),
    Reload(ReloadArgs),
    Schema(schema::Args),
}

/// Print each value in force for a workspace, and where it comes from
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    target: Target,
}

/// Print what a reload of the files as they are would do to which workspaces
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {}

/// Put the files as they are in force; return when that is done
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    /// Reload even where that removes many running workspaces
    #[arg(long, short)]
    yes: bool,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        match self {
            Command::Check(args) => return args.run(context),
            Command::Show(args) => args.run(context).await,
            Command::Plan(args) => args.run(context).await,
            Command::Reload(args) => args.run(context).await,
            Command::Schema(args) => args.run(context),
        }?;
        Ok(0)
    }
}

impl ShowArgs {
    async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let values: Vec<EffectiveValue> = client.get(&format!("/v1/workspaces/{workspace}/config")).await?;
        context.out.print_as(&values, |values| {
            let row = |value: &EffectiveValue| {
                let look = if value.origin == "default" { Style::Dim } else { Style::Plain };
                [
                    Cell::from(value.key.as_str()),
                    Cell::from(value.value.as_str()),
                    Cell::new(value.origin.as_str(), look),
                ]
            };
            let rows: Vec<_> = values.iter().map(row).collect();
            table(["KEY", "VALUE", "FROM"], &rows, context.out.colours)
        })
    }
}

impl PlanArgs {
    async fn run(self, context: &Context) -> Result<()> {
        let changes: Changes = context.client()?.get("/v1/config/plan").await?;
        context.out.print_as(&changes, |changes| lines(changes, "a reload would change nothing"))
    }
}

impl ReloadArgs {
    async fn run(self, context: &Context) -> Result<()> {
        let request = ReloadRequest { yes: self.yes };
        let client = context.client()?;
        let changes: Changes = client.post("/v1/config/reload", &request, Patience::UntilDone).await?;
        context.out.print_as(&changes, |changes| lines(changes, "reloaded: nothing changed"))
    }
}

fn lines(changes: &Changes, none: &str) -> String {
    if changes.changes.is_empty() {
        return format!("{none}\n");
    }
    changes.changes.iter().map(|change| format!("{}\n", visible::text(change))).collect()
}
