//! That the tools do what the tests rely on.

use std::process::Command;

use crate::support::sshd::generate_key;
use crate::support::{Image, Registry, Sshd, account, debian, docker, run, unique};

/// Runs a command in a container that is gone afterwards.
fn in_container(image: &str, argv: &[&str]) -> String {
    docker(&[&["run", "--rm", "--pull=never", "--name", &unique(), image], argv].concat()).ok()
}

#[test]
fn an_image_has_its_user_files_and_labels() {
    let image = Image::coder().configure("echo hello").label("team", "a b").symlink("/link", "/coder").import();
    assert_eq!(in_container(&image.tag, &["id", "-un"]), "coder\n");
    assert_eq!(in_container(&image.tag, &["/link/configure"]), "hello\n");
    let label = docker(&["image", "inspect", &image.tag, "--format", "{{.Config.Labels.team}}"]).ok();
    assert_eq!(label, "a b\n");
}

#[test]
fn an_image_is_gone_afterwards() {
    let image = Image::empty().import();
    let name = image.tag.clone();
    drop(image);
    assert_eq!(docker(&["image", "inspect", &name]).code, 1);
}

#[test]
fn a_debian_has_git_ssh_and_sudo() {
    let image = debian::image();
    let told = in_container(&image, &["bash", "-c", "git --version && command -v ssh && sudo id -u && echo ~"]);
    assert!(told.contains("/usr/bin/ssh\n0\n/home/coder\n"), "{told}");
}

#[test]
fn a_registry_serves_what_was_pushed_and_can_be_down() {
    let mut registry = Registry::start();
    let name = registry.push(&Image::coder().import(), "dev:latest");
    assert_eq!(docker(&["image", "inspect", &name]).code, 1, "the engine has it without a pull");
    docker(&["pull", &name]).ok();
    registry.down();
    docker(&["pull", &name]).fails(1);
    registry.up();
    docker(&["pull", &name]).ok();
}

#[test]
fn a_private_registry_wants_credentials() {
    let registry = Registry::start_private();
    let name = registry.push(&Image::coder().import(), "dev:latest");
    let refused = docker(&["pull", &name]).fails(1);
    assert!(refused.contains("no basic auth credentials"), "{refused}");
}

#[test]
fn an_sshd_serves_a_repository_to_those_it_knows() {
    let sshd = Sshd::start();
    let url = sshd.repository("dotfiles", &[("install.sh", 0o755, "#!/bin/sh\n")]);
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    generate_key(&key, "test");
    std::fs::write(dir.path().join("known_hosts"), sshd.known_hosts()).unwrap();
    let ssh = format!(
        "ssh -F none -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes -o BatchMode=yes",
        key.display(),
        dir.path().join("known_hosts").display()
    );
    let list = || {
        let mut git = Command::new("git");
        git.args(["ls-remote", &url]).current_dir(dir.path()).env("GIT_SSH_COMMAND", &ssh);
        run(git)
    };
    let refused = list();
    assert!(refused.stderr().contains("Permission denied"), "{refused}");
    sshd.authorize(&std::fs::read_to_string(key.with_extension("pub")).unwrap());
    assert!(list().ok().contains("refs/heads/main"));
}

#[test]
fn an_account_runs_commands_as_itself() {
    assert_eq!(run(account::GAMES.command("id")).ok(), "uid=5(games) gid=60(games) groups=60(games)\n");
}
