//! The rule (P1, P7): idle for the threshold → off, after a warning and one fresh look. It decides, explains and warns.

use std::time::Duration;

use super::hold::Hold;
use super::judge::{Counts, Judged};
use super::ledger::{Anew, Ledger, Warned, is_gap};
use super::{Policy, words};
use crate::config::settings::{Limit, Origin};
use crate::model::{Evidence, Moment, Now, OrgName, Outgoing, Stamp};
use crate::mutant;

/// How long before it goes off everyone attached is told, unless half the threshold is shorter (P7).
const WARNING: Duration = Duration::from_secs(600);

/// What is to be done about a running workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Wait,
    /// Tell everyone attached, and note it by [`Ledger::warned`].
    Warn,
    /// Take a sample: nothing is done without a fresh one.
    Look,
    Stop,
}

/// From what its idle time counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdleFrom {
    Activity(Evidence),
    HoldEnded,
    Anew(Anew),
}

/// Something that keeps it on for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    Hold { hold: Hold, until: Moment },
    Open(Judged),
}

/// Whether and when it goes off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// `auto_off = "never"`.
    Never,
    Kept {
        by: Vec<Keeper>,
    },
    /// Connections cannot be seen, so nothing is concluded from seeing none.
    Blind {
        why: String,
    },
    At {
        at: Moment,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    pub idle_since: Moment,
    pub idle_from: IdleFrom,
    pub off: Off,
    pub step: Step,
    /// When the answer may be another although nothing was seen.
    pub ask_again_at: Option<Moment>,
}

/// Everything that `hearth why` says (P6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    pub outlook: Outlook,
    /// What would happen without the holds, where there are any.
    pub without_holds: Option<Outlook>,
    pub threshold: Limit,
    pub org: OrgName,
    pub said_in: Origin,
    /// What the last look showed, and what was made of it.
    pub evidence: Vec<Judged>,
    /// Never counted.
    pub outgoing: Vec<Outgoing>,
    pub looked_at: Option<Moment>,
    /// In one sentence.
    pub because: String,
}

impl Ledger {
    /// Says what becomes of the workspace, as far as is known.
    pub fn outlook(&self, policy: &Policy, now: Now) -> Outlook {
        self.outlook_with(policy, true, now)
    }

    /// Says so, and everything that it rests on.
    pub fn why(&self, policy: &Policy, now: Now) -> Why {
        let outlook = self.outlook(policy, now);
        let held = self.holds.iter().any(|hold| hold.stands(policy.hold_max, now));
        let without_holds = held.then(|| self.outlook_with(policy, false, now));
        Why {
            because: words::because(&outlook, policy),
            outlook,
            without_holds,
            threshold: policy.auto_off,
            org: policy.org.clone(),
            said_in: policy.said_in.clone(),
            evidence: self.seen.iter().flat_map(|seen| seen.judged.clone()).collect(),
            outgoing: self.seen.iter().flat_map(|seen| seen.outgoing.clone()).collect(),
            looked_at: self.seen.as_ref().map(|seen| now.shown_at(seen.at)),
        }
    }

    fn outlook_with(&self, policy: &Policy, holds: bool, now: Now) -> Outlook {
        let (idle_since, idle_from) = self.idle_since(policy.hold_max, holds, now);
        let answer = |off, step, ask_again: Option<Stamp>| Outlook {
            idle_since: now.shown_at(idle_since),
            idle_from,
            off,
            step,
            ask_again_at: ask_again.map(|at| now.shown_at(at)),
        };
        let Limit::After(threshold) = policy.auto_off else { return answer(Off::Never, Step::Wait, None) };
        let (by, hold_ends) = self.kept_by(policy.hold_max, holds, now);
        if !by.is_empty() {
            return answer(Off::Kept { by }, Step::Wait, hold_ends);
        }
        if let Some(why) = self.seen.as_ref().and_then(|seen| seen.blind.clone()) {
            return answer(Off::Blind { why }, Step::Wait, None);
        }
        let (at, step, ask_again) = self.due(idle_since, threshold, policy, now);
        answer(Off::At { at: now.shown_at(at) }, step, ask_again)
    }

    /// Returns whether its time has passed, for a workspace whose container ended without being asked (L9).
    ///
    /// Of one that this hearthd looked at before, only if it saw up to now that nobody used it, and had warned of it.
    pub fn is_overdue(&self, policy: &Policy, now: Now) -> bool {
        let Limit::After(threshold) = policy.auto_off else { return false };
        if self.holds.iter().any(|hold| hold.stands(policy.hold_max, now)) {
            return false;
        }
        let idle_since = self.idle_since(policy.hold_max, true, now).0;
        let due = idle_since.after(threshold);
        let Some(seen) = &self.seen else { return due <= now.stamp() };
        let watched = seen.blind.is_none() && self.observed_at.is_some_and(|at| !is_gap(at, policy, now));
        let warned = self.warned.filter(|warned| (warned.idle_since, warned.threshold) == (idle_since, threshold));
        let lead = WARNING.min(threshold / 2);
        watched && warned.is_some_and(|warned| due.max(warned.at.after(lead)) <= now.stamp())
    }

    /// When it goes off, what is to be done now, and when to ask again.
    fn due(&self, idle_since: Stamp, threshold: Duration, policy: &Policy, now: Now) -> (Stamp, Step, Option<Stamp>) {
        let lead = WARNING.min(threshold / 2);
        let due = idle_since.after(threshold);
        let present = now.stamp();
        let watched = self.observed_at.is_some_and(|at| !is_gap(at, policy, now));
        let same = |warned: &Warned| (warned.idle_since, warned.threshold) == (idle_since, threshold);
        let warned = self.warned.filter(|warned| watched && same(warned));
        let Some(warned) = warned else {
            let warn_at = due.before(lead);
            let step = match &self.seen {
                _ if present < warn_at => Step::Wait,
                Some(seen) if !is_gap(seen.at, policy, now) => Step::Warn,
                Some(_) | None => Step::Look,
            };
            return (due.max(present.after(lead)), step, (step == Step::Wait).then_some(warn_at));
        };
        let at = due.max(warned.at.after(lead));
        let step = match &self.seen {
            _ if present < at => Step::Wait,
            Some(_) if mutant::is_on("no fresh look") => Step::Stop,
            Some(seen) if seen.at >= at && !mutant::is_on("never off") => Step::Stop,
            Some(_) | None => Step::Look,
        };
        (at, step, (step == Step::Wait).then_some(at))
    }

    fn kept_by(&self, hold_max: Duration, holds: bool, now: Now) -> (Vec<Keeper>, Option<Stamp>) {
        let holds = holds && !mutant::is_on("holds hold nothing");
        let standing = self.holds.iter().filter(|hold| holds && hold.stands(hold_max, now));
        let ends = standing.clone().map(|hold| hold.ends(hold_max)).min();
        let held = standing.map(|hold| {
            let until = now.shown_at(hold.ends_at_most(hold_max));
            Keeper::Hold { hold: hold.clone(), until }
        });
        let open = self.seen.iter().flat_map(|seen| &seen.judged);
        let open = open.filter(|judged| judged.counts == Counts::WhileOpen).cloned().map(Keeper::Open);
        (held.chain(open).collect(), ends)
    }

    /// From when idle time counts, and from what (P1).
    pub(super) fn idle_since(&self, hold_max: Duration, holds: bool, now: Now) -> (Stamp, IdleFrom) {
        let anew = (self.anew.1, IdleFrom::Anew(self.anew.0));
        let used = [self.last.as_ref(), self.held.as_ref().filter(|_| holds)].into_iter().flatten();
        let used = used.max_by_key(|(_, at)| *at).cloned();
        let activity = used.map(|(evidence, at)| (at, IdleFrom::Activity(evidence)));
        let over = self.holds.iter().filter(|hold| holds && !hold.stands(hold_max, now));
        let ended = over.map(|hold| hold.ends(hold_max)).max().max(self.hold_ended.filter(|_| holds));
        let ended = ended.map(|at| (at, IdleFrom::HoldEnded));
        [Some(anew), activity, ended].into_iter().flatten().max_by_key(|(at, _)| *at).expect("one is always there")
    }
}
