//! `[users.NAME]`.

use std::collections::BTreeMap;

use super::names::Person;
use super::{Check, Orgs, values};
use crate::config::problem::Fault;
use crate::config::settings::User;
use crate::config::source::{At, Place};
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

    /// Two users of one account would have each other's workspaces.
    pub(super) fn accounts(&self, people: &[Person<'_>]) {
        let mut taken: BTreeMap<&str, Place> = BTreeMap::new();
        for person in people {
            let (account, place) = match &person.table.account {
                Some(account) => (account.value.as_str(), account.place),
                None => (person.name.as_str(), person.table.name.place),
            };
            if let Some(first) = taken.insert(account, place) {
                let message = format!("two users have the account `{account}`");
                let help = "give one of them another: `account = \"…\"` (it is the user's name where nothing is said)";
                self.error(Fault::new(place, message).help(help).also(first, "the first is here"));
            }
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
