//! What the loop makes of reports: looks at the engine, progress of builds, ends of operations.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::execute::{Done, Lacking, Look, Report};
use super::reconcile::Reconciler;
use super::world::{Postponed, Shown, Tried, close_stage};
use crate::build::{Outcome, Progress, Unrecovered};
use crate::decide::{Doing, Observed};
use crate::docker::{Container, ContainerId, EngineError, Status};
use crate::handle::{EngineView, Event};
use crate::model::{BuildNumber, BuildRecord, BuildResult, Now, OffReason, Power, WorkspaceId};
use crate::mutant;

/// How soon a stop that failed is tried again.
const RETRY_STOP: Duration = Duration::from_secs(5);
/// How soon a container is started again that the engine did not start because it went away.
const RETRY_AWAY: Duration = Duration::from_secs(2);
/// How soon a container is started again that Docker had no room for.
const RETRY_ROOM: Duration = Duration::from_secs(10);
/// How soon secrets are brought in again that could not be: what hinders it is inside, or in the org's files.
const RETRY_RENEWAL: Duration = Duration::from_secs(600);

impl Reconciler {
    /// Takes in what an operation tells.
    pub(super) async fn report(&mut self, report: Report) {
        let now = self.executor.now();
        match report {
            Report::Looked { number, answer } => self.looked(number, answer, now).await,
            Report::Build { workspace, progress } => self.progress(workspace, progress, now).await,
            Report::Sampled { began, asked, found } => self.sampled(began, asked, found),
            Report::Done { workspace, done } => self.done(&workspace, done, now).await,
            Report::Measured(tried) => self.measured(tried, now),
            Report::Emptied(ended) => self.emptied(ended, now).await,
        }
    }

    /// Takes in how far a build is.
    async fn progress(&mut self, id: WorkspaceId, progress: Progress, now: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(&id) else { return };
        match progress {
            Progress::Stage(stage) => {
                let Some(build) = tracked.stage(stage, now) else { return };
                debug!(workspace = %id, build = build.number.0, "`{id}` is at its stage {stage}");
                self.executor.save_build(&id, &build).await;
                self.emit(Event::Stage { at: now.wall, workspace: id, build: build.number, stage });
            }
            Progress::Image { digest } => {
                if let Some(build) = &mut tracked.build {
                    build.image_digest = digest;
                }
            }
            Progress::Home(home) => tracked.record.home = Some(home),
            Progress::Container(container) => {
                tracked.inside = None;
                tracked.record.container = container;
                tracked.tried = Tried::default();
                tracked.compare(&self.settings, &self.members);
            }
            Progress::Inside(inside) => tracked.inside = Some(inside),
        }
    }

    /// Takes in the end of an operation.
    async fn done(&mut self, id: &WorkspaceId, done: Done, now: Now) {
        let fresh_from = self.looks.next + 1;
        self.looks.wanted = true;
        self.rota.look_again();
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let was_cancelled = tracked.operation.take().is_some_and(|operation| operation.cancel.is_cancelled());
        // Whatever somebody else did to it meanwhile was not looked at.
        let container = tracked.record.container.as_ref().map(|container| ContainerId(container.id.clone()));
        self.looks.touched.extend(container);
        tracked.fresh_from = fresh_from;
        match done {
            Done::Built { outcome } => self.built(id, outcome, now).await,
            Done::Stopped(Ok(())) => self.stopped(id, now).await,
            Done::Stopped(Err(why)) => {
                warn!(workspace = %id, "cannot stop `{id}`: {why}; tried again in {RETRY_STOP:?}");
                tracked.postponed = Some(Postponed { until: now.boot + RETRY_STOP, why });
                if let Some(build) = &tracked.queued {
                    let number = build.number;
                    tracked.is_wanted_again(number);
                }
            }
            Done::Recovered(Ok(())) => {
                tracked.observed = Observed::Running { since: now.wall };
                tracked.ended_with_engine = false;
                info!(workspace = %id, "`{id}` runs again");
            }
            Done::Recovered(Err(Unrecovered::Failed(why))) => {
                tracked.observed = Observed::Ended;
                tracked.inside = None;
                tracked.ended(now.stamp(), now);
                warn!(workspace = %id, "cannot start `{id}` again: {why}");
            }
            Done::Recovered(Err(Unrecovered::NoRoom(why))) => {
                tracked.observed = Observed::Ended;
                tracked.inside = None;
                error!(workspace = %id, "cannot start `{id}` again: {why}; tried again in {RETRY_ROOM:?}");
                tracked.postponed = Some(Postponed { until: now.boot + RETRY_ROOM, why });
            }
            Done::Recovered(Err(Unrecovered::Away(why))) => {
                tracked.observed = Observed::Ended;
                tracked.inside = None;
                tracked.ended_with_engine = true;
                warn!(workspace = %id, "cannot start `{id}` again while Docker is away: {why}");
                tracked.postponed = Some(Postponed { until: now.boot + RETRY_AWAY, why });
            }
            Done::Personalized { warnings } => {
                if let Some(build) = &mut tracked.build {
                    build.warnings.retain(|warning| {
                        !matches!(warning.hook, crate::model::Hook::Personalize | crate::model::Hook::Dotfiles)
                    });
                    build.warnings.extend(warnings);
                    close_stage(build, now.wall);
                    self.executor.save_build(id, build).await;
                }
            }
            Done::Tended { container, lacking } => {
                if container.is_some() {
                    tracked.record.container = container;
                }
                if was_cancelled {
                    tracked.tried.made_of = None;
                }
                if let Some(lacking) = lacking {
                    let pause = match lacking {
                        Lacking::CutOff => RETRY_AWAY,
                        Lacking::Failed => RETRY_RENEWAL,
                    };
                    tracked.tried.again_at = Some(now.boot + pause);
                }
            }
        }
        // What changed while something else was done.
        self.bring_in_line_anew(id);
    }

    /// Takes in the end of a build.
    async fn built(&mut self, id: &WorkspaceId, outcome: Outcome, now: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        // One that was cut off may have left a container, which the next look shows.
        let cut_off = matches!(outcome, Outcome::Interrupted { .. });
        let Some(build) = tracked.built(outcome, now) else { return };
        if build.result.is_some_and(|result| result != BuildResult::Ok) {
            self.forget_left(id, build.number).await;
        }
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        self.executor.save_build(id, &build).await;
        say(id, &build, now);
        let none = tracked.observed == Observed::None;
        let off = none && tracked.queued.is_none();
        // It stays in the database: a hearthd that starts meanwhile tries once more, and finds it if it is back.
        if none && !cut_off && !mutant::is_on("built anew without end") {
            tracked.lost = tracked.record.container.take().or(tracked.lost.take());
        }
        if off && build.result == Some(BuildResult::Cancelled) && tracked.record.power == Power::On {
            self.set_power(id, Power::Off { why: OffReason::Stopped }).await;
        }
        if let Some(result) = build.result {
            self.emit(Event::Built { at: now.wall, workspace: id.clone(), build: build.number, result });
        }
    }

    /// Takes in that a workspace is off.
    async fn stopped(&mut self, id: &WorkspaceId, now: Now) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        tracked.observed = Observed::None;
        tracked.record.container = None;
        let waiters = std::mem::take(&mut tracked.stop_waiters);
        tracked.inside = None;
        tracked.ends.clear();
        tracked.ledger.went_off();
        if let Some(evidence) = self.executor.entries.take_ended(id) {
            let at = now.stamp_of(evidence.at);
            tracked.ledger.note(evidence, at);
        }
        info!(workspace = %id, "`{id}` is off");
        if !self.settings.orgs.contains_key(&tracked.record.org) {
            self.executor.clean(&[], self.settings.clone());
        }
        if tracked.queued.is_none() {
            self.drop_holds(id, now).await;
        }
        waiters.into_iter().for_each(|waiter| self.answer(waiter, Ok(())));
    }

    /// Forgets what a build that came to nothing, or a try of it that was cut off, made and left: it is no workspace
    /// (rule L8).
    pub(super) async fn forget_left(&mut self, id: &WorkspaceId, number: BuildNumber) {
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        if tracked.record.container.take_if(|container| container.build == number).is_some() {
            tracked.inside = None;
            self.forget_container(id).await;
        }
    }

    pub(super) async fn forget_container(&mut self, id: &WorkspaceId) {
        if let Err(error) = self.executor.store().set_container(id, None).await {
            error!(workspace = %id, "cannot record that the container of `{id}` is gone: {error}");
            self.unforgotten.insert(id.clone());
        }
    }

    /// Records what could not be: a hearthd that starts would take up what is over.
    pub(super) async fn save_unsaved(&mut self) {
        self.executor.save_unsaved().await;
        for id in self.unforgotten.clone() {
            let Some(tracked) = self.world.workspaces.get(&id) else { continue };
            // What is under way may have recorded another.
            if tracked.operation.is_some() {
                continue;
            }
            if tracked.record.container.is_none() && self.executor.store().set_container(&id, None).await.is_err() {
                return;
            }
            self.unforgotten.remove(&id);
        }
    }

    /// Takes in a look at the engine.
    async fn looked(&mut self, number: u64, answer: Result<Look, EngineError>, now: Now) {
        self.looks.ended(number);
        let look = match answer {
            Ok(look) => look,
            Err(_) if mutant::is_on("away is gone") => {
                Look { version: None, containers: Vec::new(), lives: BTreeMap::new(), unanswered: BTreeMap::new() }
            }
            Err(error) => return self.engine_away(&error.reason()),
        };
        let back = look.version.is_some();
        if let Some(version) = look.version {
            self.looks.version = Some((version.version, version.api));
        }
        if let Some((version, api)) = self.looks.version.clone() {
            let here = EngineView::Here { version, api };
            if self.engine != here {
                info!("Docker is here");
                self.emit(Event::Engine { at: now.wall, here: true });
            }
            self.engine = here;
        }
        if !std::mem::replace(&mut self.swept, true) {
            // What an earlier hearthd left behind: none of ours is under way yet.
            self.executor.clean(&look.containers, self.settings.clone());
        }
        self.looked = true;
        self.rota.look_again();
        let (ours, foreign) = self.executor.sort(&look.containers, &self.world);
        self.foreign = foreign;
        let runs = look.containers.iter().filter(|container| container.status == Status::Running);
        let oldest = runs.filter_map(|container| look.lives.get(&container.id)?.started_at).min();
        let (mut unknown, mut seen, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for tracked in self.world.workspaces.quietly() {
            let stale = tracked.fresh_from > number && !mutant::is_on("old looks count");
            if stale || tracked.operation.is_some() {
                continue;
            }
            let container = ours.get(&tracked.record.id).copied();
            if container.is_some_and(|container| tracked.find_again(container)) {
                found.push((tracked.record.id.clone(), tracked.record.container.clone()));
            }
            if let Some(container) = container.filter(|container| tracked.is_unknown(container)) {
                unknown.push((tracked.record.id.clone(), container.clone()));
                continue;
            }
            // Of one that was seen before, the list alone is less than what is known.
            if container.is_some_and(|container| look.unanswered.contains_key(&container.id))
                && tracked.observed != Observed::None
            {
                continue;
            }
            let life = container.and_then(|container| look.lives.get(&container.id));
            let restarted = life.is_some_and(|life| tracked.is_restarted(life.started_at.as_ref()));
            // Whatever ends with the engine leaves nothing running that was there before.
            let own_end = life.and_then(|life| life.ended_at).filter(|at| oldest.is_some_and(|oldest| oldest < *at));
            let was_paused = matches!(tracked.observed, Observed::Paused { .. });
            let is_new = tracked.see(container, Shown { back, restarted, own_end }, now);
            // What could not be brought into it before.
            let goes_on = was_paused && matches!(tracked.observed, Observed::Running { .. });
            if goes_on {
                tracked.tried.again_at = Some(now.boot);
            }
            let door = tracked.adopt();
            if is_new || door.is_some() {
                seen.push(tracked.record.id.clone());
            }
            if let Some(door) = door {
                self.executor.listen(door);
            }
        }
        self.world.workspaces.touch(seen);
        self.looks.unanswered(look.unanswered, now);
        for (id, container) in found {
            info!(workspace = %id, "the container of `{id}` is there again");
            if let Err(error) = self.executor.store().set_container(&id, container).await {
                error!(workspace = %id, "cannot record that the container of `{id}` is there again: {error}");
            }
        }
        for (id, container) in unknown {
            self.take_over(&id, container, now).await;
        }
        if back {
            // What changed while hearthd or the engine was away.
            self.bring_in_line();
        }
    }
}

impl Reconciler {
    /// Takes over a container that runs and that the database does not know: nobody in it is disturbed (rule L11).
    async fn take_over(&mut self, id: &WorkspaceId, container: Container, now: Now) {
        warn!(workspace = %id, "container `{}` is not in the database, which was lost or is older: it is taken over", container.name);
        self.drop_queued(id).await;
        let home = container.mounts.iter().find_map(|mount| mount.volume.as_deref());
        if let Some(home) = home {
            self.is_in_use(home).await;
        }
        self.set_power(id, Power::On).await;
        let in_force = self.in_force();
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let (record, executor) = (tracked.record.clone(), &self.executor);
        let doing = Doing::Recovering { since: now.wall };
        tracked.begin(doing, |cancel| executor.take_over(record, container, in_force, cancel));
    }
}

/// Logs how a build ended.
fn say(id: &WorkspaceId, build: &BuildRecord, now: Now) {
    let number = build.number;
    let took = now.wall.duration_since(build.started_at.unwrap_or(now.wall)).as_secs_f64();
    match build.result {
        Some(BuildResult::Ok) if build.warnings.is_empty() => {
            info!(workspace = %id, build = number.0, "built `{id}` in {took:.1} s");
        }
        Some(BuildResult::Ok) => {
            let warnings = build.warnings.len();
            warn!(workspace = %id, build = number.0, "built `{id}` in {took:.1} s with {warnings} warnings: `hearth show {id}`");
        }
        Some(BuildResult::Failed) => {
            let why = build.failure.as_deref().unwrap_or("for a reason that is not recorded");
            error!(workspace = %id, build = number.0, "build {number} of `{id}` failed: {why}");
        }
        Some(BuildResult::Cancelled) => {
            info!(workspace = %id, build = number.0, "build {number} of `{id}` was cancelled");
        }
        None => {}
    }
}
