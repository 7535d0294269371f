//! `hearth list`

use crate::api::wire::{Build, Workspace};
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};
use crate::cli::render::time::{between, short};
use crate::model::{BuildResult, Moment, StateName};

/// List the workspaces that you may see
///
/// With -q only their names, one a line.
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
                workspace.build.as_ref().map_or_else(|| Cell::from("-"), build),
                Cell::new(notes(workspace), Style::Warn),
            ]
        })
        .collect();
    table(["WORKSPACE", "STATE", "IMAGE", "SINCE", "BUILD", "NOTES"], &rows, colours)
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

fn notes(workspace: &Workspace) -> String {
    let mut notes = vec![];
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
        let all = [samples::workspace("alice/main"), building, failed, warned, never];
        insta::assert_snapshot!(text(&all, samples::at(41 + 7_800), false), @r"
        WORKSPACE   STATE               IMAGE      SINCE  BUILD      NOTES
        alice/main  running             debian:12  2h10m  17
        alice/web   building configure  debian:12  2h10m  17
        bob/main    failed              -          2h10m  17 failed
        carol/main  running             debian:12  2h10m  17         warning: configure ended with exit code 7; outdated: image, env
        dana/main   off                 debian:12  2h10m  -
        ");
    }
}
