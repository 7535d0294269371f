//! Homes and the trash (rule L10): what is asked of them, and the end of their time there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{error, info, warn};

use super::audit::Deed;
use super::execute::{Executor, Report};
use super::reconcile::{Reconciler, failed};
use super::world::Tracked;
use crate::api::KnownHome;
use crate::build::{self, Emptied};
use crate::decide::Observed;
use crate::docker::{Volume, labels};
use crate::handle::RequestError;
use crate::model::{InstanceName, Moment, Now, Power, Requester, WorkspaceId};
use crate::store::{HomeRecord, Store, WorkspaceRecord};
use crate::trash::{self, Trash, Trashed};

/// How soon a home that could not be deleted for good is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// The trash, and what of it is being deleted.
#[derive(Debug, Default)]
pub(super) struct Homes {
    pub(super) trash: Trash,
    /// Under way, or tried a moment ago.
    emptying: BTreeSet<String>,
}

/// What a try to delete a home for good came to.
#[derive(Debug)]
pub(super) struct Ended {
    home: Trashed,
    result: Result<Emptied, String>,
}

impl Homes {
    /// Takes up what the database says.
    pub(super) async fn remember(store: &Store) -> anyhow::Result<Self> {
        Ok(Self { trash: Trash::new(store.trash().await?), emptying: BTreeSet::new() })
    }
}

impl Reconciler {
    /// Moves a home to the trash; without a name the workspace's current one.
    pub(super) async fn trash_home(
        &mut self,
        id: &WorkspaceId,
        home: Option<String>,
        requester: Requester,
    ) -> Result<Option<Trashed>, RequestError> {
        self.engine_here()?;
        let now = self.executor.now().wall;
        let keep = self.keep_of(id);
        let tracked = self.world.workspaces.get_mut(id).ok_or_else(|| RequestError::NoSuchWorkspace(id.clone()))?;
        let current = tracked.record.home.clone().filter(|current| home.as_ref().is_none_or(|h| *h == current.volume));
        let (volume, owner) = match (current, home) {
            (Some(HomeRecord { volume, owner }), _) => {
                unused(tracked, self.settings.workspaces.contains_key(id))?;
                (volume, owner)
            }
            (None, None) => return Ok(None),
            (None, Some(volume)) => match self.world.homes.trash.get(&volume).filter(|home| home.workspace == *id) {
                Some(there) if there.mounted_at.is_none() => return Ok(Some(there.clone())),
                Some(there) => (volume, there.owner),
                None => return Err(unknown(id, &volume)),
            },
        };
        let until = now.checked_add(keep).unwrap_or(Moment::MAX);
        let workspace = id.clone();
        let home = Trashed { volume, workspace, owner, trashed_at: now, until, by: requester, mounted_at: None };
        self.executor.store().trash_home(&home).await.map_err(|error| failed(&error))?;
        info!(workspace = %id, "home `{}` goes to the trash, {} deleted it; it can be restored until {until:.0}", home.volume, home.by);
        if let Some(tracked) = self.world.workspaces.get_mut(id) {
            // Should its container be found again, it is not to run on a home of the trash.
            if tracked.record.home.take_if(|current| current.volume == home.volume).is_some() {
                (tracked.lost, tracked.record.container) = (None, None);
            }
        }
        self.world.homes.emptying.remove(&home.volume);
        self.world.homes.trash.put(home.clone());
        Ok(Some(home))
    }

    /// Makes a home the workspace's current one again: one of the trash, or one that a lost database does not know.
    pub(super) async fn restore_home(
        &mut self,
        id: &WorkspaceId,
        volume: String,
        requester: &Requester,
    ) -> Result<(), RequestError> {
        let tracked = self.world.workspaces.get(id).ok_or_else(|| RequestError::NoSuchWorkspace(id.clone()))?;
        if let Some(current) = &tracked.record.home {
            if current.volume == volume {
                return Ok(());
            }
            let newer = &current.volume;
            return Err(RequestError::Conflict(format!(
                "`{id}` has another home since, `{newer}`. `hearth home delete {newer}` puts that one into the trash; then \
                 this one can be restored"
            )));
        }
        if tracked.operation.is_some() || tracked.queued.is_some() {
            return Err(RequestError::Conflict(format!(
                "`{id}` is being built, with another home: `hearth stop {id}` first"
            )));
        }
        if self.world.homes.emptying.contains(&volume) {
            return Err(RequestError::Conflict(format!("the time of `{volume}` is over: it is being deleted")));
        }
        let store = self.executor.store();
        let home = match self.world.homes.trash.get(&volume) {
            Some(home) if home.workspace == *id => {
                store.restore_home(&volume).await.map_err(|error| failed(&error))?;
                HomeRecord { volume: volume.clone(), owner: home.owner }
            }
            Some(_) => return Err(unknown(id, &volume)),
            None if labels::home_number(&volume, &self.executor.tools.instance, id).is_none() => {
                return Err(unknown(id, &volume));
            }
            None => {
                let home = HomeRecord { volume: volume.clone(), owner: None };
                store.set_home(id, Some(home.clone())).await.map_err(|error| failed(&error))?;
                home
            }
        };
        info!(workspace = %id, requester = %requester, "home `{volume}` is restored");
        self.world.homes.trash.take(&volume);
        if let Some(tracked) = self.world.workspaces.get_mut(id) {
            tracked.record.home = Some(home);
        }
        Ok(())
    }

    /// Begins to delete what has come to its end; returns how long nothing does.
    pub(super) fn empty_trash(&mut self, now: Now) -> Option<Duration> {
        let due = self.world.homes.trash.due(now);
        for home in due.delete {
            if self.world.homes.emptying.insert(home.volume.clone()) {
                self.executor.delete_home(home);
            }
        }
        due.ask_again_in
    }

    /// Takes in how the end of a home's time went.
    pub(super) async fn emptied(&mut self, Ended { home, result }: Ended, now: Now) {
        let (store, volume) = (self.executor.store().clone(), home.volume.clone());
        // It was restored, or deleted anew, before the try had begun to matter.
        let still = self.world.homes.trash.get(&volume) == Some(&home);
        let id = &home.workspace;
        let gone = result == Ok(Emptied::Gone);
        let result = match result {
            Ok(Emptied::Deleted | Emptied::Gone) => {
                self.world.homes.trash.take(&volume);
                if let Err(error) = store.forget_trashed_home(&volume).await {
                    error!(workspace = %id, "cannot record that home `{volume}` is gone: {error}");
                }
                let how = if gone { "is gone: somebody else removed its volume" } else { "is deleted for good" };
                info!(workspace = %id, "home `{volume}` {how}; it was in the trash since {:.0}", home.trashed_at);
                Some(if gone { format!("it {how}") } else { "ok".to_owned() })
            }
            Ok(Emptied::Kept(why)) => {
                warn!(workspace = %id, "home `{volume}` stays in the trash: {why}. `hearth home delete {volume}` sets a new date");
                if still {
                    self.mounted_in_trash(&volume, now.wall).await;
                }
                Some(format!("kept: {why}"))
            }
            Err(why) => {
                warn!(workspace = %id, "cannot delete home `{volume}`: {why}; tried again in {RETRY:?}");
                None
            }
        };
        if let Some(result) = result {
            let deed = Deed {
                who: Requester::hearthd(),
                what: "delete-home",
                workspace: Some(id),
                before: Some(format!("in the trash since {:.0}", home.trashed_at)),
                after: Some("deleted for good".into()),
                result,
            };
            self.executor.note(deed).await;
        }
        self.world.homes.emptying.remove(&volume);
    }

    /// Takes in that a volume was mounted: one in the trash stays from then on.
    pub(super) async fn volume_mounted(&mut self, volume: &str, at: Moment) {
        if self.world.homes.trash.get(volume).is_some_and(|home| home.mounted_at.is_none() && home.trashed_at < at) {
            warn!("home `{volume}` is in the trash and was mounted: it stays until somebody deletes it again");
            self.mounted_in_trash(volume, at).await;
        }
    }

    /// Takes out of the trash what a container of ours mounts: an older database had it there.
    pub(super) async fn is_in_use(&mut self, volume: &str) {
        if self.world.homes.trash.take(volume).is_some()
            && let Err(error) = self.executor.store().forget_trashed_home(volume).await
        {
            error!("cannot record that home `{volume}` is in use: {error}");
        }
    }

    async fn mounted_in_trash(&mut self, volume: &str, at: Moment) {
        let Some(home) = self.world.homes.trash.take(volume) else { return };
        self.world.homes.trash.put(Trashed { mounted_at: Some(at), ..home });
        if let Err(error) = self.executor.store().trashed_home_mounted(volume, at).await {
            error!("cannot record that `{volume}` was mounted: {error}");
        }
    }

    /// For how long the homes of a workspace's org lie in the trash.
    fn keep_of(&self, id: &WorkspaceId) -> Duration {
        let tracked = self.world.workspaces.get(id);
        let org = tracked.and_then(|tracked| self.settings.orgs.get(&tracked.record.org));
        org.map_or(trash::KEEP, |org| org.trash_keep)
    }
}

impl Executor {
    /// Deletes a home for good.
    fn delete_home(&self, home: Trashed) {
        let executor = self.clone();
        self.tasks.spawn(async move {
            let result = tokio::select! {
                biased;
                // A look into it that is cut off leaves nothing behind.
                () = executor.stopping.cancelled() => return,
                result = build::delete_for_good(&executor.tools, &home) => result.map_err(|error| error.to_string()),
            };
            if result.is_err() {
                tokio::select! {
                    () = executor.stopping.cancelled() => {}
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
            let _ = executor.reports.send(Report::Emptied(Ended { home, result })).await;
        });
    }
}

/// Refuses while the workspace's current home is in use or about to be.
fn unused(tracked: &Tracked, declared: bool) -> Result<(), RequestError> {
    let id = &tracked.record.id;
    let idle = tracked.operation.is_none() && tracked.queued.is_none();
    // A container of one that is off and that the engine does not have is only remembered.
    let gone = tracked.record.container.is_none() || matches!(tracked.record.power, Power::Off { .. });
    if idle && tracked.observed == Observed::None && gone {
        return Ok(());
    }
    Err(RequestError::Conflict(if declared {
        format!("`{id}` uses its home: `hearth stop {id}` first")
    } else {
        format!("`{id}` is being stopped: try again in a moment")
    }))
}

fn unknown(id: &WorkspaceId, volume: &str) -> RequestError {
    RequestError::Conflict(format!(
        "hearthd's database knows no home `{volume}` of `{id}`, and deletes nothing that it does not know. Where it was \
         lost, `hearth home restore {volume}` makes it the home of `{id}`; `docker volume rm {volume}` removes it for good"
    ))
}

/// Puts together what the database and the engine know of homes; `there` is `None` where the engine cannot be asked.
pub(super) fn known(
    instance: &InstanceName,
    recorded: Vec<WorkspaceRecord>,
    trash: Vec<Trashed>,
    there: Option<Vec<Volume>>,
) -> Vec<KnownHome> {
    let orgs: BTreeMap<_, _> = recorded.iter().map(|record| (record.id.clone(), record.org.clone())).collect();
    let home = |volume: String, workspace: WorkspaceId| KnownHome {
        present: there.as_ref().map(|there| there.iter().any(|found| found.name == volume)),
        volume,
        org: orgs.get(&workspace).cloned(),
        workspace,
        recorded: true,
        current: false,
        trashed: None,
    };
    let current = recorded.into_iter().filter_map(|record| Some((record.home?.volume, record.id)));
    let current = current.map(|(volume, id)| KnownHome { current: true, ..home(volume, id) });
    let trashed = trash.into_iter().map(|t| KnownHome { trashed: Some(t.clone()), ..home(t.volume, t.workspace) });
    let mut homes: Vec<_> = current.chain(trashed).collect();
    let unrecorded: Vec<_> =
        there.iter().flatten().filter(|volume| homes.iter().all(|home| home.volume != volume.name)).cloned().collect();
    for volume in unrecorded {
        if let Some(workspace) = labels::home_of(&volume, instance) {
            homes.push(KnownHome { recorded: false, ..home(volume.name, workspace) });
        }
    }
    homes.sort_by(|a, b| (&a.workspace, &a.volume).cmp(&(&b.workspace, &b.volume)));
    homes
}
