//! `hearth start`

use super::build::{Ask, BuildArgs};
use crate::cli::Context;
use crate::cli::error::Result;

/// Start a workspace: build it unless it runs, and follow the build to its end
///
/// Ctrl-C detaches (exit code 130); the build goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    build: BuildArgs,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        self.build.run(context, Ask::Start).await
    }
}
