//! Workspaces from images of every kind, and their homes from build to build, through hearthd.

mod trash;

use crate::support::command::docker_remove;
use crate::support::{Daemon, Image, ImageTag, docker};

fn config(image: &ImageTag, more: &str) -> String {
    format!(
        "[orgs.acme]\nimage = \"{image}\"\npull = \"missing\"\nstop_grace = \"1s\"\n{more}\n\
         [users.alice]\naccount = \"games\"\norgs = [\"acme\"]\n[users.alice.workspaces.main]\n"
    )
}

/// Runs a shell command in alice's workspace as its user.
fn sh(daemon: &Daemon, script: &str) -> String {
    docker(&["exec", &daemon.container("alice/main"), "/bin/sh", "-c", script]).ok()
}

fn rebuild(daemon: &Daemon, image: &ImageTag, more: &str) {
    daemon.write_config(&config(image, more));
    daemon.hearth(&["config", "reload"]).ok();
    daemon.hearth(&["rebuild", "alice/main"]).ok();
}

#[test]
fn l5_a_fresh_home_has_the_images_files_and_they_are_the_users() {
    let image = Image::coder()
        .file("/home/coder/.profile", 0o644, "from the image")
        .dir("/home/coder/sub", 0o700, (0, 0))
        .owned_file("/home/coder/sub/other", 0o600, (4242, 4242), "x");
    let image = image.import();
    let daemon = Daemon::start(&config(&image, ""));
    daemon.wait_state("alice/main", "running");
    let owners = sh(&daemon, "cd; pwd; stat -c '%U:%G %n' . .profile sub sub/other; cat .profile");
    let expected =
        "/home/coder\ncoder:coder .\ncoder:coder .profile\ncoder:coder sub\ncoder:coder sub/other\nfrom the image";
    assert_eq!(owners, expected);
    sh(&daemon, "echo mine > ~/kept; rm ~/.profile");
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    assert_eq!(sh(&daemon, "cat ~/kept; ls ~/.profile 2>&1 | wc -l; id -u"), "mine\n1\n1000\n");
}

#[test]
fn l5_the_home_follows_uid_and_name_of_the_image() {
    let first = Image::coder().import();
    let daemon = Daemon::start(&config(&first, ""));
    daemon.wait_state("alice/main", "running");
    sh(&daemon, "mkdir ~/dir; echo mine > ~/dir/file; ln -s /etc/passwd ~/link");
    let other_uid = Image::busybox().user("coder", 2000).change("USER coder").import();
    rebuild(&daemon, &other_uid, "");
    assert_eq!(
        sh(&daemon, "id -u; stat -c '%u:%g %n' ~ ~/dir/file ~/link; cat ~/dir/file"),
        "2000\n2000:2000 /home/coder\n2000:2000 /home/coder/dir/file\n2000:2000 /home/coder/link\nmine\n"
    );
    assert!(
        daemon.hearth(&["logs", "alice/main"]).ok().contains("files of the home from uid 1000 to `coder` (uid 2000)")
    );
    let other_name = Image::busybox().user("dev", 2000).change("USER dev").import();
    rebuild(&daemon, &other_name, "");
    assert_eq!(sh(&daemon, "echo $HOME; cat ~/dir/file"), "/home/dev\nmine\n");
    // And back again.
    rebuild(&daemon, &first, "");
    assert_eq!(sh(&daemon, "echo more >> ~/dir/file; cat ~/dir/file"), "mine\nmore\n");
    assert_eq!(daemon.containers().len(), 1);
}

#[test]
fn l4_images_that_run_nothing_of_their_own() {
    let image = Image::empty()
        .passwd("coder:x:1000:1000::/nowhere:/bin/zsh")
        .change("USER coder")
        .change("ENTRYPOINT [\"/no/such/program\"]")
        .change("VOLUME /home/coder /beside")
        .label("hearth.workspace", "bob/main")
        .label("hearth.home", "9")
        .import();
    let daemon = Daemon::start(&config(&image, ""));
    daemon.wait_state("alice/main", "running");
    let inspected = docker(&["inspect", &daemon.container("alice/main")]).json()[0].clone();
    assert_eq!(inspected["Config"]["Labels"]["hearth.workspace"], "alice/main");
    assert_eq!(inspected["Config"]["Labels"]["hearth.home"], "");
    let mounts = inspected["Mounts"].as_array().unwrap();
    let home = mounts.iter().find(|mount| mount["Destination"] == "/home/coder").unwrap();
    assert_eq!(home["Name"], daemon.home_volume("alice/main"));
}

/// A volume that is not ours, which no sweep by label finds.
struct Foreign(String);

impl Drop for Foreign {
    fn drop(&mut self) {
        docker_remove(&["volume", "rm", &self.0]);
    }
}

#[test]
fn l4_a_volume_of_our_name_that_is_not_ours_is_refused() {
    let image = Image::coder().import();
    let daemon = Daemon::prepare("", &config(&image, ""));
    let volume = daemon.home_volume("alice/main");
    docker(&["volume", "create", "--label", "somebody=else", &volume]).ok();
    let _foreign = Foreign(volume.clone());
    // Moved, so that it is gone before the volume is removed.
    let mut daemon = daemon;
    daemon.up();
    let shown = daemon.wait_state("alice/main", "failed").to_string();
    let left = docker(&["volume", "inspect", &volume, "--format", "{{.Labels}}"]).ok();
    assert!(shown.contains(&format!("docker volume inspect {volume}")), "{shown}");
    assert_eq!(left, "map[somebody:else]\n");
    assert!(daemon.containers().is_empty());
}

#[test]
fn l6_a_rebuild_that_fails_early_leaves_the_workspace_as_it_was() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&config(&image, ""));
    daemon.wait_state("alice/main", "running");
    sh(&daemon, "echo here > /tmp/mark");
    let before = daemon.containers();
    let root = Image::busybox().import();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port =
        format!("[users.alice.workspaces.main]\nports = [\"127.0.0.1:{}:80\"]\n", taken.local_addr().unwrap().port());
    for (bad, why) in [
        (config(&root, ""), "`USER`"),
        (config(&image, "[[orgs.acme.mounts]]\nsource = \"/no/such/place\"\ntarget = \"/data\"\n"), "/no/such/place"),
        (config(&image, "").replace("[users.alice.workspaces.main]\n", &port), "cannot be published"),
        (config(&image, "").replace(&image.tag, "127.0.0.1:1/dev:latest"), "cannot be reached"),
    ] {
        daemon.write_config(&bad);
        daemon.hearth(&["config", "reload"]).ok();
        let failed = daemon.hearth(&["rebuild", "alice/main"]);
        assert_ne!(failed.code, 0, "{failed}");
        assert!(failed.stderr().contains(why) || failed.stdout().contains(why), "{why}: {failed}");
        let shown = daemon.wait_state("alice/main", "running");
        assert_eq!(shown["build"]["result"], "failed", "{shown}");
        assert_eq!((daemon.containers(), sh(&daemon, "cat /tmp/mark")), (before.clone(), "here\n".to_owned()));
    }
}
