//! Time as a value: nothing below the daemon loop asks what time it is.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A point of the wall clock, as stored and shown.
pub type Moment = jiff::Timestamp;

/// The present, handed to whatever decides: the wall clock for schedules and records, the boot clock
/// (which no NTP step moves and which counts suspend) for spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Moment,
    pub boot: Duration,
}

/// A moment that spans are counted from: by the boot clock while the host runs, and by the wall clock where it was
/// booted since (rule P8). One that lies before the boot is negative on the boot clock.
///
/// Stamps are compared by the boot clock alone, which no step moves.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// As the clock on the wall showed it then.
    pub wall: Moment,
    pub boot: SignedDuration,
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.boot == other.boot
    }
}

impl Eq for Stamp {}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.boot.cmp(&other.boot)
    }
}

impl Now {
    /// Returns the present as a stamp.
    pub fn stamp(self) -> Stamp {
        Stamp { wall: self.wall, boot: signed(self.boot) }
    }

    /// Returns a moment of the wall clock as a stamp; one that is yet to come is the present.
    pub fn stamp_of(self, wall: Moment) -> Stamp {
        let ago = self.wall.duration_since(wall).max(SignedDuration::ZERO);
        Stamp { wall, boot: signed(self.boot).saturating_sub(ago) }
    }

    /// Returns how long ago a stamp is; zero for one that is yet to come.
    pub fn since(self, stamp: Stamp) -> Duration {
        signed(self.boot).saturating_sub(stamp.boot).try_into().unwrap_or(Duration::ZERO)
    }

    /// Returns what the clock on the wall will show, or should have shown, at a stamp.
    pub fn shown_at(self, stamp: Stamp) -> Moment {
        self.wall.saturating_add(stamp.boot.saturating_sub(signed(self.boot))).unwrap_or(self.wall)
    }
}

impl Stamp {
    /// Returns the stamp that lies `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let span = signed(span);
        Self { wall: self.wall.saturating_add(span).unwrap_or(self.wall), boot: self.boot.saturating_add(span) }
    }

    /// Returns the stamp that lies `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        let span = signed(span);
        Self { wall: self.wall.saturating_sub(span).unwrap_or(self.wall), boot: self.boot.saturating_sub(span) }
    }
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

/// A stamp as it is kept: with the boot that its boot clock belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedStamp {
    pub wall: Moment,
    /// Milliseconds of the boot clock.
    pub boot_ms: i64,
    pub boot_id: String,
}

impl SavedStamp {
    /// Returns the stamp as it is to be kept.
    pub fn of(stamp: Stamp, boot_id: &str) -> Self {
        let boot_ms = i64::try_from(stamp.boot.as_millis()).unwrap_or(i64::MIN);
        Self { wall: stamp.wall, boot_ms, boot_id: boot_id.to_owned() }
    }

    /// Returns the stamp on the clocks of this boot. Of another boot only the wall clock is left to go by.
    pub fn stamp(&self, now: Now, boot_id: &str) -> Stamp {
        if self.boot_id == boot_id {
            let boot = SignedDuration::from_millis(self.boot_ms).min(signed(now.boot));
            Stamp { wall: self.wall, boot }
        } else {
            now.stamp_of(self.wall)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: &str, boot: u64) -> Now {
        Now { wall: wall.parse().unwrap(), boot: Duration::from_secs(boot) }
    }

    #[test]
    fn p8_within_a_boot_the_boot_clock_counts_whatever_the_wall_clock_does() {
        let then = now("2026-11-24T10:00:00Z", 1000);
        let saved = SavedStamp::of(then.stamp(), "a");
        for wall in ["2026-11-24T10:01:00Z", "2026-11-24T05:00:00Z", "2031-01-01T00:00:00Z"] {
            let now = now(wall, 1060);
            let stamp = saved.stamp(now, "a");
            assert_eq!(now.since(stamp), Duration::from_secs(60), "{wall}");
            assert_eq!(now.shown_at(stamp.after(Duration::from_secs(60))), now.wall);
        }
    }

    #[test]
    fn p8_after_a_boot_the_wall_clock_counts_and_never_from_the_future() {
        let saved = SavedStamp::of(now("2026-11-24T10:00:00Z", 1000).stamp(), "a");
        let later = now("2026-11-24T12:00:00Z", 30);
        assert_eq!(later.since(saved.stamp(later, "b")), Duration::from_secs(7200));
        let stepped = now("2026-11-24T08:00:00Z", 30);
        assert_eq!(stepped.since(saved.stamp(stepped, "b")), Duration::ZERO);
        assert!(saved.stamp(later, "b") < later.stamp());
    }
}
