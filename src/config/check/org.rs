//! `[orgs.NAME]`: defaults filled in, its own values within its own limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, values};
use crate::config::file::{OrgTable, ResourcesTable};
use crate::config::problem::Fault;
use crate::config::settings::{
    ActivityKind, Day, Limit, Limits, Org, Origin, Override, Pull, Registry, Resources, SecretFile, Server, Sourced,
};
use crate::config::source::At;
use crate::config::ssh_key;
use crate::model::Bytes;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Check<'_> {
    pub(super) fn org(&self, table: &OrgTable, server: &Server) -> Org {
        let name = &table.name.value;
        self.within_limits(&table.resources, table, "");
        self.unlimited_under_a_limit(table);
        self.git_hosts(table);
        let span = |at: &Option<At<Duration>>, default: u64| at.map_or(Duration::from_secs(default), |at| at.value);
        Org {
            name: name.clone(),
            declared_at: self.origin(table.name.place),
            written: self.written(&table.places),
            managers: list(&table.managers),
            image: self.or_default(table.image.as_ref(), String::new()),
            images: list(&table.images),
            pull: table.pull.map_or(Pull::Always, |at| at.value),
            auto_off: self.or_default(table.auto_off.as_ref(), Limit::Never),
            auto_off_override: table.auto_off_override.map_or(Override::Deny, |at| at.value),
            auto_off_max: table.auto_off_max.map(|at| at.value),
            activity: table.activity.map_or(ActivityKind::Traffic, |at| at.value),
            activity_floor: table.activity_floor.map_or(Bytes(1024), |at| at.value),
            activity_ignore: list(&table.activity_ignore),
            auto_start_days: match &table.auto_start_days {
                Some(days) => days.value.iter().map(|day| day.value).collect(),
                None => Day::all(),
            },
            auto_start_pause_after: table
                .auto_start_pause_after
                .map_or(Limit::After(Duration::from_secs(7 * DAY)), |at| at.value),
            holidays: list(&table.holidays).into_iter().collect(),
            hold_max: span(&table.hold_max, DAY),
            trash_keep: span(&table.trash_keep, 30 * DAY),
            build_on_create: table.build_on_create.is_none_or(|at| at.value),
            user: table.user.as_ref().map(|user| self.sourced(user)),
            stop_grace: span(&table.stop_grace, 10),
            hook_timeout: span(&table.hook_timeout, HOUR / 2),
            default_workspace: table.default_workspace.as_ref().map(|at| at.value.clone()),
            network_isolation: table.network_isolation.is_none_or(|at| at.value),
            runtime: table.runtime.as_ref().map(|at| at.value.clone()),
            subnet: table.subnet.map(|at| at.value),
            resources: self.resources(&table.resources, None),
            limits: limits(table),
            env: table.env.iter().map(|(name, value)| (name.value.clone(), self.sourced(value))).collect(),
            mounts: self.mounts(&table.mounts, server),
            git_hosts: table.git_hosts.iter().map(|(host, lines)| (host.value.clone(), values(lines))).collect(),
            registries: self.registries(table),
            secrets: self.secrets(table),
        }
    }

    /// Returns resources as a table says them, the rest from `under`, and what nobody says as default.
    pub(super) fn resources(&self, table: &ResourcesTable, under: Option<&Resources>) -> Resources {
        Resources {
            cpus: self.layered(table.cpus.map(some).as_ref(), under.map(|under| &under.cpus), None),
            memory: self.layered(table.memory.map(some).as_ref(), under.map(|under| &under.memory), None),
            pids: self.layered(table.pids.as_ref(), under.map(|under| &under.pids), 4096),
            shm: self.layered(table.shm.as_ref(), under.map(|under| &under.shm), Bytes(64 << 20)),
            gpus: self.layered(table.gpus.as_ref(), under.map(|under| &under.gpus), 0),
        }
    }

    fn layered<T: Clone>(&self, over: Option<&At<T>>, under: Option<&Sourced<T>>, default: T) -> Sourced<T> {
        match (over, under) {
            (Some(over), _) => self.sourced(over),
            (None, Some(under)) => under.clone(),
            (None, None) => Sourced { value: default, origin: Origin::Default },
        }
    }

    /// Notes what is over the org's limits; `whose` names the workspace, or nobody for the org's own resources.
    pub(super) fn within_limits(&self, resources: &ResourcesTable, org: &OrgTable, whose: &str) {
        let limits = &org.limits.resources;
        self.within("cpus", resources.cpus, limits.cpus, org, whose);
        self.within("memory", resources.memory, limits.memory, org, whose);
        self.within("pids", resources.pids, limits.pids, org, whose);
        self.within("shm", resources.shm, limits.shm, org, whose);
        self.within("gpus", resources.gpus, limits.gpus, org, whose);
    }

    fn within<T: PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        value: Option<At<T>>,
        limit: Option<At<T>>,
        org: &OrgTable,
        whose: &str,
    ) {
        let (Some(value), Some(limit)) = (value, limit) else { return };
        if value.value > limit.value {
            let org = &org.name.value;
            let message = format!("`{key}`{whose} is {}, over the limit of org `{org}`", value.value);
            let help = format!("write at most {}, or raise `{key}` in `[orgs.{org}.limits]`", limit.value);
            self.error(Fault::new(value.place, message).help(help).also(limit.place, "the limit is here"));
        }
    }

    /// A limit on what workspaces ask for says nothing of those that ask for nothing.
    fn unlimited_under_a_limit(&self, org: &OrgTable) {
        let (limits, resources) = (&org.limits.resources, &org.resources);
        let limited = [
            ("cpus", limits.cpus.map(|limit| limit.place), resources.cpus.is_some()),
            ("memory", limits.memory.map(|limit| limit.place), resources.memory.is_some()),
        ];
        for (key, place, has_default) in limited {
            if let Some(place) = place.filter(|_| !has_default) {
                let name = &org.name.value;
                let message =
                    format!("workspaces of org `{name}` that do not set `{key}` are unlimited, whatever this says");
                let help = format!("set `{key}` in `[orgs.{name}.resources]`");
                self.notes.warning(Fault::new(place, message).help(help));
            }
        }
    }

    fn git_hosts(&self, org: &OrgTable) {
        for (host, lines) in &org.git_hosts {
            let mut about_host = lines.is_empty();
            for line in lines {
                match ssh_key::known_host(line) {
                    Ok(patterns) => about_host |= ssh_key::is_about(&patterns, host),
                    Err(error) => {
                        about_host = true;
                        self.error(Fault::new(line.place, error.message).help(error.hint));
                    }
                }
            }
            if !about_host {
                let message = format!("none of these lines is about `{}`", host.value);
                let help = format!("the host will not be known: write what `ssh-keyscan {}` prints", host.value);
                self.notes.warning(Fault::new(host.place, message).help(help));
            }
        }
    }

    fn registries(&self, org: &OrgTable) -> BTreeMap<String, Registry> {
        let whole = org.registries.iter().filter_map(|(host, table)| {
            let password_file = table.password_file.as_ref().inspect(|file| {
                self.secret_file(file);
            });
            let (username, password_file) = (table.username.as_ref()?.value.clone(), password_file?.value.clone());
            Some((host.value.clone(), Registry { username, password_file }))
        });
        whole.collect()
    }

    fn secrets(&self, org: &OrgTable) -> BTreeMap<String, SecretFile> {
        let whole = org.secrets.iter().filter_map(|(name, file)| {
            let file = file.as_ref()?;
            let stamp = self.secret_file(file);
            Some((name.value.clone(), SecretFile { path: file.value.clone(), stamp }))
        });
        whole.collect()
    }
}

fn some<T>(at: At<T>) -> At<Option<T>> {
    At { value: Some(at.value), place: at.place }
}

fn list<T: Clone>(list: &Option<At<Vec<At<T>>>>) -> Vec<T> {
    list.as_ref().map(|list| values(&list.value)).unwrap_or_default()
}

fn limits(table: &OrgTable) -> Limits {
    let limits = &table.limits;
    Limits {
        cpus: limits.resources.cpus.map(|at| at.value),
        memory: limits.resources.memory.map(|at| at.value),
        pids: limits.resources.pids.map(|at| at.value),
        shm: limits.resources.shm.map(|at| at.value),
        gpus: limits.resources.gpus.map(|at| at.value),
        workspaces_per_user: limits.workspaces_per_user.map(|at| at.value),
        ports: list(&limits.ports),
    }
}
