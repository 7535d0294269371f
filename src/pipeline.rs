//! The queue of builds: who is next. Pure.

use std::time::Duration;

use crate::model::{BuildReason, Moment, WorkspaceId};

/// A build that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub workspace: WorkspaceId,
    pub reason: BuildReason,
    pub queued_at: Moment,
}

/// How long the hooks of a build that nobody waits for count: one that hangs is not to hold up the rest.
pub const HOOKS_COUNT: Duration = Duration::from_secs(300);

/// What runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy {
    /// Builds that people may not enter yet.
    pub builds: usize,
    /// Those whose hooks run, that nobody waits for, for [`HOOKS_COUNT`].
    pub hooks: usize,
}

/// Returns the builds that may begin: as many as there are free places among `max`, people before schedules,
/// oldest first. People are in while hooks run, so hooks hold up only what nobody waits for.
pub fn next(mut waiting: Vec<Waiting>, busy: Busy, max: usize) -> Vec<WorkspaceId> {
    waiting.sort_by(|a, b| {
        let key = |w: &Waiting| (rank(w.reason), w.queued_at);
        key(a).cmp(&key(b)).then_with(|| a.workspace.cmp(&b.workspace))
    });
    let mut begun = busy.builds;
    let mut begins = |waiting: &Waiting| {
        let before = if is_awaited(waiting.reason) { begun } else { begun + busy.hooks };
        let begins = before < max;
        begun += usize::from(begins);
        begins
    };
    waiting.into_iter().filter(|waiting| begins(waiting)).map(|waiting| waiting.workspace).collect()
}

/// Returns whether a person waits for such a build.
pub fn is_awaited(reason: BuildReason) -> bool {
    rank(reason) == 0
}

/// People who wait come before what nobody waits for.
fn rank(reason: BuildReason) -> u8 {
    match reason {
        BuildReason::User | BuildReason::Admin | BuildReason::Connect => 0,
        BuildReason::Create | BuildReason::Config | BuildReason::Recovery | BuildReason::AutoStart => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(workspace: &str, reason: BuildReason, second: i64) -> Waiting {
        Waiting { workspace: workspace.parse().unwrap(), reason, queued_at: Moment::from_second(second).unwrap() }
    }

    /// The names of those that begin.
    fn names(queue: &[Waiting], busy: Busy, max: usize) -> String {
        next(queue.to_vec(), busy, max).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn s3_a_hundred_at_nine_o_clock_go_by_max_builds_and_people_in_between() {
        let mut queue: Vec<_> =
            (0..100).map(|n| waiting(&format!("u{n:02}/main"), BuildReason::AutoStart, 0)).collect();
        let mut begun = Vec::new();
        while !queue.is_empty() {
            if begun.len() == 8 {
                queue.push(waiting("zoe/main", BuildReason::User, 5));
            }
            let next = next(queue.clone(), Busy::default(), 4);
            assert!(next.len() <= 4);
            queue.retain(|waiting| !next.contains(&waiting.workspace));
            begun.extend(next);
        }
        assert_eq!((begun.len(), begun[8].to_string().as_str()), (101, "zoe/main"), "she waits for nobody's schedule");
        let mut once = begun.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), begun.len());
    }

    #[test]
    fn people_come_before_schedules_and_the_oldest_first() {
        let queue = vec![
            waiting("a/main", BuildReason::AutoStart, 1),
            waiting("b/main", BuildReason::User, 3),
            waiting("c/main", BuildReason::Connect, 2),
            waiting("d/main", BuildReason::Create, 0),
        ];
        let names = |max, builds| names(&queue, Busy { builds, hooks: 0 }, max);
        assert_eq!(names(4, 0), "c/main b/main d/main a/main");
        assert_eq!(names(4, 3), "c/main");
        assert_eq!(names(2, 2), "");
        assert_eq!(names(1, 2), "");
    }

    #[test]
    fn s3_hooks_hold_up_what_nobody_waits_for_and_nobody_else() {
        let queue = vec![
            waiting("a/main", BuildReason::AutoStart, 1),
            waiting("b/main", BuildReason::User, 2),
            waiting("c/main", BuildReason::Create, 3),
        ];
        let names = |builds, hooks| names(&queue, Busy { builds, hooks }, 4);
        assert_eq!(names(0, 0), "b/main a/main c/main");
        assert_eq!(names(0, 2), "b/main a/main");
        assert_eq!(names(0, 3), "b/main");
        assert_eq!(names(3, 100), "b/main");
        assert_eq!(names(4, 0), "");
    }
}
