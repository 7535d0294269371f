//! `hearth list`

use crate::api::wire::{Build, Workspace};
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};
use crate::cli::render::time::{between, relative, short, size};
use crate::model::{BuildResult, Moment, StateName};

/// List the workspaces that you may see
///
/// HOME is the disk that the home takes, measured at most hourly while the workspace runs, and kept from then on until
/// hearthd restarts. With -q only their names, one a line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let workspaces: Vec<Workspace> = context.client()?.get("/v1/workspaces").await?;
        let out = context.out;
        if workspaces.is_empty() && !out.json {
            out.say("no workspaces that you may see; they are declared in the configuration on this server");
            return Ok(());
        }
        out.print_as(&workspaces, |workspaces| match out.quiet {
            true => workspaces.iter().map(|workspace| format!("{}\n", workspace.workspace)).collect(),
            false => text(workspaces, context.now(), out.colours),
        })
    }
}

fn text(workspaces: &[Workspace], now: Moment, colours: bool) -> String {
    let rows: Vec<_> = workspaces
        .iter()
        .map(|workspace| {
            [
                Cell::from(workspace.workspace.to_string()),
                state(workspace),
                Cell::from(workspace.image.clone().unwrap_or_else(|| "-".into())),
                Cell::from(short(between(workspace.since, now))),
                Cell::from(idle(workspace, now)),
                Cell::from(goes_off(workspace, now)),
                workspace.build.as_ref().map_or_else(|| Cell::from("-"), build),
                Cell::from(workspace.usage.home_bytes.map_or_else(|| "-".into(), size)),
                Cell::new(notes(workspace, now), Style::Warn),
            ]
        })
        .collect();
    table(["WORKSPACE", "STATE", "IMAGE", "SINCE", "IDLE", "AUTO-OFF", "BUILD", "HOME", "NOTES"], &rows, colours)
}

/// How long ago it was used last.
fn idle(workspace: &Workspace, now: Moment) -> String {
    let last = workspace.last_activity.as_ref();
    last.map_or_else(|| "-".into(), |last| short(between(last.at, now)))
}

/// When it goes off by itself.
fn goes_off(workspace: &Workspace, now: Moment) -> String {
    let auto_off = &workspace.auto_off;
    match (workspace.state, auto_off.held_until, auto_off.at) {
        (StateName::Running, Some(until), _) => format!("held {}", short(between(now, until))),
        (StateName::Running, None, Some(at)) => format!("in {}", short(between(now, at))),
        (StateName::Running, None, None) if auto_off.threshold.is_none() => "never".into(),
        (StateName::Running, None, None) if workspace.connections.is_some() => "in use".into(),
        _ => "-".into(),
    }
}

fn state(workspace: &Workspace) -> Cell {
    let stage = workspace.build.as_ref().and_then(|build| build.stage);
    match (workspace.state, stage) {
        (StateName::Building, Some(stage)) => Cell::new(format!("building {stage}"), Style::Busy),
        (name, _) => Cell::new(name.to_string(), look(name)),
    }
}

/// Returns the look of a state.
pub(crate) fn look(state: StateName) -> Style {
    match state {
        StateName::Off => Style::Dim,
        StateName::Running => Style::Good,
        StateName::Failed => Style::Bad,
        StateName::Queued | StateName::Building | StateName::Stopping => Style::Busy,
    }
}

fn build(build: &Build) -> Cell {
    match build.result {
        None => Cell::new(format!("{}", build.number), Style::Busy),
        Some(BuildResult::Ok) => Cell::from(format!("{}", build.number)),
        Some(BuildResult::Failed) => Cell::new(format!("{} failed", build.number), Style::Bad),
        Some(BuildResult::Cancelled) => Cell::new(format!("{} cancelled", build.number), Style::Warn),
    }
}

fn notes(workspace: &Workspace, now: Moment) -> String {
    let mut notes = vec![];
    let rests = matches!(workspace.state, StateName::Off | StateName::Failed);
    if let Some(next) = workspace.auto_start.next.filter(|_| rests) {
        notes.push(format!("starts {}", relative(next, now)));
    }
    if let [one] = &workspace.warnings[..] {
        notes.push(format!("warning: {}", one.message));
    } else if !workspace.warnings.is_empty() {
        notes.push(format!("{} warnings", workspace.warnings.len()));
    }
    if !workspace.outdated.is_empty() {
        notes.push(format!("outdated: {}", super::show::names(&workspace.outdated)));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::LastActivity;
    use crate::cli::render::samples;
    use crate::model::{Outdated, Stage};

    #[test]
    fn one_line_says_how_a_workspace_is() {
        let mut building = samples::workspace("alice/web");
        building.state = StateName::Building;
        building.build =
            Some(Build { result: None, stage: Some(Stage::Configure), ended_at: None, ..samples::build() });
        let mut failed = samples::workspace("bob/main");
        failed.state = StateName::Failed;
        failed.build = Some(Build { result: Some(BuildResult::Failed), ..samples::build() });
        failed.image = None;
        let mut warned = samples::workspace("carol/main");
        warned.warnings = vec![samples::warning()];
        warned.outdated = vec![Outdated::Image, Outdated::Env];
        let mut never = samples::workspace("dana/main");
        never.state = StateName::Off;
        never.build = None;
        never.auto_start.next = Some(samples::at(41 + 7_800 + 50_400));
        warned.connections = Some(1);
        let mut idle = samples::workspace("alice/main");
        idle.auto_off.at = Some(samples::at(41 + 7_800 + 6_600));
        idle.last_activity =
            Some(LastActivity { at: samples::at(41 + 7_200), kind: "entry".into(), who: None, from: None });
        idle.usage.home_bytes = Some(5 << 29);
        let all = [idle, building, failed, warned, never];
        insta::assert_snapshot!(text(&all, samples::at(41 + 7_800), false), @r"
        WORKSPACE   STATE               IMAGE      SINCE  IDLE  AUTO-OFF  BUILD      HOME     NOTES
        alice/main  running             debian:12  2h10m  10m   in 1h50m  17         2.5 GiB
        alice/web   building configure  debian:12  2h10m  -     -         17         -
        bob/main    failed              -          2h10m  -     -         17 failed  -
        carol/main  running             debian:12  2h10m  -     in use    17         -        warning: configure ended with exit code 7; outdated: image, env
        dana/main   off                 debian:12  2h10m  -     -         -          -        starts in 14h
        ");
    }
}
