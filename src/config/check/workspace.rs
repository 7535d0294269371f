//! `[users.NAME.workspaces.NAME]`, and the workspace that an org gives each of its members.

use std::collections::BTreeMap;

use super::names::Person;
use super::{Check, KnownOrg, Orgs};
use crate::config::file::{OrgTable, WorkspaceTable};
use crate::config::image;
use crate::config::problem::Fault;
use crate::config::settings::{AutoStart, Origin, Server, Sourced, User, Workspace, Written};
use crate::config::source::Place;
use crate::config::text::listed;
use crate::model::{OrgName, UserName, WorkspaceId};

type Users = BTreeMap<UserName, User>;

/// A workspace that counts towards what its owner may have in an org.
struct Counted<'a> {
    org: &'a OrgTable,
    place: Place,
}

impl Check<'_> {
    pub(super) fn workspaces(
        &self,
        people: &[Person<'_>],
        users: &Users,
        orgs: &Orgs<'_>,
        server: &Server,
    ) -> BTreeMap<WorkspaceId, Workspace> {
        let mut workspaces = BTreeMap::new();
        for person in people {
            let Some(user) = users.get(&person.name) else { continue };
            let mut counted = Vec::new();
            for table in &person.workspaces {
                let id = WorkspaceId::new(person.name.clone(), table.name.value.clone());
                let Some(known) = self.org_of(table, person, user, orgs, &id) else { continue };
                self.workspace_table(table, known, &id);
                counted.push(Counted { org: known.table, place: table.name.place });
                workspaces.insert(id.clone(), self.workspace(id, Some(table), known, user, server));
            }
            self.default_workspaces(person, user, orgs, server, &mut workspaces, &mut counted);
            self.not_too_many(&person.name, &counted);
        }
        workspaces
    }

    /// Finds the org of a workspace: the one that it names, or its owner's only one.
    fn org_of<'o>(
        &self,
        table: &WorkspaceTable,
        person: &Person<'_>,
        user: &User,
        orgs: &'o Orgs<'_>,
        id: &WorkspaceId,
    ) -> Option<&'o KnownOrg<'o>> {
        let names: Vec<&str> = user.orgs.iter().map(OrgName::as_str).collect();
        if let Some(org) = &table.org {
            if self.known_org(org, orgs) && !user.orgs.contains(&org.value) && !self.orgs_are_faulty(person) {
                let message = format!("user `{}` is not in org `{}`", user.name, org.value);
                let fault = Fault::new(org.place, message).help(format!("add it to `orgs` in `[users.{}]`", user.name));
                self.error(match &person.table.orgs {
                    Some(orgs) => fault.also(orgs.place, "the user's orgs are here"),
                    None => fault,
                });
            }
            return orgs.get(&org.value);
        }
        match user.orgs.as_slice() {
            [org] => orgs.get(org),
            _ if table.places.contains_key("org") || self.orgs_are_faulty(person) => None,
            [] => {
                let message = format!("workspace `{id}` has no org: user `{}` is in none", user.name);
                let help = format!("write `orgs = […]` in `[users.{}]`", user.name);
                self.error(Fault::new(table.name.place, message).help(help));
                None
            }
            [first, ..] => {
                let message = format!("workspace `{id}` has no org: user `{}` is in {}", user.name, listed(&names));
                self.error(
                    Fault::new(table.name.place, message).help(format!("write one of them: `org = \"{first}\"`")),
                );
                None
            }
        }
    }

    fn orgs_are_faulty(&self, person: &Person<'_>) -> bool {
        person.table.places.get("orgs").is_some_and(|place| self.notes.is_faulty(*place))
    }

    fn workspace_table(&self, table: &WorkspaceTable, known: &KnownOrg<'_>, id: &WorkspaceId) {
        self.within_limits(&table.resources, known.table, &format!(" of `{id}`"));
        let (Some(image), org) = (&table.image, &known.org) else { return };
        let patterns_are_faulty = known.table.places.get("images").is_some_and(|place| self.notes.is_faulty(*place));
        if image::is_permitted(image, &org.image, &org.images) || patterns_are_faulty || org.image.is_empty() {
            return;
        }
        let mut permitted = vec![org.image.value.clone()];
        permitted.extend(org.images.iter().cloned());
        let message = format!("image `{}` is not permitted in org `{}`", image.value, org.name);
        let fault = Fault::new(image.place, message).help(format!("permitted are {}", listed(&permitted)));
        let place = known.table.places.get("images").or_else(|| known.table.places.get("image"));
        self.error(match place {
            Some(place) => fault.also(*place, "what is permitted is here"),
            None => fault,
        });
    }

    /// Gives a member the workspaces of their orgs, unless a table of that name is there already.
    fn default_workspaces<'o>(
        &self,
        person: &Person<'_>,
        user: &User,
        orgs: &'o Orgs<'_>,
        server: &Server,
        workspaces: &mut BTreeMap<WorkspaceId, Workspace>,
        counted: &mut Vec<Counted<'o>>,
    ) {
        let mut given: BTreeMap<WorkspaceId, Place> = BTreeMap::new();
        for known in user.orgs.iter().filter_map(|org| orgs.get(org)) {
            let Some(name) = &known.table.default_workspace else { continue };
            let id = WorkspaceId::new(person.name.clone(), name.value.clone());
            if let Some(first) = given.get(&id) {
                let message = format!("two orgs of user `{}` give a workspace `{}`", user.name, name.value);
                let help =
                    format!("say which it is: `[users.{}.workspaces.{}]` with `org = \"…\"`", user.name, name.value);
                let fault = Fault::new(name.place, message).help(help).also(*first, "the other is here");
                let memberships = person.table.orgs.as_ref().map(|orgs| orgs.place);
                self.error(match memberships {
                    Some(place) => fault.also(place, "the user's orgs are here"),
                    None => fault,
                });
            } else if !person.workspaces.iter().any(|table| table.name.value == name.value) {
                given.insert(id.clone(), name.place);
                counted.push(Counted { org: known.table, place: name.place });
                workspaces.insert(id.clone(), self.workspace(id, None, known, user, server));
            }
        }
    }

    fn not_too_many(&self, user: &UserName, counted: &[Counted<'_>]) {
        let mut counts: BTreeMap<&OrgName, u32> = BTreeMap::new();
        for Counted { org, place } in counted {
            let count = counts.entry(&org.name.value).or_default();
            *count += 1;
            let Some(limit) = &org.limits.workspaces_per_user else { continue };
            if *count == limit.value.saturating_add(1) {
                let org = &org.name.value;
                let message =
                    format!("user `{user}` has more workspaces in org `{org}` than its limit of {}", limit.value);
                let help = format!("remove one, or raise `workspaces_per_user` in `[orgs.{org}.limits]`");
                self.error(Fault::new(*place, message).help(help).also(limit.place, "the limit is here"));
            }
        }
    }

    fn workspace(
        &self,
        id: WorkspaceId,
        table: Option<&WorkspaceTable>,
        known: &KnownOrg<'_>,
        user: &User,
        server: &Server,
    ) -> Workspace {
        let (org, empty) = (&known.org, Default::default());
        let auto_start = table.and_then(|table| table.auto_start.as_ref()).map(|at| self.sourced(at));
        let timezone = table.and_then(|table| table.timezone.as_ref()).map(|at| self.sourced(at));
        let auto_off = table.and_then(|table| table.auto_off.as_ref()).map(|at| self.sourced(at));
        let ports = table.and_then(|table| table.ports.as_ref());
        let ports = ports.map(|at| Sourced { value: super::values(&at.value), origin: self.origin(at.place) });
        let mut env = org.env.clone();
        for (name, value) in table.iter().flat_map(|table| &table.env) {
            env.insert(name.value.clone(), self.sourced(value));
        }
        let declared_at = match (table, &known.table.default_workspace) {
            (Some(table), _) => self.origin(table.name.place),
            (None, Some(default)) => self.origin(default.place),
            (None, None) => Origin::Default,
        };
        let image = table.and_then(|table| table.image.as_ref());
        Workspace {
            id,
            org: org.name.clone(),
            declared_at,
            written: table.map_or_else(Written::default, |table| self.written(&table.places)),
            image: image.map_or_else(|| org.image.clone(), |image| self.sourced(image)),
            resources: self.resources(table.map_or(&empty, |table| &table.resources), Some(&org.resources)),
            auto_off: auto_off.unwrap_or_else(|| org.auto_off.clone()),
            auto_start: auto_start.or_else(|| user.auto_start.clone()).unwrap_or(Sourced::default_of(AutoStart::Never)),
            timezone: timezone.or_else(|| user.timezone.clone()).unwrap_or_else(|| server.timezone.clone()),
            ports: ports.unwrap_or(Sourced::default_of(Vec::new())),
            env,
        }
    }
}
