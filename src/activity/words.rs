//! The outlook in one sentence, for people.

use super::Policy;
use super::judge::Judged;
use super::ledger::Anew;
use super::outlook::{IdleFrom, Keeper, Off, Outlook};
use crate::config::settings::Origin;
use crate::model::{Evidence, EvidenceKind};

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
            let since = format!("{} at {:.0}", idle_from(&outlook.idle_from), outlook.idle_since);
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
        Keeper::Open(open) => format!("{}{}", kind(open.live.kind()), by_whom(open)),
    }
}

fn by_whom(open: &Judged) -> String {
    let who = open.live.who.as_ref().map_or_else(String::new, |who| format!(" of {who}"));
    let from = open.live.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    format!("{who}{from}")
}

fn kind(kind: EvidenceKind) -> &'static str {
    match kind {
        EvidenceKind::Entry => "an entry through hearth",
        EvidenceKind::Exec => "a `docker exec`",
        EvidenceKind::Connection => "a connection",
        EvidenceKind::Hold => "a hold",
    }
}

fn idle_from(from: &IdleFrom) -> String {
    match from {
        IdleFrom::Activity(Evidence { kind: what, who, from, .. }) => {
            let who = who.as_ref().map_or_else(String::new, |who| format!(" of {who}"));
            let from = from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
            format!("it was last used by {}{who}{from}", kind(*what))
        }
        IdleFrom::HoldEnded => "its last hold ended".to_owned(),
        IdleFrom::Anew(Anew::FirstSeen) => "it was first seen".to_owned(),
        IdleFrom::Anew(Anew::BuildEnded) => "its last build ended".to_owned(),
        IdleFrom::Anew(Anew::AutoStart) => "its auto-start found it running".to_owned(),
        IdleFrom::Anew(Anew::Adopted) => "its container was started by hand".to_owned(),
    }
}
