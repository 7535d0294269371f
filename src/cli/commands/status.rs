//! `hearth status`

use jiff::tz::TimeZone;

use crate::api::wire::{ConfigStatus, DockerStatus, Status, You};
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::time::{between, short, when};
use crate::cli::render::{Style, visible};
use crate::model::Moment;

/// Show how hearthd, Docker and the configuration are
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let status: Status = context.client()?.get("/v1/status").await?;
        let out = context.out;
        out.print_as(&status, |status| text(status, context.now(), &TimeZone::system(), out.colours))
    }
}

fn text(status: &Status, now: Moment, zone: &TimeZone, colours: bool) -> String {
    let up = short(between(status.started_at, now));
    let mut out = format!("hearthd     {}, instance {}, up {up}\n", status.version, status.instance);
    out.push_str(&format!("docker      {}\n", docker(&status.docker, now, zone, colours)));
    out.push_str(&config(&status.config, now, zone, colours));
    let counts: Vec<_> = status.workspaces.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let counts = if counts.is_empty() { "none that you may see".into() } else { counts.join(", ") };
    out.push_str(&format!("workspaces  {}\n", visible::line(&counts)));
    out.push_str(&format!("you         {}\n", visible::line(&you(&status.you))));
    for note in &status.notes {
        out.push_str(&format!("{}        {}\n", Style::Warn.paint("note", colours), visible::line(note)));
    }
    out
}

fn docker(docker: &DockerStatus, now: Moment, zone: &TimeZone, colours: bool) -> String {
    if docker.reachable {
        let api = docker.api.as_ref().map(|api| format!(" (API {api})")).unwrap_or_default();
        return visible::line(&format!("{}{api}", docker.version.as_deref().unwrap_or("here")));
    }
    let since = docker.away_since.map(|since| format!(" since {}", when(since, now, zone))).unwrap_or_default();
    let why = docker.error.as_ref().map(|why| format!(": {}", visible::line(why))).unwrap_or_default();
    format!("{}{since}{why}; what is shown is from the last look", Style::Bad.paint("away", colours))
}

fn config(config: &ConfigStatus, now: Moment, zone: &TimeZone, colours: bool) -> String {
    let path = visible::line(&config.path);
    let since = when(config.in_force_since, now, zone);
    let copy = if config.from_copy { "the last accepted copy of " } else { "" };
    let mut out = format!("config      {copy}{path}, in force since {since}\n");
    if let Some(rejected) = config.rejected_since {
        let word = Style::Bad.paint("rejected", colours);
        out.push_str(&format!("            {word} since {}: the files as they are\n", when(rejected, now, zone)));
        let errors = config.rejected.as_deref().unwrap_or("hearth config check says why");
        errors.lines().for_each(|line| out.push_str(&format!("            {}\n", visible::line(line))));
    }
    out
}

fn you(you: &You) -> String {
    let users: Vec<_> = you.users.iter().map(ToString::to_string).collect();
    let mut text = you.name.clone();
    match (&users[..], &you.inside) {
        (_, Some(workspace)) => text = format!("inside {workspace}"),
        ([], None) => text.push_str(", no user of hearth"),
        ([one], None) if *one == you.name => {}
        (several, None) => text.push_str(&format!(", user {}", several.join(", "))),
    }
    if you.admin {
        text.push_str(", admin");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::samples::at;

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            started_at: at(0),
            instance: "hearth".into(),
            you: You { name: "alice.x".into(), users: vec!["alice".parse().unwrap()], admin: false, inside: None },
            docker: DockerStatus {
                reachable: true,
                version: Some("20.10.24".into()),
                api: Some("1.41".into()),
                away_since: None,
                error: None,
            },
            config: ConfigStatus {
                path: "/etc/hearth/hearth.toml".into(),
                in_force_since: at(0),
                from_copy: false,
                rejected_since: None,
                rejected: None,
            },
            workspaces: [("running".into(), 3), ("off".into(), 1)].into(),
            notes: vec![],
        }
    }

    #[test]
    fn all_is_well() {
        insta::assert_snapshot!(text(&status(), at(7_800), &TimeZone::UTC, false), @r"
        hearthd     0.1.0, instance hearth, up 2h10m
        docker      20.10.24 (API 1.41)
        config      /etc/hearth/hearth.toml, in force since 12:00 (2h10m ago)
        workspaces  1 off, 3 running
        you         alice.x, user alice
        ");
    }

    #[test]
    fn c1_l12_what_is_not_well_stands_out() {
        let mut status = status();
        status.docker.reachable = false;
        status.docker.away_since = Some(at(7_000));
        status.docker.error = Some("connection refused".into());
        status.config.rejected_since = Some(at(7_100));
        status.config.rejected = Some("hearth.toml:3:1: unknown key\n  caret".into());
        status.config.from_copy = true;
        status.you = You { name: "root".into(), users: vec![], admin: true, inside: None };
        status.notes = vec!["volume `hearth.x` is not ours".into()];
        insta::assert_snapshot!(text(&status, at(7_800), &TimeZone::UTC, false), @r"
        hearthd     0.1.0, instance hearth, up 2h10m
        docker      away since 13:56 (13m20s ago): connection refused; what is shown is from the last look
        config      the last accepted copy of /etc/hearth/hearth.toml, in force since 12:00 (2h10m ago)
                    rejected since 13:58 (11m40s ago): the files as they are
                    hearth.toml:3:1: unknown key
                      caret
        workspaces  1 off, 3 running
        you         root, no user of hearth, admin
        note        volume `hearth.x` is not ours
        ");
    }
}
