//! `hearth config schema`

use crate::cli::Context;
use crate::cli::error::Result;
use crate::config;

/// Print a JSON Schema of the configuration, for editors
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        context.out.print_json(&config::schema::schema())
    }
}
