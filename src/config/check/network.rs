//! What can be had only once on the machine: host ports, addresses of networks, people's keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::names::Person;
use super::{Check, Orgs};
use crate::config::file::Tables;
use crate::config::problem::Fault;
use crate::config::source::{At, Place};
use crate::config::ssh_key;
use crate::model::{PortMapping, Protocol};

/// Somebody who wants a port of the host.
struct Claim {
    host: IpAddr,
    place: Place,
    who: String,
}

/// Returns whether two published ports need the same port of the host; an unspecified address takes it on all of its kind.
pub(crate) fn ports_clash(a: &PortMapping, b: &PortMapping) -> bool {
    a.host_port == b.host_port && a.protocol == b.protocol && hosts_clash(a.host, b.host)
}

fn hosts_clash(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

impl Check<'_> {
    pub(super) fn host_ports(&self, tables: &Tables, people: &[Person<'_>]) {
        let mut claims: BTreeMap<(u16, Protocol), Vec<Claim>> = BTreeMap::new();
        let listeners = [(&tables.ssh, "`[ssh]`"), (&tables.metrics, "`[metrics]`")];
        for (listen, who) in listeners {
            if let Some(At { value, place }) = listen {
                let claim = Claim { host: SocketAddr::ip(value), place: *place, who: who.to_owned() };
                claims.entry((value.port(), Protocol::Tcp)).or_default().push(claim);
            }
        }
        for person in people {
            for workspace in &person.workspaces {
                for port in workspace.ports.iter().flat_map(|ports| &ports.value) {
                    let who = format!("`{}/{}`", person.name, workspace.name.value);
                    let claim = Claim { host: port.host, place: port.place, who };
                    claims.entry((port.host_port, port.protocol)).or_default().push(claim);
                }
            }
        }
        for ((port, protocol), claims) in &mut claims {
            claims.sort_by_key(|claim| claim.place);
            for (n, claim) in claims.iter().enumerate() {
                let Some(first) = claims[..n].iter().find(|first| hosts_clash(first.host, claim.host)) else {
                    continue;
                };
                let kind = if *protocol == Protocol::Udp { "/udp" } else { "" };
                let message = format!("host port {port}{kind} is taken by {}", first.who);
                let fault = Fault::new(claim.place, message).help("choose another");
                self.error(fault.also(first.place, "it is taken here"));
            }
        }
    }

    pub(super) fn subnets(&self, orgs: &Orgs<'_>) {
        let mut subnets: Vec<_> =
            orgs.iter().filter_map(|(name, known)| Some((name, known.table.subnet.as_ref()?))).collect();
        subnets.sort_by_key(|(_, subnet)| subnet.place);
        for (n, (_, subnet)) in subnets.iter().enumerate() {
            let Some((org, first)) = subnets[..n].iter().find(|(_, first)| first.overlaps(subnet.value)) else {
                continue;
            };
            let message = format!("subnet {} overlaps {}, which org `{org}` has", subnet.value, first.value);
            let fault = Fault::new(subnet.place, message).help("choose one that no other org has");
            self.error(fault.also(first.place, "it is taken here"));
        }
    }

    /// The gateway knows a person by their key alone.
    pub(super) fn keys_of_people(&self, people: &[Person<'_>]) {
        let mut owners: BTreeMap<String, (&Person<'_>, Place)> = BTreeMap::new();
        for person in people {
            for key in person.table.ssh_keys.iter().flat_map(|keys| &keys.value) {
                let (first, place) = *owners.entry(ssh_key::identity(key)).or_insert((person, key.place));
                if first.name != person.name {
                    let message = format!("this ssh key is user `{}`'s already", first.name);
                    let fault =
                        Fault::new(key.place, message).help("a key says who somebody is: give each person their own");
                    self.error(fault.also(place, "it is taken here"));
                }
            }
        }
    }
}
