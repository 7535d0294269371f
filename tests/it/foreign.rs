//! What is not ours is reported, never touched; labels alone prove nothing (design section 2).

use crate::support::config::alice;
use crate::support::{Daemon, Image, docker, wait_for};

#[test]
fn a_foreign_volume_of_our_name_is_refused_never_mounted() {
    let image = Image::coder().import();
    let mut daemon = Daemon::prepare("", &alice(&image));
    let volume = daemon.home_volume("alice/main");
    // Carries our instance, so that it is removed after the test, and no workspace's.
    docker(&["volume", "create", "--label", &format!("hearth.instance={}", daemon.instance()), &volume]).ok();
    daemon.up();
    let shown = daemon.wait_state("alice/main", "failed");
    assert!(shown["failure"].as_str().unwrap().contains(&volume), "{shown}");
    assert_eq!(daemon.containers(), Vec::<String>::new());
    docker(&["volume", "inspect", &volume]).ok();

    // Out of the way, all is well.
    docker(&["volume", "rm", &volume]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
}

#[test]
fn a_foreign_container_of_our_name_is_left_alone() {
    let image = Image::coder().import();
    let mut daemon = Daemon::prepare("", &alice(&image));
    let name = daemon.container("alice/main");
    docker(&["run", "--detach", "--name", &name, &image.tag, "sleep", "1000"]).ok();
    let foreign = Foreign(name.clone());
    daemon.up();
    let shown = daemon.wait_state("alice/main", "failed");
    assert!(shown["failure"].as_str().unwrap().contains(&name), "{shown}");
    assert_eq!(docker(&["inspect", "--format", "{{.State.Running}}", &name]).ok(), "true\n");
    drop(foreign);
}

#[test]
fn an_image_that_carries_our_labels_proves_nothing() {
    let mut daemon = Daemon::prepare("", "");
    let instance = daemon.instance().to_owned();
    let image = Image::coder()
        .label("hearth.instance", &instance)
        .label("hearth.workspace", "alice/main")
        .label("hearth.org", "acme")
        .label("hearth.build", "7")
        .import();
    daemon.write_config(&alice(&image));
    let name = format!("{instance}-spoof");
    docker(&["run", "--detach", "--name", &name, &image.tag, "sleep", "1000"]).ok();
    daemon.up();
    let shown = daemon.wait_state("alice/main", "running");
    assert_eq!((&shown["build"]["number"], &shown["build"]["reason"]), (&1.into(), &"create".into()), "{shown}");
    // Our own labels win over those that the image brings.
    let build =
        docker(&["inspect", "--format", "{{index .Config.Labels \"hearth.build\"}}", &daemon.container("alice/main")]);
    assert_eq!(build.ok(), "1\n");
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    daemon.hearth(&["stop", "alice/main"]).ok();
    assert_eq!(docker(&["inspect", "--format", "{{.State.Running}}", &name]).ok(), "true\n");
    wait_for("status to report it", || {
        let notes = daemon.hearth(&["status", "--json"]).json()["notes"].to_string();
        if notes.contains(&name) { Ok(()) } else { Err(notes) }
    });
}

/// A container that nobody else would remove.
struct Foreign(String);

impl Drop for Foreign {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}
