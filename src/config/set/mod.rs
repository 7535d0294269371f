//! `hearth set` and `hearth reset` (rule C7): keys and values as people write them → what a member's settings become, or
//! why not. Pure.
//!
//! A value is read as in a file and held against the org's bounds as [`effective`] has them: what it would cut is
//! refused here. Of several changes all are made or none.

mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::effective::{Effective, InForce, effective};
use super::keys;
use super::member::{MemberUser, MemberWorkspace, Members};
use super::settings::{Org, Origin, Settings};
use super::text::{listed, nearest};
use crate::model::{PortMapping, Protocol, QuantityError, UserName, WorkspaceId};

/// What members may set of their workspaces.
pub const WORKSPACE_KEYS: [&str; 7] = ["image", "cpus", "memory", "auto_off", "auto_start", "env", "ports"];
/// What they may set of themselves.
pub const USER_KEYS: [&str; 5] = ["dotfiles", "timezone", "name", "email", "auto_start"];

/// More variables nobody needs, and the container's configuration has to hold them.
const MOST_VARIABLES: usize = 256;
const LONGEST_ENVIRONMENT: usize = 64 << 10;

/// Changes by their keys; a single variable is `env.NAME`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    pub set: BTreeMap<String, Value>,
    pub reset: BTreeSet<String>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub kind: Kind,
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It makes no sense.
    Malformed,
    /// The org, or hearth itself, does not let members do it.
    Forbidden,
    /// Somebody else has it.
    Taken,
}

impl Refused {
    pub(crate) fn malformed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: Kind::Malformed, message: message.into(), hint: hint.into() }
    }
}

/// Returns what a workspace's settings become.
///
/// # Errors
/// [`Refused`] with what would be right; a workspace that no file declares is for the caller to notice.
pub fn workspace(in_force: &InForce, id: &WorkspaceId, edits: &Edits) -> Result<MemberWorkspace, Refused> {
    let mut own = in_force.members.workspaces.get(id).cloned().unwrap_or_default();
    apply(edits, |key, value| edit_workspace(&mut own, key, value))?;
    fits(&own)?;
    let mut members = Members::clone(&in_force.members);
    members.workspaces.insert(id.clone(), own.clone());
    let settings = &in_force.settings;
    if let Some(declared) = settings.workspaces.get(id) {
        let wanted = effective(settings, declared, &members);
        permitted(&wanted, settings.org_of(declared), edits)?;
        if edits.set.contains_key("ports") {
            free(settings, &members, &wanted)?;
        }
    }
    Ok(own)
}

/// Returns what a user's settings become.
///
/// # Errors
/// [`Refused`] with what would be right.
pub fn user(in_force: &InForce, user: &UserName, edits: &Edits) -> Result<MemberUser, Refused> {
    let mut me = in_force.members.users.get(user).cloned().unwrap_or_default();
    apply(edits, |key, value| edit_user(&mut me, key, value))?;
    Ok(me)
}

/// Makes all changes; `edit` gets no value where a key is taken back.
fn apply(edits: &Edits, mut edit: impl FnMut(&str, Option<&Value>) -> Result<(), Refused>) -> Result<(), Refused> {
    if edits.set.is_empty() && edits.reset.is_empty() {
        return Err(Refused::malformed("nothing is to be changed", "name a key, such as `cpus=4`"));
    }
    if let Some(both) = edits.reset.iter().find(|key| edits.set.contains_key(*key)) {
        return Err(Refused::malformed(format!("`{both}` is to be set and to be reset"), "do one of the two"));
    }
    edits.reset.iter().try_for_each(|key| edit(key, None))?;
    edits.set.iter().try_for_each(|(key, value)| edit(key, Some(value)))
}

fn edit_workspace(own: &mut MemberWorkspace, key: &str, value: Option<&Value>) -> Result<(), Refused> {
    let named = |error| about(key, error);
    if let Some(name) = key.strip_prefix("env.") {
        match value {
            Some(value) => drop(own.env.insert(read::variable_name(name)?, read::variable(value).map_err(named)?)),
            None => drop(own.env.remove(name)),
        }
        return Ok(());
    }
    match key {
        "image" => own.image = value.map(read::image).transpose().map_err(named)?,
        "cpus" => own.cpus = value.map(read::cpus).transpose().map_err(named)?,
        "memory" => own.memory = value.map(read::memory).transpose().map_err(named)?,
        "auto_off" => own.auto_off = value.map(read::limit).transpose().map_err(named)?,
        "auto_start" => own.auto_start = value.map(read::auto_start).transpose().map_err(named)?,
        "ports" => own.ports = value.map(read::ports).transpose().map_err(named)?,
        "env" => own.env = value.map(read::environment).transpose()?.unwrap_or_default(),
        _ => return Err(unknown(key, &WORKSPACE_KEYS, &keys::WORKSPACE)),
    }
    Ok(())
}

fn edit_user(me: &mut MemberUser, key: &str, value: Option<&Value>) -> Result<(), Refused> {
    let named = |error| about(key, error);
    let text = |read: fn(&str) -> Result<String, QuantityError>| {
        value.map(|value| read(&read::text(value)?)).transpose().map_err(named)
    };
    match key {
        "dotfiles" => me.dotfiles = text(super::text::repository)?,
        "timezone" => me.timezone = text(|name| Ok(super::text::zone(name)?.name))?,
        "name" => me.name = text(super::text::line)?,
        "email" => me.email = text(super::text::email)?,
        "auto_start" => me.auto_start = value.map(read::auto_start).transpose().map_err(named)?,
        _ => return Err(unknown(key, &USER_KEYS, &keys::USER)),
    }
    Ok(())
}

fn about(key: &str, error: QuantityError) -> Refused {
    Refused::malformed(format!("`{key}`: {}", error.message), error.hint)
}

/// Says what else a key could be that cannot be set here.
fn unknown(key: &str, here: &[&str], table: &keys::Table) -> Refused {
    let elsewhere = if here == USER_KEYS { &WORKSPACE_KEYS[..] } else { &USER_KEYS[..] };
    if elsewhere.contains(&key) {
        let hint = match here == USER_KEYS {
            true => format!("it is a workspace's: `hearth set WORKSPACE {key}=…`"),
            false => format!("it is yours, not a workspace's: `hearth set --me {key}=…`"),
        };
        return Refused::malformed(format!("`{key}` is not set here"), hint);
    }
    if table.key(key).is_some() {
        let message = format!("`{key}` is not a member's to set: only the configuration on the server has it");
        return Refused { kind: Kind::Forbidden, message, hint: format!("members set {}", listed(here)) };
    }
    let hint = match nearest(key, here.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("the keys are {}; one variable is `env.NAME`", listed(here)),
    };
    Refused::malformed(format!("there is no key `{key}`"), hint)
}

fn fits(own: &MemberWorkspace) -> Result<(), Refused> {
    let length: usize = own.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if own.env.len() > MOST_VARIABLES || length > LONGEST_ENVIRONMENT {
        let most = format!("at most {MOST_VARIABLES} variables of {} KiB together", LONGEST_ENVIRONMENT >> 10);
        return Err(Refused::malformed("`env`: the environment is too large", format!("a workspace has {most}")));
    }
    Ok(())
}

/// Refuses what the org would cut of what is being set; what it cuts besides is not this request's.
fn permitted(wanted: &Effective, org: &Org, edits: &Edits) -> Result<(), Refused> {
    let touched = |key: &str| edits.set.keys().any(|set| set.split('.').next() == Some(key));
    let Some(cut) = wanted.cuts.iter().find(|cut| touched(cut.key)) else { return Ok(()) };
    let hint = match (cut.key, cut.by) {
        ("image", "image") => format!("only `{}` is permitted", org.image),
        ("image", _) => format!("permitted are `{}`, {}", org.image, listed(&org.images)),
        ("auto_off", "auto_off_override") => format!("it stays `{}`", cut.given),
        ("ports", _) => "publish none, or one that the org lets members publish".to_owned(),
        _ => format!("at most `{}` is allowed", cut.given),
    };
    let place = match org.written.origin(cut.by) {
        Origin::File { path, line, .. } => format!(" ({path}:{line})"),
        Origin::Default | Origin::Member | Origin::Bounded => String::new(),
    };
    let message = format!("`{}` = {} is not allowed: {}{place}", cut.key, cut.asked, cut.why);
    Err(Refused { kind: Kind::Forbidden, message, hint })
}

/// Refuses a port of the host that somebody else has. Whose it is, is not told: it may be a workspace that the caller
/// may not see.
fn free(settings: &Settings, members: &Members, wanted: &Effective) -> Result<(), Refused> {
    let ports = &wanted.ports.value;
    let taken = |port: &PortMapping, by: &str| Refused {
        kind: Kind::Taken,
        message: format!("`ports`: host port {} is taken by {by}", port.host_port),
        hint: "choose another".into(),
    };
    for (n, port) in ports.iter().enumerate() {
        if ports[..n].iter().any(|other| super::ports_clash(port, other)) {
            return Err(Refused::malformed(
                format!("`ports`: host port {} is given twice", port.host_port),
                "choose another",
            ));
        }
        let listeners = settings.ssh.iter().map(|ssh| ssh.listen).chain(settings.metrics.iter().map(|m| m.listen));
        for listen in listeners {
            let (host, host_port) = (listen.ip(), listen.port());
            let own = PortMapping { host, host_port, container_port: host_port, protocol: Protocol::Tcp };
            if super::ports_clash(port, &own) {
                return Err(taken(port, "hearthd itself"));
            }
        }
    }
    for other in settings.workspaces.values().filter(|other| other.id != wanted.id) {
        let theirs = effective(settings, other, members).ports.value;
        if let Some(port) = ports.iter().find(|port| theirs.iter().any(|their| super::ports_clash(port, their))) {
            return Err(taken(port, "another workspace"));
        }
    }
    Ok(())
}

impl MemberWorkspace {
    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Returns what is set, by keys, as people write it.
    pub fn as_set(&self) -> BTreeMap<String, String> {
        let values = [
            ("image", text(&self.image)),
            ("cpus", text(&self.cpus)),
            ("memory", text(&self.memory)),
            ("auto_off", text(&self.auto_off)),
            ("auto_start", text(&self.auto_start)),
            (
                "ports",
                self.ports.as_ref().map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
            ),
        ];
        let env = self.env.iter().map(|(name, value)| (format!("env.{name}"), value.clone()));
        values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).chain(env).collect()
    }
}

impl MemberUser {
    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Returns what is set, by keys, as people write it.
    pub fn as_set(&self) -> BTreeMap<String, String> {
        let values = [
            ("dotfiles", self.dotfiles.clone()),
            ("timezone", self.timezone.clone()),
            ("name", self.name.clone()),
            ("email", self.email.clone()),
            ("auto_start", text(&self.auto_start)),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

fn text(value: &Option<impl fmt::Display>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
}
