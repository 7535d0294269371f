//! What the loop looks at running workspaces with. A simulation brings its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::accounts::Accounts;
use super::clock::Clock;
use crate::blocking;
use crate::config::settings::Subnet;
use crate::docker::{ContainerId, Engine, EngineError};
use crate::evidence::{
    Connection, Connections, Consumption, Execs, ExecsSeen, Look, Looked, Scope, Seen, Target, consumption,
    missing_capabilities,
};
use crate::model::{Evidence, InstanceName, PortMapping, Sample, WorkspaceId};

/// How long a look waits for the names of accounts.
const NAMES: Duration = Duration::from_secs(1);

/// A running workspace to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) workspace: WorkspaceId,
    pub(super) container: ContainerId,
    /// As published.
    pub(super) ports: Vec<PortMapping>,
}

/// What is to be looked at.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) subjects: Vec<Subject>,
    pub(super) scope: Scope,
    /// What was heard of these since the last look.
    pub(super) execs: Execs,
    /// Whether somebody asks why: then more is named.
    pub(super) thorough: bool,
}

/// What a look showed of one workspace.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Found {
    pub(super) sample: Sample,
    /// What began and ended since the last look.
    pub(super) passed: Vec<Evidence>,
    pub(super) used: Option<Consumption>,
}

/// By workspace; one that does not run any more is not in it.
pub(super) type Findings = BTreeMap<WorkspaceId, Found>;

/// What shows how running workspaces are used.
#[async_trait]
pub(super) trait Sensors: Send + Sync + 'static {
    /// Looks at them.
    async fn look(&self, asked: Asked) -> Result<Findings, EngineError>;

    /// Says why connections cannot be seen at all, where that is so.
    fn blind(&self) -> Option<String>;
}

/// The host's: its kernel and its engine.
pub(super) struct HostSensors {
    engine: Arc<dyn Engine>,
    instance: InstanceName,
    connections: Connections,
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
    blind: Option<String>,
    known: Mutex<Known>,
}

/// What need not be asked for at each look.
#[derive(Default)]
struct Known {
    pids: BTreeMap<ContainerId, u32>,
    /// The networks of workspaces, as they were when the last new container was seen.
    ours: Vec<Subnet>,
}

impl HostSensors {
    /// # Errors
    /// Where the sensor's thread cannot be started.
    pub(super) fn start(
        engine: Arc<dyn Engine>,
        instance: InstanceName,
        accounts: Arc<Accounts>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let connections = Connections::start()?;
        let blind = missing_capabilities();
        Ok(Self { engine, instance, connections, accounts, clock, blind, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first processes of those that run, and of which the engine tells none.
    async fn pids(
        &self,
        asked: &Asked,
    ) -> Result<(BTreeMap<ContainerId, u32>, BTreeMap<ContainerId, String>), EngineError> {
        if asked.scope == Scope::All {
            self.known().pids.retain(|id, _| asked.subjects.iter().any(|subject| subject.container == *id));
        }
        let (mut pids, mut untold) = (BTreeMap::new(), BTreeMap::new());
        let mut anything_new = false;
        for Subject { container, .. } in &asked.subjects {
            let known = self.known().pids.get(container).copied();
            let pid = match known {
                Some(pid) => Some(pid),
                None => {
                    anything_new = true;
                    match self.engine.container(&container.0).await {
                        Ok(detail) => detail.and_then(|detail| detail.pid),
                        Err(error @ EngineError::Away(_)) => return Err(error),
                        // One that the engine is stuck on does not blind us for all others.
                        Err(error) => {
                            untold.insert(container.clone(), error.to_string());
                            None
                        }
                    }
                }
            };
            pids.extend(pid.map(|pid| (container.clone(), pid)));
        }
        if anything_new {
            let networks = self.engine.networks(self.instance.as_str()).await?;
            let subnets = networks.iter().flat_map(|network| &network.subnets);
            self.known().ours = subnets.filter_map(|subnet| subnet.parse().ok()).collect();
        }
        self.known().pids.extend(pids.clone());
        Ok((pids, untold))
    }

    /// Returns the names of the accounts at the other ends of connections; of those that nobody tells at once, the uid
    /// has to do.
    async fn names(&self, seen: &BTreeMap<ContainerId, Seen>) -> BTreeMap<u32, String> {
        let uids: BTreeSet<u32> = seen.values().flat_map(inbound).filter_map(|connection| connection.uid).collect();
        let name = |uid: u32| async move {
            let account = timeout(NAMES, self.accounts.of_uid(uid, self.clock.now())).await;
            let account = account.ok().and_then(Result::ok).flatten();
            (uid, account.map_or_else(|| format!("uid {uid}"), |account| account.name))
        };
        join_all(uids.into_iter().map(name)).await.into_iter().collect()
    }
}

#[async_trait]
impl Sensors for HostSensors {
    async fn look(&self, asked: Asked) -> Result<Findings, EngineError> {
        let (pids, mut untold) = self.pids(&asked).await?;
        let Asked { subjects, scope, execs, thorough } = asked;
        let containers: Vec<ContainerId> = pids.keys().cloned().collect();
        let targets = subjects.iter().filter_map(|subject| {
            let pid = *pids.get(&subject.container)?;
            Some(Target { container: subject.container.clone(), pid, ports: subject.ports.clone() })
        });
        let ours = self.known().ours.clone();
        let look = Look { targets: targets.collect(), scope, ours, datagrams: thorough };
        let mut commands = execs.look(&*self.engine, &containers).await?;
        // Last of all that takes time: what was seen then is what a stop rests on.
        let mut seen = self.connections.look(look).await;
        let mut consumed = blocking::run(move || {
            let consumed = pids.into_iter().map(|(id, pid)| (consumption(pid, &id.0), id));
            consumed.filter_map(|(consumed, id)| Some((id, consumed?))).collect::<BTreeMap<_, _>>()
        })
        .await
        .unwrap_or_default();
        let names = self.names(&seen).await;
        let mut findings = Findings::new();
        for Subject { workspace, container, .. } in subjects {
            let (seen, commands) = match untold.remove(&container) {
                Some(why) => (Some(Seen::Blind(why)), Some(Ok(ExecsSeen::default()))),
                None => (seen.remove(&container), commands.remove(&container)),
            };
            let (Some(seen), Some(commands)) = (seen.filter(|seen| *seen != Seen::Gone), commands) else {
                // It may run as another process by the next look.
                self.known().pids.remove(&container);
                continue;
            };
            let (seen, commands) = match commands {
                Ok(commands) => (seen, commands),
                Err(error) => (Seen::Blind(error.to_string()), ExecsSeen::default()),
            };
            let mut live = commands.live;
            live.extend(
                inbound(&seen)
                    .iter()
                    .map(|connection| connection.live(connection.uid.and_then(|uid| names.get(&uid).cloned()))),
            );
            let (outgoing, blind) = match seen {
                Seen::Open(looked) => (looked.outgoing, None),
                Seen::Blind(why) => (Vec::new(), Some(why)),
                Seen::Gone => continue,
            };
            let used = consumed.remove(&container);
            let sample = Sample { container: container.0, live, outgoing, blind };
            findings.insert(workspace, Found { sample, passed: commands.passed, used });
        }
        Ok(findings)
    }

    fn blind(&self) -> Option<String> {
        self.blind.clone()
    }
}

fn inbound(seen: &Seen) -> &[Connection] {
    match seen {
        Seen::Open(Looked { inbound, .. }) => inbound,
        Seen::Gone | Seen::Blind(_) => &[],
    }
}
