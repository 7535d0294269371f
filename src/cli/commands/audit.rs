//! `hearth audit`

use std::collections::VecDeque;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::api::wire::{AUDIT_LINES, AUDIT_LINES_AT_MOST, AuditLine};
use crate::cli::Context;
use crate::cli::client::Client;
use crate::cli::error::Result;
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};
use crate::model::{Moment, WorkspaceId};

const PAGE: usize = AUDIT_LINES_AT_MOST as usize;

/// Print the latest lines of the audit log, the newest last
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Lines to print at most, the latest [default: 200, with --since all]
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u32>,

    /// Lines from that moment on: 2026-11-24, 2026-11-24T09:00 in local time, or 2026-11-24T09:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    since: Option<Moment>,

    /// Lines about that workspace
    #[arg(long, short = 'w', value_name = "USER/NAME")]
    workspace: Option<WorkspaceId>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let lines = self.lines(&context.client()?).await?;
        let out = context.out;
        if self.limit() == Some(lines.len()) {
            out.say(format_args!("these are the last {}: there may be older ones", lines.len()));
        }
        out.print_as(&lines, |lines| text(lines, &TimeZone::system(), out.colours))
    }

    /// Returns the lines that are asked for: the latest first, a page after the other.
    async fn lines(&self, client: &Client) -> Result<Vec<AuditLine>> {
        let mut lines = VecDeque::new();
        loop {
            let left = self.limit().map_or(PAGE, |limit| limit - lines.len()).min(PAGE);
            let before = lines.front().map(|line: &AuditLine| line.number);
            let page: Vec<AuditLine> = client.get(&self.path(left, before)).await?;
            let is_last = page.len() < left;
            for line in page.into_iter().rev() {
                lines.push_front(line);
            }
            if is_last || self.limit() == Some(lines.len()) {
                return Ok(lines.into());
            }
        }
    }

    /// Returns how many are wanted at most.
    fn limit(&self) -> Option<usize> {
        self.limit.or(self.since.is_none().then_some(AUDIT_LINES)).map(|limit| limit as usize)
    }

    fn path(&self, limit: usize, before: Option<i64>) -> String {
        let Self { since, workspace, .. } = self;
        let before = before.map(|number| format!("&before={number}")).unwrap_or_default();
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        let workspace = workspace.as_ref().map(|id| format!("&workspace={id}")).unwrap_or_default();
        format!("/v1/audit?limit={limit}{since}{workspace}{before}")
    }
}

fn moment(text: &str) -> std::result::Result<Moment, String> {
    let local = || text.parse::<DateTime>()?.to_zoned(TimeZone::system());
    text.parse().or_else(|_| Ok(local()?.timestamp())).map_err(|error: jiff::Error| error.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x1_lines_are_asked_for_by_moment_and_workspace() {
        let since = moment("2026-11-24T09:00:00+01:00").unwrap();
        let args = Args { limit: Some(5), since: Some(since), workspace: Some("alice/main".parse().unwrap()) };
        assert_eq!(args.path(5, None), "/v1/audit?limit=5&since=2026-11-24T08:00:00Z&workspace=alice/main");
        let args = Args { limit: None, since: None, workspace: None };
        assert_eq!((args.path(9, Some(17)).as_str(), args.limit()), ("/v1/audit?limit=9&before=17", Some(200)));
        assert_eq!(Args { since: Some(since), ..args }.limit(), None);
        let local = "2026-11-24T09:00".parse::<DateTime>().unwrap().to_zoned(TimeZone::system()).unwrap();
        assert_eq!(moment("2026-11-24T09:00").unwrap(), local.timestamp());
        assert!(moment("2026-11-24").is_ok() && moment("yesterday").is_err());
    }
}
