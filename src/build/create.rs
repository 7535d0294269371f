//! The create stage: the container as the configuration says, with every object labelled as ours.

use super::environment::{Subject, environment};
use super::prepare::{Prepared, real_source};
use super::run::Broken;
use super::{Tools, network, volume};
use crate::config::settings::Org;
use crate::config::{Effective, SpecSummary};
use crate::docker::{ContainerId, ContainerSpec, EngineError, Limits, MountSpec, Status, labels};
use crate::helper::bundle::{BINARY, Inhabitant, RUN_DIR};
use crate::model::BuildNumber;
use crate::store::{ContainerRecord, WorkspaceRecord};

/// How large `/run/hearth` may grow, in bytes (rule X2).
const RUN_SIZE: u64 = 16 << 20;

/// What is needed to make a container.
pub(super) struct Plan<'a> {
    pub(super) workspace: &'a Effective,
    pub(super) org: &'a Org,
    pub(super) record: &'a WorkspaceRecord,
    pub(super) build: BuildNumber,
    pub(super) prepared: &'a Prepared,
}

impl Plan<'_> {
    /// Returns the environment of the container and of all that runs in it.
    fn environment(&self) -> Vec<String> {
        environment(&Subject {
            workspace: self.workspace,
            username: &self.prepared.resolved.username,
            shell: &self.prepared.resolved.shell,
            image_env: &self.prepared.image.env,
            image_digest: self.prepared.image.digest.as_deref(),
            build: self.build,
        })
    }

    /// Returns the user that the container is for.
    pub(super) fn inhabitant(&self) -> Inhabitant {
        let resolved = &self.prepared.resolved;
        Inhabitant {
            name: resolved.username.clone(),
            uid: resolved.uid,
            gid: resolved.gid,
            home: format!("/home/{}", resolved.username),
        }
    }

    /// Makes network, home and container; none of it runs yet.
    pub(super) async fn make(&self, tools: &Tools) -> Result<ContainerRecord, Broken> {
        let network = network::ensure(tools, self.org).await?;
        volume::ensure(tools, self.record, &self.prepared.home).await?;
        let spec = serde_json::to_string(&SpecSummary::of(self.workspace, self.org))
            .map_err(|error| Broken::Failed(format!("cannot write down what the container is made of: {error}")))?;
        let container = self.container(tools, network, &spec)?;
        let id = match tools.engine.create(&container).await {
            Err(EngineError::Conflict(_)) if gave_way(tools, self.record).await? => {
                tools.engine.create(&container).await?
            }
            made => made?,
        };
        Ok(self.record(id, spec))
    }

    fn record(&self, id: ContainerId, spec: String) -> ContainerRecord {
        let resolved = &self.prepared.resolved;
        ContainerRecord {
            id: id.0,
            build: self.build,
            image_id: self.prepared.image.id.clone(),
            username: resolved.username.clone(),
            uid: resolved.uid,
            gid: resolved.gid,
            token_hash: String::new(),
            spec,
            started_at: None,
            door: None,
            injected: None,
        }
    }

    fn container(&self, tools: &Tools, network: String, spec: &str) -> Result<ContainerSpec, Broken> {
        let (resolved, id) = (&self.prepared.resolved, &self.record.id);
        let resources = &self.workspace.resources;
        Ok(ContainerSpec {
            name: labels::container_name(&tools.instance, id),
            hostname: id.name.to_string(),
            image: self.prepared.image.id.clone(),
            user: format!("{}:{}", resolved.uid, resolved.gid),
            groups: resolved.groups.clone(),
            entrypoint: vec![BINARY.into(), "init".into()],
            env: self.environment(),
            working_dir: format!("/home/{}", resolved.username),
            labels: labels::container_labels(&tools.instance, id, &self.workspace.org, self.build, spec),
            mounts: self.mounts(tools)?,
            network: Some(network),
            ports: self.workspace.ports.value.clone(),
            limits: limits(self.workspace),
            shm: resources.shm.value.0,
            gpus: resources.gpus.value,
            runtime: self.org.runtime.clone(),
            stop_timeout: self.org.stop_grace,
        })
    }

    fn mounts(&self, tools: &Tools) -> Result<Vec<MountSpec>, Broken> {
        let resolved = &self.prepared.resolved;
        let bind = |source: &std::path::Path, target: String, read_only| MountSpec::Bind {
            source: source.to_string_lossy().into_owned(),
            target,
            read_only,
        };
        let mut mounts = vec![
            MountSpec::Volume {
                name: self.prepared.home.volume.clone(),
                target: format!("/home/{}", resolved.username),
                read_only: false,
            },
            MountSpec::Tmpfs { target: RUN_DIR.into(), uid: resolved.uid, gid: resolved.gid, size: RUN_SIZE },
            bind(&tools.doors.directory(self.record.number), labels::SOCKET_DIR.into(), true),
            bind(&tools.hearth, BINARY.into(), true),
        ];
        for mount in &self.org.mounts {
            let source = real_source(tools, &mount.source).map_err(Broken::Failed)?;
            mounts.push(bind(&source, mount.target.clone(), mount.read_only));
        }
        Ok(mounts)
    }
}

/// Waits for a container of ours that is being removed and holds the name until then; returns whether it was one.
async fn gave_way(tools: &Tools, record: &WorkspaceRecord) -> Result<bool, EngineError> {
    let name = labels::container_name(&tools.instance, &record.id);
    let Some(found) = tools.engine.container(&name).await? else { return Ok(true) };
    // Its mounts are gone already, so less speaks for it than for others; but it goes anyway.
    let going = matches!(found.container.status, Status::Removing | Status::Dead);
    if !going || !labels::is_named_and_labelled(&found.container, &tools.instance, &record.id) {
        return Ok(false);
    }
    tools.engine.remove(&found.container.id).await?;
    Ok(true)
}

/// Returns the limits that can be changed while the container runs.
pub(super) fn limits(workspace: &Effective) -> Limits {
    Limits {
        nano_cpus: workspace.resources.cpus.value.map(|cpus| cpus.nanos),
        memory: workspace.resources.memory.value.map(|memory| memory.0),
        pids: workspace.resources.pids.value,
    }
}
