//! `hearth events`

use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::visible::Lines;

/// Print what happens, as it happens: one JSON object a line
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let mut stream = context.client()?.stream("/v1/events").await?;
        let mut lines = Lines::default();
        while let Some(bytes) = stream.next().await? {
            lines.push(&bytes, |line| match line.strip_prefix("data:") {
                Some(data) => context.out.print(format_args!("{}\n", data.trim_start())),
                None => Ok(()),
            })?;
        }
        Ok(())
    }
}
