//! Which of a container's connections may be a person's (P3, P4). Pure.
//!
//! Inbound is what is connected to a port that the container listens on or publishes. Of that, what comes from the
//! container itself or from another workspace is nobody's use. What comes from the host is looked up on the host:
//!
//! ```text
//!   person ──▶ host:8080 (docker-proxy) ──▶ gateway:51234 ──▶ container:80     the host's side of 8080 is judged
//!   person on the host ──▶ container:80                                        counts, with the account
//!   workspace ──▶ host:8080 (docker-proxy) ──▶ gateway:51236 ──▶ container:80  does not count
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::netlink::{Sockets, Tcp};
use crate::config::subnet::Subnet;
use crate::model::{Live, LiveKey, Measure, Outgoing, PortMapping, Protocol};

/// Past this many outgoing connections the rest is not named.
const MOST_NAMED: usize = 32;

/// A TCP connection from outside into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub key: LiveKey,
    pub peer: IpAddr,
    /// The container's.
    pub port: u16,
    /// The host account at the other end, where that is on this host.
    pub uid: Option<u32>,
    pub payload: u64,
    pub data_idle: Duration,
    pub silent: Duration,
}

impl Connection {
    /// Returns it as evidence; `who` is the account's name.
    pub fn live(&self, who: Option<String>) -> Live {
        let Self { peer, port, payload, data_idle, silent, .. } = *self;
        let measure = Measure::Connection { peer, port, payload, data_idle, silent };
        Live { key: self.key.clone(), who, from: Some(peer.to_string()), measure }
    }
}

/// The host's sockets, for looking up.
#[derive(Debug, Default)]
pub(super) struct Host {
    by_ends: BTreeMap<(SocketAddr, SocketAddr), Tcp>,
    addresses: BTreeSet<IpAddr>,
}

impl Host {
    pub(super) fn new(sockets: Sockets, addresses: BTreeSet<IpAddr>) -> Self {
        let mut host = Self { by_ends: BTreeMap::new(), addresses };
        host.add(sockets);
        host
    }

    /// Adds what a second look showed.
    pub(super) fn add(&mut self, sockets: Sockets) {
        self.by_ends.extend(sockets.established.into_iter().map(|tcp| ((tcp.local, tcp.remote), tcp)));
    }

    /// Returns the other end of a connection, where it is on the host.
    fn other_end(&self, tcp: &Tcp) -> Option<&Tcp> {
        self.by_ends.get(&(tcp.remote, tcp.local))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    /// Returns the host's side of a published port: what was accepted there, and where nothing accepts (the engine
    /// without its proxy), what programs on the host connected to it. With the account of each that is on the host.
    fn side_of(&self, port: PortMapping) -> Vec<(&Tcp, IpAddr, Option<u32>)> {
        let at = |address: IpAddr| port.host.is_unspecified() || port.host == address;
        let accepted = self.by_ends.values().filter(|tcp| tcp.local.port() == port.host_port && at(tcp.local.ip()));
        let accepted = accepted.map(|tcp| (tcp, tcp.remote.ip(), self.other_end(tcp).map(|end| end.uid)));
        let accepted: Vec<_> = accepted.collect();
        if !accepted.is_empty() {
            return accepted;
        }
        let dialled =
            self.by_ends.values().filter(|tcp| tcp.remote.port() == port.host_port && self.is_own(tcp.remote.ip()));
        dialled.map(|tcp| (tcp, tcp.local.ip(), Some(tcp.uid))).collect()
    }
}

/// What one container's sockets are looked at with.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) sockets: &'a Sockets,
    pub(super) ports: &'a [PortMapping],
    pub(super) host: &'a Host,
    /// Networks of workspaces.
    pub(super) ours: &'a [Subnet],
    /// Cookies of what was inbound at an earlier look: a listener may be closed since.
    pub(super) inbound: &'a BTreeSet<u64>,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Classified {
    pub(super) connections: Vec<Connection>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) inbound: BTreeSet<u64>,
    /// More came from the host than the host's side of the published ports explains: look there again.
    pub(super) unexplained: bool,
}

/// Tells a container's connections apart.
pub(super) fn classify(view: View<'_>) -> Classified {
    let mut answer = Classified::default();
    let ends: BTreeSet<(SocketAddr, SocketAddr)> =
        view.sockets.established.iter().map(|tcp| (tcp.local, tcp.remote)).collect();
    let mut through_host: BTreeMap<u16, Vec<&Tcp>> = BTreeMap::new();
    for tcp in &view.sockets.established {
        let is_inside = tcp.remote.ip().is_loopback()
            || tcp.remote.ip() == tcp.local.ip()
            || ends.contains(&(tcp.remote, tcp.local));
        if is_inside {
            continue;
        }
        if !is_inbound(&view, tcp) {
            let peer = tcp.remote.to_string();
            answer.outgoing.push(Outgoing { protocol: Protocol::Tcp, peer });
            continue;
        }
        answer.inbound.insert(tcp.cookie);
        let other_end = view.host.other_end(tcp);
        if other_end.is_none() && !view.host.is_own(tcp.remote.ip()) {
            if !is_ours(view.ours, tcp.remote.ip()) {
                answer.connections.push(direct(tcp, None));
            }
        } else if other_end.is_some_and(|end| end.uid != 0) || published(view.ports, tcp.local.port()).next().is_none()
        {
            answer.connections.push(direct(tcp, other_end.map(|end| end.uid)));
        } else {
            // docker-proxy is root's; so may be a program that dialled the container itself.
            through_host.entry(tcp.local.port()).or_default().push(tcp);
        }
    }
    for (port, tcps) in through_host {
        answer.unexplained |= judge_by_host(&view, port, &tcps, &mut answer.connections);
    }
    answer.outgoing.sort();
    answer.outgoing.dedup();
    answer.outgoing.truncate(MOST_NAMED);
    answer
}

/// Puts the host's side in the place of what came by the gateway's address. Returns whether that explains less.
fn judge_by_host(view: &View<'_>, port: u16, tcps: &[&Tcp], connections: &mut Vec<Connection>) -> bool {
    let side: BTreeMap<u64, _> =
        published(view.ports, port).flat_map(|port| view.host.side_of(port)).map(|end| (end.0.cookie, end)).collect();
    for (tcp, peer, uid) in side.values() {
        if !is_ours(view.ours, *peer) || view.host.addresses.contains(peer) {
            let key = LiveKey::HostConnection(tcp.cookie);
            connections.push(Connection { key, peer: *peer, uid: *uid, ..measured(tcp, port) });
        }
    }
    // A program of root's that dialled the container cannot be told from docker-proxy, but by there being too many.
    let unexplained = tcps.len() > side.len();
    if unexplained {
        connections.extend(tcps.iter().filter_map(|tcp| Some(direct(tcp, Some(view.host.other_end(tcp)?.uid)))));
    }
    unexplained
}

fn is_inbound(view: &View<'_>, tcp: &Tcp) -> bool {
    let port = tcp.local.port();
    view.sockets.listening.contains(&port)
        || view.inbound.contains(&tcp.cookie)
        || published(view.ports, port).next().is_some()
}

fn published(ports: &[PortMapping], port: u16) -> impl Iterator<Item = PortMapping> {
    ports.iter().copied().filter(move |mapping| mapping.container_port == port && mapping.protocol == Protocol::Tcp)
}

fn is_ours(ours: &[Subnet], address: IpAddr) -> bool {
    let alone = Subnet { address, prefix: if address.is_ipv4() { 32 } else { 128 } };
    ours.iter().any(|subnet| subnet.overlaps(alone))
}

fn direct(tcp: &Tcp, uid: Option<u32>) -> Connection {
    Connection { uid, ..measured(tcp, tcp.local.port()) }
}

fn measured(tcp: &Tcp, port: u16) -> Connection {
    let Tcp { remote, cookie, payload, data_idle, silent, .. } = *tcp;
    Connection { key: LiveKey::Connection(cookie), peer: remote.ip(), port, uid: None, payload, data_idle, silent }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "172.18.0.1";

    fn tcp(local: &str, remote: &str, cookie: u64, uid: u32) -> Tcp {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Tcp { local, remote, cookie, uid, payload: cookie * 100, data_idle: Duration::ZERO, silent: Duration::ZERO }
    }

    fn sockets(established: &[Tcp], listening: &[u16]) -> Sockets {
        Sockets { established: established.to_vec(), listening: listening.iter().copied().collect(), cut: false }
    }

    /// Classifies a container at 172.18.0.2 that publishes its port 80 as 8080; the host is also 10.0.0.1.
    fn look(container: &Sockets, host: &[Tcp]) -> Classified {
        let addresses = [GATEWAY, "10.0.0.1", "127.0.0.1"].map(|address| address.parse().unwrap()).into();
        let host = Host::new(sockets(host, &[8080]), addresses);
        let ours: Vec<Subnet> = vec!["172.18.0.0/16".parse().unwrap()];
        let ports: Vec<PortMapping> = vec!["0.0.0.0:8080:80".parse().unwrap()];
        classify(View { sockets: container, ports: &ports, host: &host, ours: &ours, inbound: &BTreeSet::new() })
    }

    /// As `PEER:CONTAINER PORT uid COOKIE`.
    fn shown(classified: &Classified) -> Vec<String> {
        let show = |connection: &Connection| {
            let Connection { key, peer, port, uid, .. } = connection;
            let uid = uid.map_or_else(|| "-".into(), |uid| uid.to_string());
            match key {
                LiveKey::Connection(cookie) => format!("{peer}:{port} {uid} {cookie}"),
                LiveKey::HostConnection(cookie) => format!("{peer}:{port} {uid} host {cookie}"),
                LiveKey::Entry(_) | LiveKey::Exec(_) => unreachable!(),
            }
        };
        classified.connections.iter().map(show).collect()
    }

    #[test]
    fn p3_from_outside_to_a_port_that_listens_counts() {
        let container = sockets(&[tcp("172.18.0.2:22", "192.0.2.7:5000", 1, 0)], &[22]);
        assert_eq!(shown(&look(&container, &[])), ["192.0.2.7:22 - 1"]);
    }

    #[test]
    fn p4_outgoing_and_inside_do_not_count_and_outgoing_is_named() {
        let container = sockets(
            &[
                tcp("172.18.0.2:40000", "151.101.0.1:443", 1, 1000),
                tcp("127.0.0.1:5432", "127.0.0.1:40001", 2, 1000),
                tcp("127.0.0.1:40001", "127.0.0.1:5432", 3, 1000),
                tcp("172.18.0.2:80", "172.18.0.2:40002", 4, 1000),
                tcp("172.18.0.2:40002", "172.18.0.2:80", 5, 1000),
                // Between two addresses of its own.
                tcp("172.18.0.2:80", "172.19.0.2:40003", 6, 1000),
                tcp("172.19.0.2:40003", "172.18.0.2:80", 7, 1000),
            ],
            &[80, 5432],
        );
        let seen = look(&container, &[]);
        assert_eq!(shown(&seen), [""; 0]);
        assert_eq!(seen.outgoing, [Outgoing { protocol: Protocol::Tcp, peer: "151.101.0.1:443".into() }]);
    }

    #[test]
    fn p4_by_the_gateway_the_hosts_side_is_judged() {
        let proxied = |port: u16, cookie| {
            let inside = tcp("172.18.0.2:80", &format!("{GATEWAY}:{port}"), cookie, 0);
            let outside = tcp(&format!("{GATEWAY}:{port}"), "172.18.0.2:80", cookie + 50, 0);
            (inside, outside)
        };
        let ((inside, proxy), client) = (proxied(51000, 1), tcp("127.0.0.1:33000", "127.0.0.1:8080", 60, 1000));
        let container = sockets(&[inside], &[80]);
        for (accepted, expected) in [
            // A person on the host, by loopback: with the account.
            ("127.0.0.1:33000", vec!["127.0.0.1:80 1000 host 70"]),
            // One from elsewhere whom the proxy served.
            ("192.0.2.7:33000", vec!["192.0.2.7:80 - host 70"]),
            // Itself, and another workspace.
            ("172.18.0.2:33000", vec![]),
            ("172.18.0.9:33000", vec![]),
        ] {
            let accepted = tcp("127.0.0.1:8080", accepted, 70, 0);
            let seen = look(&container, &[accepted, proxy.clone(), client.clone()]);
            assert_eq!((shown(&seen), seen.unexplained), (expected.iter().map(ToString::to_string).collect(), false));
        }
    }

    #[test]
    fn p4_without_the_engines_proxy_the_program_on_the_host_is_the_hosts_side() {
        let container = sockets(&[tcp("172.18.0.2:80", &format!("{GATEWAY}:33000"), 1, 0)], &[80]);
        let seen = look(&container, &[tcp("127.0.0.1:33000", "127.0.0.1:8080", 60, 1000)]);
        assert_eq!(shown(&seen), ["127.0.0.1:80 1000 host 60"]);
        // The host's other address, rewritten on the way out.
        let container = sockets(&[tcp("172.18.0.2:80", "10.0.0.1:33000", 1, 0)], &[80]);
        let seen = look(&container, &[tcp("10.0.0.1:33000", "10.0.0.1:8080", 60, 1001)]);
        assert_eq!(shown(&seen), ["10.0.0.1:80 1001 host 60"]);
    }

    #[test]
    fn p3_a_program_on_the_host_that_dials_the_containers_address_counts_with_its_account() {
        let dialled = |port: u16, uid| {
            let inside = tcp(&format!("172.18.0.2:{port}"), &format!("{GATEWAY}:51000"), 1, 0);
            (sockets(&[inside], &[port]), tcp(&format!("{GATEWAY}:51000"), &format!("172.18.0.2:{port}"), 51, uid))
        };
        for (port, uid) in [(22, 1000), (22, 0), (80, 1000)] {
            let (container, host) = dialled(port, uid);
            let seen = look(&container, &[host]);
            assert_eq!((shown(&seen), seen.unexplained), (vec![format!("{GATEWAY}:{port} {uid} 1")], false));
        }
        // Root's to a published port looks like the proxy's, but for nobody being at the host's side.
        let (container, host) = dialled(80, 0);
        let seen = look(&container, &[host]);
        assert_eq!((shown(&seen), seen.unexplained), (vec![format!("{GATEWAY}:80 0 1")], true));
    }

    #[test]
    fn p4_another_workspaces_connection_is_nobodys_use() {
        let container = sockets(&[tcp("172.18.0.2:5432", "172.18.0.9:40000", 1, 0)], &[5432]);
        let seen = look(&container, &[]);
        assert_eq!((shown(&seen), seen.outgoing), (vec![], vec![]));
    }

    #[test]
    fn p3_inbound_stays_inbound_when_its_listener_is_closed() {
        let addresses = BTreeSet::from([GATEWAY.parse().unwrap()]);
        let host = Host::new(Sockets::default(), addresses);
        let container = sockets(&[tcp("172.18.0.2:9000", "192.0.2.7:5000", 3, 0)], &[]);
        let look_with = |inbound: &[u64]| {
            let inbound = inbound.iter().copied().collect();
            classify(View { sockets: &container, ports: &[], host: &host, ours: &[], inbound: &inbound })
        };
        assert_eq!(shown(&look_with(&[])), [""; 0]);
        let seen = look_with(&[3]);
        assert_eq!((shown(&seen), seen.inbound), (vec!["192.0.2.7:9000 - 3".into()], BTreeSet::from([3])));
        // A published one needs no listener to be known.
        let container = sockets(&[tcp("172.18.0.2:80", "192.0.2.7:5000", 3, 0)], &[]);
        assert_eq!(shown(&look(&container, &[])), ["192.0.2.7:80 - 3"]);
    }
}
