//! `hearth config check`

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::{Style, visible};
use crate::config::{self, Problem};

/// Check a configuration as a whole, without hearthd: exit code 0, or 2 with every error
///
/// The `conf.d/*.toml` beside the file belong to it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Main file
    #[arg(value_name = "FILE", default_value = config::DEFAULT_PATH)]
    file: PathBuf,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    problems: Vec<Problem>,
    /// Problems past those that are told.
    more: usize,
    warnings: Vec<Problem>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<u8> {
        let (out, file) = (context.out, self.file.display());
        match config::load(&self.file) {
            Ok(loaded) => {
                let settings = &loaded.settings;
                let (orgs, users, workspaces) = (&settings.orgs, &settings.users, &settings.workspaces);
                let counts = [(orgs.len(), "org"), (users.len(), "user"), (workspaces.len(), "workspace")].map(count);
                let checked = Checked { ok: true, problems: vec![], more: 0, warnings: loaded.warnings };
                if !out.json {
                    let word = Style::Warn.paint("warning:", out.talk_colours);
                    checked.warnings.iter().for_each(|warning| {
                        out.say(format_args!("{word} {}\n", visible::text(&warning.to_string())));
                    });
                }
                out.print_as(&checked, |_| format!("{file} is in order: {}\n", counts.join(", ")))?;
                Ok(0)
            }
            Err(problems) => {
                if out.json {
                    let config::problem::Problems { problems, more } = problems;
                    out.print_json(&Checked { ok: false, problems, more, warnings: vec![] })?;
                } else {
                    out.say_raw(format_args!("{}\n", visible::text(&problems.to_string())));
                }
                Ok(2)
            }
        }
    }
}

fn count((count, noun): (usize, &str)) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
