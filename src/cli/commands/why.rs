//! `hearth why`

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::api::wire::{AutoOffRule, HoldOf, SeenUse, Why, WhyOutlook};
use crate::cli::Context;
use crate::cli::error::Result;
use crate::cli::render::time::{short, when};
use crate::cli::render::{Style, visible};
use crate::cli::target::Target;
use crate::model::Moment;

/// Say why a workspace is on, or when it goes off
///
/// What keeps it on, on what evidence, under which rule of which org, and what would happen without the holds. Looks
/// afresh each time. Connections that the workspace itself made never count; they are named all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let workspace = self.target.resolve(&client).await?;
        let why: Why = client.get(&format!("/v1/workspaces/{workspace}/why")).await?;
        let out = context.out;
        out.print_as(&why, |why| text(why, context.now(), &TimeZone::system(), out.colours))
    }
}

fn text(why: &Why, now: Moment, zone: &TimeZone, colours: bool) -> String {
    let id = Style::Bold.paint(&why.workspace.to_string(), colours);
    let Some(outlook) = &why.outlook else {
        let because = visible::line(&why.because);
        return format!("{id} is {} since {}\n  {because}\n", why.state, when(why.since, now, zone));
    };
    let mut out = format!("{id} {}\n\n", verdict(outlook, now, zone, colours));
    let mut field = |name: &str, values: Vec<String>| {
        for (index, value) in values.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            out.push_str(&format!("  {name:<13} {}\n", visible::line(value)));
        }
    };
    field("rule", why.rule.iter().map(|rule| rule_text(rule, why)).collect());
    field("idle since", vec![format!("{}: {}", when(outlook.idle_since, now, zone), outlook.idle_from)]);
    field("held by", why.holds.iter().map(|hold| hold_text(hold, now, zone)).collect());
    let without = why.without_holds.iter().map(|without| verdict(without, now, zone, false));
    field("without holds", without.map(|verdict| format!("it {verdict}")).collect());
    field("open", why.evidence.iter().map(seen_text).collect());
    let outgoing = why.outgoing.iter().map(|to| format!("{} {}", to.protocol, to.peer));
    let outgoing = outgoing.collect::<Vec<_>>().join(", ");
    field("outgoing", (!outgoing.is_empty()).then(|| format!("{outgoing}: never counted")).into_iter().collect());
    field("looked at", why.looked_at.iter().map(|at| when(*at, now, zone)).collect());
    out
}

fn verdict(outlook: &WhyOutlook, now: Moment, zone: &TimeZone, colours: bool) -> String {
    match (outlook.off.as_str(), outlook.at) {
        ("at", Some(at)) => {
            let goes_off = Style::Warn.paint("goes off", colours);
            format!("{goes_off} at {} unless it is used", when(at, now, zone))
        }
        ("kept", _) => {
            let open: Vec<_> =
                outlook.kept_by.iter().filter(|by| !by.starts_with("hold ")).map(String::as_str).collect();
            let held = outlook.kept_by.len() - open.len();
            let holds = match held {
                0 => None,
                1 => Some("a hold".to_owned()),
                several => Some(format!("{several} holds")),
            };
            let by: Vec<_> = holds.into_iter().chain(open.iter().map(|open| visible::line(open))).collect();
            format!("{} because of {}", Style::Good.paint("stays on", colours), by.join(", "))
        }
        ("blind", _) => {
            let why = outlook.blind.as_deref().unwrap_or_default();
            format!("stays on, because connections into it cannot be seen: {}", visible::line(why))
        }
        _ => format!("{} until somebody stops it", Style::Good.paint("stays on", colours)),
    }
}

fn rule_text(rule: &AutoOffRule, why: &Why) -> String {
    let threshold = match rule.threshold {
        Some(seconds) => format!("off after {} without use", short(Duration::from_secs(seconds))),
        None => "never off by itself".into(),
    };
    let said_in = match rule.said_in.as_str() {
        "default" => "by default".to_owned(),
        said_in => said_in.to_owned(),
    };
    format!("{threshold} (`auto_off`, {said_in}, org {})", why.org)
}

fn hold_text(hold: &HoldOf, now: Moment, zone: &TimeZone) -> String {
    let until = when(hold.until, now, zone);
    let until = match hold.until_command_ends {
        true => format!("until its command ends, at most until {until}"),
        false => format!("until {until}"),
    };
    let message = hold.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    let from = if hold.from == "host" { String::new() } else { format!(" ({})", hold.from) };
    format!("{}{from} {until}{message}", hold.by)
}

fn seen_text(seen: &SeenUse) -> String {
    let who = seen.who.as_ref().map_or_else(String::new, |who| format!(" of {who}"));
    let from = seen.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    let port = seen.port.map_or_else(String::new, |port| format!(" to port {port}"));
    let counts = if seen.counts { "counts" } else { "does not count" };
    format!("{}{who}{from}{port} {counts}: {}", seen.kind, seen.how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::OutgoingTo;
    use crate::cli::render::samples::at;
    use crate::model::StateName;

    fn why() -> Why {
        let outlook = WhyOutlook {
            off: "at".into(),
            at: Some(at(7200)),
            kept_by: vec![],
            blind: None,
            idle_since: at(0),
            idle_from: "it was last used by an entry through hearth of alice from host".into(),
        };
        let seen = SeenUse {
            kind: "connection".into(),
            who: None,
            from: Some("192.0.2.7".into()),
            port: Some(8080),
            counts: false,
            how: "it is only open: 12 bytes in 1m, less than `activity_floor`".into(),
        };
        Why {
            workspace: "alice/main".parse().unwrap(),
            org: "acme".parse().unwrap(),
            state: StateName::Running,
            since: at(-600),
            because: "x".into(),
            rule: Some(AutoOffRule { threshold: Some(7200), said_in: "/etc/hearth/hearth.toml:12:3".into() }),
            outlook: Some(outlook),
            without_holds: None,
            holds: vec![],
            evidence: vec![seen],
            outgoing: vec![OutgoingTo { protocol: "tcp".into(), peer: "151.101.0.1:443".into() }],
            looked_at: Some(at(3600)),
        }
    }

    #[test]
    fn p6_when_it_goes_off_and_on_what_evidence() {
        insta::assert_snapshot!(text(&why(), at(3601), &TimeZone::UTC, false), @r"
        alice/main goes off at 14:00 (in 59m59s) unless it is used

          rule          off after 2h without use (`auto_off`, /etc/hearth/hearth.toml:12:3, org acme)
          idle since    12:00 (1h ago): it was last used by an entry through hearth of alice from host
          open          connection from 192.0.2.7 to port 8080 does not count: it is only open: 12 bytes in 1m, less than `activity_floor`
          outgoing      tcp 151.101.0.1:443: never counted
          looked at     13:00 (just now)
        ");
    }

    #[test]
    fn p6_what_keeps_it_on_and_what_would_be_without_the_holds() {
        let mut why = why();
        let outlook = why.outlook.take().unwrap();
        let kept_by = vec!["hold 7".into(), "an entry through hearth of bob from host".into()];
        why.outlook = Some(WhyOutlook { off: "kept".into(), at: None, kept_by, ..outlook.clone() });
        why.without_holds = Some(outlook);
        why.holds = vec![HoldOf {
            hold: 7,
            by: "alice".into(),
            from: "inside alice/main".into(),
            message: Some("training\x1b[2J".into()),
            since: at(0),
            until: at(14_400),
            until_command_ends: false,
        }];
        why.outgoing.clear();
        insta::assert_snapshot!(text(&why, at(3601), &TimeZone::UTC, false), @r"
        alice/main stays on because of a hold, an entry through hearth of bob from host

          rule          off after 2h without use (`auto_off`, /etc/hearth/hearth.toml:12:3, org acme)
          idle since    12:00 (1h ago): it was last used by an entry through hearth of alice from host
          held by       alice (inside alice/main) until 16:00 (in 2h59m): training
          without holds it goes off at 14:00 (in 59m59s) unless it is used
          open          connection from 192.0.2.7 to port 8080 does not count: it is only open: 12 bytes in 1m, less than `activity_floor`
          looked at     13:00 (just now)
        ");
        let off = Why { state: StateName::Off, because: "it was not used".into(), outlook: None, ..why };
        insta::assert_snapshot!(text(&off, at(3601), &TimeZone::UTC, false), @r"
        alice/main is off since 11:50 (1h10m ago)
          it was not used
        ");
    }
}
