//! Volumes and networks.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, Volume as EngineVolume, VolumeCreateRequest};
use bollard::query_parameters::{
    InspectNetworkOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};

use super::containers::{moment, owned};
use super::{BollardEngine, CHANGE, LOOK, Reply, found};
use crate::docker::{Labels, Network, NetworkSpec, Volume};
use crate::model::Moment;

/// The option of the bridge driver that keeps the containers of a network apart.
const ICC: &str = "com.docker.network.bridge.enable_icc";

pub(super) async fn volume(engine: &BollardEngine, name: &str) -> Reply<Option<Volume>> {
    let reply = engine.call("inspect volume", LOOK, |docker| async move { docker.inspect_volume(name).await }).await;
    Ok(found(reply)?.map(volume_of))
}

pub(super) async fn volumes(engine: &BollardEngine, instance: &str) -> Reply<Vec<Volume>> {
    let filters = owned(HashMap::from([("label", vec![format!("hearth.instance={instance}")])]));
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let list =
        engine.call("list volumes", LOOK, |docker| async move { docker.list_volumes(Some(options)).await }).await?;
    Ok(list.volumes.unwrap_or_default().into_iter().map(volume_of).collect())
}

pub(super) async fn create_volume(engine: &BollardEngine, name: &str, labels: &Labels) -> Reply<Volume> {
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: Some("local".to_owned()),
        labels: Some(labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    };
    let made =
        engine.call("create volume", CHANGE, |docker| async move { docker.create_volume(request).await }).await?;
    Ok(volume_of(made))
}

/// Looks at the volume's root on the host, and at nothing in it: whoever uses the volume shapes what is below.
pub(super) async fn volume_changed_at(engine: &BollardEngine, name: &str) -> Reply<Option<Moment>> {
    let reply = engine.call("inspect volume", LOOK, |docker| async move { docker.inspect_volume(name).await }).await;
    let Some(volume) = found(reply)? else { return Ok(None) };
    let changed = tokio::task::spawn_blocking(move || std::fs::symlink_metadata(volume.mountpoint)).await;
    let Ok(Ok(root)) = changed else { return Ok(None) };
    let nanoseconds = i128::from(root.ctime()) * 1_000_000_000 + i128::from(root.ctime_nsec());
    Ok(Moment::from_nanosecond(nanoseconds).ok())
}

pub(super) async fn remove_volume(engine: &BollardEngine, name: &str) -> Reply<()> {
    let options = RemoveVolumeOptionsBuilder::default().force(false).build();
    let removed = engine
        .call("remove volume", CHANGE, |docker| async move { docker.remove_volume(name, Some(options)).await })
        .await;
    found(removed).map(|_| ())
}

fn volume_of(volume: EngineVolume) -> Volume {
    Volume {
        name: volume.name,
        labels: volume.labels.into_iter().collect(),
        created_at: moment(volume.created_at.as_deref()),
    }
}

pub(super) async fn network(engine: &BollardEngine, name: &str) -> Reply<Option<Network>> {
    let reply = engine
        .call("inspect network", LOOK, |docker| async move {
            docker.inspect_network(name, None::<InspectNetworkOptions>).await
        })
        .await;
    let Some(network) = found(reply)? else { return Ok(None) };
    let id = network.id.unwrap_or_default();
    let attached: Vec<String> = network.containers.unwrap_or_default().into_keys().collect();
    let containers = members(engine, &id, attached).await?;
    Ok(Some(network_of(
        network.name.unwrap_or_default(),
        id,
        network.labels,
        network.ipam,
        network.options,
        containers,
    )))
}

pub(super) async fn networks(engine: &BollardEngine, instance: &str) -> Reply<Vec<Network>> {
    let filters = owned(HashMap::from([("label", vec![format!("hearth.instance={instance}")])]));
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let list =
        engine.call("list networks", LOOK, |docker| async move { docker.list_networks(Some(options)).await }).await?;
    let mut networks = Vec::new();
    for network in list {
        let id = network.id.unwrap_or_default();
        let containers = members(engine, &id, Vec::new()).await?;
        let name = network.name.unwrap_or_default();
        networks.push(network_of(name, id, network.labels, network.ipam, network.options, containers));
    }
    Ok(networks)
}

/// Counts the containers of a network: the engine's own list has only those that run.
async fn members(engine: &BollardEngine, id: &str, mut attached: Vec<String>) -> Reply<usize> {
    let filters = owned(HashMap::from([("network", vec![id.to_owned()])]));
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let list = engine
        .call("list containers", LOOK, |docker| async move { docker.list_containers(Some(options)).await })
        .await?;
    attached.extend(list.into_iter().filter_map(|container| container.id));
    attached.sort();
    attached.dedup();
    Ok(attached.len())
}

type Map = Option<HashMap<String, String>>;

fn network_of(name: String, id: String, labels: Map, ipam: Option<Ipam>, options: Map, containers: usize) -> Network {
    let subnets = ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    Network {
        id,
        name,
        labels: labels.unwrap_or_default().into_iter().collect(),
        subnets: subnets.into_iter().filter_map(|config| config.subnet).collect(),
        icc: options.unwrap_or_default().get(ICC).is_none_or(|icc| icc != "false"),
        containers,
    }
}

pub(super) async fn create_network(engine: &BollardEngine, spec: &NetworkSpec) -> Reply<()> {
    let ipam = spec.subnet.clone().map(|subnet| Ipam {
        config: Some(vec![IpamConfig { subnet: Some(subnet), ..IpamConfig::default() }]),
        ..Ipam::default()
    });
    let request = NetworkCreateRequest {
        name: spec.name.clone(),
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from([(ICC.to_owned(), spec.icc.to_string())])),
        labels: Some(spec.labels.clone().into_iter().collect()),
        ipam,
        ..NetworkCreateRequest::default()
    };
    engine.call("create network", CHANGE, |docker| async move { docker.create_network(request).await }).await?;
    Ok(())
}
