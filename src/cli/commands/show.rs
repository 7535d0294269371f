//! `hearth show`

use jiff::tz::TimeZone;

use crate::api::wire::{Build, Resources, StageTime, WorkspaceDetail};
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::progress::warning_text;
use crate::cli::render::time::{between, relative, short, size, took, when};
use crate::cli::render::{Style, visible};
use crate::cli::target::Target;
use crate::model::{Moment, Outdated, StateName};

/// Show one workspace: its state and why, its last build, what it gets, and every warning
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let detail: WorkspaceDetail = client.get(&format!("/v1/workspaces/{workspace}")).await?;
        let out = context.out;
        out.print_as(&detail, |detail| text(detail, context.now(), &TimeZone::system(), out.colours))
    }
}

fn text(detail: &WorkspaceDetail, now: Moment, zone: &TimeZone, colours: bool) -> String {
    let summary = &detail.summary;
    let state = super::list::look(summary.state).paint(&summary.state.to_string(), colours);
    let id = Style::Bold.paint(&summary.workspace.to_string(), colours);
    let mut out = format!("{id} is {state} since {}\n", when(summary.since, now, zone));
    if detail.failure.as_ref() != Some(&detail.because) {
        out.push_str(&format!("  {}\n", visible::line(&detail.because)));
    }
    out.push('\n');
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push_str(&format!("  {name:<11} {}\n", visible::line(&value)));
        }
    };
    field("org", Some(summary.org.to_string()));
    field("image", image(detail));
    field("build", summary.build.as_ref().map(|build| build_text(build, now, zone)));
    field("stages", Some(stages(&detail.stages)));
    field("resources", resources(&summary.resources));
    field("usage", usage(detail));
    field("user", detail.username.clone());
    field("home", detail.home.clone());
    field("container", detail.container.as_ref().map(|id| id.chars().take(12).collect()));
    field("ports", Some(detail.ports.join(", ")));
    field("auto-off", auto_off(detail, now, zone));
    field("auto-start", auto_start(detail, now, zone));
    field("last use", last_use(detail, now, zone));
    field("declared", (!detail.declared).then(|| "in no file: it cannot be started; its home is kept".into()));
    out.push_str(&troubles(detail, colours));
    out
}

/// What is not as it should be, with what to type.
fn troubles(detail: &WorkspaceDetail, colours: bool) -> String {
    let summary = &detail.summary;
    let id = &summary.workspace;
    let mut out = String::new();
    if let Some(failure) = &detail.failure {
        let number = summary.build.as_ref().map(|build| format!(" --build {}", build.number)).unwrap_or_default();
        out.push_str(&format!("\n{} {}\n", Style::Bad.paint("failed:", colours), visible::text(failure)));
        out.push_str(&format!("  hearth logs {id}{number}; once it is mended: hearth rebuild {id}\n"));
    }
    if !summary.warnings.is_empty() {
        out.push('\n');
        summary.warnings.iter().for_each(|warning| out.push_str(&warning_text(warning, colours)));
    }
    if !summary.outdated.is_empty() {
        let word = Style::Warn.paint("outdated:", colours);
        out.push_str(&format!("\n{word} {} changed since its build\n", names(&summary.outdated)));
        if summary.state == StateName::Running {
            out.push_str(&format!("  hearth rebuild {id} brings it up to date\n"));
        }
    }
    out
}

/// Returns the names of what differs, as JSON has them.
pub(crate) fn names(outdated: &[Outdated]) -> String {
    outdated.iter().map(|what| what.as_str()).collect::<Vec<_>>().join(", ")
}

fn image(detail: &WorkspaceDetail) -> Option<String> {
    let image = detail.summary.image.clone()?;
    Some(match &detail.image_digest {
        Some(digest) => format!("{image} ({})", digest.chars().take("sha256:".len() + 12).collect::<String>()),
        None => image,
    })
}

fn build_text(build: &Build, now: Moment, zone: &TimeZone) -> String {
    let reason = serde_json::to_value(build.reason).ok().and_then(|reason| reason.as_str().map(str::to_owned));
    let mut text = format!("{} ({}, by {})", build.number, reason.unwrap_or_default(), build.requester);
    match (build.started_at, build.ended_at, build.result) {
        (Some(start), Some(end), Some(result)) => {
            let result = serde_json::to_value(result).ok().and_then(|result| result.as_str().map(str::to_owned));
            let span = took(between(start, end).as_secs_f64());
            text.push_str(&format!(": {} after {span}, {}", result.unwrap_or_default(), when(end, now, zone)));
        }
        (Some(start), _, _) => {
            let stage = build.stage.map(|stage| format!(" {stage},")).unwrap_or_default();
            text.push_str(&format!(":{stage} for {}", short(between(start, now))));
        }
        (None, _, _) => text.push_str(": waits for its turn"),
    }
    text
}

fn stages(stages: &[StageTime]) -> String {
    let stage = |one: &StageTime| match one.seconds {
        Some(seconds) => format!("{} {}", one.stage, took(seconds)),
        None => format!("{} …", one.stage),
    };
    stages.iter().map(stage).collect::<Vec<_>>().join(", ")
}

fn resources(resources: &Resources) -> Option<String> {
    let pids = resources.pids?;
    let cpus = resources
        .cpus
        .map_or_else(|| "all cpus".into(), |cpus| format!("{cpus} cpu{}", if cpus == 1.0 { "" } else { "s" }));
    let memory = resources.memory.map_or_else(|| "unlimited memory".into(), |bytes| format!("{} memory", size(bytes)));
    Some(format!("{cpus}, {memory}, {pids} processes"))
}

fn usage(detail: &WorkspaceDetail) -> Option<String> {
    let usage = &detail.summary.usage;
    let parts = [
        usage.cpu.map(|cpu| format!("{cpu:.2} cpus")),
        usage.memory.map(|bytes| format!("{} memory", size(bytes))),
        usage.home_bytes.map(|bytes| format!("{} home", size(bytes))),
        detail.summary.connections.map(|count| format!("{count} connections")),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn auto_off(detail: &WorkspaceDetail, now: Moment, zone: &TimeZone) -> Option<String> {
    if !detail.declared {
        return None;
    }
    let auto_off = &detail.summary.auto_off;
    let Some(threshold) = auto_off.threshold else { return Some("never".into()) };
    let mut text = format!("after {} without activity", short(std::time::Duration::from_secs(threshold)));
    if let Some(at) = auto_off.at {
        text.push_str(&format!(", at {}", when(at, now, zone)));
    }
    if let Some(until) = auto_off.held_until {
        text.push_str(&format!(", held until {}", when(until, now, zone)));
    }
    Some(text)
}

fn auto_start(detail: &WorkspaceDetail, now: Moment, zone: &TimeZone) -> Option<String> {
    if !detail.declared {
        return None;
    }
    let auto_start = &detail.summary.auto_start;
    let Some(at) = &auto_start.at else { return Some("never".into()) };
    let next = auto_start.next.map(|next| format!(", next {}", when(next, now, zone))).unwrap_or_default();
    Some(format!("{at} {}{next}", auto_start.zone))
}

fn last_use(detail: &WorkspaceDetail, now: Moment, _zone: &TimeZone) -> Option<String> {
    let last = detail.summary.last_activity.as_ref()?;
    let who = last.who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
    let from = last.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
    Some(format!("{} {}{who}{from}", relative(last.at, now), last.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::samples;

    #[test]
    fn a_workspace_in_full() {
        let text = text(&samples::detail("alice/main"), samples::at(41 + 600), &TimeZone::UTC, false);
        insta::assert_snapshot!(text, @r"
        alice/main is running since 12:00 (10m ago)
          it runs and nothing is to be done

          org         acme
          image       debian:12 (sha256:0123456789ab)
          build       17 (user, by alice): ok after 41 s, 12:00 (10m ago)
          stages      pull 3.2 s, create 0.01 s
          resources   2 cpus, 4 GiB memory, 4096 processes
          user        coder
          home        hearth.alice.main.home
          container   0123456789ab
          ports       127.0.0.1:8080:8080
          auto-off    after 2h without activity
          auto-start  08:30 Europe/Lisbon

        warning: configure ended with exit code 7
          | installing
          | no such file

        outdated: image, env changed since its build
          hearth rebuild alice/main brings it up to date
        ");
    }

    #[test]
    fn a_failed_one_says_why_and_what_to_type() {
        let mut detail = samples::detail("alice/main");
        detail.summary.warnings.clear();
        detail.summary.outdated.clear();
        detail.summary.state = StateName::Failed;
        detail.failure = Some("the image `x` names no USER\nadd one".into());
        insta::assert_snapshot!(troubles(&detail, false).trim_start(), @r"
        failed: the image `x` names no USER
        add one
          hearth logs alice/main --build 17; once it is mended: hearth rebuild alice/main
        ");
    }
}
