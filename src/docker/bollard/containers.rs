//! Containers: what they are made of, with rule X2 put on every one in one place, and how they are looked at.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, ContainerUpdateBody, DeviceRequest, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountPoint as EngineMount, MountType, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
};

use futures_util::StreamExt;

use super::{BollardEngine, CHANGE, CREATE, LOOK, Reply, found};
use crate::docker::{
    Container, ContainerDetail, ContainerId, ContainerSpec, EngineError, Labels, Limits, MountPoint, MountSpec, Status,
};
use crate::model::{Moment, PortMapping, Protocol};

/// Capabilities that the engine gives by default and a workspace does not need (rule X2).
const DROPPED: [&str; 2] = ["NET_RAW", "MKNOD"];

const NANO: i64 = 1_000_000_000;
const ALL_MEMORY: i64 = 1 << 60;

pub(super) async fn list(engine: &BollardEngine, filter: &str, value: &str) -> Reply<Vec<Container>> {
    let filters = HashMap::from([(filter, vec![value.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&owned(filters)).build();
    let list = engine
        .call("list containers", LOOK, |docker| async move { docker.list_containers(Some(options)).await })
        .await?;
    Ok(list.into_iter().map(container_of).collect())
}

/// Filters as bollard wants them.
pub(super) fn owned(filters: HashMap<&str, Vec<String>>) -> HashMap<String, Vec<String>> {
    filters.into_iter().map(|(key, values)| (key.to_owned(), values)).collect()
}

pub(super) async fn inspect(engine: &BollardEngine, id: &str) -> Reply<Option<ContainerDetail>> {
    let reply = engine
        .call("inspect container", LOOK, |docker| async move {
            docker.inspect_container(id, None::<InspectContainerOptions>).await
        })
        .await;
    Ok(found(reply)?.map(detail_of))
}

pub(super) async fn execs(engine: &BollardEngine, id: &ContainerId) -> Reply<Option<Vec<String>>> {
    let reply = engine
        .call("inspect container", LOOK, |docker| async move {
            docker.inspect_container(&id.0, None::<InspectContainerOptions>).await
        })
        .await;
    Ok(found(reply)?.map(|response| response.exec_ids.unwrap_or_default()))
}

pub(super) async fn create(engine: &BollardEngine, spec: &ContainerSpec) -> Reply<ContainerId> {
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
    let body = body_of(spec);
    let made = engine
        .call("create container", CREATE, |docker| async move { docker.create_container(Some(options), body).await })
        .await?;
    for warning in made.warnings {
        tracing::warn!(container = %spec.name, "Docker: {warning}");
    }
    Ok(ContainerId(made.id))
}

pub(super) async fn stop(engine: &BollardEngine, id: &ContainerId, grace: Duration) -> Reply<()> {
    let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    let after = grace.saturating_add(CHANGE);
    let reply =
        engine.call("stop", after, |docker| async move { docker.stop_container(&id.0, Some(options)).await }).await;
    found(reply).map(drop)
}

pub(super) async fn remove(engine: &BollardEngine, id: &ContainerId) -> Reply<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let reply = engine
        .call("remove container", CHANGE, |docker| async move { docker.remove_container(&id.0, Some(options)).await })
        .await;
    match reply {
        // Somebody else removes it at this moment.
        Err(EngineError::Conflict(text)) if text.contains("is already in progress") => gone(engine, id).await,
        other => found(other).map(drop),
    }
}

/// Waits until a container that is being removed is gone.
async fn gone(engine: &BollardEngine, id: &ContainerId) -> Reply<()> {
    let waiting = async {
        while inspect(engine, &id.0).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    let slow = EngineError::Slow { call: "remove container", after: CHANGE };
    tokio::time::timeout(CHANGE, waiting).await.unwrap_or(Err(slow))
}

pub(super) async fn update(engine: &BollardEngine, id: &ContainerId, limits: &Limits) -> Reply<()> {
    // The engine has no word for "unlimited" once there was a limit: all the CPUs that there are, and more memory
    // than there can be.
    let nano_cpus = match limits.nano_cpus {
        Some(nanos) => clamped(nanos),
        None => engine.call("info", LOOK, |docker| async move { docker.info().await }).await?.ncpu.unwrap_or(0) * NANO,
    };
    let memory = limits.memory.map_or(ALL_MEMORY, clamped);
    let body = ContainerUpdateBody {
        nano_cpus: Some(nano_cpus),
        memory: Some(memory),
        memory_swap: Some(memory),
        pids_limit: Some(i64::from(limits.pids)),
        ..ContainerUpdateBody::default()
    };
    engine.call("update", CHANGE, |docker| async move { docker.update_container(&id.0, body).await }).await
}

pub(super) async fn memory_in_use(engine: &BollardEngine, id: &ContainerId) -> Reply<u64> {
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let stats = engine
        .call("stats", LOOK, |docker| async move { docker.stats(&id.0, Some(options)).next().await.transpose() })
        .await?;
    let memory = stats.and_then(|stats| stats.memory_stats).unwrap_or_default();
    let caches = memory.stats.unwrap_or_default();
    // As `docker stats` has it: cgroup v1 and v2 name differently what can be given back.
    let idle = ["total_inactive_file", "inactive_file"].iter().find_map(|name| caches.get(*name)).copied();
    Ok(memory.usage.unwrap_or_default().saturating_sub(idle.unwrap_or_default()))
}

fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns the request that makes a container. Rule X2 is here, and nothing in a [`ContainerSpec`] can lift it.
/// `no-new-privileges` is not set: `sudo` is how people install things in their workspaces.
fn body_of(spec: &ContainerSpec) -> ContainerCreateBody {
    let seconds = i64::try_from(spec.stop_timeout.as_secs()).unwrap_or(i64::MAX);
    ContainerCreateBody {
        hostname: Some(spec.hostname.clone()),
        user: Some(spec.user.clone()),
        env: Some(spec.env.clone()),
        entrypoint: Some(spec.entrypoint.clone()),
        cmd: Some(Vec::new()),
        image: Some(spec.image.clone()),
        working_dir: Some(spec.working_dir.clone()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(seconds),
        exposed_ports: Some(spec.ports.iter().map(port_key).collect()),
        host_config: Some(host_config_of(spec)),
        ..ContainerCreateBody::default()
    }
}

fn host_config_of(spec: &ContainerSpec) -> HostConfig {
    let limits = &spec.limits;
    HostConfig {
        privileged: Some(false),
        cap_drop: Some(DROPPED.map(str::to_owned).to_vec()),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        init: Some(false),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size", "10m"), ("max-file", "2")].map(owned_pair))),
        }),
        nano_cpus: limits.nano_cpus.map(clamped),
        memory: limits.memory.map(clamped),
        memory_swap: limits.memory.map(clamped),
        pids_limit: Some(i64::from(limits.pids)),
        shm_size: Some(clamped(spec.shm)),
        group_add: Some(spec.groups.iter().map(ToString::to_string).collect()),
        network_mode: Some(spec.network.clone().unwrap_or_else(|| "none".to_owned())),
        port_bindings: Some(port_map_of(&spec.ports)),
        mounts: Some(spec.mounts.iter().filter_map(mount_of).collect()),
        tmpfs: Some(spec.mounts.iter().filter_map(tmpfs_of).collect()),
        device_requests: (spec.gpus > 0).then(|| vec![gpus(spec.gpus)]),
        runtime: spec.runtime.clone(),
        ..HostConfig::default()
    }
}

fn owned_pair((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn gpus(count: u32) -> DeviceRequest {
    DeviceRequest {
        count: Some(i64::from(count)),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

fn port_key(port: &PortMapping) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container_port)
}

fn port_map_of(ports: &[PortMapping]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let binding = PortBinding { host_ip: Some(port.host.to_string()), host_port: Some(port.host_port.to_string()) };
        map.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    map
}

fn mount_of(mount: &MountSpec) -> Option<Mount> {
    let (typ, source, target, read_only) = match mount {
        MountSpec::Volume { name, target, read_only } => (MountType::VOLUME, name, target, *read_only),
        MountSpec::Bind { source, target, read_only } => (MountType::BIND, source, target, *read_only),
        MountSpec::Tmpfs { .. } => return None,
    };
    Some(Mount {
        typ: Some(typ),
        source: Some(source.clone()),
        target: Some(target.clone()),
        read_only: Some(read_only),
        ..Mount::default()
    })
}

fn tmpfs_of(mount: &MountSpec) -> Option<(String, String)> {
    let MountSpec::Tmpfs { target, uid, gid, size } = mount else { return None };
    Some((target.clone(), format!("rw,nosuid,nodev,noexec,mode=0700,uid={uid},gid={gid},size={size}")))
}

fn container_of(summary: ContainerSummary) -> Container {
    // A container that another one links to has a second name with that one's in front.
    let names = summary.names.unwrap_or_default();
    let name = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
    Container {
        id: ContainerId(summary.id.unwrap_or_default()),
        name: name.unwrap_or_default().to_owned(),
        image_id: summary.image_id.unwrap_or_default(),
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        status: match summary.state {
            Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::STOPPING) => Status::Running,
            Some(ContainerSummaryStateEnum::PAUSED) => Status::Paused,
            Some(ContainerSummaryStateEnum::RESTARTING) => Status::Restarting,
            Some(ContainerSummaryStateEnum::REMOVING) => Status::Removing,
            Some(ContainerSummaryStateEnum::EXITED) => Status::Exited,
            Some(ContainerSummaryStateEnum::DEAD) => Status::Dead,
            Some(ContainerSummaryStateEnum::CREATED | ContainerSummaryStateEnum::EMPTY) | None => Status::Created,
        },
        mounts: mounts_of(summary.mounts),
    }
}

fn detail_of(response: ContainerInspectResponse) -> ContainerDetail {
    let state = response.state.unwrap_or_default();
    let status = match state.status {
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => Status::Running,
        Some(ContainerStateStatusEnum::PAUSED) => Status::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => Status::Restarting,
        Some(ContainerStateStatusEnum::REMOVING) => Status::Removing,
        Some(ContainerStateStatusEnum::EXITED) => Status::Exited,
        Some(ContainerStateStatusEnum::DEAD) => Status::Dead,
        Some(ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::EMPTY) | None => Status::Created,
    };
    let config = response.config.unwrap_or_default();
    let labels: Labels = config.labels.unwrap_or_default().into_iter().collect();
    let name = response.name.unwrap_or_default();
    ContainerDetail {
        container: Container {
            id: ContainerId(response.id.unwrap_or_default()),
            name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
            image_id: response.image.unwrap_or_default(),
            labels,
            status,
            mounts: mounts_of(response.mounts),
        },
        user: config.user.unwrap_or_default(),
        pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0),
        exit_code: state.exit_code.filter(|_| matches!(status, Status::Exited | Status::Dead)),
        oom_killed: state.oom_killed.unwrap_or_default(),
        started_at: moment(state.started_at.as_deref()),
        finished_at: moment(state.finished_at.as_deref()),
        error: state.error.filter(|error| !error.is_empty()),
    }
}

fn mounts_of(mounts: Option<Vec<EngineMount>>) -> Vec<MountPoint> {
    let mount = |mount: EngineMount| MountPoint {
        volume: mount.name.filter(|_| mount.typ.as_deref() == Some("volume")),
        source: mount.source.unwrap_or_default(),
        target: mount.destination.unwrap_or_default(),
    };
    mounts.unwrap_or_default().into_iter().map(mount).collect()
}

/// Reads a time of the engine; year 1 is its word for never.
pub(super) fn moment(text: Option<&str>) -> Option<Moment> {
    text.filter(|text| !text.starts_with("0001-")).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            name: "hearth.alice.main".into(),
            hostname: "main".into(),
            image: "sha256:0".into(),
            user: "1000:1000".into(),
            groups: vec![27],
            entrypoint: vec!["/usr/local/bin/hearth".into(), "init".into()],
            env: vec![],
            working_dir: "/home/alice".into(),
            labels: Labels::new(),
            mounts: vec![
                MountSpec::Volume {
                    name: "hearth.alice.main.home".into(),
                    target: "/home/alice".into(),
                    read_only: false,
                },
                MountSpec::Tmpfs { target: "/run/hearth".into(), uid: 1000, gid: 1000, size: 16 << 20 },
            ],
            network: Some("hearth.acme".into()),
            ports: ["127.0.0.1:8080:80", "[::1]:8081:80", "127.0.0.1:53:53/udp"].map(|p| p.parse().unwrap()).to_vec(),
            limits: Limits { nano_cpus: Some(2_000_000_000), memory: Some(4 << 30), pids: 4096 },
            shm: 64 << 20,
            gpus: 2,
            runtime: Some("runsc".into()),
            stop_timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_request_says_runtime_gpus_ports_and_mounts() {
        let body = serde_json::to_value(body_of(&spec())).unwrap();
        let host = &body["HostConfig"];
        assert_eq!(host["Runtime"], "runsc");
        assert_eq!(host["DeviceRequests"], json!([{ "Count": 2, "Capabilities": [["gpu"]] }]));
        assert_eq!(host["GroupAdd"], json!(["27"]));
        assert_eq!(
            host["PortBindings"],
            json!({
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }, { "HostIp": "::1", "HostPort": "8081" }],
                "53/udp": [{ "HostIp": "127.0.0.1", "HostPort": "53" }],
            })
        );
        let options = "rw,nosuid,nodev,noexec,mode=0700,uid=1000,gid=1000,size=16777216";
        assert_eq!(host["Tmpfs"], json!({ "/run/hearth": options }));
        let home = json!({
            "Type": "volume", "Source": "hearth.alice.main.home", "Target": "/home/alice", "ReadOnly": false,
        });
        assert_eq!(host["Mounts"], json!([home]));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(4_294_967_296u64), &json!(4_294_967_296u64)));
        let bare = ContainerSpec { gpus: 0, runtime: None, network: None, ..spec() };
        let host = serde_json::to_value(body_of(&bare)).unwrap()["HostConfig"].clone();
        assert_eq!((host.get("DeviceRequests"), host.get("Runtime")), (None, None));
        assert_eq!(host["NetworkMode"], "none");
    }

    #[test]
    fn x2_no_request_lifts_a_wall() {
        let host = serde_json::to_value(body_of(&spec())).unwrap()["HostConfig"].clone();
        assert_eq!((&host["Privileged"], &host["Init"]), (&json!(false), &json!(false)));
        assert_eq!(host["CapDrop"], json!(["NET_RAW", "MKNOD"]));
        let never = ["CapAdd", "SecurityOpt", "PidMode", "UTSMode", "UsernsMode", "Binds", "Devices", "VolumesFrom"];
        for key in never.iter().chain(&["Sysctls", "MaskedPaths", "ReadonlyPaths", "CgroupParent"]) {
            assert_eq!(host.get(key), None, "{key}");
        }
    }
}
