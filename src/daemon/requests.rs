//! What is done with each request: noted in the database first, then left to the next turn.

use super::reconcile::Reconciler;
use super::world::Operation;
use crate::activity::Anew;
use crate::decide::{Doing, Observed};
use crate::handle::{EngineView, Reply, Request, RequestError, Started};
use crate::model::{
    BuildNumber, BuildReason, BuildResult, OffReason, Power, Requester, Stage, StageTiming, WorkspaceId,
};

impl Reconciler {
    pub(super) async fn carry_out(&mut self, request: Request) {
        // An answer that nobody waits for any more is no error.
        match request {
            Request::Start { workspace, reason, requester, reply } => {
                let _ = reply.send(self.start(&workspace, reason, requester).await);
            }
            Request::Rebuild { workspace, reason, requester, reply } => {
                let _ = reply.send(self.rebuild(&workspace, reason, requester).await);
            }
            Request::Stop { workspace, requester, reply } => self.stop(&workspace, &requester, reply).await,
            Request::Cancel { workspace, requester, reply } => self.cancel(&workspace, &requester, reply).await,
            Request::Personalize { workspace, requester, reply } => {
                let answer = self.personalize(&workspace, &requester);
                self.answer(reply, answer);
            }
            Request::Reload { yes, requester, reply } => self.reload(yes, &requester, reply).await,
            Request::Look { workspace, reply } => self.look_and_tell(workspace, reply),
            Request::Why { workspace, reply } => {
                let _ = reply.send(self.why(&workspace));
            }
            Request::Hold { workspace, asked, requester, reply } => {
                let _ = reply.send(self.hold(&workspace, asked, &requester).await);
            }
            Request::Renew { workspace, hold, reply } => {
                let _ = reply.send(self.renew(&workspace, hold).await);
            }
            Request::Release { workspace, hold, requester, reply } => {
                let _ = reply.send(self.release(&workspace, hold, &requester).await);
            }
            Request::Plan { reply } => {
                let _ = reply.send(self.plan().await);
            }
            Request::TrashHome { workspace, home, requester, reply } => {
                let _ = reply.send(self.trash_home(&workspace, home, requester).await);
            }
            Request::RestoreHome { workspace, home, requester, reply } => {
                let _ = reply.send(self.restore_home(&workspace, home, &requester).await);
            }
            Request::Away { user, until, requester, reply } => {
                let _ = reply.send(self.away(&user, until, &requester).await);
            }
            Request::Set { owner, edits, requester, reply } => self.set(owner, edits, &requester, reply).await,
        }
    }

    async fn start(
        &mut self,
        id: &WorkspaceId,
        reason: BuildReason,
        requester: Requester,
    ) -> Result<Started, RequestError> {
        self.engine_here()?;
        let tracked = self.tracked(id)?;
        if let Some(number) = tracked.already_queued(reason) {
            return Ok(Started::Build(number));
        }
        let stopping = matches!(tracked.record.power, Power::Off { .. });
        let cancelled = tracked.operation.as_ref().is_some_and(|operation| operation.cancel.is_cancelled());
        match tracked.operation.as_ref().map(|operation| operation.doing) {
            Some(Doing::Building { .. }) if !stopping && !cancelled => {
                return tracked.build.as_ref().map(|build| Started::Build(build.number)).ok_or_else(|| gone(id));
            }
            Some(Doing::Personalizing | Doing::Tending | Doing::Recovering { .. }) if !stopping => {
                return Ok(Started::AlreadyRunning);
            }
            Some(_) => {}
            // Of what a failed build left nothing is kept.
            None if !stopping && tracked.observed != Observed::None && tracked.record.container.is_some() => {
                return Ok(Started::AlreadyRunning);
            }
            None => {}
        }
        self.queue_build(id, reason, requester).await.map(Started::Build)
    }

    async fn rebuild(
        &mut self,
        id: &WorkspaceId,
        reason: BuildReason,
        requester: Requester,
    ) -> Result<Started, RequestError> {
        self.engine_here()?;
        let tracked = self.tracked(id)?;
        if let Some(number) = tracked.already_queued(reason) {
            return Ok(Started::Build(number));
        }
        // The build brings all that it was to bring.
        if let Some(Operation { doing: Doing::Tending, cancel }) = &tracked.operation {
            cancel.cancel();
        }
        self.queue_build(id, reason, requester).await.map(Started::Build)
    }

    async fn stop(&mut self, id: &WorkspaceId, requester: &Requester, reply: Reply<()>) {
        if let Err(error) = self.engine_here().and_then(|()| self.tracked(id).map(|_| ())) {
            let _ = reply.send(Err(error));
            return;
        }
        tracing::info!(workspace = %id, requester = %requester, "`{id}` is to be stopped");
        if let Ok(tracked) = self.tracked(id) {
            tracked.stop_waiters.push(reply);
        }
        self.turn_off(id, OffReason::Stopped).await;
    }

    /// Takes a waiting build off the queue, ends one that runs, and records that the workspace should be off.
    pub(super) async fn turn_off(&mut self, id: &WorkspaceId, why: OffReason) {
        self.drop_queued(id).await;
        let Ok(tracked) = self.tracked(id) else { return };
        match &tracked.operation {
            Some(Operation { doing: Doing::Stopping { .. }, .. }) | None => {}
            Some(Operation { cancel, .. }) => cancel.cancel(),
        }
        if !matches!(tracked.record.power, Power::Off { .. }) || why == OffReason::Removed {
            self.set_power(id, Power::Off { why }).await;
        }
    }

    async fn cancel(&mut self, id: &WorkspaceId, requester: &Requester, reply: Reply<BuildNumber>) {
        let never = match self.tracked(id) {
            Ok(tracked) => tracked.build.is_none(),
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let (waiting, swept) = (self.drop_queued(id).await, self.swept);
        let Ok(tracked) = self.tracked(id) else { return };
        let running = tracked.operation.as_ref().filter(|o| matches!(o.doing, Doing::Building { .. }));
        let Some(number) = running.and(tracked.build.as_ref()).map(|build| build.number).or(waiting) else {
            let _ = reply.send(Err(RequestError::Conflict(format!("no build of `{id}` is queued or running"))));
            return;
        };
        tracing::info!(workspace = %id, build = number.0, requester = %requester, "build {number} of `{id}` is cancelled");
        if let Some(operation) = running {
            operation.cancel.cancel();
        }
        let stopping = matches!(tracked.operation, Some(Operation { doing: Doing::Stopping { .. }, .. }));
        // Before the first look nothing is known of one that has a container.
        let gone = tracked.record.container.is_none() || tracked.observed == Observed::None && swept;
        let idle = stopping || tracked.operation.is_none() && gone;
        tracked.cancel_waiters.push((number, reply));
        if idle {
            let why = if never { OffReason::NeverBuilt } else { OffReason::Stopped };
            self.set_power(id, Power::Off { why }).await;
        }
        // What the build was to bring.
        self.bring_in_line_anew(id);
    }

    /// Takes a build that waits off the queue; returns its number.
    pub(super) async fn drop_queued(&mut self, id: &WorkspaceId) -> Option<BuildNumber> {
        let now = self.executor.now();
        let tracked = self.world.workspaces.get_mut(id)?;
        let mut build = tracked.queued.take()?;
        // Where it was cut off, its next try was.
        tracked.postponed = None;
        (build.result, build.ended_at) = (Some(BuildResult::Cancelled), Some(now.wall));
        self.executor.save_build(id, &build).await;
        let number = build.number;
        // One that had begun and was cut off is the last one, and what it made is no workspace.
        let shown = tracked.build.as_ref().is_some_and(|build| build.number == number);
        if shown || tracked.record.container.as_ref().is_some_and(|container| container.build == number) {
            tracked.build = Some(build);
            tracked.ledger.count_anew(Anew::BuildEnded, now.stamp());
            self.forget_left(id, number).await;
        }
        Some(number)
    }

    fn personalize(&mut self, id: &WorkspaceId, requester: &Requester) -> Result<BuildNumber, RequestError> {
        self.engine_here()?;
        let (in_force, now) = (self.in_force(), self.executor.now());
        let tracked = self.world.workspaces.get_mut(id).ok_or_else(|| gone(id))?;
        let (Some(_), Some(build)) = (&tracked.inside, &mut tracked.build) else { return Err(not_running(id)) };
        if tracked.operation.is_some() || !matches!(tracked.observed, Observed::Running { .. }) {
            return Err(not_running(id));
        }
        tracing::info!(workspace = %id, requester = %requester, "`{id}` is personalized again");
        // Shown while it runs and recorded when it has ended: a hearthd that is killed meanwhile finds the old times.
        build.stages.retain(|timing| timing.stage != Stage::Personalize);
        build.stages.push(StageTiming { stage: Stage::Personalize, started_at: now.wall, took: None });
        let (record, number) = (tracked.record.clone(), build.number);
        let executor = &self.executor;
        tracked.log = Some(executor.tools.logs.open(record.number, number));
        tracked.begin(Doing::Personalizing, |cancel| executor.personalize(record, number, in_force, cancel));
        Ok(number)
    }

    pub(super) fn tracked(&mut self, id: &WorkspaceId) -> Result<&mut super::world::Tracked, RequestError> {
        self.world.workspaces.get_mut(id).ok_or_else(|| gone(id))
    }

    /// Refuses what needs the engine while it is away (rule L12).
    pub(super) fn engine_here(&self) -> Result<(), RequestError> {
        match &self.engine {
            EngineView::Here { .. } => Ok(()),
            EngineView::Unknown => Err(RequestError::EngineAway("hearthd has not reached it yet".into())),
            EngineView::Away { why, .. } => Err(RequestError::EngineAway(why.clone())),
        }
    }
}

fn gone(id: &WorkspaceId) -> RequestError {
    RequestError::NoSuchWorkspace(id.clone())
}

fn not_running(id: &WorkspaceId) -> RequestError {
    RequestError::Conflict(format!("`{id}` does not run, or is busy with something else"))
}
