//! The clocks of the simulated host: they run with the paused time of the runtime that hearthd runs on, and stand while
//! none runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::daemon::clock::Clock;
use crate::model::{Moment, Now};

#[derive(Debug, Clone)]
pub(super) struct HostClock(Arc<Mutex<Standing>>);

#[derive(Debug)]
struct Standing {
    now: Now,
    /// When it last stood at `now`, on the runtime's clock.
    since: Option<(Handle, Instant)>,
    /// Time that has passed, whatever the clocks show.
    passed: Duration,
    boots: u32,
}

impl HostClock {
    pub(super) fn at(wall: Moment) -> Self {
        let now = Now { wall, boot: Duration::from_secs(3600) };
        Self(Arc::new(Mutex::new(Standing { now, since: None, passed: Duration::ZERO, boots: 1 })))
    }

    /// Runs with the runtime that this is called on.
    pub(super) fn run(&self) {
        self.with(|standing| standing.since = Some((Handle::current(), Instant::now())));
    }

    /// Stands still.
    pub(super) fn stand(&self) {
        self.with(|standing| standing.since = None);
    }

    /// Lets time pass that nobody sees.
    pub(super) fn pass(&self, span: Duration) {
        self.with(|standing| standing.advance(span));
    }

    /// Steps the clock on the wall.
    pub(super) fn step(&self, by: SignedDuration) {
        self.with(|standing| standing.now.wall += by);
    }

    /// Boots the host.
    pub(super) fn boot(&self) {
        self.with(|standing| (standing.now.boot, standing.boots) = (Duration::ZERO, standing.boots + 1));
    }

    /// Returns how much time has passed since the history began.
    pub(super) fn passed(&self) -> Duration {
        self.with(|standing| standing.passed)
    }

    /// Returns what tells this boot from others.
    pub(super) fn boot_id(&self) -> String {
        self.with(|standing| standing.boots.to_string())
    }

    fn with<T>(&self, turn: impl FnOnce(&mut Standing) -> T) -> T {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((runtime, since)) = standing.since.take() {
            let now = {
                let _context = runtime.enter();
                Instant::now()
            };
            standing.advance(now - since);
            standing.since = Some((runtime, now));
        }
        turn(&mut standing)
    }
}

impl Standing {
    fn advance(&mut self, span: Duration) {
        self.now = Now { wall: self.now.wall + span, boot: self.now.boot + span };
        self.passed += span;
    }
}

impl Clock for HostClock {
    fn now(&self) -> Now {
        self.with(|standing| standing.now)
    }
}
