//! All of a build that can fail early, done before anything is changed (rule L6).

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::image::ResolvedImage;
use super::log::{LogWriter, disk_is_low};
use super::pull::pull;
use super::run::Broken;
use super::{Tools, network, volume};
use crate::config::settings::Org;
use crate::config::{Effective, SpecSummary};
use crate::docker::Image;
use crate::model::{PortMapping, Protocol, Stage, Warning};
use crate::store::{HomeRecord, WorkspaceRecord};

/// What a build is made from, found good.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) image: Image,
    pub(super) resolved: ResolvedImage,
    pub(super) home: HomeRecord,
    pub(super) warnings: Vec<Warning>,
}

/// Pulls and checks; changes nothing that runs.
pub(super) async fn prepare(
    tools: &Tools,
    workspace: &Effective,
    org: &Org,
    record: &WorkspaceRecord,
    asked_at: Instant,
    log: &LogWriter,
) -> Result<Prepared, Broken> {
    if disk_is_low(&tools.data_dir) {
        return Err(Broken::Failed(format!(
            "less than 5 % of the disk that {} lies on is free, so nothing is built: free some",
            tools.data_dir.display()
        )));
    }
    if let Some(disk) = tools.low_disk() {
        return Err(Broken::Failed(format!(
            "less than 5 % of Docker's disk is free, so nothing is built: `df -h {}` shows it, and `docker system df` \
             what fills it",
            disk.display()
        )));
    }
    // Before the pull, which an engine whose disk is not mounted would make onto another one.
    volume::check(tools, record).await?;
    let mut warnings = Vec::new();
    let (image, stale) = pull(tools, org, &workspace.image.value, asked_at, log).await?;
    warnings.extend(stale);
    let user = org.user.as_ref().map(|user| user.value.as_str());
    let resolved = tools.images.resolve(&workspace.image.value, &image, user).await?;
    log.line(
        Stage::Pull,
        &format!("image {} runs as {} ({}:{})", image.id, resolved.username, resolved.uid, resolved.gid),
    );
    for mount in &org.mounts {
        real_source(tools, &mount.source).map_err(Broken::Failed)?;
    }
    let before = held(record);
    for port in &workspace.ports.value {
        if !before.contains(port) {
            free(port).map_err(Broken::Failed)?;
        }
    }
    // Anew: a pull may take long.
    let home = volume::check(tools, record).await?;
    warnings.extend(network::check(tools, org).await?);
    Ok(Prepared { image, resolved, home, warnings })
}

/// Returns where a mount's source really is. It is looked at for each container: a link on the way may lead elsewhere
/// than when the configuration was checked.
pub(super) fn real_source(tools: &Tools, source: &Path) -> Result<PathBuf, String> {
    let shown = source.display();
    let real = source
        .canonicalize()
        .map_err(|error| format!("mount source {shown} cannot be used: {error}. An admin has to make it"))?;
    let run_dir = tools.doors.directory(0);
    let own = [tools.data_dir.as_path(), run_dir.parent().unwrap_or(&run_dir)];
    let own = own.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf()));
    let sockets = ["/run/docker.sock", "/run/containerd/containerd.sock"].map(PathBuf::from);
    let gives_away = own.chain(sockets).any(|kept| kept.starts_with(&real) || real.starts_with(&kept));
    if gives_away {
        return Err(format!(
            "mount source {shown} leads to {}, which gives away hearth's data or the engine. An admin has to see who \
             changed it",
            real.display()
        ));
    }
    Ok(real)
}

/// The ports that the workspace's own container holds, and frees when it gives way.
fn held(record: &WorkspaceRecord) -> Vec<PortMapping> {
    let spec =
        record.container.as_ref().and_then(|container| serde_json::from_str::<SpecSummary>(&container.spec).ok());
    spec.map(|spec| spec.ports.into_iter().collect()).unwrap_or_default()
}

/// Whether the host has the port free, found by taking it for a moment.
fn free(port: &PortMapping) -> Result<(), String> {
    let address = SocketAddr::new(port.host, port.host_port);
    let taken = match port.protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    // The engine may take ports that we may not.
    taken.or_else(|error| if error.kind() == ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }).map_err(
        |error| {
            format!("port {port} cannot be published: {error}. `ss -tulpn` shows who has it; choose another in `ports`")
        },
    )
}
