//! `hearth man`

use std::path::PathBuf;

use crate::cli::Context;
use crate::cli::error::{Error, Kind, Result};

/// Print the manual page of hearth or of one of its commands
///
/// hearth man ssh | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Command to print the page of, such as `config check`
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let mut root = crate::cli::command();
        root.build();
        if let Some(dir) = self.dir {
            let written = std::fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(root, &dir));
            return written.map_err(|error| {
                Error::new(Kind::Failed, format!("cannot write manual pages into {}: {error}", dir.display()))
            });
        }
        let mut command = &root;
        for name in &self.command {
            command = command.find_subcommand(name).ok_or_else(|| {
                Error::new(Kind::NotFound, format!("there is no command `{}`", self.command.join(" ")))
                    .hint("hearth --help lists them")
            })?;
        }
        let mut page = vec![];
        let command = command.clone().display_name(
            ["hearth"].into_iter().chain(self.command.iter().map(String::as_str)).collect::<Vec<_>>().join("-"),
        );
        clap_mangen::Man::new(command).render(&mut page)?;
        context.out.print(String::from_utf8_lossy(&page))
    }
}
