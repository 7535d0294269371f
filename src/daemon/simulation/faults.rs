//! What goes wrong between hearthd and the rest: calls that fail, hang or are late, and hearthd's own sudden end around
//! any of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::dice::Dice;
use crate::docker::EngineError;
use crate::docker::fake::{Conductor, Fault};
use crate::store::inline::Gate;

/// How often things go wrong, in thousandths of all calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weather {
    /// Nothing is done, the connection breaks.
    pub(super) broken_before: usize,
    /// It is done, and the connection breaks before the answer.
    pub(super) broken_after: usize,
    /// The engine refuses.
    pub(super) refused: usize,
    /// No answer within the time that hearthd waits; done or not.
    pub(super) silent: usize,
    /// The answer takes up to a few seconds.
    pub(super) late: usize,
    /// A hook, or inject, fails.
    pub(super) hook: usize,
}

impl Weather {
    pub(super) const CALM: Self = Self { broken_before: 0, broken_after: 0, refused: 0, silent: 0, late: 0, hook: 0 };
    pub(super) const ROUGH: Self =
        Self { broken_before: 10, broken_after: 10, refused: 6, silent: 4, late: 300, hook: 60 };
}

/// A change that hearthd makes on the engine, as it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) what: String,
}

/// Told of a call, and whether it was made already.
pub(super) type Told = Box<dyn Fn(&Call, bool) + Send + Sync>;

/// Between one hearthd and the rest of the world. Clones are the same.
#[derive(Clone)]
pub(super) struct Between(Arc<Shared>);

struct Shared {
    dice: Dice,
    state: Mutex<State>,
    ended: Notify,
    /// Before each call and after it.
    told: Told,
}

struct State {
    weather: Weather,
    /// It ends at this call from here on.
    ends_in: Option<usize>,
    is_over: bool,
    counts: BTreeMap<&'static str, usize>,
}

impl Between {
    pub(super) fn new(dice: Dice, weather: Weather, told: Told) -> Self {
        let state = State { weather, ends_in: None, is_over: false, counts: BTreeMap::new() };
        Self(Arc::new(Shared { dice, state: Mutex::new(state), ended: Notify::new(), told }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub(super) fn weather(&self) -> Weather {
        self.state().weather
    }

    /// Ends hearthd at the `n`-th call from here on.
    pub(super) fn end_in(&self, n: usize) {
        self.state().ends_in = Some(n.max(1));
    }

    /// Does not end it after all; returns at which call it was to be.
    pub(super) fn never_end(&self) -> Option<usize> {
        self.state().ends_in.take()
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        self.0.ended.notified().await;
    }

    /// From here on nothing that it does has any effect.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.0.ended.notify_one();
    }

    /// Returns what went wrong, by kind.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.state().counts.clone()
    }

    fn count(&self, kind: &'static str) {
        *self.state().counts.entry(kind).or_default() += 1;
    }

    /// Passes a point at which hearthd may end.
    async fn pass(&self) {
        let is_over = {
            let mut state = self.state();
            if !state.is_over
                && let Some(left) = &mut state.ends_in
            {
                *left -= 1;
                state.is_over = state.ends_in == Some(0);
            }
            state.is_over
        };
        if is_over {
            self.0.ended.notify_one();
            std::future::pending().await
        }
    }

    /// Returns what the database passes before and after each transaction.
    pub(super) fn gate(&self) -> Gate {
        let between = self.clone();
        Arc::new(move |_| {
            let between = between.clone();
            async move { between.pass().await }.boxed()
        })
    }

    async fn late(&self, weather: Weather) {
        let dice = &self.0.dice;
        if dice.thousandth(weather.late) {
            let longest = if dice.thousandth(30) { 8_000 } else { 400 };
            tokio::time::sleep(dice.span(Duration::ZERO, Duration::from_millis(longest))).await;
        }
    }
}

#[async_trait]
impl Conductor for Between {
    async fn begin(&self, call: &'static str, what: &str) -> Option<Fault> {
        self.pass().await;
        (self.0.told)(&Call { name: call, what: what.to_owned() }, false);
        let weather = self.weather();
        if weather == Weather::CALM {
            return None;
        }
        self.late(weather).await;
        let dice = &self.0.dice;
        if dice.thousandth(weather.broken_before) {
            self.count("connection breaks before");
            return Some(Fault::Before(away()));
        }
        if dice.thousandth(weather.broken_after) {
            self.count("connection breaks after");
            return Some(Fault::After(away()));
        }
        if dice.thousandth(weather.silent) {
            self.count("no answer");
            let after = Duration::from_secs(10);
            tokio::time::sleep(after).await;
            let slow = EngineError::Slow { call, after };
            return Some(if dice.thousandth(500) { Fault::Before(slow) } else { Fault::After(slow) });
        }
        // An engine refuses what changes something; what it lists, it lists.
        let changes = matches!(call, "create" | "start" | "stop" | "remove" | "update" | "exec" | "create volume");
        if changes && dice.thousandth(weather.refused) {
            self.count("refused");
            return Some(Fault::Before(EngineError::Refused(format!("no room for `{call}` on the device"))));
        }
        None
    }

    async fn end(&self, call: &'static str, what: &str) {
        (self.0.told)(&Call { name: call, what: what.to_owned() }, true);
        self.pass().await;
        let weather = self.weather();
        if weather != Weather::CALM {
            self.late(weather).await;
        }
    }
}

/// Returns a gate that nobody is stopped at.
pub(super) fn open_gate() -> Gate {
    Arc::new(|_| std::future::ready(()).boxed())
}

fn away() -> EngineError {
    EngineError::Away("connection reset by peer".into())
}
