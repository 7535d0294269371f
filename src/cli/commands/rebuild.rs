//! `hearth rebuild`

use super::build::{Ask, BuildArgs};
use crate::cli::Context;
use crate::cli::error::Result;

/// Rebuild a workspace from its image; the home is kept, everything else in it is lost
///
/// What runs is stopped only once all that can fail early is done. Ctrl-C detaches (exit code 130); the build goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    build: BuildArgs,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        self.build.run(context, Ask::Rebuild).await
    }
}
