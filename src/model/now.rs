//! Time as a value: nothing below the daemon loop asks what time it is.

use std::time::Duration;

/// A point of the wall clock, as stored and shown.
pub type Moment = jiff::Timestamp;

/// The present, handed to whatever decides: the wall clock for schedules and records, the boot clock
/// (which no NTP step moves and which counts suspend) for spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Moment,
    pub boot: Duration,
}
