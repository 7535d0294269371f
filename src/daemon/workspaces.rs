//! Every workspace that the loop knows, and how each is shown: what a turn has touched is shown anew, and all else is
//! shared with the snapshot before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use super::homes::Homes;
use super::world::Tracked;
use crate::activity::Off;
use crate::config::Settings;
use crate::decide::Doing;
use crate::handle::View;
use crate::model::{Moment, Now, Stage, StateName, WorkspaceId};
use crate::pipeline::Busy;

#[derive(Debug, Default)]
pub(super) struct Workspaces {
    all: BTreeMap<WorkspaceId, Tracked>,
    /// Those that may be shown otherwise by now.
    touched: BTreeSet<WorkspaceId>,
    views: Arc<BTreeMap<WorkspaceId, Arc<View>>>,
    /// What the views were made of; they tell whether a workspace is declared.
    settings: Option<Arc<Settings>>,
}

impl Deref for Workspaces {
    type Target = BTreeMap<WorkspaceId, Tracked>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Workspaces {
    pub(super) fn insert(&mut self, id: WorkspaceId, tracked: Tracked) {
        self.touched.insert(id.clone());
        self.all.insert(id, tracked);
    }

    /// Returns one to be changed.
    pub(super) fn get_mut(&mut self, id: &WorkspaceId) -> Option<&mut Tracked> {
        let tracked = self.all.get_mut(id)?;
        self.touched.insert(id.clone());
        Some(tracked)
    }

    /// Returns all, to be changed in what no view shows; whoever changes more says so by [`touch`](Self::touch).
    pub(super) fn quietly(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.all.values_mut()
    }

    /// Notes that these may be shown otherwise by now.
    pub(super) fn touch(&mut self, ids: impl IntoIterator<Item = WorkspaceId>) {
        self.touched.extend(ids);
    }

    /// Returns those that have been touched since they were shown last.
    pub(super) fn touched(&self) -> &BTreeSet<WorkspaceId> {
        &self.touched
    }

    /// Notes so of all.
    fn touch_all(&mut self) {
        self.touched.extend(self.all.keys().cloned());
    }

    /// Brings the views in line; returns those whose state has another name than it had.
    pub(super) fn show(&mut self, settings: &Arc<Settings>, now: Now) -> Vec<(WorkspaceId, StateName)> {
        if self.settings.as_ref().is_none_or(|of| !Arc::ptr_eq(of, settings)) {
            self.touch_all();
            self.settings = Some(settings.clone());
        }
        let mut changed = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(tracked) = self.all.get(&id) else { continue };
            let declared = settings.workspaces.contains_key(&id);
            let before = self.views.get(&id);
            // Of one that was deleted nothing is left but what lies in the trash.
            if !declared && tracked.record.home.is_none() && tracked.is_off() {
                if before.is_some() {
                    Arc::make_mut(&mut self.views).remove(&id);
                }
                continue;
            }
            let view = tracked.view(declared, now);
            if before.is_some_and(|before| **before == view) {
                continue;
            }
            let name = view.state.name();
            if before.map(|before| before.state.name()) != Some(name) {
                changed.push((id.clone(), name));
            }
            Arc::make_mut(&mut self.views).insert(id, Arc::new(view));
        }
        changed
    }

    /// Returns them as they were shown last.
    pub(super) fn views(&self) -> Arc<BTreeMap<WorkspaceId, Arc<View>>> {
        self.views.clone()
    }
}

/// Them and their homes.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) workspaces: Workspaces,
    pub(super) homes: Homes,
}

impl World {
    /// Returns why nothing could be seen of connections into any workspace that runs, where that is so.
    pub(super) fn blind(&self) -> Option<String> {
        let outlooks = self.workspaces.values().filter_map(|tracked| tracked.watch.outlook.as_ref());
        let mut blind = None;
        for outlook in outlooks {
            match &outlook.off {
                Off::Blind { why } => blind = Some(why.clone()),
                Off::Never | Off::Kept { .. } | Off::At { .. } => return None,
            }
        }
        blind
    }

    /// Lets go those who follow the log of what is over.
    pub(super) fn close_logs(&mut self) {
        for tracked in self.workspaces.quietly() {
            if tracked.queued.is_none() && tracked.is_quiet() {
                tracked.log = None;
            }
        }
    }

    /// Returns whether a workspace is being brought in line.
    pub(super) fn is_tended(&self, id: &WorkspaceId) -> bool {
        let doing = self.workspaces.get(id).and_then(|tracked| tracked.operation.as_ref());
        doing.is_some_and(|operation| operation.doing == Doing::Tending)
    }

    /// Returns what runs of builds.
    pub(super) fn busy(&self, now: Moment) -> Busy {
        let mut busy = Busy::default();
        for tracked in self.workspaces.values() {
            match tracked.doing() {
                Some(Doing::Building { stage: Stage::Configure | Stage::Personalize, .. }) => {
                    busy.hooks += usize::from(tracked.hooks_count(now));
                }
                Some(Doing::Building { .. } | Doing::Recovering { .. }) => busy.builds += 1,
                Some(Doing::Stopping { .. } | Doing::Personalizing | Doing::Tending) | None => {}
            }
        }
        busy
    }
}
