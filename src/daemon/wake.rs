//! The alarm of auto-start: tokio-cron-scheduler rings when the next start is due, and the loop looks.
//!
//! It only wakes. Which moment that is, `schedule` computes each time; a ring that comes early, late, twice or not at
//! all changes when the loop looks and nothing else, and the loop looks every minute besides. The crate turns a moment
//! into whole seconds of the clock on the wall, so that it also rings in time after a suspend, which tokio's own timers
//! do not see.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::clock::Clock;
use crate::model::Moment;

/// The alarm's ends: what it is set to, and where it rings.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) set_to: watch::Receiver<Option<Moment>>,
    pub(super) ring: mpsc::Sender<()>,
}

/// Rings at each moment that the alarm is set to, until `stop`.
pub(super) async fn wake(alarm: Alarm, clock: Arc<dyn Clock>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        result = follow(alarm, &clock) => {
            if let Err(error) = result {
                warn!("the alarm clock does not work, and auto-starts may be up to a minute late: {error}");
            }
        }
    }
}

async fn follow(Alarm { mut set_to, ring }: Alarm, clock: &Arc<dyn Clock>) -> Result<(), JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    scheduler.start().await?;
    let mut set = None;
    loop {
        let at = *set_to.borrow_and_update();
        if let Some(old) = set.take()
            && let Err(error) = scheduler.remove(&old).await
        {
            tracing::debug!("an alarm that is not needed any more rings all the same: {error}");
        }
        if let Some(at) = at {
            let span = Duration::try_from(at.duration_since(clock.now().wall)).unwrap_or_default();
            let ring = ring.clone();
            // A full channel means that the loop is about to look.
            let job = Job::new_one_shot(span, move |_, _| {
                let _ = ring.try_send(());
            })?;
            set = Some(scheduler.add(job).await?);
        }
        if set_to.changed().await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::super::clock::SystemClock;
    use super::*;

    #[tokio::test]
    async fn s1_it_rings_at_each_moment_that_it_is_set_to_and_ends_when_told() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let soon = || Some(clock.now().wall + Duration::from_secs(1));
        let (set, set_to) = watch::channel(None);
        let (ring, mut rings) = mpsc::channel(1);
        let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
        tasks.spawn(wake(Alarm { set_to, ring }, clock.clone(), stop.clone()));
        for far in [Duration::from_secs(3600), Duration::from_secs(400 * 86_400)] {
            set.send_replace(Some(clock.now().wall + far));
            set.send_replace(soon());
            assert_eq!(timeout(Duration::from_secs(20), rings.recv()).await, Ok(Some(())));
        }
        stop.cancel();
        assert!(timeout(Duration::from_secs(5), tasks.join_next()).await.is_ok());
    }
}
