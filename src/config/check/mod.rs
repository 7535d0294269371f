//! What the files say together → [`Settings`]: references, limits, names and ports taken twice, files and mounts that open
//! a door. Notes every fault and goes on; what it makes of faulty files is thrown away by its caller.

mod files;
mod mounts;
mod names;
mod network;
mod org;
mod server;
mod user;
mod workspace;

pub(crate) use network::ports_clash;

use std::collections::BTreeMap;

use super::file::{OrgTable, Places, Tables};
use super::host::HostFacts;
use super::problem::{Fault, Notes};
use super::settings::{Metrics, Org, Origin, Settings, Sourced, Ssh, Written};
use super::source::{At, Place, Sources};
use crate::model::OrgName;

/// What every part of the check needs.
#[derive(Clone, Copy)]
struct Check<'a> {
    sources: &'a Sources,
    host: &'a dyn HostFacts,
    notes: &'a Notes,
}

/// An org as it is written and as it is checked.
struct KnownOrg<'a> {
    table: &'a OrgTable,
    org: Org,
}

type Orgs<'a> = BTreeMap<OrgName, KnownOrg<'a>>;

/// Checks everything.
pub(super) fn check(tables: &Tables, sources: &Sources, host: &dyn HostFacts, notes: &Notes) -> Settings {
    let check = Check { sources, host, notes };
    check.config_files();
    let server = check.server(tables.server.as_ref());
    let (org_tables, people) = check.names(tables);
    let known = org_tables.into_iter().map(|table| {
        let org = check.org(table, &server);
        (org.name.clone(), KnownOrg { table, org })
    });
    let orgs: Orgs<'_> = known.collect();
    check.subnets(&orgs);
    let users = people.iter().map(|person| (person.name.clone(), check.user(person, &orgs))).collect();
    let workspaces = check.workspaces(&people, &users, &orgs, &server);
    check.host_ports(tables, &people);
    check.keys_of_people(&people);
    check.accounts(&people);
    Settings {
        server,
        ssh: tables.ssh.map(|listen| Ssh { listen: listen.value }),
        metrics: tables.metrics.map(|listen| Metrics { listen: listen.value }),
        orgs: orgs.into_iter().map(|(name, known)| (name, known.org)).collect(),
        users,
        workspaces,
    }
}

impl Check<'_> {
    fn error(&self, fault: Fault) {
        self.notes.error(fault);
    }

    fn origin(&self, place: Place) -> Origin {
        self.sources.origin(place)
    }

    fn sourced<T: Clone>(&self, at: &At<T>) -> Sourced<T> {
        Sourced { value: at.value.clone(), origin: self.origin(at.place) }
    }

    fn or_default<T: Clone>(&self, at: Option<&At<T>>, default: T) -> Sourced<T> {
        at.map_or_else(|| Sourced::default_of(default), |at| self.sourced(at))
    }

    fn written(&self, places: &Places) -> Written {
        Written(places.iter().map(|(key, place)| (*key, self.origin(*place))).collect())
    }
}

/// Returns the values of a list without their places.
fn values<T: Clone>(list: &[At<T>]) -> Vec<T> {
    list.iter().map(|item| item.value.clone()).collect()
}
