//! `hearth man`

mod file;

use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::error::{Error, Kind, Result};

/// Print the manual page of hearth, of one of its commands, or of hearth.toml
///
/// hearth man ssh | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Command to print the page of, such as `config check`; or `hearth.toml`
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let mut root = pages(crate::cli::command());
        root.build();
        if let Some(dir) = self.dir {
            return write(root, &dir).map_err(|error| {
                Error::new(Kind::Failed, format!("cannot write manual pages into {}: {error}", dir.display()))
            });
        }
        if self.command == [file::NAME] {
            return context.out.print(file::page());
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

/// The tree without `help`: it would have a page for every page.
fn pages(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(pages)
}

fn write(root: clap::Command, dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(root, dir)?;
    std::fs::write(dir.join(format!("{}.5", file::NAME)), file::page())
}
