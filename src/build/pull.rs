//! The pull stage: the image a build is made from, by the org's policy (rule L6).
//!
//! Builds that want the same image at the same time share one pull; cancelling one of them does not end it. One that has
//! ended serves whatever waited for its turn since before it began: a hundred builds of one morning pull once (S3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{SetOnce, mpsc};
use tokio::time::Instant;

use super::log::LogWriter;
use super::run::Broken;
use super::{Tools, keys};
use crate::config::image::Reference;
use crate::config::settings::{Org, Pull};
use crate::docker::{Credentials, Image, PullError, PullProgress};
use crate::model::{Hook, Stage, Warning, WarningKind};

/// For how long after its end a pull may serve builds that were asked for before it: as long as a storm may last.
const FRESH: Duration = Duration::from_secs(2 * 3600);

/// A pull, under way or ended.
#[derive(Debug, Clone)]
struct Flight {
    began_at: Instant,
    /// When and how it ended. Who waits for it goes on in the order in which they came.
    ended: Arc<SetOnce<Ended>>,
}

type Ended = (Instant, Result<(), PullError>);

/// Ends a pull that is cut off.
struct Landing(Arc<SetOnce<Ended>>);

impl Drop for Landing {
    fn drop(&mut self) {
        // One that ended before stays as it ended.
        let _ = self.0.set((Instant::now(), Err(PullError::Failed("the pull was cut off".into()))));
    }
}

/// Since when an image is wanted.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    since: Instant,
    /// When it was looked for and was not here.
    missed_at: Option<Instant>,
}

impl Flight {
    /// Returns whether it serves a build that wants the image since then.
    fn serves(&self, wanted: Wanted) -> bool {
        match self.ended.get() {
            None => true,
            // One that was pulled and is missed afterwards is gone again.
            Some((ended_at, Ok(()))) => {
                self.began_at >= wanted.since && wanted.missed_at.is_none_or(|missed_at| missed_at <= *ended_at)
            }
            Some((_, Err(_))) => false,
        }
    }

    /// Returns whether it may serve anybody yet.
    fn is_kept(&self) -> bool {
        match self.ended.get() {
            None => true,
            Some((ended_at, result)) => result.is_ok() && ended_at.elapsed() < FRESH,
        }
    }
}

/// The pulls under way and those that ended a moment ago, by reference and account.
#[derive(Debug, Default)]
pub struct Pulls(Mutex<BTreeMap<String, Flight>>);

impl Pulls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the image to build from, with a warning if it may be an old one.
pub(super) async fn pull(
    tools: &Tools,
    org: &Org,
    image: &str,
    asked_at: Instant,
    log: &LogWriter,
) -> Result<(Image, Option<Warning>), Broken> {
    let reference: Reference = image.parse().map_err(|error| Broken::Failed(format!("image `{image}`: {error}")))?;
    let reference = reference.to_string();
    let looked_at = Instant::now();
    let here = tools.engine.image(&reference).await?;
    let wanted = match org.pull {
        Pull::Always => true,
        Pull::Missing => here.is_none(),
        Pull::Never => false,
    };
    if !wanted {
        return here.map(|image| (image, None)).ok_or_else(|| {
            Broken::Failed(format!(
                "image `{image}` is not on this host, and org `{}` never pulls (`pull = \"never\"`). \
                 `docker pull {image}` or `docker load` brings it",
                org.name
            ))
        });
    }
    let wanted = Wanted { since: asked_at, missed_at: here.is_none().then_some(looked_at) };
    let failure = match shared(tools, org, &reference, wanted, log).await? {
        Ok(()) => {
            let pulled = tools.engine.image(&reference).await?;
            return pulled.map(|image| (image, None)).ok_or_else(|| {
                Broken::Failed(format!("image `{image}` was pulled and is gone again: does somebody prune images?"))
            });
        }
        Err(failure) => failure,
    };
    match (failure, here) {
        (PullError::Engine(error), _) => Err(error.into()),
        (failure @ PullError::Unreachable(_), Some(local)) => {
            let message = format!("image `{image}` could not be pulled, so the one on this host was used: {failure}");
            log.line(Stage::Pull, &message);
            Ok((local, Some(stale(message))))
        }
        (failure, local) => Err(Broken::Failed(advice(image, org, &failure, local.is_some()))),
    }
}

fn stale(message: String) -> Warning {
    Warning { hook: Hook::Pull, kind: WarningKind::StaleImage, exit_code: None, message, tail: Vec::new() }
}

/// Says what failed and what can be done about it.
fn advice(image: &str, org: &Org, failure: &PullError, local: bool) -> String {
    let what = format!("image `{image}` cannot be pulled: {failure}");
    match failure {
        PullError::Denied(_) if local => format!(
            "{what}. For an image that is only on this host, set `pull = \"missing\"` in [orgs.{}]; \
             for a private one, give its registry in [orgs.{}.registries]",
            org.name, org.name
        ),
        PullError::Denied(_) => {
            format!("{what}. Check the name, and the registry's account in [orgs.{}.registries]", org.name)
        }
        PullError::NotFound(_) if local => {
            format!("{what}. For an image that is only on this host, set `pull = \"missing\"` in [orgs.{}]", org.name)
        }
        PullError::NotFound(_) => format!("{what}. Check its name and tag"),
        PullError::Unreachable(_) => {
            format!("{what}, and it is not on this host. Try again when the registry answers")
        }
        PullError::Failed(_) | PullError::Engine(_) => what,
    }
}

/// Pulls, or waits for a pull of the same that is under way.
async fn shared(
    tools: &Tools,
    org: &Org,
    reference: &str,
    wanted: Wanted,
    log: &LogWriter,
) -> Result<Result<(), PullError>, Broken> {
    let credentials = credentials(org, reference)?;
    let account = credentials.as_ref().map_or("", |credentials| credentials.username.as_str());
    let key = format!("{account} {reference}");
    let (flight, progress) = join(tools, key, reference, credentials, wanted);
    match progress {
        Some(progress) => show(progress, log).await,
        None if flight.ended.initialized() => {
            log.line(Stage::Pull, "another build has pulled the same image since this one was asked for");
        }
        None => log.line(Stage::Pull, "another build pulls the same image: waiting for it"),
    }
    let (_, result) = flight.ended.wait().await;
    Ok(result.clone())
}

/// Returns the pull under way, and the progress of one that was begun here.
fn join(
    tools: &Tools,
    key: String,
    reference: &str,
    credentials: Option<Credentials>,
    wanted: Wanted,
) -> (Flight, Option<mpsc::Receiver<PullProgress>>) {
    let mut flights = tools.pulls.lock();
    flights.retain(|_, flight| flight.is_kept());
    if let Some(flight) = flights.get(&key).filter(|flight| flight.serves(wanted)) {
        return (flight.clone(), None);
    }
    let flight = Flight { began_at: Instant::now(), ended: Arc::default() };
    let landing = Landing(flight.ended.clone());
    flights.insert(key, flight.clone());
    let (progress, shown) = mpsc::channel(64);
    let (engine, reference) = (tools.engine.clone(), reference.to_owned());
    tools.tasks.spawn(async move {
        let result = engine.pull(&reference, credentials.as_ref(), progress).await;
        let _ = landing.0.set((Instant::now(), result));
    });
    (flight, Some(shown))
}

/// Writes what a person wants to see of a pull: each layer's milestones, not each of its bytes.
async fn show(mut progress: mpsc::Receiver<PullProgress>, log: &LogWriter) {
    let mut last = BTreeMap::new();
    while let Some(PullProgress { layer, status, .. }) = progress.recv().await {
        let layer = layer.unwrap_or_default();
        if last.insert(layer.clone(), status.clone()).as_ref() != Some(&status) {
            log.line(Stage::Pull, format!("{layer} {status}").trim());
        }
    }
}

/// Returns the org's account at the image's registry.
fn credentials(org: &Org, reference: &str) -> Result<Option<Credentials>, Broken> {
    let host = reference.parse::<Reference>().map(|reference| reference.registry).unwrap_or_default();
    let Some(registry) = org.registries.get(&host) else { return Ok(None) };
    let password = keys::read_secret(&registry.password_file).map_err(|error| {
        Broken::Failed(format!("the password of registry `{host}`: {:#}", anyhow::Error::from(error)))
    })?;
    let text = String::from_utf8(password.expose().to_vec()).map_err(|_| {
        Broken::Failed(format!("{}: the password of registry `{host}` is not text", registry.password_file.display()))
    })?;
    let password = secrecy::SecretString::from(text.trim_end_matches(['\r', '\n']));
    Ok(Some(Credentials { username: registry.username.clone(), password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn s3_a_pull_that_ended_while_the_image_was_looked_for_serves_and_one_that_is_missed_since_does_not() {
        let asked = Instant::now();
        let flight = Flight { began_at: asked + SECOND, ended: Arc::default() };
        let wanted = |since, missed| Wanted { since, missed_at: Some(asked + SECOND * missed) };
        assert!(flight.serves(wanted(asked + 2 * SECOND, 2)), "it goes on");
        flight.ended.set((asked + 3 * SECOND, Ok(()))).unwrap();
        assert!(flight.serves(wanted(asked, 2)));
        assert!(!flight.serves(wanted(asked, 4)), "it is gone again");
        assert!(!flight.serves(wanted(asked + 2 * SECOND, 2)), "it began before it was asked for");
        assert!(flight.serves(Wanted { since: asked, missed_at: None }));
    }

    #[tokio::test(start_paused = true)]
    async fn s3_a_pull_serves_a_storm_that_lasts_an_hour() {
        let flight = Flight { began_at: Instant::now(), ended: Arc::default() };
        tokio::time::advance(1800 * SECOND).await;
        flight.ended.set((Instant::now(), Ok(()))).unwrap();
        tokio::time::advance(3600 * SECOND).await;
        assert!(flight.is_kept());
        tokio::time::advance(3601 * SECOND).await;
        assert!(!flight.is_kept());
    }

    #[tokio::test]
    async fn who_waits_for_a_pull_that_is_cut_off_hears_of_it() {
        let ended = Arc::default();
        drop(Landing(Arc::clone(&ended)));
        assert!(matches!(ended.wait().await, (_, Err(PullError::Failed(_)))));
    }
}
