//! The outlook in one sentence, and what it rests on, for people.

use std::fmt;

use super::Policy;
use super::judge::{Counts, Judged, NotCounted};
use super::ledger::Anew;
use super::outlook::{IdleFrom, Keeper, Off, Outlook};
use crate::config::settings::Origin;
use crate::model::{Evidence, EvidenceKind, Span};

/// Says what keeps it on, or when it goes off, from what and under whose rule.
pub(super) fn because(outlook: &Outlook, policy: &Policy) -> String {
    match &outlook.off {
        Off::Never => format!("it stays on: {}", rule(policy)),
        Off::Kept { by } => {
            let by: Vec<_> = by.iter().map(keeper).collect();
            format!("it is kept on by {}", by.join(", and by "))
        }
        Off::Blind { why } => format!("it stays on, because connections cannot be seen: {why}"),
        Off::At { at } => {
            let since = format!("{} at {:.0}", outlook.idle_from, outlook.idle_since);
            format!("it goes off at {at:.0} unless it is used: {since}, and {}", rule(policy))
        }
    }
}

fn rule(policy: &Policy) -> String {
    let said_in = match &policy.said_in {
        Origin::Default => "by default".to_owned(),
        Origin::Member => "by `hearth set`".to_owned(),
        Origin::Bounded => "by `hearth set`, as far as the org allows".to_owned(),
        Origin::File { path, line, .. } => format!("{path}:{line}"),
    };
    format!("`auto_off` is {} ({said_in}, org `{}`)", policy.auto_off, policy.org)
}

fn keeper(keeper: &Keeper) -> String {
    match keeper {
        Keeper::Hold { hold, until } => {
            let message = hold.message.as_ref().map_or_else(String::new, |message| format!(" ({message})"));
            let until = match hold.renewed {
                Some(_) => format!("until its command ends, at most until {until:.0}"),
                None => format!("until {until:.0}"),
            };
            format!("a hold of {} {until}{message}", hold.by)
        }
        Keeper::Open(open) => open.to_string(),
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.live.who.as_ref().map_or_else(String::new, |who| format!(" of {who}"));
        let from = self.live.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        write!(f, "{}{who}{from}", kind(self.live.kind()))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |span: &std::time::Duration| Span(std::time::Duration::from_secs(span.as_secs()));
        match self {
            Counts::WhileOpen => f.write_str("it counts while it is open"),
            Counts::Traffic { bytes, over } => write!(f, "it is in use: {bytes} bytes in {}", whole(over)),
            Counts::Terminal => f.write_str("its terminal is in use"),
            Counts::No(NotCounted::Ignored) => f.write_str("it is in `activity_ignore`"),
            Counts::No(NotCounted::NoPayload) => f.write_str("it has carried nothing yet"),
            Counts::No(NotCounted::BelowFloor { bytes, over }) => {
                write!(f, "it is only open: {bytes} bytes in {}, less than `activity_floor`", whole(over))
            }
            Counts::No(NotCounted::Dead) => f.write_str("nothing came for two hours: its other end is gone"),
            Counts::No(NotCounted::TerminalIdle { for_ }) => {
                write!(f, "its terminal was not used for {}", whole(for_))
            }
        }
    }
}

fn kind(kind: EvidenceKind) -> &'static str {
    match kind {
        EvidenceKind::Entry => "an entry through hearth",
        EvidenceKind::Exec => "a `docker exec`",
        EvidenceKind::Connection => "a connection",
        EvidenceKind::Hold => "a hold",
    }
}

impl fmt::Display for IdleFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdleFrom::Activity(Evidence { kind: what, who, from, .. }) => {
                let who = who.as_ref().map_or_else(String::new, |who| format!(" of {who}"));
                let from = from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
                write!(f, "it was last used by {}{who}{from}", kind(*what))
            }
            IdleFrom::HoldEnded => f.write_str("its last hold ended"),
            IdleFrom::Anew(Anew::FirstSeen) => f.write_str("it was first seen"),
            IdleFrom::Anew(Anew::BuildEnded) => f.write_str("its last build ended"),
            IdleFrom::Anew(Anew::AutoStart) => f.write_str("its auto-start found it running"),
            IdleFrom::Anew(Anew::Adopted) => f.write_str("its container was started by hand"),
        }
    }
}
