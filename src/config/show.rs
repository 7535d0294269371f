//! `hearth config show WORKSPACE`: each value that is in force, and where it came from.

use std::fmt::Display;
use std::time::Duration;

use super::effective::{Effective, InForce};
use super::settings::{Org, Origin, Settings, Sourced};
use crate::model::{Span, UserName, WorkspaceId};

/// One value that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As it is written; `env.NAME` and `limits.KEY` for what has names of its own.
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

/// Returns what is in force for a workspace: its own values, its owner's, its org's.
pub fn rows(settings: &Settings, workspace: &Effective) -> Vec<Row> {
    let mut rows = own(settings, workspace);
    if let Some(org) = settings.orgs.get(&workspace.org) {
        rows.extend(policy(org));
        rows.extend(limits(org));
        rows.extend(what_is_put_in(org));
    }
    rows
}

/// Returns what is in force of a workspace's keys, those that members can set; none where no file declares it.
pub fn settable(in_force: &InForce, id: &WorkspaceId) -> Vec<Row> {
    let Some((workspace, _)) = in_force.workspace(id) else { return Vec::new() };
    let mut rows = own(&in_force.settings, &workspace);
    let key = |row: &Row| row.key.split('.').next().unwrap_or_default().to_owned();
    rows.retain(|row| super::set::WORKSPACE_KEYS.contains(&key(row).as_str()));
    rows
}

/// Returns what is in force of a user's keys, those that the user can set.
pub fn of_user(in_force: &InForce, user: &UserName) -> Vec<Row> {
    let declared = in_force.settings.users.get(user);
    let set = in_force.members.users.get(user).map(|me| me.as_set()).unwrap_or_default();
    let server = &in_force.settings.server.timezone;
    let file = |key: &str| match (key, declared) {
        ("timezone", declared) => {
            let zone = declared.and_then(|user| user.timezone.as_ref()).unwrap_or(server);
            (zone.name.clone(), zone.origin.clone())
        }
        ("auto_start", Some(user)) => match &user.auto_start {
            Some(at) => (at.to_string(), at.origin.clone()),
            None => ("never".to_owned(), Origin::Default),
        },
        ("auto_start", None) => ("never".to_owned(), Origin::Default),
        (key, declared) => {
            let value = declared.and_then(|user| match key {
                "dotfiles" => user.dotfiles.clone(),
                "name" => user.full_name.clone(),
                _ => user.email.clone(),
            });
            let origin = declared.map_or(Origin::Default, |user| user.written.origin(key));
            (or(&value, "none"), origin)
        }
    };
    let one = |key: &&str| match set.get(*key) {
        Some(value) => row(*key, value, Origin::Member),
        None => {
            let (value, origin) = file(key);
            row(*key, value, origin)
        }
    };
    super::set::USER_KEYS.iter().map(one).collect()
}

fn row(key: impl Into<String>, value: impl Display, origin: Origin) -> Row {
    Row { key: key.into(), value: value.to_string(), origin }
}

fn sourced<T: Display>(key: &str, value: &Sourced<T>) -> Row {
    row(key, &value.value, value.origin.clone())
}

fn or(value: &Option<impl Display>, none: &str) -> String {
    value.as_ref().map_or_else(|| none.to_owned(), ToString::to_string)
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn own(settings: &Settings, workspace: &Effective) -> Vec<Row> {
    let declared = settings.workspaces.get(&workspace.id);
    let user = settings.users.get(&workspace.id.user);
    let user_origin = |key| user.map_or(Origin::Default, |user| user.written.origin(key));
    let org_origin = match declared {
        Some(declared) if declared.written.says("org") => declared.written.origin("org"),
        Some(_) | None => user_origin("orgs"),
    };
    let resources = &workspace.resources;
    let unlimited = |value: Option<String>| value.unwrap_or_else(|| "unlimited".to_owned());
    let text = |key: &str, value: &Option<Sourced<String>>| match value {
        Some(value) => sourced(key, value),
        None => row(key, "none", Origin::Default),
    };
    let mut rows = vec![
        row("org", &workspace.org, org_origin),
        row("account", user.map_or("", |user| user.account.as_str()), user_origin("account")),
        sourced("image", &workspace.image),
        row("cpus", unlimited(resources.cpus.value.map(|cpus| cpus.to_string())), resources.cpus.origin.clone()),
        row(
            "memory",
            unlimited(resources.memory.value.map(|memory| memory.to_string())),
            resources.memory.origin.clone(),
        ),
        sourced("pids", &resources.pids),
        sourced("shm", &resources.shm),
        sourced("gpus", &resources.gpus),
        sourced("auto_off", &workspace.auto_off),
        sourced("auto_start", &workspace.auto_start),
        row("timezone", &workspace.timezone.name, workspace.timezone.origin.clone()),
        row("ports", listed(&workspace.ports.value), workspace.ports.origin.clone()),
        text("name", &workspace.full_name),
        text("email", &workspace.email),
        text("dotfiles", &workspace.dotfiles),
        row("ssh_keys", user.map_or(0, |user| user.ssh_keys.len()), user_origin("ssh_keys")),
        row("authorized_keys", user.is_some_and(|user| user.authorized_keys), user_origin("authorized_keys")),
    ];
    rows.extend(workspace.env.iter().map(|(name, value)| sourced(&format!("env.{name}"), value)));
    rows
}

fn policy(org: &Org) -> Vec<Row> {
    let span = |span: Duration| Span(span).to_string();
    let images = if org.images.is_empty() { org.image.to_string() } else { listed(&org.images) };
    let values: [(&str, String); 20] = [
        ("managers", listed(&org.managers)),
        ("images", images),
        ("pull", org.pull.to_string()),
        ("auto_off_override", org.auto_off_override.to_string()),
        ("auto_off_max", or(&org.auto_off_max.map(Span), "none")),
        ("activity", org.activity.to_string()),
        ("activity_floor", org.activity_floor.to_string()),
        ("activity_ignore", listed(&org.activity_ignore)),
        ("auto_start_days", listed(&org.auto_start_days)),
        ("auto_start_pause_after", org.auto_start_pause_after.to_string()),
        ("holidays", listed(&org.holidays)),
        ("hold_max", span(org.hold_max)),
        ("trash_keep", span(org.trash_keep)),
        ("build_on_create", org.build_on_create.to_string()),
        ("user", or(&org.user, "the image's")),
        ("stop_grace", span(org.stop_grace)),
        ("hook_timeout", span(org.hook_timeout)),
        ("network_isolation", org.network_isolation.to_string()),
        ("runtime", or(&org.runtime, "the engine's")),
        ("subnet", or(&org.subnet, "the engine chooses")),
    ];
    values.into_iter().map(|(key, value)| row(key, value, org.written.origin(key))).collect()
}

fn limits(org: &Org) -> Vec<Row> {
    let limits = &org.limits;
    let values = [
        ("cpus", or(&limits.cpus, "none")),
        ("memory", or(&limits.memory, "none")),
        ("pids", or(&limits.pids, "none")),
        ("shm", or(&limits.shm, "none")),
        ("gpus", or(&limits.gpus, "none")),
        ("workspaces_per_user", or(&limits.workspaces_per_user, "none")),
        ("ports", listed(&limits.ports)),
    ];
    let origin = |value: &str| if value == "none" { Origin::Default } else { org.written.origin("limits") };
    values.into_iter().map(|(key, value)| row(format!("limits.{key}"), &value, origin(&value))).collect()
}

/// Of secrets and registries names and files are told, and nothing of what is in them.
fn what_is_put_in(org: &Org) -> Vec<Row> {
    let mounts = org.mounts.iter().map(|mount| {
        let mode = if mount.read_only { " (read only)" } else { "" };
        row("mounts", format!("{} at {}{mode}", mount.source.display(), mount.target), org.written.origin("mounts"))
    });
    let hosts = org.git_hosts.keys().map(|host| row("git.hosts", host, org.written.origin("git")));
    let registries = org.registries.iter().map(|(host, registry)| {
        row("registries", format!("{host} as {}", registry.username), org.written.origin("registries"))
    });
    let secrets = org.secrets.iter().map(|(name, file)| {
        row("secrets", format!("{name} from {}", file.path.display()), org.written.origin("secrets"))
    });
    mounts.chain(hosts).chain(registries).chain(secrets).collect()
}
