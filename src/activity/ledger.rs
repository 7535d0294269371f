//! What is remembered of one workspace's use, and how it is kept over restarts (P8).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Policy;
use super::hold::{Hold, HoldId};
use super::judge::{Counts, Judged, Memory, SavedMemory, judge};
use crate::config::settings::Limit;
use crate::model::{Evidence, EvidenceKind, Moment, Now, Outgoing, Sample, SavedStamp, Stamp};
use crate::mutant;

/// From what besides use the idle clock counts (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anew {
    /// hearthd saw the workspace for the first time.
    FirstSeen,
    BuildEnded,
    /// An auto-start that found it running.
    AutoStart,
    /// Somebody started its container by hand (L9).
    Adopted,
}

/// The ledger of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub(super) last: Option<(Evidence, Stamp)>,
    /// The last hold that somebody asked for: a use, but for what would be without holds.
    pub(super) held: Option<(Evidence, Stamp)>,
    pub(super) anew: (Anew, Stamp),
    pub(super) holds: Vec<Hold>,
    /// When the last hold that is over ended.
    pub(super) hold_ended: Option<Stamp>,
    pub(super) warned: Option<Warned>,
    /// Up to when somebody watched.
    pub(super) observed_at: Option<Stamp>,
    pub(super) seen: Option<Seen>,
    /// What an earlier hearthd counted traffic from, and of which container.
    earlier: Option<(String, Memory)>,
}

/// The warning that was given, and for what: it is void where that is another by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Warned {
    pub(super) at: Stamp,
    pub(super) idle_since: Stamp,
    pub(super) threshold: Duration,
}

/// The last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) container: String,
    pub(super) at: Stamp,
    pub(super) judged: Vec<Judged>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) blind: Option<String>,
    memory: Memory,
}

impl Ledger {
    /// Returns the ledger of a workspace that was never seen before.
    pub fn new(now: Now) -> Self {
        Self {
            last: None,
            held: None,
            anew: (Anew::FirstSeen, now.stamp()),
            holds: Vec::new(),
            hold_ended: None,
            warned: None,
            observed_at: None,
            seen: None,
            earlier: None,
        }
    }

    /// Takes in one look at the running workspace.
    pub fn observe(&mut self, sample: Sample, policy: &Policy, now: Now) {
        // Nobody may have been told of what was decided before a gap, and nobody knows who came in it.
        if self.observed_at.is_none_or(|at| is_gap(at, policy, now)) {
            self.warned = None;
        }
        let before = self.seen.take().filter(|seen| seen.container == sample.container);
        let earlier = self.earlier.take().filter(|(container, _)| *container == sample.container);
        let earlier = earlier.as_ref().map(|(_, memory)| (memory, memory.base_at()));
        let sighted = before.as_ref().filter(|seen| seen.blind.is_none());
        let known = sighted.map(|seen| (&seen.memory, seen.at)).or(earlier);
        let (judged, memory) = judge(&sample, policy, known, now);
        // What a look did not see is counted from what is known of before it.
        let kept =
            known.filter(|_| sample.blind.is_some()).map(|(memory, _)| (sample.container.clone(), memory.clone()));
        let open = |judged: &&Judged| judged.counts == Counts::WhileOpen;
        // It ended between the two looks: idle counts from the later one.
        for ended in before.iter().flat_map(|seen| &seen.judged).filter(open) {
            if !judged.iter().filter(open).any(|is| is.live.key == ended.live.key) {
                self.note(ended.evidence(now.wall), now.stamp());
            }
        }
        for used in &judged {
            if let Some(at) = used.used_at.filter(|_| !mutant::is_on("use is overlooked")) {
                self.note(used.evidence(now.shown_at(at)), at);
            }
        }
        if sample.blind.is_none() {
            self.observed_at = Some(now.stamp());
        }
        self.earlier = kept;
        let Sample { container, outgoing, blind, live: _ } = sample;
        self.seen = Some(Seen { container, at: now.stamp(), judged, outgoing, blind, memory });
    }

    /// Takes in use that a look could not show: it began and ended between two.
    pub fn note(&mut self, evidence: Evidence, at: Stamp) {
        let later = |(last, last_at): &(Evidence, Stamp)| (at, last.kind) > (*last_at, evidence.kind);
        if self.last.as_ref().is_none_or(later) {
            self.last = Some((evidence, at));
        }
    }

    /// Lets the idle clock count from `at`, where that is later.
    pub fn count_anew(&mut self, why: Anew, at: Stamp) {
        if at >= self.anew.1 {
            self.anew = (why, at);
        }
    }

    /// Notes that everyone attached was told what [`outlook`](Self::outlook) said.
    pub fn warned(&mut self, policy: &Policy, now: Now) {
        if let Limit::After(threshold) = policy.auto_off {
            let idle_since = self.idle_since(policy.hold_max, true, now).0;
            self.warned = Some(Warned { at: now.stamp(), idle_since, threshold });
        }
    }

    /// Adds a hold, which is a use.
    pub fn hold(&mut self, hold: Hold) {
        let (who, from) = (Some(hold.by.clone()), Some(hold.from.clone()));
        self.held = Some((Evidence { at: hold.since.wall, kind: EvidenceKind::Hold, who, from }, hold.since));
        self.holds.push(hold);
    }

    /// Forgets what was seen of a container that does not run any more.
    pub fn went_off(&mut self) {
        (self.seen, self.warned, self.earlier) = (None, None, None);
    }

    /// Puts the holds back that were kept.
    #[must_use]
    pub fn with_holds(mut self, holds: Vec<Hold>) -> Self {
        self.holds = holds;
        self
    }

    /// Renews a hold that lasts until a command ends; `false` where it is over.
    pub fn renew(&mut self, id: HoldId, now: Now) -> bool {
        let found = self.holds.iter_mut().find(|hold| hold.id == id);
        found.is_some_and(|hold| hold.renewed.replace(now.stamp()).is_some())
    }

    /// Ends a hold, or all of them, and returns what ended.
    pub fn release(&mut self, id: Option<HoldId>, hold_max: Duration, now: Now) -> Vec<Hold> {
        let ended: Vec<Hold> = self.holds.extract_if(.., |hold| id.is_none_or(|id| hold.id == id)).collect();
        for hold in &ended {
            self.hold_ended = self.hold_ended.max(Some(hold.ends(hold_max).min(now.stamp())));
        }
        ended
    }

    /// Takes out the holds that are over, and returns them.
    pub fn expire(&mut self, hold_max: Duration, now: Now) -> Vec<Hold> {
        let over: Vec<Hold> = self.holds.extract_if(.., |hold| !hold.stands(hold_max, now)).collect();
        self.hold_ended = over.iter().map(|hold| hold.ends(hold_max)).max().max(self.hold_ended);
        over
    }

    /// Returns the holds that were not taken out yet.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// Returns the last evidence of use.
    pub fn last_activity(&self) -> Option<&Evidence> {
        [&self.last, &self.held].into_iter().flatten().max_by_key(|(_, at)| *at).map(|(evidence, _)| evidence)
    }

    /// Returns when a person last used the workspace.
    pub fn last_used(&self) -> Option<Moment> {
        self.last_activity().map(|evidence| evidence.at)
    }

    /// Returns how many connections from outside the last look showed; `None` where it could not see any.
    pub fn connections(&self) -> Option<usize> {
        let seen = self.seen.as_ref().filter(|seen| seen.blind.is_none())?;
        let connections = seen.judged.iter().filter(|judged| judged.live.kind() == EvidenceKind::Connection);
        Some(connections.count())
    }

    /// Returns whether that is kept as this is.
    pub fn is_kept_as(&self, other: &Self) -> bool {
        let Self { last, held, anew, holds: _, hold_ended, warned, observed_at, seen: _, earlier: _ } = self;
        let of_other = (&other.last, &other.held, &other.anew, &other.hold_ended, &other.warned, &other.observed_at);
        (last, held, anew, hold_ended, warned, observed_at) == of_other && self.memory() == other.memory()
    }

    /// Returns what the next look is compared with, and of which container it is.
    fn memory(&self) -> Option<(&String, &Memory)> {
        let seen = self.seen.as_ref().filter(|seen| seen.blind.is_none()).map(|seen| (&seen.container, &seen.memory));
        seen.or(self.earlier.as_ref().map(|(container, memory)| (container, memory)))
    }

    /// Returns the ledger as it is to be kept; holds are kept apart. After a boot only the wall clock is left to go by:
    /// what counts then is what it shows by now, which may have been set since (rule P8).
    pub fn save(&self, now: Now, boot_id: &str) -> SavedLedger {
        let saved = |stamp: Stamp| SavedStamp::of(Stamp { wall: now.shown_at(stamp), ..stamp }, boot_id);
        SavedLedger {
            last: self.last.clone().map(|(evidence, at)| (evidence, saved(at))),
            held: self.held.clone().map(|(evidence, at)| (evidence, saved(at))),
            anew: (self.anew.0, saved(self.anew.1)),
            hold_ended: self.hold_ended.map(saved),
            warned: self.warned.map(|warned| SavedWarned {
                at: saved(warned.at),
                idle_since: saved(warned.idle_since),
                threshold: warned.threshold,
            }),
            observed_at: self.observed_at.map(saved),
            memory: self.memory().and_then(|(container, memory)| memory.save(container, boot_id)),
        }
    }
}

/// Says whether so much time passed since a look that something may have gone unseen.
pub(super) fn is_gap(looked_at: Stamp, policy: &Policy, now: Now) -> bool {
    now.since(looked_at) > policy.window() * 2 + Duration::from_secs(5)
}

/// A ledger as it is kept: of what the last look showed, only what the next one is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLedger {
    last: Option<(Evidence, SavedStamp)>,
    held: Option<(Evidence, SavedStamp)>,
    anew: (Anew, SavedStamp),
    hold_ended: Option<SavedStamp>,
    warned: Option<SavedWarned>,
    observed_at: Option<SavedStamp>,
    #[serde(default)]
    memory: Option<SavedMemory>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedWarned {
    at: SavedStamp,
    idle_since: SavedStamp,
    threshold: Duration,
}

impl SavedLedger {
    /// Returns the ledger on the clocks of this boot, without its holds.
    pub fn ledger(self, now: Now, boot_id: &str) -> Ledger {
        let stamp = |saved: SavedStamp| saved.stamp(now, boot_id);
        // How long ago it was given, only the boot clock tells for certain: after a boot it is given anew (P7).
        let warned = self.warned.filter(|warned| warned.at.boot_id == boot_id);
        Ledger {
            last: self.last.map(|(evidence, at)| (evidence, stamp(at))),
            held: self.held.map(|(evidence, at)| (evidence, stamp(at))),
            anew: (self.anew.0, stamp(self.anew.1)),
            holds: Vec::new(),
            hold_ended: self.hold_ended.map(stamp),
            warned: warned.map(|warned| Warned {
                at: stamp(warned.at),
                idle_since: stamp(warned.idle_since),
                threshold: warned.threshold,
            }),
            observed_at: self.observed_at.map(stamp),
            seen: None,
            earlier: self.memory.and_then(|memory| memory.memory(now, boot_id)),
        }
    }
}
