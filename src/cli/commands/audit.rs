//! `hearth audit`

use jiff::tz::TimeZone;

use crate::api::wire::AuditLine;
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};

/// Print the latest lines of the audit log, the newest last
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Lines to print at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 200)]
    limit: u32,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let lines: Vec<AuditLine> = context.client()?.get(&format!("/v1/audit?limit={}", self.limit)).await?;
        let out = context.out;
        out.print_as(&lines, |lines| text(lines, &TimeZone::system(), out.colours))
    }
}

fn text(lines: &[AuditLine], zone: &TimeZone, colours: bool) -> String {
    let rows: Vec<_> = lines
        .iter()
        .map(|line| {
            let change = match (&line.before, &line.after) {
                (None, None) => String::new(),
                (before, after) => {
                    format!("{} → {}", before.as_deref().unwrap_or("-"), after.as_deref().unwrap_or("-"))
                }
            };
            let look = if line.result == "ok" { Style::Plain } else { Style::Bad };
            [
                Cell::from(line.at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()),
                Cell::from(line.who.as_str()),
                Cell::from(line.from.as_str()),
                Cell::from(line.what.as_str()),
                Cell::from(line.workspace.as_ref().map_or_else(|| "-".into(), ToString::to_string)),
                Cell::from(change),
                Cell::new(line.result.as_str(), look),
            ]
        })
        .collect();
    table(["TIME", "WHO", "FROM", "WHAT", "WORKSPACE", "CHANGE", "RESULT"], &rows, colours)
}
