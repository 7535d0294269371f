//! auto-start (rules S1–S5): time, days, zone, holidays → the next start after `now`, and what became of the last one.
//!
//! Pure. Every time is computed here, clock changes included; whatever rings the alarm may ring early, late or twice.
//!
//! ```text
//!   Plan (what the files, members and `away` say) ─ calendar ─▶ occurrences
//!   Known (persisted) + Plan + Facts ─────────────── turn ────▶ start it? + Known to persist + when to ask again
//!   Plan + last use ──────────────────────────────── forecast ▶ the next 14 days, for `hearth schedule`
//! ```

mod calendar;
mod forecast;
mod turn;

pub use calendar::{NoStart, Plan};
pub use forecast::{FORECAST_DAYS, Forecast, ForecastDay, NextStart, forecast, next_start};
pub use turn::{Due, Facts, GRACE, Known, Last, Outcome, Turn, Workspace, turn};
