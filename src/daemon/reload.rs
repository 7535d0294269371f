//! Taking a configuration into force: whole or not at all (rule C1), with what it does to each workspace (rule C6).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use super::accepted::{counts, refused, removes_many};
use super::audit::Deed;
use super::reconcile::{Reconciler, failed};
use super::watch::{self, Judged, Seen};
use super::workspaces::World;
use super::world::Tracked;
use crate::activity::Ledger;
use crate::blocking;
use crate::build;
use crate::config::{self, InForce, Loaded, Problem, Problems, Settings};
use crate::decide::Doing;
use crate::handle::{EngineView, Event, Rejected, Reloaded, Reply, RequestError};
use crate::model::{BuildReason, Now, OffReason, Power, Requester, WorkspaceId};
use crate::mutant;
use crate::store::WorkspaceRecord;

/// How long an answer waits for workspaces that cannot be brought in line: systemd gives a reload two minutes.
const WAIT: Duration = Duration::from_secs(60);

/// A request whose answer waits until running workspaces are in line.
#[derive(Debug)]
pub(super) struct LineWaiter<T> {
    workspaces: BTreeSet<WorkspaceId>,
    /// When it is answered at the latest, in spans of the boot clock.
    until: Duration,
    reply: Reply<T>,
    answer: T,
}

impl<T> LineWaiter<T> {
    pub(super) fn new(workspaces: BTreeSet<WorkspaceId>, reply: Reply<T>, answer: T, now: Now) -> Self {
        Self { workspaces, until: now.boot + WAIT, reply, answer }
    }

    /// Answers those whose workspaces are, and those that have waited long enough; returns for how long none has. What
    /// was asked for holds all the same, also while the engine is not here: nobody waits for that (rule L12).
    pub(super) fn answer(waiters: &mut Vec<Self>, world: &World, engine_here: bool, now: Now) -> Duration {
        let in_line = |waiter: &mut Self| {
            waiter.workspaces.retain(|id| world.is_tended(id));
            !engine_here || waiter.workspaces.is_empty() || waiter.until <= now.boot
        };
        for waiter in waiters.extract_if(.., in_line) {
            let _ = waiter.reply.send(Ok(waiter.answer));
        }
        waiters.iter().map(|waiter| waiter.until.saturating_sub(now.boot)).min().unwrap_or(Duration::MAX)
    }
}

impl Reconciler {
    /// Reloads as SIGHUP asks.
    pub(super) async fn hangup(&mut self) {
        let files = load(self.config.path.clone()).await;
        self.reload_unasked(files, "SIGHUP").await;
    }

    /// Reloads where the files have changed. Where others were judged since, it is looked anew what has.
    pub(super) async fn files_seen(&mut self, Seen { files, since, dealt_with }: Seen) {
        let still = Arc::ptr_eq(&since, &self.outlets.judged.borrow());
        if still {
            self.reload_unasked(files, "watcher").await;
        }
        drop(dealt_with);
    }

    /// Reloads where nobody waits for the answer; what goes wrong stands in the journal and in `hearth status`.
    async fn reload_unasked(&mut self, files: Result<Loaded, Problems>, requester: &str) {
        let requester = &Requester(requester.into());
        self.executor.service().reloading();
        let (after, result) = match self.take(files, false, requester).await {
            Ok((_, reloaded)) => {
                info!(changes = reloaded.changes.len(), "the configuration is reloaded");
                (Some(reloaded.changes.join("; ")), "ok".to_owned())
            }
            Err(error) => {
                error!("the configuration is not reloaded: {error}");
                (None, error.to_string())
            }
        };
        let deed = Deed { who: requester.clone(), what: "reload", workspace: None, before: None, after, result };
        self.executor.note(deed).await;
        self.executor.service().ready();
    }

    pub(super) async fn reload(&mut self, yes: bool, requester: &Requester, reply: Reply<Reloaded>) {
        let files = load(self.config.path.clone()).await;
        match self.take(files, yes, requester).await {
            Ok((workspaces, answer)) => {
                self.reload_waiters.push(LineWaiter::new(workspaces, reply, answer, self.executor.now()));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Says what a reload of the files as they are would do.
    pub(super) async fn plan(&mut self) -> Result<Reloaded, RequestError> {
        let settings = load(self.config.path.clone()).await.map_err(bad)?.settings;
        let refused = self.guard(&settings).err().map(|refused| format!("refused: {refused}"));
        Ok(Reloaded { changes: refused.into_iter().chain(self.changes(&settings)).collect() })
    }

    fn changes(&self, new: &Settings) -> Vec<String> {
        config::change::plan(&self.settings, new, &self.members).lines()
    }

    /// Takes files into force; returns the running workspaces that are being changed.
    async fn take(
        &mut self,
        files: Result<Loaded, Problems>,
        yes: bool,
        requester: &Requester,
    ) -> Result<(BTreeSet<WorkspaceId>, Reloaded), RequestError> {
        let now = self.executor.now().wall;
        let hash = watch::hash(&files);
        let guard = |loaded: Loaded| if yes { Ok(()) } else { self.guard(&loaded.settings) }.map(|()| loaded);
        let loaded = match files.map_err(bad).and_then(guard) {
            Ok(loaded) => loaded,
            Err(error) => {
                let since = self.config.rejected.as_ref().map_or(now, |rejected| rejected.since);
                self.config.rejected = Some(Rejected { since, errors: error.to_string() });
                self.judged(hash);
                self.emit(Event::Config { at: now, accepted: false });
                return Err(error);
            }
        };
        let changes = self.changes(&loaded.settings);
        for change in &changes {
            info!(requester = %requester, "configuration: {change}");
        }
        self.config.rejected = None;
        self.config.from_copy = false;
        self.config.in_force_since = now;
        self.settings = Arc::new(Settings { server: fixed_paths(&self.settings, &loaded.settings), ..loaded.settings });
        if let Err(error) = self.executor.store().set_accepted_config(super::app::texts(&loaded.sources), now).await {
            warn!("cannot keep a copy of the accepted configuration: {error}");
        }
        self.judged(hash);
        self.outlets.settings.send_replace(self.settings.clone());
        self.declare_all().await;
        self.executor.clean(&[], self.settings.clone());
        let changing = self.bring_in_line();
        self.emit(Event::Config { at: now, accepted: true });
        Ok((changing, Reloaded { changes }))
    }

    /// Lets the watcher see what changes from here on.
    fn judged(&self, hash: String) {
        self.outlets.judged.send_replace(Arc::new(Judged { hash, settings: self.settings.clone() }));
    }

    /// Refuses what would remove more than three and more than a third of the running workspaces (rule L10).
    fn guard(&self, new: &Settings) -> Result<(), RequestError> {
        let on = self.world.workspaces.iter().filter(|(_, tracked)| counts(&tracked.record, tracked.observed));
        let on: Vec<_> = on.map(|(id, _)| id.clone()).collect();
        removes_many(&on, new).map_or(Ok(()), |removal| Err(RequestError::Guarded(refused(&removal))))
    }

    /// Makes the world have what the configuration declares, and no more that is on.
    pub(super) async fn declare_all(&mut self) {
        let settings = self.settings.clone();
        for (id, workspace) in &settings.workspaces {
            if let Err(error) = self.declare(id, workspace).await {
                error!(workspace = %id, "cannot take up `{id}`: {error}");
            }
        }
        let undeclared = |(id, tracked): (&WorkspaceId, &Tracked)| {
            let record = &tracked.record;
            // One that a hearthd which was cut off has noted as removed may still be on.
            let taken_out = record.removed_at.is_some()
                && (record.power == Power::Off { why: OffReason::Removed } || mutant::is_on("half removed is removed"));
            (!settings.workspaces.contains_key(id) && !taken_out).then(|| id.clone())
        };
        let removed: Vec<_> = self.world.workspaces.iter().filter_map(undeclared).collect();
        for id in removed {
            self.remove(&id).await;
        }
    }

    async fn declare(&mut self, id: &WorkspaceId, workspace: &config::settings::Workspace) -> Result<(), RequestError> {
        let now = self.executor.now();
        let store = self.executor.store().clone();
        let known = self.world.workspaces.get_mut(id);
        let newly = match &known {
            None => true,
            Some(tracked) => tracked.record.removed_at.is_some(),
        };
        let build = self.settings.org_of(workspace).build_on_create;
        let power = if build { Power::On } else { Power::Off { why: OffReason::NeverBuilt } };
        match known {
            None => {
                let record = store.declare(id, &workspace.org, power, now.wall).await.map_err(|e| failed(&e))?;
                let tracked = Tracked::new(record, None, None, Ledger::new(now));
                self.world.workspaces.insert(id.clone(), tracked);
            }
            Some(tracked) => {
                if tracked.record.org != workspace.org {
                    store.set_org(id, &workspace.org).await.map_err(|e| failed(&e))?;
                    tracked.record.org = workspace.org.clone();
                }
                if newly {
                    let record = store.declare(id, &workspace.org, power, now.wall).await.map_err(|e| failed(&e))?;
                    tracked.record = WorkspaceRecord { container: tracked.record.container.take(), ..record };
                }
            }
        }
        if newly && build {
            self.queue_build(id, BuildReason::Create, Requester::hearthd()).await?;
        }
        Ok(())
    }

    /// Turns off what the configuration does not have any more; its home stays.
    async fn remove(&mut self, id: &WorkspaceId) {
        let now = self.executor.now().wall;
        warn!(workspace = %id, "`{id}` is not in the configuration any more: it is stopped, its home is kept");
        if let Err(error) = self.executor.store().mark_removed(id, Some(now)).await {
            error!(workspace = %id, "cannot record that `{id}` was removed: {error}");
            return;
        }
        if let Some(tracked) = self.world.workspaces.get_mut(id) {
            tracked.record.removed_at = Some(now);
        }
        self.turn_off(id, OffReason::Removed).await;
        let deed = Deed {
            who: Requester::hearthd(),
            what: "stop",
            workspace: Some(id),
            before: None,
            after: Some("off: no file declares it any more".into()),
            result: "ok".into(),
        };
        self.executor.note(deed).await;
    }

    /// Marks what is outdated and changes what can be changed while it runs; returns what is being changed.
    pub(super) fn bring_in_line(&mut self) -> BTreeSet<WorkspaceId> {
        let all: Vec<_> = self.world.workspaces.keys().cloned().collect();
        all.into_iter().filter(|id| self.bring_one_in_line(id)).collect()
    }

    /// Does so for one; returns whether it is being changed.
    pub(super) fn bring_one_in_line(&mut self, id: &WorkspaceId) -> bool {
        let in_force = self.in_force();
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return false };
        let live = tracked.compare(&in_force.settings, &in_force.members);
        let renew = tracked.lacks(fingerprint(&in_force, id).as_ref());
        self.update(id, live, renew);
        // What was wanted before may be under way: what is wanted now follows it.
        self.world.is_tended(id)
    }

    /// Changes its limits, or what was injected, if it runs and nothing else is done to it.
    fn update(&mut self, id: &WorkspaceId, live: bool, renew: bool) {
        let in_force = self.in_force();
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let renew = renew && !mutant::is_on("only builds bring secrets");
        // When the engine is back, all are brought in line.
        if !(live || renew) || !tracked.is_tendable() || !matches!(self.engine, EngineView::Here { .. }) {
            return;
        }
        tracked.tried.made_of = tracked.wanted.clone();
        if renew {
            (tracked.tried.injected, tracked.tried.again_at) = (fingerprint(&in_force, id), None);
        }
        let (record, executor) = (tracked.record.clone(), &self.executor);
        tracked.begin(Doing::Tending, |cancel| executor.update(record, live, renew, in_force, cancel));
    }

    /// Does so for one where what is wanted has changed since it was last tried, or where that is to be tried again: what
    /// was refused once is not asked for again and again.
    pub(super) fn bring_in_line_anew(&mut self, id: &WorkspaceId) {
        let (in_force, now) = (self.in_force(), self.executor.now().boot);
        let Some(tracked) = self.world.workspaces.get_mut(id) else { return };
        let wanted = fingerprint(&in_force, id);
        let lacks = tracked.lacks(wanted.as_ref());
        if !lacks {
            tracked.tried.again_at = None;
        }
        let due = tracked.tried.again_at.is_some_and(|at| at <= now);
        let differs = tracked.compare(&in_force.settings, &in_force.members);
        let live = differs && (due || tracked.wanted != tracked.tried.made_of);
        let renew = lacks && (due || tracked.tried.injected != wanted);
        self.update(id, live, renew);
    }
}

/// Stands for what inject is to bring into a workspace.
fn fingerprint(in_force: &InForce, id: &WorkspaceId) -> Option<String> {
    in_force.workspace(id).map(|(workspace, org)| build::fingerprint(&workspace, org))
}

fn bad(problems: Problems) -> RequestError {
    RequestError::BadConfiguration(problems.to_string())
}

/// The loop waits for the files, which may lie on a mount that hangs.
const READING: Duration = Duration::from_secs(8);

async fn load(path: PathBuf) -> Result<Loaded, Problems> {
    let main = path.display().to_string();
    let failed = |why| Err(Problems { problems: vec![Problem::of_file(main, why, None)], more: 0 });
    match timeout(READING, blocking::run(move || config::load(&path))).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => failed(format!("the configuration reader failed: {error}")),
        Err(_) => failed(format!(
            "it could not be read in {READING:?}: does it, or a file it names, lie on a mount that hangs?"
        )),
    }
}

/// What of `[server]` cannot change while hearthd runs stays as it is until its restart.
fn fixed_paths(old: &Settings, new: &Settings) -> config::settings::Server {
    let config::settings::Server { docker, data_dir, run_dir, instance, .. } = old.server.clone();
    config::settings::Server { docker, data_dir, run_dir, instance, ..new.server.clone() }
}
