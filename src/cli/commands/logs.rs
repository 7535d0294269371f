//! `hearth logs`

use crate::api::wire::BuildDetail;
use crate::cli::Context;
use crate::cli::error::{Error, Kind, Result};
use crate::cli::follow::log_path;
use crate::cli::render::visible::Lines;
use crate::cli::target::Target;
use crate::model::BuildNumber;

/// Print the log of a build, control characters made harmless
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Build to print the log of; the last one if it is left out
    #[arg(long, short, value_name = "N")]
    build: Option<u32>,
    /// Go on until the build has ended
    #[arg(long, short)]
    follow: bool,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let build = match self.build {
            Some(number) => BuildNumber(number),
            None => {
                let builds: Vec<BuildDetail> = client.get(&format!("/v1/workspaces/{workspace}/builds")).await?;
                let newest = builds.iter().map(|build| build.build.number).max();
                newest.ok_or_else(|| {
                    Error::new(Kind::NotFound, format!("`{workspace}` was never built"))
                        .hint(format!("hearth start {workspace}"))
                })?
            }
        };
        let mut stream = client.stream(&log_path(&workspace, build, self.follow)).await?;
        let mut lines = Lines::default();
        let print = |line: String| match context.out.json {
            true => context.out.print(format_args!("{}\n", serde_json::Value::from(line))),
            false => context.out.print(format_args!("{line}\n")),
        };
        while let Some(bytes) = stream.next().await? {
            lines.push(&bytes, print)?;
        }
        lines.finish().map_or(Ok(()), print)
    }
}
