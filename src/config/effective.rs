//! What is in force for one workspace: the files, with what its owner set laid over them (rule C7), bounded by the org
//! each time, so that a lowered ceiling wins at once (rule P2).
//!
//! Layers, strongest first: the member's setting of the workspace, the workspace's table, the member's own setting,
//! the user's table, the org's, the default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::image;
use super::member::{MemberUser, MemberWorkspace, Members};
use super::settings::{AutoStart, Limit, Org, Origin, Override, Resources, Settings, Sourced, User, Workspace, Zone};
use super::text;
use crate::model::{OrgName, PortMapping, Span, WorkspaceId};

/// A workspace as it is to be. Made by [`effective`] alone.
#[derive(Debug, Clone)]
pub struct Effective {
    pub id: WorkspaceId,
    pub org: OrgName,
    pub image: Sourced<String>,
    pub resources: Resources,
    pub auto_off: Sourced<Limit>,
    /// Days are the user's; the org's are not taken off yet.
    pub auto_start: Sourced<AutoStart>,
    pub timezone: Sourced<Zone>,
    pub ports: Sourced<Vec<PortMapping>>,
    pub env: BTreeMap<String, Sourced<String>>,
    /// The owner's name, for git.
    pub full_name: Option<Sourced<String>>,
    pub email: Option<Sourced<String>>,
    pub dotfiles: Option<Sourced<String>>,
    /// What members asked for and did not get.
    pub cuts: Vec<Cut>,
}

/// A member's setting that the org does not allow as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub key: &'static str,
    pub asked: String,
    pub given: String,
    /// The org's key that says so; empty where it is not the org's doing.
    pub by: &'static str,
    pub why: String,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} instead of {}: {}", self.key, self.given, self.asked, self.why)
    }
}

/// Lays the members' settings over a declared workspace.
pub fn effective(settings: &Settings, workspace: &Workspace, members: &Members) -> Effective {
    let (no_workspace, no_user) = (MemberWorkspace::default(), MemberUser::default());
    let own = members.workspaces.get(&workspace.id).unwrap_or(&no_workspace);
    let me = members.users.get(&workspace.id.user).unwrap_or(&no_user);
    let mut layers = Layers { org: settings.org_of(workspace), workspace, cuts: Vec::new() };
    let (full_name, email, dotfiles) = layers.person(settings.users.get(&workspace.id.user), me);
    Effective {
        id: workspace.id.clone(),
        org: workspace.org.clone(),
        image: layers.image(own),
        resources: layers.resources(own),
        auto_off: layers.auto_off(own),
        auto_start: layers.auto_start(own, me),
        timezone: layers.timezone(me),
        ports: layers.ports(own),
        env: layers.env(own),
        full_name,
        email,
        dotfiles,
        cuts: layers.cuts,
    }
}

/// The files and what members set, as of one moment; cheap to clone.
#[derive(Debug, Clone)]
pub struct InForce {
    pub settings: Arc<Settings>,
    pub members: Arc<Members>,
}

impl InForce {
    /// Returns a workspace as it is to be, with its org; `None` where no file declares it.
    pub fn workspace(&self, id: &WorkspaceId) -> Option<(Effective, &Org)> {
        let declared = self.settings.workspaces.get(id)?;
        Some((effective(&self.settings, declared, &self.members), self.settings.org_of(declared)))
    }
}

/// Returns every declared workspace as it is to be.
pub fn all(settings: &Settings, members: &Members) -> BTreeMap<WorkspaceId, Effective> {
    settings
        .workspaces
        .values()
        .map(|workspace| (workspace.id.clone(), effective(settings, workspace, members)))
        .collect()
}

struct Layers<'a> {
    org: &'a Org,
    workspace: &'a Workspace,
    cuts: Vec<Cut>,
}

type Text = Option<Sourced<String>>;

impl Layers<'_> {
    fn cut(
        &mut self,
        key: &'static str,
        asked: impl fmt::Display,
        given: impl fmt::Display,
        by: &'static str,
        why: impl Into<String>,
    ) {
        let (asked, given) = (asked.to_string(), given.to_string());
        self.cuts.push(Cut { key, asked, given, by, why: why.into() });
    }

    fn image(&mut self, own: &MemberWorkspace) -> Sourced<String> {
        let file = &self.workspace.image;
        match &own.image {
            None => file.clone(),
            Some(asked) if asked == &file.value => file.clone(),
            Some(asked) if image::is_permitted(asked, &self.org.image, &self.org.images) => member(asked.clone()),
            Some(asked) => {
                let why = format!("org `{}` does not permit this image", self.org.name);
                let by = if self.org.images.is_empty() { "image" } else { "images" };
                self.cut("image", asked, file, by, why);
                file.clone()
            }
        }
    }

    fn resources(&mut self, own: &MemberWorkspace) -> Resources {
        let mut resources = self.workspace.resources.clone();
        if let Some(asked) = own.cpus {
            let ceiling = self.org.limits.cpus.filter(|ceiling| asked > *ceiling);
            resources.cpus = self.at_most("cpus", asked, ceiling);
        }
        if let Some(asked) = own.memory {
            let ceiling = self.org.limits.memory.filter(|ceiling| asked > *ceiling);
            resources.memory = self.at_most("memory", asked, ceiling);
        }
        resources
    }

    fn at_most<T: Copy + fmt::Display>(
        &mut self,
        key: &'static str,
        asked: T,
        ceiling: Option<T>,
    ) -> Sourced<Option<T>> {
        let Some(ceiling) = ceiling else { return member(Some(asked)) };
        self.cut(key, asked, ceiling, "limits", format!("org `{}` limits `{key}` to {ceiling}", self.org.name));
        Sourced { value: Some(ceiling), origin: Origin::Bounded }
    }

    fn auto_off(&mut self, own: &MemberWorkspace) -> Sourced<Limit> {
        let file = self.workspace.auto_off.clone();
        let Some(asked) = own.auto_off else { return file };
        let org = &self.org.name;
        match (self.org.auto_off_override, asked, self.org.auto_off_max) {
            (Override::Deny, _, _) => {
                let why = format!("org `{org}` has `auto_off_override = \"deny\"`");
                self.cut("auto_off", asked, &file, "auto_off_override", why);
                file
            }
            (Override::Disable, _, _) | (Override::Modify, Limit::After(_), None) => member(asked),
            (Override::Modify, Limit::Never, None) => {
                let why = format!("org `{org}` has `auto_off_override = \"modify\"`, which does not allow `never`");
                self.cut("auto_off", asked, &file, "auto_off_override", why);
                file
            }
            (Override::Modify, Limit::After(span), Some(max)) if span <= max => member(asked),
            (Override::Modify, _, Some(max)) => {
                let why = format!("org `{org}` has `auto_off_max = \"{}\"`", Span(max));
                self.cut("auto_off", asked, Span(max), "auto_off_max", why);
                Sourced { value: Limit::After(max), origin: Origin::Bounded }
            }
        }
    }

    fn auto_start(&self, own: &MemberWorkspace, me: &MemberUser) -> Sourced<AutoStart> {
        match (&own.auto_start, &me.auto_start) {
            (Some(own), _) => member(own.clone()),
            (None, Some(me)) if !self.workspace.written.says("auto_start") => member(me.clone()),
            (None, _) => self.workspace.auto_start.clone(),
        }
    }

    fn timezone(&mut self, me: &MemberUser) -> Sourced<Zone> {
        let file = self.workspace.timezone.clone();
        match me.timezone.as_deref().map(|asked| (asked, text::zone(asked))) {
            Some((_, Ok(zone))) if !self.workspace.written.says("timezone") => member(zone),
            Some((asked, Err(error))) => {
                self.cut("timezone", asked, &file.value.name, "", error.message);
                file
            }
            Some(_) | None => file,
        }
    }

    fn ports(&mut self, own: &MemberWorkspace) -> Sourced<Vec<PortMapping>> {
        let Some(asked) = &own.ports else { return self.workspace.ports.clone() };
        let (given, refused): (Vec<PortMapping>, Vec<PortMapping>) =
            asked.iter().copied().partition(|port| self.may_publish(port));
        for port in &refused {
            let why = format!("org `{}` lets members publish {}", self.org.name, publishable(self.org));
            self.cut("ports", port, "none", "limits", why);
        }
        let origin = if refused.is_empty() { Origin::Member } else { Origin::Bounded };
        Sourced { value: given, origin }
    }

    /// What the file publishes already is the admin's choice and stays the member's.
    fn may_publish(&self, port: &PortMapping) -> bool {
        let in_limits = self.org.limits.ports.iter().any(|range| range.contains(port.host_port));
        (port.host == IpAddr::V4(Ipv4Addr::LOCALHOST) && in_limits) || self.workspace.ports.contains(port)
    }

    fn env(&mut self, own: &MemberWorkspace) -> BTreeMap<String, Sourced<String>> {
        let mut env = self.workspace.env.clone();
        for (name, value) in &own.env {
            match text::env_name(name) {
                Ok(_) if !value.contains('\0') => drop(env.insert(name.clone(), member(value.clone()))),
                Ok(_) => self.cut("env", name, "none", "", "the value has a NUL character"),
                Err(error) => self.cut("env", name, "none", "", error.message),
            }
        }
        env
    }

    fn person(&mut self, user: Option<&User>, me: &MemberUser) -> (Text, Text, Text) {
        let file = |key: &str, value: fn(&User) -> &Option<String>| {
            let user = user?;
            Some(Sourced { value: value(user).clone()?, origin: user.written.origin(key) })
        };
        (
            self.person_key("name", &me.name, file("name", |user| &user.full_name), text::line),
            self.person_key("email", &me.email, file("email", |user| &user.email), text::email),
            self.person_key("dotfiles", &me.dotfiles, file("dotfiles", |user| &user.dotfiles), text::repository),
        )
    }

    fn person_key(
        &mut self,
        key: &'static str,
        asked: &Option<String>,
        file: Text,
        read: fn(&str) -> Result<String, crate::model::QuantityError>,
    ) -> Text {
        let Some(asked) = asked else { return file };
        match read(asked) {
            Ok(value) => Some(member(value)),
            Err(error) => {
                self.cut(key, asked, file.as_ref().map_or("none", |file| &file.value), "", error.message);
                file
            }
        }
    }
}

fn member<T>(value: T) -> Sourced<T> {
    Sourced { value, origin: Origin::Member }
}

fn publishable(org: &Org) -> String {
    match org.limits.ports.as_slice() {
        [] => "no ports".to_owned(),
        ranges => format!("{} on 127.0.0.1", text::listed(&ranges.iter().map(ToString::to_string).collect::<Vec<_>>())),
    }
}
