//! `hearth schedule`

use jiff::tz::TimeZone;

use crate::api::wire::{NoStart, Schedule, ScheduleDay, Status, Workspace};
use crate::cli::Context;
use crate::cli::client::Client;
use crate::cli::endpoint::Endpoint;
use crate::cli::error::Result;
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};
use crate::cli::render::time::relative;
use crate::cli::target::Target;
use crate::model::{Moment, WorkspaceId};

/// Show when a workspace starts by itself in the next 14 days, and why not
///
/// Without a workspace, outside of one: all of your own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspaces = match client.endpoint() {
            Endpoint::Host(_) if self.target.is_left_out() => own(&client).await?,
            Endpoint::Host(_) | Endpoint::Inside { .. } => vec![self.target.resolve(&client).await?],
        };
        let mut schedules = Vec::new();
        for workspace in workspaces {
            let schedule: Schedule = client.get(&format!("/v1/workspaces/{workspace}/schedule")).await?;
            schedules.push(schedule);
        }
        let out = context.out;
        if schedules.is_empty() && !out.json {
            out.say("you have no workspaces of your own: `hearth schedule USER/NAME`");
            return Ok(());
        }
        out.print_as(&schedules, |schedules| {
            let texts: Vec<_> = schedules.iter().map(|one| text(one, context.now(), out.colours)).collect();
            texts.join("\n")
        })
    }
}

/// The caller's own workspaces that have a schedule.
async fn own(client: &Client) -> Result<Vec<WorkspaceId>> {
    let you = client.get::<Status>("/v1/status").await?.you;
    let visible: Vec<Workspace> = client.get("/v1/workspaces").await?;
    let own = visible.into_iter().filter(|workspace| you.users.contains(&workspace.user));
    Ok(own.filter(|workspace| workspace.resources.pids.is_some()).map(|workspace| workspace.workspace).collect())
}

fn text(schedule: &Schedule, now: Moment, colours: bool) -> String {
    let id = Style::Bold.paint(&schedule.workspace.to_string(), colours);
    let mut out = match (&schedule.at, schedule.next, schedule.no_next) {
        (None, _, _) => {
            return format!("{id} does not start by itself: `hearth set {} auto_start=09:00`\n", schedule.workspace);
        }
        (Some(at), Some(next), _) => format!("{id} starts at {at} {}, next {}\n", schedule.zone, relative(next, now)),
        (Some(at), None, no_next) => {
            let why = no_next.map_or_else(|| "none is to come".to_owned(), |why| reason(why, schedule));
            format!("{id} starts at {at} {}, but {why}\n", schedule.zone)
        }
    };
    if let Some(last) = &schedule.last_start {
        let at = local(last.at, schedule).strftime("%a %Y-%m-%d %H:%M").to_string();
        out.push_str(&format!("last: {at}, {}\n", outcome(&last.outcome)));
    }
    let rows: Vec<_> = schedule.days.iter().map(|day| row(day, schedule, now)).collect();
    out.push_str(&table(["DAY", "START", "WHY NOT"], &rows, colours));
    out
}

fn row(day: &ScheduleDay, schedule: &Schedule, now: Moment) -> [Cell; 3] {
    let date = Cell::from(day.date.strftime("%a %Y-%m-%d").to_string());
    match (day.start, day.no_start) {
        (Some(start), _) => {
            let text = local(start, schedule).strftime("%H:%M").to_string();
            let past = start <= now;
            let note = if past { Cell::new("over", Style::Dim) } else { Cell::default() };
            [date, Cell::new(text, if past { Style::Dim } else { Style::Good }), note]
        }
        (None, why) => {
            [date, Cell::from("-"), Cell::new(why.map_or_else(String::new, |why| reason(why, schedule)), Style::Dim)]
        }
    }
}

fn local(at: Moment, schedule: &Schedule) -> jiff::Zoned {
    at.to_zoned(TimeZone::get(&schedule.zone).unwrap_or(TimeZone::UTC))
}

fn reason(why: NoStart, schedule: &Schedule) -> String {
    match why {
        NoStart::Never => "no auto-start is set".into(),
        NoStart::OrgForbids => "the org has no auto-start on this day".into(),
        NoStart::NotChosen => "not one of its days".into(),
        NoStart::Holiday => "holiday of the org".into(),
        NoStart::Away => match schedule.away_until {
            Some(until) => format!("away until {until}"),
            None => "away".into(),
        },
        NoStart::NoSuchDay => "the zone has no such day".into(),
        NoStart::Unused => {
            let since = local(schedule.last_used, schedule).strftime("%Y-%m-%d").to_string();
            format!("unused since {since}: paused until it is used")
        }
    }
}

fn outcome(outcome: &str) -> &str {
    match outcome {
        "found-running" => "it was running already",
        "missed" => "skipped: hearthd or Docker was away for more than two hours",
        "paused" => "skipped: it was not in use",
        "gave-up" => "failed until two hours after its time",
        "stopped" => "somebody stopped it meanwhile",
        "changed" => "the schedule was changed meanwhile",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::LastStart;

    fn at(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn schedule() -> Schedule {
        let day = |date: &str, start: Option<&str>, no_start| ScheduleDay {
            date: date.parse().unwrap(),
            start: start.map(at),
            no_start,
        };
        Schedule {
            workspace: "alice/main".parse().unwrap(),
            at: Some("09:00".into()),
            zone: "Europe/Berlin".into(),
            next: Some(at("2026-11-27T08:00:00Z")),
            no_next: None,
            away_until: Some("2026-12-02".parse().unwrap()),
            last_used: at("2026-11-24T20:00:00Z"),
            last_start: Some(LastStart { at: at("2026-11-24T08:00:00Z"), outcome: "found-running".into() }),
            days: vec![
                day("2026-11-24", Some("2026-11-24T08:00:00Z"), None),
                day("2026-11-25", None, Some(NoStart::NotChosen)),
                day("2026-11-27", Some("2026-11-27T08:00:00Z"), None),
                day("2026-11-28", None, Some(NoStart::OrgForbids)),
                day("2026-12-01", None, Some(NoStart::Away)),
                day("2026-12-08", None, Some(NoStart::Unused)),
            ],
        }
    }

    #[test]
    fn s4_each_day_has_its_start_or_its_reason() {
        insta::assert_snapshot!(text(&schedule(), at("2026-11-24T21:00:00Z"), false), @r"
        alice/main starts at 09:00 Europe/Berlin, next in 2d11h
        last: Tue 2026-11-24 09:00, it was running already
        DAY             START  WHY NOT
        Tue 2026-11-24  09:00  over
        Wed 2026-11-25  -      not one of its days
        Fri 2026-11-27  09:00
        Sat 2026-11-28  -      the org has no auto-start on this day
        Tue 2026-12-01  -      away until 2026-12-02
        Tue 2026-12-08  -      unused since 2026-11-24: paused until it is used
        ");
    }

    #[test]
    fn s2a_where_there_is_no_next_start_it_is_said_why() {
        let now = at("2026-11-24T21:00:00Z");
        let first = |schedule: &Schedule| text(schedule, now, false).lines().next().unwrap().to_owned();
        let paused = Schedule { next: None, no_next: Some(NoStart::Unused), ..schedule() };
        let why = "alice/main starts at 09:00 Europe/Berlin, but unused since 2026-11-24: paused until it is used";
        assert_eq!(first(&paused), why);
        let never = Schedule { at: None, next: None, no_next: Some(NoStart::Never), ..schedule() };
        assert!(first(&never).contains("does not start by itself"));
    }
}
