//! `hearth audit`

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::api::wire::{AUDIT_LINES, AUDIT_LINES_AT_MOST, AuditLine};
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};
use crate::model::{Moment, WorkspaceId};

/// Print the latest lines of the audit log, the newest last
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Lines to print at most [default: 200, with --since 10000, which is all that is given at once]
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
        let lines: Vec<AuditLine> = context.client()?.get(&self.path()).await?;
        let out = context.out;
        if lines.len() >= self.limit().min(AUDIT_LINES_AT_MOST) as usize {
            out.say(format_args!("these are the last {}: there may be older ones", lines.len()));
        }
        out.print_as(&lines, |lines| text(lines, &TimeZone::system(), out.colours))
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(if self.since.is_some() { AUDIT_LINES_AT_MOST } else { AUDIT_LINES })
    }

    fn path(&self) -> String {
        let (limit, Self { since, workspace, .. }) = (self.limit(), self);
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        let workspace = workspace.as_ref().map(|id| format!("&workspace={id}")).unwrap_or_default();
        format!("/v1/audit?limit={limit}{since}{workspace}")
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
        assert_eq!(args.path(), "/v1/audit?limit=5&since=2026-11-24T08:00:00Z&workspace=alice/main");
        let lines = |since| Args { limit: None, since, workspace: None }.path();
        assert_eq!(lines(None), "/v1/audit?limit=200");
        assert_eq!(lines(Some(since)), "/v1/audit?limit=10000&since=2026-11-24T08:00:00Z");
        let local = "2026-11-24T09:00".parse::<DateTime>().unwrap().to_zoned(TimeZone::system()).unwrap();
        assert_eq!(moment("2026-11-24T09:00").unwrap(), local.timestamp());
        assert!(moment("2026-11-24").is_ok() && moment("yesterday").is_err());
    }
}
