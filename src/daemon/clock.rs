//! The only reader of the clock. Everything else is handed [`Now`].

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use nix::time::{ClockId, clock_gettime};

use crate::model::{Moment, Now};

/// Whatever says what time it is.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present.
    fn now(&self) -> Now;
}

/// The host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Now {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every kernel that runs Docker has this clock");
        Now { wall: Moment::now(), boot: boot.into() }
    }
}

/// A clock that a test turns; clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Now>>);

impl ManualClock {
    /// Returns a clock that stands at `wall`, an hour after boot.
    pub fn at(wall: Moment) -> Self {
        Self(Arc::new(Mutex::new(Now { wall, boot: Duration::from_secs(3600) })))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.turn(|now| *now = Now { wall: now.wall + by, boot: now.boot + by });
    }

    /// Steps the wall clock alone, as NTP or an administrator may.
    pub fn step(&self, by: SignedDuration) {
        self.turn(|now| now.wall += by);
    }

    /// Boots the host anew: the boot clock begins again, the wall clock does not.
    pub fn reboot(&self) {
        self.turn(|now| now.boot = Duration::ZERO);
    }

    fn turn<T>(&self, turn: impl FnOnce(&mut Now) -> T) -> T {
        turn(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        self.turn(|now| *now)
    }
}

/// Returns what tells this boot of the host from every other, so that recorded spans of the boot clock can be trusted
/// or not (rule P8).
///
/// # Errors
/// Where `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_the_boot_clock_counts_suspend_and_only_goes_forward() {
        let (first, second) = (SystemClock.now(), SystemClock.now());
        assert!(second.boot >= first.boot);
        assert!(first.wall > "2025-01-01T00:00:00Z".parse().unwrap());
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((uptime - second.boot.as_secs_f64()).abs() < 5.0, "{uptime} {second:?}");
    }

    #[test]
    fn the_boot_id_is_the_same_all_along() {
        let id = boot_id().unwrap();
        assert_eq!((id.len(), &id), (36, &boot_id().unwrap()));
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap());
        let (start, other) = (clock.now(), clock.clone());
        assert_eq!(clock.now(), start);
        other.advance(Duration::from_secs(60));
        assert_eq!(clock.now().wall.duration_since(start.wall), SignedDuration::from_secs(60));
        assert_eq!(clock.now().boot - start.boot, Duration::from_secs(60));
        other.step(SignedDuration::from_hours(-1));
        assert_eq!(clock.now().wall.to_string(), "2026-01-02T02:05:05Z");
        assert_eq!(clock.now().boot - start.boot, Duration::from_secs(60));
        other.reboot();
        assert_eq!(clock.now().boot, Duration::ZERO);
    }
}
