//! The sensor of TCP connections: one thread, one look at all running containers per sample.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tokio::sync::{mpsc, oneshot};

use super::classify::{Classified, Connection, Host, View, classify};
use super::netlink::{Diag, Known, Sockets, own_addresses, udp_name};
use super::place::{NoEntry, Place, Process};
use crate::config::subnet::Subnet;
use crate::docker::ContainerId;
use crate::model::{Outgoing, PortMapping};

/// How many sockets of one container are looked at; one with more is not judged.
const MOST: usize = 16_384;
/// And of the host.
const MOST_OF_HOST: usize = 1 << 20;
/// A netlink answer comes in pieces of at most this size.
const PIECE: usize = 32 * 1024;

/// A running container to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub container: ContainerId,
    /// The host's pid of its first process.
    pub pid: u32,
    /// As published.
    pub ports: Vec<PortMapping>,
}

/// Of which containers a look is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Of all that run: others are forgotten.
    #[default]
    All,
    /// Of some among them.
    Some,
}

/// A look at some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    pub targets: Vec<Target>,
    pub scope: Scope,
    /// The networks of workspaces.
    pub ours: Vec<Subnet>,
    /// Whether datagrams are to be named too, which only `why` needs.
    pub datagrams: bool,
}

/// What a look showed of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Open(Looked),
    /// It does not run any more.
    Gone,
    /// Nothing can be said, so nothing is to be concluded.
    Blind(String),
}

/// The connections of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// From outside.
    pub inbound: Vec<Connection>,
    pub outgoing: Vec<Outgoing>,
}

type Answer = BTreeMap<ContainerId, Seen>;

/// The sensor, as anybody may hold it. Its thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct Connections {
    looks: mpsc::Sender<(Look, oneshot::Sender<Answer>)>,
}

impl Connections {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where no thread can be started. What keeps it from seeing anything is said by each look.
    pub fn start() -> io::Result<Self> {
        let (looks, mut queue) = mpsc::channel::<(Look, oneshot::Sender<Answer>)>(4);
        let serve = move || {
            let mut scanner = Scanner::new();
            while let Some((look, answer)) = queue.blocking_recv() {
                let seen = match &mut scanner {
                    Ok(scanner) => scanner.scan(&look),
                    Err(why) => blind(&look, why),
                };
                let _ = answer.send(seen);
            }
        };
        std::thread::Builder::new().name("connections".into()).spawn(serve)?;
        Ok(Self { looks })
    }

    /// Looks at all of them at once.
    pub async fn look(&self, look: Look) -> BTreeMap<ContainerId, Seen> {
        let (answer, seen) = oneshot::channel();
        let lost = blind(&look, "the sensor of connections has ended");
        if self.looks.send((look, answer)).await.is_err() {
            return lost;
        }
        seen.await.unwrap_or(lost)
    }
}

fn blind(look: &Look, why: &str) -> Answer {
    look.targets.iter().map(|target| (target.container.clone(), Seen::Blind(why.to_owned()))).collect()
}

/// Says which capabilities are missing to see connections, if any.
pub fn missing_capabilities() -> Option<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    missing_of(effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default())
}

fn missing_of(effective: u64) -> Option<String> {
    let missing: Vec<_> = [(21, "CAP_SYS_ADMIN"), (19, "CAP_SYS_PTRACE")]
        .into_iter()
        .filter(|(bit, _)| effective & (1 << bit) == 0)
        .map(|(_, name)| name)
        .collect();
    (!missing.is_empty()).then(|| format!("hearthd runs without {}", missing.join(" and ")))
}

/// The thread's own. It moves from namespace to namespace and is back where it began when a scan is done.
#[derive(Debug)]
pub struct Scanner {
    home: Place,
    buffer: Vec<u8>,
    host: Known,
    containers: BTreeMap<ContainerId, Before>,
}

/// What the last look showed of a container.
#[derive(Debug, Default)]
struct Before {
    sockets: Known,
    /// Cookies of inbound connections.
    inbound: BTreeSet<u64>,
}

impl Scanner {
    /// Returns one for the calling thread, which is to be used for nothing else.
    ///
    /// # Errors
    /// With what keeps it from seeing anything, for people.
    pub fn new() -> Result<Self, String> {
        if let Some(missing) = missing_capabilities() {
            return Err(missing);
        }
        let fails = |error: io::Error| format!("the kernel lists no sockets (tcp_diag): {error}");
        let mut buffer = vec![0; PIECE];
        let mut host = Known::default();
        Diag::open().and_then(|diag| diag.tcp(|| Some(0), &mut host, 1, &mut buffer)).map_err(fails)?;
        Ok(Self { home: Place::here().map_err(fails)?, buffer, host, containers: BTreeMap::new() })
    }

    /// Looks at all of them.
    pub fn scan(&mut self, look: &Look) -> BTreeMap<ContainerId, Seen> {
        let mut answer = Answer::new();
        if look.scope == Scope::All {
            self.containers.retain(|container, _| look.targets.iter().any(|target| target.container == *container));
        }
        let sockets = self.sockets_of_host();
        let mut host = match sockets.and_then(|sockets| Ok(Host::new(sockets, own_addresses(&mut self.buffer)?))) {
            Ok(host) => host,
            Err(error) => return blind(look, &format!("the host's sockets cannot be listed: {error}")),
        };
        let mut unexplained = Vec::new();
        for target in &look.targets {
            let seen = match self.inside(target, look.datagrams) {
                Ok((sockets, _)) if sockets.cut => Seen::Blind(format!("it has more than {MOST} sockets")),
                Ok((sockets, datagrams)) => {
                    let classified = self.classify(target, &sockets, &host, look);
                    if classified.unexplained {
                        unexplained.push((target, sockets, datagrams.clone()));
                    }
                    Seen::Open(looked(classified, datagrams))
                }
                Err(NoEntry::Gone) => Seen::Gone,
                Err(NoEntry::Refused(error)) => Seen::Blind(NoEntry::Refused(error).to_string()),
            };
            answer.insert(target.container.clone(), seen);
        }
        if let Err(error) = self.home.enter() {
            return blind(look, &error.to_string());
        }
        // What came or went between the two looks may be all there is to it.
        if !unexplained.is_empty()
            && let Ok(sockets) = self.sockets_of_host()
        {
            host.add(sockets);
            for (target, sockets, datagrams) in unexplained {
                let classified = self.classify(target, &sockets, &host, look);
                answer.insert(target.container.clone(), Seen::Open(looked(classified, datagrams)));
            }
        }
        answer
    }

    fn sockets_of_host(&mut self) -> io::Result<Sockets> {
        let own = Process::own()?;
        Diag::open()?.tcp(|| own.tcp_in_use(), &mut self.host, MOST_OF_HOST, &mut self.buffer)
    }

    /// Lists the sockets of a container, from inside its namespace.
    fn inside(&mut self, target: &Target, datagrams: bool) -> Result<(Sockets, Vec<Outgoing>), NoEntry> {
        let process = Process::of(target.pid, &target.container.0)?;
        let before = self.containers.entry(target.container.clone()).or_default();
        if process.tcp_in_use() == Some(0) && !datagrams {
            before.sockets = Known::default();
            return Ok((Sockets::default(), Vec::new()));
        }
        process.network()?.enter()?;
        let mut list = || -> io::Result<(Sockets, Vec<Outgoing>)> {
            let diag = Diag::open()?;
            let sockets = diag.tcp(|| process.tcp_in_use(), &mut before.sockets, MOST, &mut self.buffer)?;
            if !datagrams {
                return Ok((sockets, Vec::new()));
            }
            let ends = diag.udp(MOST, &mut self.buffer)?;
            let outside = ends.into_iter().filter(|(local, _)| !local.ip().is_loopback());
            Ok((sockets, outside.map(udp_name).collect()))
        };
        list().map_err(NoEntry::Refused)
    }

    fn classify(&mut self, target: &Target, sockets: &Sockets, host: &Host, look: &Look) -> Classified {
        let Before { inbound, .. } = self.containers.entry(target.container.clone()).or_default();
        let view = View { sockets, ports: &target.ports, host, ours: &look.ours, inbound };
        let classified = classify(view);
        inbound.clone_from(&classified.inbound);
        classified
    }
}

fn looked(classified: Classified, mut datagrams: Vec<Outgoing>) -> Looked {
    let Classified { connections: inbound, mut outgoing, .. } = classified;
    outgoing.append(&mut datagrams);
    outgoing.sort();
    outgoing.dedup();
    Looked { inbound, outgoing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x5_missing_capabilities_are_named() {
        assert_eq!(missing_of(u64::MAX), None);
        assert_eq!(missing_of(1 << 21).unwrap(), "hearthd runs without CAP_SYS_PTRACE");
        assert_eq!(missing_of(0).unwrap(), "hearthd runs without CAP_SYS_ADMIN and CAP_SYS_PTRACE");
    }

    #[tokio::test]
    async fn a_container_that_is_not_there_is_gone_or_cannot_be_seen() {
        let target = Target { container: ContainerId("a".repeat(64)), pid: std::process::id(), ports: vec![] };
        let look = Look { targets: vec![target.clone()], ..Look::default() };
        let seen = Connections::start().unwrap().look(look).await;
        let expected = missing_capabilities().map_or(Seen::Gone, Seen::Blind);
        assert_eq!(seen, BTreeMap::from([(target.container, expected)]));
    }
}
