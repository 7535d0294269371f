//! Times and sizes as people read them at a glance.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::model::Moment;

const UNITS: [(u64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];

/// Returns a span in its two largest units: `45s`, `2h10m`, `3d`.
pub(crate) fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    let Some(first) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else { return "0s".into() };
    let (unit, name) = UNITS[first];
    let mut text = format!("{}{name}", seconds / unit);
    let rest = seconds % unit;
    if let Some((unit, name)) = UNITS.get(first + 1)
        && rest >= *unit
    {
        text.push_str(&format!("{}{name}", rest / unit));
    }
    text
}

/// Returns how long something took, finer where it was short: `0.19 s`, `3.2 s`, `41 s`, `2m5s`.
pub(crate) fn took(seconds: f64) -> String {
    match seconds {
        s if s < 0.995 => format!("{s:.2} s"),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s => short(Duration::from_secs_f64(s.min(1e9))),
    }
}

/// Returns the span from `then` to `now`, nothing where the clock has gone back.
pub(crate) fn between(then: Moment, now: Moment) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Returns `2h10m ago`, or `in 2h10m` for what is to come.
pub(crate) fn relative(moment: Moment, now: Moment) -> String {
    if moment > now {
        return format!("in {}", short(between(now, moment)));
    }
    match between(moment, now) {
        span if span < Duration::from_secs(2) => "just now".into(),
        span => format!("{} ago", short(span)),
    }
}

/// Returns the local time with the relative one: `14:03 (2h10m ago)`; the date too where it is not today's.
pub(crate) fn when(moment: Moment, now: Moment, zone: &TimeZone) -> String {
    let (local, today) = (moment.to_zoned(zone.clone()), now.to_zoned(zone.clone()).date());
    let format = if local.date() == today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{} ({})", local.strftime(format), relative(moment, now))
}

/// Returns a size with at most one decimal: `4 GiB`, `1.5 GiB`, `512 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut name = 0;
    while value >= 1024.0 && name + 1 < NAMES.len() {
        value /= 1024.0;
        name += 1;
    }
    let number = format!("{value:.1}");
    format!("{} {}", number.strip_suffix(".0").unwrap_or(&number), NAMES[name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (7_800, "2h10m"), (3_605, "1h"), (259_200, "3d"), (270_000, "3d3h")]
        {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
        assert_eq!([0.187, 3.21, 41.2, 59.7, 125.0].map(took), ["0.19 s", "3.2 s", "41 s", "59s", "2m5s"]);
    }

    #[test]
    fn moments_are_relative_and_local() {
        let now: Moment = "2026-07-01T12:00:00Z".parse().unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<Moment>().unwrap();
        assert_eq!(relative(now, now), "just now");
        assert_eq!(relative(at("2026-07-01T14:10:00Z"), now), "in 2h10m");
        assert_eq!(when(at("2026-07-01T09:50:00Z"), now, &berlin), "11:50 (2h10m ago)");
        assert_eq!(when(at("2026-06-28T12:00:00Z"), now, &berlin), "2026-06-28 14:00 (3d ago)");
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!([0, 1023, 512 << 20, 4 << 30, 3 << 29].map(size), ["0 B", "1023 B", "512 MiB", "4 GiB", "1.5 GiB"]);
    }
}
