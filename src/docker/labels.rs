//! Names and labels of what is ours on the engine (design section 2). Pure.
//!
//! An image can carry our labels, so labels alone prove nothing: an object is ours when labels, name and the id that
//! is recorded agree; where the database was lost, labels, name and our mounts do: `hearth`, and a socket of this hearthd.

use std::path::Path;

pub use crate::model::inside::{BINARY, SOCKET_DIR};

use super::{Container, Labels, Network, Volume};
use crate::model::{BuildNumber, InstanceName, OrgName, WorkspaceId};
use crate::mutant;

/// Label of every object: the instance.
pub const INSTANCE: &str = "hearth.instance";
/// Label of containers and homes: `alice/main`.
pub const WORKSPACE: &str = "hearth.workspace";
/// Label of containers and networks.
pub const ORG: &str = "hearth.org";
/// Label of containers: the build that made it.
pub const BUILD: &str = "hearth.build";
/// Label of containers: what it is made of.
pub const SPEC: &str = "hearth.spec";
/// Label of homes: their number, 1 for `….home`, 2 for `….home-2`.
pub const HOME: &str = "hearth.home";
/// Label of containers that live for a moment only: what for.
pub const PURPOSE: &str = "hearth.purpose";
/// What can stand in [`PURPOSE`], and in a name there: looking into an image, giving a home to another user, looking
/// into a home.
const PURPOSES: [&str; 3] = ["probe", "own", "changed"];

/// Where a home is mounted in a container that lives for a moment: no image has anything there, and no person mounts
/// anything there.
pub const HOME_APART: &str = "/.hearth-home";

/// Returns the name of a workspace's container. Names hold no dot (rule C3), so no two can meet.
pub fn container_name(instance: &InstanceName, workspace: &WorkspaceId) -> String {
    format!("{instance}.{}.{}", workspace.user, workspace.name)
}

/// Returns the name of a workspace's `number`-th home, from 1.
pub fn volume_name(instance: &InstanceName, workspace: &WorkspaceId, number: u32) -> String {
    let mut name = format!("{}.home", container_name(instance, workspace));
    if mutant::is_on("a user has one home") {
        name = format!("{instance}.{}.home", workspace.user);
    }
    if number <= 1 { name } else { format!("{name}-{number}") }
}

/// Returns the name of an org's network.
pub fn network_name(instance: &InstanceName, org: &OrgName) -> String {
    format!("{instance}.{org}")
}

/// Returns the name of a container that lives for a moment. No workspace's is like it: its last part has a digit first.
pub fn passing_name(instance: &InstanceName, purpose: &str, random: u64) -> String {
    format!("{instance}.{purpose}.0{random:016x}")
}

/// Returns the labels of a workspace's container. All that we know are in it: an image's own would show on the
/// container else.
pub fn container_labels(
    instance: &InstanceName,
    workspace: &WorkspaceId,
    org: &OrgName,
    build: BuildNumber,
    spec: &str,
) -> Labels {
    labels([
        (INSTANCE, instance.to_string()),
        (WORKSPACE, workspace.to_string()),
        (ORG, org.to_string()),
        (BUILD, build.to_string()),
        (SPEC, spec.to_owned()),
        (HOME, String::new()),
        (PURPOSE, String::new()),
    ])
}

/// Returns the labels of a home by its volume's name.
pub fn volume_labels(instance: &InstanceName, workspace: &WorkspaceId, volume: &str) -> Labels {
    let number = volume.rsplit_once(".home-").map_or("1", |(_, number)| number);
    labels([(INSTANCE, instance.to_string()), (WORKSPACE, workspace.to_string()), (HOME, number.to_owned())])
}

/// Returns the labels of an org's network.
pub fn network_labels(instance: &InstanceName, org: &OrgName) -> Labels {
    labels([(INSTANCE, instance.to_string()), (ORG, org.to_string())])
}

/// Returns the labels of a container that lives for a moment: one that is looked into, or that gives files an owner.
pub fn passing_labels(instance: &InstanceName, purpose: &str) -> Labels {
    let mut labels = labels([(INSTANCE, instance.to_string()), (PURPOSE, purpose.to_owned())]);
    labels.extend([WORKSPACE, ORG, BUILD, SPEC, HOME].map(|name| (name.to_owned(), String::new())));
    labels
}

/// Returns whether a container is one that lives for a moment. What is there of them when hearthd starts was left
/// behind by a build that was cut off.
pub fn is_passing(container: &Container, instance: &InstanceName) -> bool {
    let Some(purpose) = container.labels.get(PURPOSE).filter(|purpose| PURPOSES.contains(&purpose.as_str())) else {
        return false;
    };
    let random = container.name.strip_prefix(&format!("{instance}.{purpose}.0"));
    random.is_some_and(|random| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit()))
        && passing_labels(instance, purpose).iter().all(|(name, value)| has(&container.labels, name, value))
}

/// Returns whether a container is the workspace's own. `recorded` is the id in the database; one that is not in it must
/// have a socket of ours, of those in `sockets`: another hearthd may have the same name by mistake.
pub fn is_our_container(
    container: &Container,
    instance: &InstanceName,
    sockets: &Path,
    workspace: &WorkspaceId,
    recorded: Option<&str>,
) -> bool {
    is_named_and_labelled(container, instance, workspace)
        && (recorded == Some(container.id.0.as_str())
            || mounts_ours(container, sockets)
            || mutant::is_on("labels prove it"))
}

/// Returns whether a container has the name and the labels of the workspace's, which proves nothing by itself.
pub fn is_named_and_labelled(container: &Container, instance: &InstanceName, workspace: &WorkspaceId) -> bool {
    container.name == container_name(instance, workspace)
        && has(&container.labels, INSTANCE, instance.as_str())
        && has(&container.labels, WORKSPACE, &workspace.to_string())
}

/// Whether it has `hearth` and a workspace's socket of this hearthd.
fn mounts_ours(container: &Container, sockets: &Path) -> bool {
    let mut binds = container.mounts.iter().filter(|mount| mount.volume.is_none());
    binds.clone().any(|mount| mount.target == BINARY)
        && binds.any(|mount| mount.target == SOCKET_DIR && Path::new(&mount.source).parent() == Some(sockets))
}

/// Returns whether a volume is a home of the workspace: its name, exactly our labels, and no other of ours.
pub fn is_our_volume(volume: &Volume, instance: &InstanceName, workspace: &WorkspaceId) -> bool {
    home_number(&volume.name, instance, workspace).is_some()
        && volume.labels == volume_labels(instance, workspace, &volume.name)
}

/// Returns the number of a workspace's home by its volume's name; `None` where that is no home of it.
pub fn home_number(volume: &str, instance: &InstanceName, workspace: &WorkspaceId) -> Option<u32> {
    let number = match volume.rsplit_once(".home-") {
        Some((_, number)) => number.parse().ok()?,
        None => 1,
    };
    (volume == volume_name(instance, workspace, number)).then_some(number)
}

/// Returns whose home a volume is by its name and its labels, whatever the database says.
pub fn home_of(volume: &Volume, instance: &InstanceName) -> Option<WorkspaceId> {
    let workspace = volume.labels.get(WORKSPACE)?.parse().ok()?;
    is_our_volume(volume, instance, &workspace).then_some(workspace)
}

/// Returns whether a network is the org's.
pub fn is_our_network(network: &Network, instance: &InstanceName, org: &OrgName) -> bool {
    network.name == network_name(instance, org) && network.labels == network_labels(instance, org)
}

fn labels<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn has(labels: &Labels, name: &str, value: &str) -> bool {
    labels.get(name).is_some_and(|found| found == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::{ContainerId, MountPoint, Status};

    fn instance() -> InstanceName {
        "hearth".parse().unwrap()
    }

    fn alice() -> WorkspaceId {
        "alice/main".parse().unwrap()
    }

    fn container() -> Container {
        Container {
            id: ContainerId("c1".into()),
            name: "hearth.alice.main".into(),
            image_id: "sha256:1".into(),
            labels: container_labels(&instance(), &alice(), &"acme".parse().unwrap(), BuildNumber(3), "{}"),
            status: Status::Running,
            mounts: vec![],
        }
    }

    #[test]
    fn names_as_designed() {
        assert_eq!(volume_name(&instance(), &alice(), 1), "hearth.alice.main.home");
        assert_eq!(volume_name(&instance(), &alice(), 3), "hearth.alice.main.home-3");
        assert_eq!(network_name(&instance(), &"acme".parse().unwrap()), "hearth.acme");
    }

    #[test]
    fn labels_alone_prove_nothing() {
        let sockets = Path::new("/run/hearth/workspace");
        let ours =
            |container: &Container, recorded| is_our_container(container, &instance(), sockets, &alice(), recorded);
        assert!(ours(&container(), Some("c1")));
        assert!(!ours(&container(), Some("c2")), "another id is recorded");
        assert!(!ours(&container(), None), "labels and name without our mount");
        let mut mounted = container();
        mounted.mounts.push(MountPoint { volume: None, source: "/usr/bin/hearth".into(), target: BINARY.into() });
        let socket = |source: &str| MountPoint { volume: None, source: source.into(), target: SOCKET_DIR.into() };
        assert!(!ours(&mounted, None), "it has no socket");
        let mut elsewhere = mounted.clone();
        elsewhere.mounts.push(socket("/run/another/workspace/1"));
        assert!(!ours(&elsewhere, None), "its socket is of another hearthd");
        assert!(ours(&elsewhere, Some("c1")), "`run_dir` was moved");
        mounted.mounts.push(socket("/run/hearth/workspace/1"));
        assert!(ours(&mounted, None), "the database was lost");
        let renamed = Container { name: "hearth.alice.other".into(), ..mounted.clone() };
        assert!(!ours(&renamed, Some("c1")));
        let mut relabelled = mounted;
        relabelled.labels.insert(WORKSPACE.into(), "bob/main".into());
        assert!(!ours(&relabelled, Some("c1")));
    }

    #[test]
    fn a_volume_of_our_name_needs_exactly_our_labels() {
        let name = "hearth.alice.main.home-2";
        let volume = |labels| Volume { name: name.into(), labels, created_at: None };
        let good = volume_labels(&instance(), &alice(), name);
        assert!(is_our_volume(&volume(good.clone()), &instance(), &alice()));
        assert!(!is_our_volume(&volume(Labels::new()), &instance(), &alice()));
        assert!(!is_our_volume(&volume(good.clone()), &instance(), &"bob/main".parse().unwrap()));
        let mut more = good;
        more.insert("other".into(), "x".into());
        assert!(!is_our_volume(&volume(more), &instance(), &alice()));
        let named = |name: &str| {
            let labels = volume_labels(&instance(), &alice(), name);
            home_of(&Volume { name: name.into(), labels, created_at: None }, &instance())
        };
        assert_eq!(named("hearth.alice.main.home"), Some(alice()));
        assert_eq!(named("hearth.alice.main.home-12"), Some(alice()));
        for other in
            ["hearth.alice.main.home-1", "hearth.alice.main.home-02", "hearth.bob.main.home", "backup", "x.home-2"]
        {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn what_lives_for_a_moment_is_told_from_everything_else() {
        let passing = |name: String, labels| Container { name, labels, ..container() };
        let name = passing_name(&instance(), "probe", 7);
        assert_eq!(name, "hearth.probe.00000000000000007");
        let labels = passing_labels(&instance(), "probe");
        assert!(is_passing(&passing(name.clone(), labels.clone()), &instance()));
        assert!(!is_passing(&container(), &instance()));
        assert!(!is_passing(&passing("hearth.probe.main".into(), labels.clone()), &instance()));
        assert!(!is_passing(&passing(name.clone(), container().labels), &instance()));
        let mut spoofed = labels;
        spoofed.insert(WORKSPACE.into(), "alice/main".into());
        assert!(!is_passing(&passing(name, spoofed), &instance()));
        assert!("00".parse::<crate::model::WorkspaceName>().is_err());
    }

    #[test]
    fn an_image_can_set_none_of_our_labels_on_our_containers() {
        let all = [INSTANCE, WORKSPACE, ORG, BUILD, SPEC, HOME, PURPOSE];
        for labels in [container().labels, passing_labels(&instance(), "own")] {
            assert!(all.iter().all(|name| labels.contains_key(*name)), "{labels:?}");
        }
    }
}
