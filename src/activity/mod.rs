//! The ledger of one workspace's use, and the one rule that turns it off (rules P1–P8).
//!
//! ```text
//!   sensors ──Sample──▶ judge: what counts? ──▶ Ledger ──┐
//!   builds, auto-start, holds ─────────────────▶         ├─ outlook(policy, now) ─▶ step: wait, warn, look, stop
//!                                                        │                          why: what keeps it, until when
//!   Policy (effective: the org's, the member's) ─────────┘
//! ```
//!
//! Pure. [`Ledger::outlook`] decides, explains and warns: what `why` says is what happens. Spans are counted on the
//! boot clock; nothing stops without its warning, and time that nobody observed takes the warning back.

mod hold;
mod judge;
mod ledger;
mod outlook;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

pub use hold::{Hold, HoldId, HoldRefused, LEASE, SavedHold, granted};
pub use judge::{Counts, DEAD_AFTER, Judged, NotCounted};
pub use ledger::{Anew, Ledger, SavedLedger};
pub use outlook::{IdleFrom, Keeper, Off, Outlook, Step, Why};

use crate::config::settings::{ActivityKind, Ignored, Limit, Origin};
use crate::model::OrgName;

/// What the configuration and the member say about one workspace's use, bounded already (rule P2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub org: OrgName,
    pub auto_off: Limit,
    /// Where the threshold was said.
    pub said_in: Origin,
    pub activity: ActivityKind,
    /// Bytes a minute.
    pub floor: u64,
    pub ignore: Vec<Ignored>,
    pub hold_max: Duration,
}

impl Policy {
    /// Returns how far apart this workspace's samples need be (P3).
    pub fn window(&self) -> Duration {
        sampling([self.auto_off])
    }
}

/// Returns how far apart samples are taken: an eighth of the shortest threshold, 1 to 60 seconds (P3).
pub fn sampling(thresholds: impl IntoIterator<Item = Limit>) -> Duration {
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
    let spans = thresholds.into_iter().filter_map(|limit| match limit {
        Limit::After(span) => Some(span),
        Limit::Never => None,
    });
    spans.min().map_or(most, |shortest| (shortest / 8).clamp(least, most))
}
