//! Holds: a person's promise of use until a time, or until a command ends (P5), bounded by the org each time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Now, SavedStamp, Span, Stamp};

/// For how long a hold that lasts until a command ends stands without being renewed by whoever runs the command.
pub const LEASE: Duration = Duration::from_secs(120);

/// What tells a hold from the others of its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(pub u64);

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: HoldId,
    pub by: String,
    /// `host`, or `inside alice/main`.
    pub from: String,
    pub message: Option<String>,
    pub since: Stamp,
    /// As it was granted; a lower `hold_max` cuts it.
    pub lasts: Duration,
    /// When it was last renewed, for one that lasts until a command ends.
    pub renewed: Option<Stamp>,
}

/// Why a hold is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefused {
    #[error("org `{org}` allows no holds (`hold_max = \"0s\"`)")]
    Forbidden { org: crate::model::OrgName },
    #[error("{} is longer than org `{org}` allows (`hold_max = \"{}\"`)", Span(*asked), Span(*max))]
    TooLong { asked: Duration, max: Duration, org: crate::model::OrgName },
}

/// Returns for how long a hold may last: as asked, or until a command ends but no longer than the org allows.
///
/// # Errors
/// When the org allows none, or none so long.
pub fn granted(policy: &super::Policy, asked: Option<Duration>) -> Result<Duration, HoldRefused> {
    let (max, org) = (policy.hold_max, policy.org.clone());
    match asked {
        _ if max.is_zero() => Err(HoldRefused::Forbidden { org }),
        Some(asked) if asked > max => Err(HoldRefused::TooLong { asked, max, org }),
        Some(asked) => Ok(asked),
        None => Ok(max),
    }
}

impl Hold {
    /// Returns when it ends, should nothing renew or release it.
    pub fn ends(&self, hold_max: Duration) -> Stamp {
        let end = self.since.after(self.lasts.min(hold_max));
        self.renewed.map_or(end, |renewed| end.min(renewed.after(LEASE)))
    }

    /// Returns when it ends at the latest, which is what people are told.
    pub fn ends_at_most(&self, hold_max: Duration) -> Stamp {
        self.since.after(self.lasts.min(hold_max))
    }

    /// Returns whether it holds the workspace.
    pub fn stands(&self, hold_max: Duration, now: Now) -> bool {
        self.ends(hold_max) > now.stamp()
    }
}

/// A hold as it is kept; its id is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHold {
    pub by: String,
    pub from: String,
    pub message: Option<String>,
    pub since: SavedStamp,
    pub lasts_seconds: u64,
    pub renewed: Option<SavedStamp>,
}

impl SavedHold {
    /// Returns the hold as it is to be kept.
    pub fn of(hold: &Hold, boot_id: &str) -> Self {
        let Hold { id: _, by, from, message, since, lasts, renewed } = hold.clone();
        let since = SavedStamp::of(since, boot_id);
        let renewed = renewed.map(|renewed| SavedStamp::of(renewed, boot_id));
        Self { by, from, message, since, lasts_seconds: lasts.as_secs(), renewed }
    }

    /// Returns the hold on the clocks of this boot.
    pub fn hold(self, id: HoldId, now: Now, boot_id: &str) -> Hold {
        let Self { by, from, message, since, lasts_seconds, renewed } = self;
        let since = since.stamp(now, boot_id);
        let renewed = renewed.map(|renewed| renewed.stamp(now, boot_id));
        Hold { id, by, from, message, since, lasts: Duration::from_secs(lasts_seconds), renewed }
    }
}
