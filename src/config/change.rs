//! What a reload does to each workspace (rule C6): (old, new) → [`Plan`]. Pure; what runs and what is off, it does not know.

use std::collections::BTreeMap;
use std::fmt;

use super::effective::{self, Effective};
use super::member::Members;
use super::settings::{Org, Server, Settings, Sourced, User};
use super::spec::{SpecSummary, is_live, outdated};
use crate::model::{Outdated, WorkspaceId};

/// What a reload does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Keys of the server that change at once.
    pub server: Vec<&'static str>,
    /// Keys of the server that wait for a restart of hearthd.
    pub restart: Vec<&'static str>,
    /// In the order of names; what does not change is not in it.
    pub workspaces: BTreeMap<WorkspaceId, Change>,
}

/// What a reload does to a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is newly declared.
    Added {
        built: bool,
    },
    /// No file declares it any more: stopped, its home kept.
    Removed,
    Changed(Changes),
}

/// What changes of a workspace that stays, by keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Policy, in force at once.
    pub at_once: Vec<&'static str>,
    /// Made in the running container.
    pub live: Vec<Outdated>,
    /// The running container is outdated until its next build.
    pub outdated: Vec<Outdated>,
    /// Brought into the running container.
    pub renewed: Vec<&'static str>,
    /// Read anew at the next build.
    pub next: Vec<&'static str>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// Compares two configurations, each with what members have set laid over it.
pub fn plan(old: &Settings, new: &Settings, members: &Members) -> Plan {
    between((old, members), (new, members))
}

/// Returns what a change of members' settings does to each workspace.
pub fn by_members(settings: &Settings, old: &Members, new: &Members) -> BTreeMap<WorkspaceId, Changes> {
    let plan = between((settings, old), (settings, new));
    let changes = |(id, change)| match change {
        Change::Changed(changes) => Some((id, changes)),
        Change::Added { .. } | Change::Removed => None,
    };
    plan.workspaces.into_iter().filter_map(changes).collect()
}

fn between((old, old_members): (&Settings, &Members), (new, new_members): (&Settings, &Members)) -> Plan {
    let (before, after) = (effective::all(old, old_members), effective::all(new, new_members));
    let mut workspaces = BTreeMap::new();
    for id in before.keys().filter(|id| !after.contains_key(id)) {
        workspaces.insert(id.clone(), Change::Removed);
    }
    for (id, wanted) in &after {
        match before.get(id) {
            None => {
                let built = new.orgs.get(&wanted.org).is_some_and(|org| org.build_on_create);
                workspaces.insert(id.clone(), Change::Added { built });
            }
            Some(was) => {
                let changes = changes((old, was), (new, wanted));
                if !changes.is_empty() {
                    workspaces.insert(id.clone(), Change::Changed(changes));
                }
            }
        }
    }
    let (server, restart) = server(old, new);
    Plan { server, restart, workspaces }
}

fn changes((old, was): (&Settings, &Effective), (new, wanted): (&Settings, &Effective)) -> Changes {
    let (Some(old_org), Some(new_org)) = (old.orgs.get(&was.org), new.orgs.get(&wanted.org)) else {
        return Changes::default();
    };
    let different = outdated(&SpecSummary::of(was, old_org), &SpecSummary::of(wanted, new_org));
    let (live, outdated) = different.into_iter().partition(|what| is_live(*what));
    let mut at_once = own_policy(was, wanted);
    at_once.extend(org_policy(old_org, new_org));
    if let (Some(old), Some(new)) = (old.users.get(&was.id.user), new.users.get(&wanted.id.user)) {
        at_once.extend(access(old, new));
    }
    let (renewed, next) = (injected(was, wanted, old_org, new_org), at_next_build(was, wanted, old_org, new_org));
    Changes { at_once, live, outdated, renewed, next }
}

type Differences<const N: usize> = [(&'static str, bool); N];

fn keys<const N: usize>(differences: Differences<N>) -> Vec<&'static str> {
    differences.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn own_policy(was: &Effective, wanted: &Effective) -> Vec<&'static str> {
    keys([
        ("auto_off", was.auto_off.value != wanted.auto_off.value),
        ("auto_start", was.auto_start.value != wanted.auto_start.value),
        ("timezone", was.timezone.value != wanted.timezone.value),
    ])
}

fn org_policy(old: &Org, new: &Org) -> Vec<&'static str> {
    keys([
        ("managers", old.managers != new.managers),
        ("images", old.images != new.images),
        ("auto_off_override", old.auto_off_override != new.auto_off_override),
        ("auto_off_max", old.auto_off_max != new.auto_off_max),
        ("activity", old.activity != new.activity),
        ("activity_floor", old.activity_floor != new.activity_floor),
        ("activity_ignore", old.activity_ignore != new.activity_ignore),
        ("auto_start_days", old.auto_start_days != new.auto_start_days),
        ("auto_start_pause_after", old.auto_start_pause_after != new.auto_start_pause_after),
        ("holidays", old.holidays != new.holidays),
        ("hold_max", old.hold_max != new.hold_max),
        ("trash_keep", old.trash_keep != new.trash_keep),
        ("stop_grace", old.stop_grace != new.stop_grace),
        ("limits", old.limits != new.limits),
    ])
}

fn access(old: &User, new: &User) -> Vec<&'static str> {
    keys([
        ("account", old.account != new.account),
        ("orgs", old.orgs != new.orgs),
        ("ssh_keys", old.ssh_keys != new.ssh_keys),
        ("authorized_keys", old.authorized_keys != new.authorized_keys),
    ])
}

fn differs(a: &Option<Sourced<String>>, b: &Option<Sourced<String>>) -> bool {
    a.as_ref().map(|text| &text.value) != b.as_ref().map(|text| &text.value)
}

fn injected(was: &Effective, wanted: &Effective, old: &Org, new: &Org) -> Vec<&'static str> {
    keys([
        ("name", differs(&was.full_name, &wanted.full_name)),
        ("email", differs(&was.email, &wanted.email)),
        ("git.hosts", old.git_hosts != new.git_hosts),
        ("secrets", old.secrets != new.secrets),
    ])
}

fn at_next_build(was: &Effective, wanted: &Effective, old: &Org, new: &Org) -> Vec<&'static str> {
    keys([
        ("dotfiles", differs(&was.dotfiles, &wanted.dotfiles)),
        ("registries", old.registries != new.registries),
        ("pull", old.pull != new.pull),
        ("hook_timeout", old.hook_timeout != new.hook_timeout),
    ])
}

fn server(old: &Settings, new: &Settings) -> (Vec<&'static str>, Vec<&'static str>) {
    let (a, b): (&Server, &Server) = (&old.server, &new.server);
    let at_once = keys([
        ("timezone", a.timezone.value != b.timezone.value),
        ("admins", a.admins != b.admins),
        ("auditors", a.auditors != b.auditors),
        ("max_builds", a.max_builds != b.max_builds),
    ]);
    let restart = keys([
        ("docker", a.docker != b.docker),
        ("data_dir", a.data_dir != b.data_dir),
        ("run_dir", a.run_dir != b.run_dir),
        ("instance", a.instance != b.instance),
        ("ssh.listen", old.ssh != new.ssh),
        ("metrics.listen", old.metrics != new.metrics),
    ]);
    (at_once, restart)
}

impl Plan {
    /// Returns the workspaces that no file declares any more.
    pub fn removed(&self) -> impl Iterator<Item = &WorkspaceId> {
        self.workspaces.iter().filter(|(_, change)| **change == Change::Removed).map(|(id, _)| id)
    }

    /// Returns a line for each thing that a reload does, as `hearth config plan` prints them; none when it does nothing.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.server.is_empty() {
            lines.push(format!("server: {}: at once", self.server.join(", ")));
        }
        if !self.restart.is_empty() {
            lines.push(format!("server: {}: when hearthd is restarted", self.restart.join(", ")));
        }
        for (id, change) in &self.workspaces {
            lines.extend(change.to_string().lines().map(|line| format!("{id}: {line}")));
        }
        lines
    }
}

/// A line for each kind of change.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = match self {
            Change::Added { built: true } => return f.write_str("new: built at once"),
            Change::Added { built: false } => return f.write_str("new: stays off until somebody starts it"),
            Change::Removed => return f.write_str("removed: stopped, its home is kept"),
            Change::Changed(changes) => changes,
        };
        let names = |what: &[Outdated]| what.iter().map(Outdated::to_string).collect::<Vec<_>>();
        let texts = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
        let lines = [
            (texts(&changes.at_once), "at once"),
            ([names(&changes.live), texts(&changes.renewed)].concat(), "at once, in the running container"),
            (names(&changes.outdated), "at its next build; outdated until then"),
            (texts(&changes.next), "at its next build"),
        ];
        let lines = lines.iter().filter(|(keys, _)| !keys.is_empty());
        let lines = lines.map(|(keys, when)| format!("{}: {when}", keys.join(", ")));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}
