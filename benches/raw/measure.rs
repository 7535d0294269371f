//! Medians, turns, and the table at the end.

use std::fmt;
use std::time::{Duration, Instant};

/// Measures two sides in turns, after one turn of each that does not count.
pub(crate) fn in_turns(
    rounds: usize,
    mut raw: impl FnMut() -> Duration,
    mut hearth: impl FnMut() -> Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    raw();
    hearth();
    let rounds: Vec<_> = (0..rounds).map(|_| (raw(), hearth())).collect();
    rounds.into_iter().unzip()
}

/// Returns the one in the middle.
pub(crate) fn median_of(spans: impl IntoIterator<Item = Duration>) -> Duration {
    let mut spans: Vec<_> = spans.into_iter().collect();
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// Returns how much of a process lies in memory, in MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Returns how much of one CPU a process used over a minute, in percent. The kernel counts in nanoseconds here.
#[expect(clippy::disallowed_methods, reason = "idleness takes its time")]
pub(crate) fn idle_cpu(pid: u32) -> f64 {
    let used = || -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let on_cpu = |task: std::io::Result<std::fs::DirEntry>| -> f64 {
            let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            stat.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0.0)
        };
        tasks.map(on_cpu).sum()
    };
    let (before, start) = (used(), Instant::now());
    std::thread::sleep(Duration::from_secs(60));
    (used() - before).max(0.0) / start.elapsed().as_nanos() as f64 * 100.0
}

/// One measured value; its limit is in the same unit.
pub(crate) enum Figure {
    /// The limit is in milliseconds.
    Time(Duration),
    Mebibytes(f64),
    Percent(f64),
}

struct Line {
    what: String,
    measured: String,
    limit: String,
    holds: bool,
}

/// What was measured.
pub(crate) struct Table(Vec<Line>);

impl Table {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no limit is missed.
    pub(crate) fn holds(&self) -> bool {
        self.0.iter().all(|line| line.holds)
    }

    /// Adds how much longer hearth takes than the engine itself.
    pub(crate) fn ratio(&mut self, what: &str, hearth: &[Duration], raw: &[Duration], at_most: f64) {
        let (hearth, raw) = (median_of(hearth.iter().copied()), median_of(raw.iter().copied()));
        let ratio = hearth.as_secs_f64() / raw.as_secs_f64();
        let measured = format!("{ratio:.2}  ({} / {})", Milliseconds(hearth), Milliseconds(raw));
        self.add(what, measured, format!("≤ {at_most:.2}"), ratio <= at_most);
    }

    /// Adds how much faster `size` bytes go through hearth.
    pub(crate) fn speed(&mut self, what: &str, hearth: &[Duration], raw: &[Duration], size: u64, at_least: f64) {
        let speed = |spans: &[Duration]| size as f64 / 1048576.0 / median_of(spans.iter().copied()).as_secs_f64();
        let (hearth, raw) = (speed(hearth), speed(raw));
        let measured = format!("{:.2}  ({hearth:.0} / {raw:.0} MiB/s)", hearth / raw);
        self.add(what, measured, format!("≥ {at_least:.2}"), hearth / raw >= at_least);
    }

    pub(crate) fn figure(&mut self, what: &str, figure: Figure, at_most: f64) {
        let (value, shown, unit) = match figure {
            Figure::Time(span) => (span.as_secs_f64() * 1e3, Milliseconds(span).to_string(), "ms"),
            Figure::Mebibytes(value) => (value, format!("{value:.1} MiB"), "MiB"),
            Figure::Percent(value) => (value, format!("{value:.3} %"), "%"),
        };
        self.add(what, shown, format!("≤ {at_most} {unit}"), value <= at_most);
    }

    fn add(&mut self, what: &str, measured: String, limit: String, holds: bool) {
        self.0.push(Line { what: what.into(), measured, limit, holds });
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { what, measured, limit, holds } in &self.0 {
            let verdict = if *holds { "" } else { "  MISSED" };
            writeln!(f, "{what:<52} {measured:<30} {limit}{verdict}")?;
        }
        Ok(())
    }
}
