//! What `start` and `rebuild` have in common: ask for a build, follow it, say how it ended.

use crate::api::wire::{Accepted, BuildDetail, StartRequest, WorkspaceDetail};
use crate::cli::Context;
use crate::cli::client::{Client, Patience};
use crate::cli::error::Result;
use crate::cli::follow::{DETACHED, End, Until, Watched, failure_of, follow, tail_of_log};
use crate::cli::render::progress::{tail_text, warning_text};
use crate::cli::render::time::{between, took};
use crate::cli::target::Target;
use crate::model::{BuildNumber, StateName, WorkspaceId};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Start,
    Rebuild,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    target: Target,
    /// Return at once; the build goes on
    #[arg(long, short)]
    detach: bool,
    /// Show all output of the build, not only where it fails
    #[arg(long, short)]
    verbose: bool,
}

impl BuildArgs {
    pub(crate) async fn run(self, context: &Context, ask: Ask) -> Result<u8> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let verb = match ask {
            Ask::Start => "start",
            Ask::Rebuild => "rebuild",
        };
        let path = format!("/v1/workspaces/{workspace}/{verb}");
        let accepted: Accepted = client.post(&path, &StartRequest::default(), Patience::Short).await?;
        let out = context.out;
        if self.detach {
            out.print_as(&accepted, |accepted| match accepted.build {
                Some(build) => format!("{workspace}: build {build} is on its way\n"),
                None => format!("{workspace} is running\n"),
            })?;
            return Ok(0);
        }
        let Some(build) = accepted.build else {
            let detail = detail(&client, &workspace).await?;
            out.print_as(&detail, |_| format!("{workspace} is running\n"))?;
            return Ok(0);
        };
        out.say(format_args!("{workspace}: build {build}"));
        let watched = Watched { workspace: &workspace, build, until: Until::Ended, verbose: self.verbose };
        match follow(context, &client, watched).await? {
            End::Detached => Ok(detached(context, &workspace, build)),
            End::Reached(built) => self.ended(context, &client, &workspace, &built).await,
        }
    }

    async fn ended(&self, context: &Context, client: &Client, id: &WorkspaceId, build: &BuildDetail) -> Result<u8> {
        let out = context.out;
        let detail = detail(client, id).await?;
        let state = state_text(&detail);
        if let Some(failure) = failure_of(id, build, &state) {
            if !self.verbose {
                let tail = tail_of_log(client, id, build).await;
                out.say_raw(tail_text(&tail, out.talk_colours));
            }
            if out.json {
                out.print_json(&detail)?;
            }
            return Err(failure);
        }
        for warning in &build.warnings {
            out.say_raw(warning_text(warning, out.talk_colours));
        }
        let times = build.build.started_at.zip(build.build.ended_at);
        let after = times.map(|(start, end)| format!(" after {}", took(between(start, end).as_secs_f64())));
        out.print_as(&detail, |_| format!("{state}{}\n", after.unwrap_or_default()))?;
        if detail.summary.state == StateName::Running {
            out.say(format_args!("enter it with: hearth ssh {id}"));
        }
        Ok(0)
    }
}

/// Returns how the workspace is, in a few words.
fn state_text(detail: &WorkspaceDetail) -> String {
    let summary = &detail.summary;
    let id = &summary.workspace;
    match (summary.state, detail.failure.is_some()) {
        (StateName::Running, true) => format!("{id} runs as it did before"),
        (StateName::Failed, _) => format!("{id} does not run; its home is kept"),
        (state, _) => format!("{id} is {state}"),
    }
}

/// Says that the build goes on, and returns the exit code for that.
pub(crate) fn detached(context: &Context, workspace: &WorkspaceId, build: BuildNumber) -> u8 {
    context.out.say(format_args!(
        "detached: build {build} of {workspace} goes on\n  hearth logs {workspace} --follow watches it, hearth cancel {workspace} ends it"
    ));
    DETACHED
}

async fn detail(client: &Client, workspace: &WorkspaceId) -> Result<WorkspaceDetail> {
    client.get(&format!("/v1/workspaces/{workspace}")).await
}
