//! `[users.NAME]`.

use super::names::Person;
use super::{Check, Orgs, values};
use crate::config::problem::Fault;
use crate::config::settings::User;
use crate::config::source::At;
use crate::config::text::{listed, nearest};
use crate::model::OrgName;

impl Check<'_> {
    pub(super) fn user(&self, person: &Person<'_>, orgs: &Orgs<'_>) -> User {
        let table = person.table;
        let mut memberships = Vec::new();
        for org in table.orgs.iter().flat_map(|orgs| &orgs.value) {
            self.known_org(org, orgs);
            if !memberships.contains(&org.value) {
                memberships.push(org.value.clone());
            }
        }
        User {
            name: person.name.clone(),
            declared_at: self.origin(table.name.place),
            written: self.written(&table.places),
            account: table.account.as_ref().map_or_else(|| person.name.to_string(), |account| account.value.clone()),
            orgs: memberships,
            full_name: table.full_name.as_ref().map(|at| at.value.clone()),
            email: table.email.as_ref().map(|at| at.value.clone()),
            timezone: table.timezone.as_ref().map(|zone| self.sourced(zone)),
            ssh_keys: table.ssh_keys.as_ref().map(|keys| values(&keys.value)).unwrap_or_default(),
            authorized_keys: table.authorized_keys.is_some_and(|at| at.value),
            dotfiles: table.dotfiles.as_ref().map(|at| at.value.clone()),
            auto_start: table.auto_start.as_ref().map(|auto_start| self.sourced(auto_start)),
        }
    }

    /// Notes an org that no file defines.
    pub(super) fn known_org(&self, org: &At<OrgName>, orgs: &Orgs<'_>) -> bool {
        if orgs.contains_key(&org.value) {
            return true;
        }
        let known: Vec<&str> = orgs.keys().map(OrgName::as_str).collect();
        let help = match (nearest(org.as_str(), known.iter().copied()), known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => format!("define it: `[orgs.{}]` with `image = \"…\"`", org.value),
            (None, known) => format!("the orgs are {}", listed(known)),
        };
        self.error(Fault::new(org.place, format!("unknown org `{}`", org.value)).help(help));
        false
    }
}
