//! The calendar of one schedule (S1, S4): which moments it names, and why a day has none.

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

use crate::config::settings::{AutoStart, Day, Zone};
use crate::config::text;
use crate::model::{Moment, QuantityError};
use crate::mutant;

/// When a workspace starts by itself, all that bears on it taken together. Two that are equal name the same moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Plan {
    /// `None`: never.
    pub time: Option<Time>,
    /// The user's.
    pub days: BTreeSet<Day>,
    /// Those that the org permits.
    pub org_days: BTreeSet<Day>,
    pub zone: Zone,
    /// Judged in the zone, as all days are.
    pub holidays: BTreeSet<Date>,
    /// The first day on which the user is back.
    pub away_until: Option<Date>,
}

/// Why a day has no start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum NoStart {
    /// There is no time.
    Never,
    /// The org permits no start on this day of the week.
    OrgForbids,
    /// The user did not choose this day of the week.
    NotChosen,
    Holiday,
    Away {
        until: Date,
    },
    /// The zone has no such day: it jumped over it.
    NoSuchDay,
    /// Not used since then, for longer than the org waits (S2a).
    Unused {
        since: Moment,
    },
}

impl Plan {
    /// Takes together what the configuration and members say.
    pub fn new(
        auto_start: &AutoStart,
        zone: &Zone,
        org_days: &BTreeSet<Day>,
        holidays: &BTreeSet<Date>,
        away_until: Option<Date>,
    ) -> Self {
        let (time, days) = match auto_start {
            AutoStart::Never => (None, BTreeSet::new()),
            AutoStart::At { time, days } => (Some(*time), days.clone().unwrap_or_else(Day::all)),
        };
        let (org_days, holidays) = (org_days.clone(), holidays.clone());
        let away_until = away_until.filter(|_| !mutant::is_on("who is away is here"));
        Self { time, days, org_days, zone: zone.clone(), holidays, away_until }
    }

    /// Returns the first start after a moment; `None` where there never is one.
    pub fn next(&self, after: Moment) -> Option<Moment> {
        // A clock change can put a day's start on the day after it, never further.
        let mut date = self.date_of(after).checked_sub(1.day()).ok()?;
        if let Some(until) = self.away_until {
            date = date.max(until);
        }
        for _ in 0..self.horizon() {
            if let Ok(at) = self.on(date)
                && at > after
            {
                return Some(at);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Returns the last start up to and including a moment; `None` where there was none for as long as any could be.
    pub fn last(&self, until: Moment) -> Option<Moment> {
        let mut date = self.date_of(until);
        for _ in 0..self.horizon() {
            if let Ok(at) = self.on(date)
                && at <= until
            {
                return Some(at);
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    /// Returns whether the schedule names exactly this moment.
    pub fn names(&self, at: Moment) -> bool {
        at.checked_sub(SignedDuration::from_nanos(1)).is_ok_and(|before| self.next(before) == Some(at))
    }

    /// Returns a day's start, or why it has none.
    ///
    /// # Errors
    /// The reason; of several, the one that the user can do least about.
    pub fn on(&self, date: Date) -> Result<Moment, NoStart> {
        let time = self.time.ok_or(NoStart::Never)?;
        let day = Day(date.weekday());
        if !self.org_days.contains(&day) && !mutant::is_on("forbidden days are not looked at") {
            return Err(NoStart::OrgForbids);
        }
        if self.holidays.contains(&date) {
            return Err(NoStart::Holiday);
        }
        if !self.days.contains(&day) {
            return Err(NoStart::NotChosen);
        }
        match self.away_until {
            Some(until) if date < until => Err(NoStart::Away { until }),
            Some(_) | None => moment_on(&self.zone.zone, date, time).ok_or(NoStart::NoSuchDay),
        }
    }

    /// Returns the day that it is in the zone.
    pub fn date_of(&self, at: Moment) -> Date {
        self.zone.zone.to_datetime(at).date()
    }

    /// How many days to look through: every holiday may fall on the only day of the week that there is.
    fn horizon(&self) -> usize {
        let possible = self.time.is_some() && self.days.iter().any(|day| self.org_days.contains(day));
        if possible { 7 * (self.holidays.len() + 3) } else { 0 }
    }
}

/// Returns when a clock in the zone shows `time` on `date`: the first of two such moments, the first one after a gap
/// that swallowed it; `None` where the gap swallowed the whole day.
fn moment_on(zone: &TimeZone, date: Date, time: Time) -> Option<Moment> {
    let local = date.to_datetime(time);
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, after } => {
            let gap = SignedDuration::from_secs(i64::from(after.seconds() - before.seconds()));
            if gap >= SignedDuration::from_hours(24) {
                return None;
            }
            // Read with the offset from before the gap, the time lies behind it by less than the gap's length.
            let behind = before.to_timestamp(local).ok()?;
            let later = behind.checked_add(SignedDuration::from_nanos(1)).ok()?;
            zone.preceding(later).next().map(|transition| transition.timestamp())
        }
    }
}

/// A plan as it is kept: its zone by name.
#[derive(Serialize, Deserialize)]
struct Written {
    time: Option<Time>,
    days: BTreeSet<Day>,
    org_days: BTreeSet<Day>,
    zone: String,
    holidays: BTreeSet<Date>,
    away_until: Option<Date>,
}

impl From<Plan> for Written {
    fn from(plan: Plan) -> Self {
        let Plan { time, days, org_days, zone, holidays, away_until } = plan;
        Self { time, days, org_days, zone: zone.name, holidays, away_until }
    }
}

impl TryFrom<Written> for Plan {
    type Error = QuantityError;

    fn try_from(written: Written) -> Result<Self, QuantityError> {
        let Written { time, days, org_days, zone, holidays, away_until } = written;
        Ok(Self { time, days, org_days, zone: text::zone(&zone)?, holidays, away_until })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    /// A plan from its parts, as they are written.
    pub(crate) fn plan(time: &str, days: &str, zone: &str) -> Plan {
        let days = days.split_whitespace().map(|day| day.parse().unwrap()).collect();
        let zone = text::zone(zone).unwrap();
        let auto_start = AutoStart::At { time: time.parse().unwrap(), days: Some(days) };
        Plan::new(&auto_start, &zone, &Day::all(), &BTreeSet::new(), None)
    }

    pub(crate) const ALL: &str = "mon tue wed thu fri sat sun";

    pub(crate) fn at(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn next(plan: &Plan, after: &str) -> String {
        plan.next(at(after)).map_or_else(|| "never".into(), |at| at.to_string())
    }

    #[test]
    fn s1_days_are_judged_in_the_zone() {
        for (time, days, zone, after, expected) in [
            ("09:00", "mon tue", "Europe/Lisbon", "2026-11-27T12:00:00Z", "2026-11-30T09:00:00Z"),
            ("09:00", "mon tue", "Europe/Lisbon", "2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"),
            ("09:00", "mon tue", "Europe/Lisbon", "2026-11-30T08:59:59.999Z", "2026-11-30T09:00:00Z"),
            // Monday in Kiritimati begins on the server's Sunday, in Honolulu it ends on the server's Tuesday.
            ("08:00", "mon", "Pacific/Kiritimati", "2026-11-28T00:00:00Z", "2026-11-29T18:00:00Z"),
            ("23:00", "mon", "Pacific/Honolulu", "2026-11-28T00:00:00Z", "2026-12-01T09:00:00Z"),
            ("00:00", "mon", "Asia/Tokyo", "2026-11-28T00:00:00Z", "2026-11-29T15:00:00Z"),
            ("09:00", "", "UTC", "2026-11-28T00:00:00Z", "never"),
            // A leap day, whose weekday is a Tuesday in 2028.
            ("09:00", "tue", "UTC", "2028-02-28T00:00:00Z", "2028-02-29T09:00:00Z"),
            ("09:00", ALL, "UTC", "2028-02-28T10:00:00Z", "2028-02-29T09:00:00Z"),
            ("09:00", ALL, "UTC", "2026-12-31T23:59:59Z", "2027-01-01T09:00:00Z"),
        ] {
            assert_eq!(next(&plan(time, days, zone), after), expected, "{time} {days} {zone} after {after}");
        }
    }

    #[test]
    fn s1_gap_time_runs_at_the_first_moment_after_the_gap() {
        for (time, zone, after, expected) in [
            // Berlin, last Sunday of March: 02:00 becomes 03:00.
            ("02:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            ("02:00", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            ("01:59", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:59:00Z"),
            ("03:00", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            // Cairo, Friday 24 April 2026: 00:00 becomes 01:00. Santiago, Sunday 6 September: the same.
            ("00:30", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z"),
            ("00:00", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z"),
            ("00:15", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"),
            // Lord Howe moves by half an hour: 02:00 becomes 02:30.
            ("02:15", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"),
        ] {
            let plan = plan(time, ALL, zone);
            assert_eq!(next(&plan, after), expected, "{time} {zone}");
            let again = plan.next(at(expected)).unwrap();
            assert!(again > at(expected) + SignedDuration::from_hours(22), "{time} {zone} runs once: {again}");
        }
    }

    #[test]
    fn s1_a_time_that_exists_twice_runs_once_the_first_time() {
        for (time, zone, after, expected, then) in [
            // Berlin, last Sunday of October: 03:00 becomes 02:00.
            ("02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            // Cairo, Thursday 29 October 2026, and Santiago, Saturday 4 April: midnight becomes 23:00 of the same day.
            ("23:30", "Africa/Cairo", "2026-10-29T12:00:00Z", "2026-10-29T20:30:00Z", "2026-10-30T21:30:00Z"),
            ("23:30", "America/Santiago", "2026-04-04T12:00:00Z", "2026-04-05T02:30:00Z", "2026-04-06T03:30:00Z"),
        ] {
            let plan = plan(time, ALL, zone);
            assert_eq!(next(&plan, after), expected, "{time} {zone}");
            assert_eq!(next(&plan, expected), then, "{time} {zone}");
        }
    }

    #[test]
    fn s1_a_day_that_the_zone_jumped_over_has_no_start() {
        // Samoa went from the 29th to the 31st of December 2011.
        let plan = plan("09:00", ALL, "Pacific/Apia");
        assert_eq!(plan.on(date(2011, 12, 30)), Err(NoStart::NoSuchDay));
        assert_eq!(next(&plan, "2011-12-30T08:00:00Z"), "2011-12-30T19:00:00Z");
    }

    #[test]
    fn s1_days_are_the_users_and_the_orgs() {
        let mut plan = plan("09:00", "sat sun mon", "UTC");
        plan.org_days = ["mon", "tue"].map(|day| day.parse().unwrap()).into();
        assert_eq!(next(&plan, "2026-11-27T12:00:00Z"), "2026-11-30T09:00:00Z");
        assert_eq!(plan.on(date(2026, 11, 28)), Err(NoStart::OrgForbids));
        assert_eq!(plan.on(date(2026, 12, 1)), Err(NoStart::NotChosen));
        plan.org_days.clear();
        assert_eq!(next(&plan, "2026-11-27T12:00:00Z"), "never");
        plan.time = None;
        assert_eq!(plan.on(date(2026, 11, 28)), Err(NoStart::Never));
    }

    #[test]
    fn s4_holidays_and_away_are_days_of_the_zone() {
        let mut plan = plan("09:00", "fri", "Pacific/Kiritimati");
        // Christmas of 2026 is a Friday; in Kiritimati it begins on the 24th of UTC.
        plan.holidays.insert(date(2026, 12, 25));
        assert_eq!(next(&plan, "2026-12-24T00:00:00Z"), "2026-12-31T19:00:00Z");
        plan.away_until = Some(date(2027, 1, 8));
        assert_eq!(next(&plan, "2026-12-24T00:00:00Z"), "2027-01-07T19:00:00Z", "back on the 8th");
        assert_eq!(plan.on(date(2027, 1, 1)), Err(NoStart::Away { until: date(2027, 1, 8) }));
        // Years of holidays on the only day there is.
        let fridays = (0..300).map(|week| date(2026, 12, 25).checked_add((week * 7).days()).unwrap());
        plan.holidays = fridays.collect();
        assert_eq!(next(&plan, "2026-12-24T00:00:00Z"), "2032-09-23T19:00:00Z");
        plan.away_until = Some(date(9999, 12, 30));
        assert_eq!(next(&plan, "2026-12-24T00:00:00Z"), "9999-12-30T19:00:00Z", "the last Friday that there is");
    }

    #[test]
    fn a_plan_is_kept_as_it_is() {
        let mut plan = plan("09:30", "mon fri", "America/Santiago");
        plan.holidays.insert(date(2026, 12, 25));
        plan.away_until = Some(date(2027, 1, 8));
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "{json}");
        assert!(serde_json::from_str::<Plan>(&json.replace("Santiago", "Atlantis")).is_err());
    }

    const ZONES: [&str; 11] = [
        "UTC",
        "Europe/Berlin",
        "Africa/Cairo",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Pacific/Kiritimati",
        "America/New_York",
        "Africa/Casablanca",
        "Antarctica/Troll",
        "Asia/Kathmandu",
        "America/Havana",
    ];

    fn some_plan() -> impl Strategy<Value = Plan> {
        let days = prop::collection::btree_set(0..7i8, 0..=7);
        let holidays = prop::collection::btree_set(0..730i32, 0..20);
        (0..ZONES.len(), 0..24i8, 0..60i8, days.clone(), days, holidays).prop_map(
            |(zone, hour, minute, days, org_days, holidays)| {
                let day = |day: i8| Day(jiff::civil::Weekday::from_monday_zero_offset(day).unwrap());
                Plan {
                    time: Some(Time::constant(hour, minute, 0, 0)),
                    days: days.into_iter().map(day).collect(),
                    org_days: org_days.into_iter().map(day).collect(),
                    zone: text::zone(ZONES[zone]).unwrap(),
                    holidays: holidays.into_iter().map(|n| date(2026, 1, 1).checked_add(n.days()).unwrap()).collect(),
                    away_until: None,
                }
            },
        )
    }

    /// The first minute of the day at which the clock on the wall shows the time or later: found by looking at every
    /// minute there is.
    fn by_looking(plan: &Plan, date: Date) -> Option<Moment> {
        let start = date.to_datetime(Time::midnight()).to_zoned(TimeZone::UTC).unwrap().timestamp();
        (-26 * 60..50 * 60).map(|minute| start + SignedDuration::from_mins(minute)).find(|at| {
            let local = plan.zone.zone.to_datetime(*at);
            local.date() == date && Some(local.time()) >= plan.time
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn s1_a_start_is_when_the_clock_on_the_wall_says_so(plan in some_plan(), day in 0..730i32) {
            let date = date(2026, 1, 1).checked_add(day.days()).unwrap();
            if let Ok(at) = plan.on(date) {
                prop_assert_eq!(by_looking(&plan, date), Some(at));
            }
        }

        #[test]
        fn s1_next_is_the_first_permitted_day_and_last_its_inverse(plan in some_plan(), minute in 0..1_000_000i64) {
            let after = at("2026-01-01T00:00:00Z") + SignedDuration::from_mins(minute);
            let first = plan.date_of(after).yesterday().unwrap();
            let days = (0..60).map(|n| first.checked_add(n.days()).unwrap());
            let expected = days.filter_map(|date| plan.on(date).ok()).find(|at| *at > after);
            let next = plan.next(after);
            // Sixty days need not be enough for many holidays on few days of the week.
            if expected.is_some() {
                prop_assert_eq!(next, expected);
            }
            if let Some(next) = next {
                let local = plan.zone.zone.to_datetime(next);
                prop_assert!(plan.org_days.contains(&Day(local.weekday())), "on a forbidden day");
                prop_assert!(!plan.holidays.contains(&local.date()), "on a holiday");
                prop_assert_eq!(plan.last(next), Some(next));
                prop_assert!(plan.names(next));
                prop_assert!(plan.last(next - SignedDuration::from_nanos(1)).is_none_or(|last| last <= after));
            }
        }
    }
}
