//! Homes in the trash (rule L10): which of them have come to their end, and what may still keep them. Pure.
//!
//! The trash is a state of the database and of nothing else: a home that the database does not have there is never
//! deleted, and one that it has there is looked at once more before it is: its date is no proof that nobody used it
//! while hearthd was down or Docker's events were not heard. That look ([`build`](crate::build)) is at the home itself,
//! so that no gap in what was heard puts off its date.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Moment, Now, Requester, WorkspaceId};

/// How long a home lies in the trash where no org says.
pub const KEEP: Duration = Duration::from_secs(30 * 86_400);
/// For how long its date must be seen to have passed, by the boot clock: a wall clock that steps to another year and
/// back deletes nothing.
const MARGIN: Duration = Duration::from_secs(3600);

/// A home that was deleted and can be had back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    pub volume: String,
    pub workspace: WorkspaceId,
    /// The last user that it was given to, as in the record of a current home.
    pub owner: Option<(u32, u32)>,
    pub trashed_at: Moment,
    /// It is deleted for good some time after this.
    pub until: Moment,
    pub by: Requester,
    /// It was mounted since, or may have been: it stays until somebody deletes it again.
    pub mounted_at: Option<Moment>,
}

impl Trashed {
    /// How long its date must have passed.
    fn margin(&self) -> Duration {
        let kept = Duration::try_from(self.until.duration_since(self.trashed_at)).unwrap_or_default();
        MARGIN.min(kept / 8)
    }
}

/// What has come to its end, and when to ask again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub delete: Vec<Trashed>,
    pub ask_again_in: Option<Duration>,
}

/// All that the trash holds, by volume.
#[derive(Debug, Clone, Default)]
pub struct Trash {
    homes: BTreeMap<String, Trashed>,
    /// Since when, on the boot clock, a home's date is seen to have passed.
    passed: BTreeMap<String, Duration>,
}

impl Trash {
    /// Returns the trash that holds these.
    pub fn new(homes: impl IntoIterator<Item = Trashed>) -> Self {
        let homes = homes.into_iter().map(|home| (home.volume.clone(), home)).collect();
        Self { homes, passed: BTreeMap::new() }
    }

    /// Returns the home that lies there under that name.
    pub fn get(&self, volume: &str) -> Option<&Trashed> {
        self.homes.get(volume)
    }

    /// Puts a home in, or in place of what lies there under its name.
    pub fn put(&mut self, home: Trashed) {
        self.passed.remove(&home.volume);
        self.homes.insert(home.volume.clone(), home);
    }

    /// Takes a home out.
    pub fn take(&mut self, volume: &str) -> Option<Trashed> {
        self.passed.remove(volume);
        self.homes.remove(volume)
    }

    /// Says what is to be deleted for good.
    pub fn due(&mut self, now: Now) -> Due {
        let mut due = Due::default();
        for home in self.homes.values().filter(|home| home.mounted_at.is_none()) {
            let ask_again_in = if home.until > now.wall {
                self.passed.remove(&home.volume);
                Duration::try_from(home.until.duration_since(now.wall)).unwrap_or_default()
            } else {
                let since = *self.passed.entry(home.volume.clone()).or_insert(now.boot);
                let left = home.margin().saturating_sub(now.boot.saturating_sub(since));
                if left.is_zero() {
                    due.delete.push(home.clone());
                    continue;
                }
                left
            };
            due.ask_again_in = Some(due.ask_again_in.map_or(ask_again_in, |soonest| soonest.min(ask_again_in)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn at(second: u64) -> Moment {
        Moment::from_second(1_800_000_000 + i64::try_from(second).unwrap()).unwrap()
    }

    fn now(wall: u64, boot: u64) -> Now {
        Now { wall: at(wall), boot: Duration::from_secs(boot) }
    }

    fn home(volume: &str, until: u64) -> Trashed {
        Trashed {
            volume: volume.into(),
            workspace: "alice/main".parse().unwrap(),
            owner: None,
            trashed_at: at(0),
            until: at(until),
            by: Requester("alice".into()),
            mounted_at: None,
        }
    }

    fn names(due: &Due) -> Vec<&str> {
        due.delete.iter().map(|home| home.volume.as_str()).collect()
    }

    #[test]
    fn l10_a_home_is_due_when_its_date_has_passed_for_an_hour() {
        let mut trash = Trash::new([home("early", 30 * DAY), home("late", 31 * DAY)]);
        let before = trash.due(now(30 * DAY - 1, 7));
        assert_eq!((names(&before), before.ask_again_in), (vec![], Some(Duration::from_secs(1))));
        let passed = trash.due(now(30 * DAY, 8));
        assert_eq!((names(&passed), passed.ask_again_in), (vec![], Some(MARGIN)));
        assert!(names(&trash.due(now(30 * DAY + 3599, 8 + 3599))).is_empty());
        let due = trash.due(now(30 * DAY + 3600, 8 + 3600));
        assert_eq!(names(&due), ["early"]);
        assert_eq!(due.ask_again_in, Some(Duration::from_secs(DAY - 3600)));
    }

    #[test]
    fn p8_a_clock_that_jumps_years_ahead_and_back_deletes_nothing() {
        let mut trash = Trash::new([home("a", 30 * DAY)]);
        assert!(names(&trash.due(now(9000 * DAY, 100))).is_empty());
        assert!(names(&trash.due(now(9000 * DAY + 3000, 3100))).is_empty());
        assert!(names(&trash.due(now(DAY, 3200))).is_empty(), "back");
        assert!(names(&trash.due(now(9000 * DAY, 3300))).is_empty());
        assert!(names(&trash.due(now(9000 * DAY + 3599, 3300 + 3599))).is_empty(), "the margin begins anew");
    }

    #[test]
    fn l10_what_was_mounted_since_stays_until_it_is_deleted_again() {
        let mut trash = Trash::new([Trashed { mounted_at: Some(at(5)), ..home("a", DAY) }]);
        let never = now(9000 * DAY, 1 << 30);
        assert_eq!(trash.due(never), Due::default());
        trash.put(Trashed { trashed_at: at(9000 * DAY), ..home("a", 9001 * DAY) });
        assert!(names(&trash.due(never)).is_empty());
        trash.due(now(9001 * DAY, 1 << 31));
        assert_eq!(names(&trash.due(now(9002 * DAY, (1 << 31) + DAY))), ["a"]);
    }

    #[test]
    fn l10_what_was_taken_out_is_not_due_and_begins_anew_when_it_is_back() {
        let mut trash = Trash::new([home("a", DAY)]);
        trash.due(now(DAY, 0));
        assert_eq!(trash.take("a").unwrap().volume, "a");
        assert_eq!(trash.due(now(3 * DAY, 2 * DAY)), Due::default());
        trash.put(home("a", DAY));
        assert!(names(&trash.due(now(3 * DAY, 2 * DAY))).is_empty());
        assert_eq!(names(&trash.due(now(4 * DAY, 3 * DAY))), ["a"]);
    }

    #[test]
    fn a_short_stay_has_a_short_margin() {
        let mut trash = Trash::new([home("a", 8)]);
        trash.due(now(8, 100));
        assert_eq!(names(&trash.due(now(9, 101))), ["a"]);
        assert_eq!(names(&Trash::new([home("b", 0)]).due(now(0, 0))), ["b"]);
    }
}
