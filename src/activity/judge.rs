//! What counts of that which a look shows (P3, P4). One answer for the clock and for `why`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::config::settings::{ActivityKind, Ignored};
use crate::model::{Evidence, Live, LiveKey, Measure, Moment, Now, Sample, SavedStamp, Stamp};

/// A connection with neither an acknowledgement nor data for this long is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(2 * 3600);

/// The shortest time over which traffic is judged: over less, one packet is a torrent.
const SHORTEST: Duration = Duration::from_secs(15);

/// An open thing and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub live: Live,
    pub counts: Counts,
    /// When it was used last, where this look tells.
    pub used_at: Option<Stamp>,
}

/// Whether it counts, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// While it is open.
    WhileOpen,
    /// So many bytes in that time are enough.
    Traffic {
        bytes: u64,
        over: Duration,
    },
    /// Its terminal was used.
    Terminal,
    No(NotCounted),
}

/// Why it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCounted {
    /// `activity_ignore`.
    Ignored,
    /// No payload yet: a port scanner, a connection opened in advance.
    NoPayload,
    /// Fewer bytes than `activity_floor` in that time.
    BelowFloor { bytes: u64, over: Duration },
    /// Nothing came for two hours.
    Dead,
    /// A terminal that nobody uses.
    TerminalIdle { for_: Duration },
}

/// What has to be remembered from look to look, of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    /// The look that traffic is counted from.
    base_at: Stamp,
    payload: BTreeMap<LiveKey, u64>,
    terminals: BTreeMap<LiveKey, Terminal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terminal {
    touched: Moment,
    /// The look at which `touched` had moved.
    moved_at: Stamp,
}

/// What traffic is counted from, as it is kept over a restart: by a cookie the kernel means the same connection for as
/// long as the host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedMemory {
    container: String,
    base_at: SavedStamp,
    payload: Vec<(LiveKey, u64)>,
}

/// With more connections than this, the first look after a restart stands for itself.
const MOST_KEPT: usize = 1024;

impl Memory {
    /// Returns since when traffic is counted.
    pub(super) fn base_at(&self) -> Stamp {
        self.base_at
    }

    pub(super) fn save(&self, container: &str, boot_id: &str) -> Option<SavedMemory> {
        let payload = self.payload.iter().map(|(key, bytes)| (key.clone(), *bytes)).collect::<Vec<_>>();
        let base_at = SavedStamp::of(self.base_at, boot_id);
        (payload.len() <= MOST_KEPT).then(|| SavedMemory { container: container.to_owned(), base_at, payload })
    }
}

impl SavedMemory {
    /// Returns the memory and its container; `None` where the host was booted since.
    pub(super) fn memory(self, now: Now, boot_id: &str) -> Option<(String, Memory)> {
        let Self { container, base_at, payload } = self;
        let same = base_at.boot_id == boot_id;
        let payload = payload.into_iter().collect();
        let memory = Memory { base_at: base_at.stamp(now, boot_id), payload, terminals: BTreeMap::new() };
        same.then_some((container, memory))
    }
}

impl Judged {
    /// Returns what there is to say about its last use.
    pub(super) fn evidence(&self, at: Moment) -> Evidence {
        Evidence { at, kind: self.live.kind(), who: self.live.who.clone(), from: self.live.from.clone() }
    }
}

/// Judges everything that a look showed. `before`: the memory and time of the last look at the same container.
pub(super) fn judge(
    sample: &Sample,
    policy: &Policy,
    before: Option<(&Memory, Stamp)>,
    now: Now,
) -> (Vec<Judged>, Memory) {
    let judged = sample.live.iter().map(|live| {
        let (counts, used_at) = judge_one(live, policy, before, now);
        Judged { live: live.clone(), counts, used_at }
    });
    (judged.collect(), remember(sample, policy, before, now))
}

fn judge_one(live: &Live, policy: &Policy, before: Option<(&Memory, Stamp)>, now: Now) -> (Counts, Option<Stamp>) {
    match live.measure {
        Measure::Open => (Counts::WhileOpen, Some(now.stamp())),
        Measure::Terminal { touched, unnoticed } => {
            let used_at = terminal_used_at(&live.key, touched, unnoticed, before, now);
            let idle = Counts::No(NotCounted::TerminalIdle { for_: now.since(now.stamp_of(touched)) });
            let counts = used_at.map_or(idle, |_| Counts::Terminal);
            (counts, used_at)
        }
        Measure::Connection { peer, port, payload, data_idle, silent } => {
            let counts =
                if policy.ignore.contains(&Ignored::Source(peer)) || policy.ignore.contains(&Ignored::Port(port)) {
                    Counts::No(NotCounted::Ignored)
                } else if payload == 0 {
                    Counts::No(NotCounted::NoPayload)
                } else {
                    match policy.activity {
                        ActivityKind::Open if data_idle.min(silent) > DEAD_AFTER => Counts::No(NotCounted::Dead),
                        ActivityKind::Open => Counts::WhileOpen,
                        ActivityKind::Traffic => traffic(&live.key, payload, policy, before, now),
                    }
                };
            let used = !matches!(counts, Counts::No(_));
            (counts, used.then(|| now.stamp()))
        }
    }
}

fn traffic(key: &LiveKey, payload: u64, policy: &Policy, before: Option<(&Memory, Stamp)>, now: Now) -> Counts {
    let window = policy.window();
    let (bytes, over) = match before {
        Some((memory, _)) => {
            let counted = memory.payload.get(key).copied().unwrap_or_default();
            // Fewer bytes than before: another connection under the same cookie.
            (payload.checked_sub(counted).unwrap_or(payload), now.since(memory.base_at).max(window.min(SHORTEST)))
        }
        // A first look shows how much went in all, and not when: the next one tells.
        None => (0, window),
    };
    // Bytes a minute, over milliseconds.
    let enough = u128::from(bytes) * 60_000 >= u128::from(policy.floor) * over.as_millis();
    if bytes > 0 && enough {
        Counts::Traffic { bytes, over }
    } else {
        Counts::No(NotCounted::BelowFloor { bytes, over })
    }
}

fn terminal_used_at(
    key: &LiveKey,
    touched: Moment,
    unnoticed: Duration,
    before: Option<(&Memory, Stamp)>,
    now: Now,
) -> Option<Stamp> {
    let by_its_word = now.stamp_of(touched).after(unnoticed).min(now.stamp());
    match before.map(|(memory, looked_at)| (memory.terminals.get(key), looked_at)) {
        Some((Some(known), _)) if known.touched == touched => {
            (now.since(known.moved_at) <= unnoticed).then(|| now.stamp())
        }
        Some((Some(_), looked_at)) => Some(by_its_word.max(looked_at)),
        Some((None, _)) | None => Some(by_its_word),
    }
}

fn remember(sample: &Sample, policy: &Policy, before: Option<(&Memory, Stamp)>, now: Now) -> Memory {
    // A look between two samples leaves what traffic is counted from; timers ring a little early now and then.
    let kept = before.filter(|(memory, _)| now.since(memory.base_at) < policy.window().mul_f64(0.9));
    let (base_at, payload) = match kept {
        Some((memory, _)) => (memory.base_at, memory.payload.clone()),
        None => (now.stamp(), sample.live.iter().filter_map(payload_of).collect()),
    };
    let terminals = sample.live.iter().filter_map(|live| {
        let Measure::Terminal { touched, .. } = live.measure else { return None };
        let known = before.and_then(|(memory, _)| memory.terminals.get(&live.key));
        let same = known.filter(|known| known.touched == touched).copied();
        Some((live.key.clone(), same.unwrap_or(Terminal { touched, moved_at: now.stamp() })))
    });
    Memory { base_at, payload, terminals: terminals.collect() }
}

fn payload_of(live: &Live) -> Option<(LiveKey, u64)> {
    match live.measure {
        Measure::Connection { payload, .. } => Some((live.key.clone(), payload)),
        Measure::Open | Measure::Terminal { .. } => None,
    }
}
