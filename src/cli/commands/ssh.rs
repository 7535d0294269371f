//! `hearth ssh`

use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::target::Name;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
}
