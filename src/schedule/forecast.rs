//! What comes: the next 14 days of a schedule (S4) and the one next start, each with its reason.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::calendar::{NoStart, Plan};
use super::turn::unused;
use crate::config::settings::Limit;
use crate::model::Moment;

/// How far `hearth schedule` looks.
pub const FORECAST_DAYS: usize = 14;

/// The days to come, today first, as the zone counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    pub days: Vec<ForecastDay>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastDay {
    pub date: Date,
    /// The start, which today may lie in the past, or why there is none.
    pub start: Result<Moment, NoStart>,
}

/// The next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStart {
    At(Moment),
    /// It waits for somebody to use the workspace (S2a).
    Paused {
        since: Moment,
    },
    /// There is none to come, for the reason that today has.
    None(NoStart),
}

/// Returns the next days. A day past `pause_after` is told as unused: a use before then makes it a start.
pub fn forecast(plan: &Plan, last_used: Moment, pause_after: Limit, now: Moment) -> Forecast {
    let mut date = Some(plan.date_of(now));
    let mut days = Vec::with_capacity(FORECAST_DAYS);
    while let Some(day) = date.filter(|_| days.len() < FORECAST_DAYS) {
        let start = plan.on(day).and_then(|at| unused(last_used, pause_after, at).map_or(Ok(at), Err));
        days.push(ForecastDay { date: day, start });
        date = day.tomorrow().ok();
    }
    Forecast { days }
}

/// Returns the next start after `now`.
pub fn next_start(plan: &Plan, last_used: Moment, pause_after: Limit, now: Moment) -> NextStart {
    match plan.next(now) {
        Some(at) => match unused(last_used, pause_after, at) {
            Some(NoStart::Unused { since }) => NextStart::Paused { since },
            Some(_) | None => NextStart::At(at),
        },
        None => NextStart::None(why_never(plan, now)),
    }
}

fn why_never(plan: &Plan, now: Moment) -> NoStart {
    let chosen: BTreeSet<_> = plan.days.intersection(&plan.org_days).collect();
    match (plan.time, plan.days.is_empty(), chosen.is_empty()) {
        (None, _, _) => NoStart::Never,
        (Some(_), true, _) => NoStart::NotChosen,
        (Some(_), false, true) => NoStart::OrgForbids,
        (Some(_), false, false) => plan.on(plan.date_of(now)).err().unwrap_or(NoStart::NoSuchDay),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::date;

    use super::super::calendar::tests::{at, plan};
    use super::*;
    use crate::config::settings::AutoStart;

    const WEEK: Limit = Limit::After(Duration::from_secs(7 * 86_400));

    #[test]
    fn s4_the_next_fourteen_days_each_with_its_reason() {
        let mut plan = plan("09:00", "mon tue fri sat", "Europe/Berlin");
        plan.org_days = ["mon", "tue", "wed", "thu", "fri"].map(|day| day.parse().unwrap()).into();
        plan.holidays.insert(date(2026, 12, 4));
        // Late on Tuesday in UTC it is Wednesday in Berlin.
        let now = at("2026-11-24T23:30:00Z");
        let forecast = forecast(&plan, at("2026-11-24T20:00:00Z"), WEEK, now);
        assert_eq!((forecast.days.len(), forecast.days[0].date), (FORECAST_DAYS, date(2026, 11, 25)));
        let shown: Vec<_> = forecast
            .days
            .iter()
            .map(|day| match &day.start {
                Ok(at) => format!("{} {at}", day.date),
                Err(reason) => format!("{} {reason:?}", day.date),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "2026-11-25 NotChosen",
                "2026-11-26 NotChosen",
                "2026-11-27 2026-11-27T08:00:00Z",
                "2026-11-28 OrgForbids",
                "2026-11-29 OrgForbids",
                "2026-11-30 2026-11-30T08:00:00Z",
                "2026-12-01 2026-12-01T08:00:00Z",
                "2026-12-02 NotChosen",
                "2026-12-03 NotChosen",
                "2026-12-04 Holiday",
                "2026-12-05 OrgForbids",
                "2026-12-06 OrgForbids",
                "2026-12-07 Unused { since: 2026-11-24T20:00:00Z }",
                "2026-12-08 Unused { since: 2026-11-24T20:00:00Z }",
            ]
        );
    }

    #[test]
    fn s2a_the_next_start_says_that_it_waits_for_a_use() {
        let plan = plan("09:00", "tue", "UTC");
        let now = at("2026-11-24T10:00:00Z");
        let next = |last_used: &str| next_start(&plan, at(last_used), WEEK, now);
        assert_eq!(next("2026-11-24T09:30:00Z"), NextStart::At(at("2026-12-01T09:00:00Z")));
        let since = at("2026-11-24T08:59:00Z");
        assert_eq!(next("2026-11-24T08:59:00Z"), NextStart::Paused { since });
    }

    #[test]
    fn s1_where_there_is_no_next_start_the_reason_is_given() {
        let now = at("2026-11-24T10:00:00Z");
        let why = |plan: &Plan| next_start(plan, now, WEEK, now);
        let mut plan = plan("09:00", "tue", "UTC");
        plan.org_days = ["mon"].map(|day| day.parse().unwrap()).into();
        assert_eq!(why(&plan), NextStart::None(NoStart::OrgForbids));
        plan.days.clear();
        assert_eq!(why(&plan), NextStart::None(NoStart::NotChosen));
        let never = Plan::new(&AutoStart::Never, &plan.zone, &plan.org_days, &BTreeSet::new(), None);
        assert_eq!(why(&never), NextStart::None(NoStart::Never));
    }
}
