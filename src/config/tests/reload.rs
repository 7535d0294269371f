//! What a reload does to running workspaces.

use crate::config::change::{Change, plan};
use crate::config::effective::effective;
use crate::config::spec::outdated;
use crate::config::{MemberWorkspace, Members, Settings, SpecSummary, settings_from};
use crate::model::{Outdated, WorkspaceId};

const BEFORE: &str = r#"
[server]
admins = []
[orgs.acme]
image = "dev"
images = ["*"]
[users.alice]
orgs = ["acme"]
[users.alice.workspaces.main]
"#;

fn id() -> WorkspaceId {
    "alice/main".parse().unwrap()
}

fn lines(before: &str, after: &str) -> Vec<String> {
    plan(&settings_from(before), &settings_from(after), &Members::default()).lines()
}

/// What changes when a line is added to the configuration behind another.
fn added(behind: &str, line: &str) -> Vec<String> {
    let after = BEFORE.replace(behind, &format!("{behind}\n{line}"));
    assert_ne!(after, BEFORE);
    lines(BEFORE, &after)
}

#[test]
fn c6_what_a_reload_does_to_each_key() {
    let (org, user, workspace, server) = ("images = [\"*\"]", "orgs = [\"acme\"]", "workspaces.main]", "admins = []");
    let (at_once, live) = ("at once", "at once, in the running container");
    let (outdated, next) = ("at its next build; outdated until then", "at its next build");
    for (behind, line, key, when) in [
        (workspace, "auto_off = \"2h\"", "auto_off", at_once),
        (workspace, "auto_start = \"09:00\"", "auto_start", at_once),
        (workspace, "timezone = \"Europe/Paris\"", "timezone", at_once),
        (org, "hold_max = \"1h\"", "hold_max", at_once),
        (org, "auto_off_override = \"modify\"", "auto_off_override", at_once),
        (org, "holidays = [\"2026-12-25\"]", "holidays", at_once),
        (org, "managers = [\"dana\"]", "managers", at_once),
        (org, "stop_grace = \"1s\"", "stop_grace", at_once),
        (user, "account = \"al\"", "account", at_once),
        (user, "authorized_keys = true", "authorized_keys", at_once),
        (workspace, "cpus = 2", "cpus", live),
        (workspace, "memory = \"4GiB\"", "memory", live),
        (workspace, "pids = 9", "pids", live),
        (workspace, "image = \"dev:2\"", "image", outdated),
        (workspace, "env = { A = \"1\" }", "env", outdated),
        (workspace, "ports = [\"8080:80\"]", "ports", outdated),
        (workspace, "shm = \"1GiB\"", "shm", outdated),
        (workspace, "gpus = 1", "gpus", outdated),
        (org, "runtime = \"runsc\"", "runtime", outdated),
        (org, "user = \"coder\"", "user", outdated),
        (org, "network_isolation = false", "network", outdated),
        (org, "subnet = \"10.88.1.0/24\"", "network", outdated),
        (org, "mounts = [{ source = \"/srv\", target = \"/srv\" }]", "mounts", outdated),
        (org, "pull = \"never\"", "pull", next),
        (org, "hook_timeout = \"1m\"", "hook_timeout", next),
        (org, "secrets.A.file = \"/etc/a\"", "secrets", live),
        (org, "git.hosts.\"git.example\".known_hosts = []", "git.hosts", live),
        (user, "dotfiles = \"https://git.example/a\"", "dotfiles", next),
        (user, "name = \"Alice\"", "name", live),
        (user, "email = \"a@b.example\"", "email", live),
    ] {
        assert_eq!(added(behind, line), [format!("alice/main: {key}: {when}")], "{line}");
    }
    assert_eq!(added(server, "max_builds = 9"), ["server: max_builds: at once"]);
    assert_eq!(added(server, "data_dir = \"/srv/hearth\""), ["server: data_dir: when hearthd is restarted"]);
    assert_eq!(added(server, "# a comment"), Vec::<String>::new());
    assert_eq!(added(workspace, "image = \"docker.io/library/dev:latest\""), Vec::<String>::new(), "the same image");
}

#[test]
fn c6_a_secret_whose_file_has_changed_is_told() {
    let before = settings_from(&BEFORE.replace("[users.alice]", "secrets.A.file = \"/etc/a\"\n[users.alice]"));
    let mut after = before.clone();
    assert_eq!(plan(&before, &after, &Members::default()).lines(), Vec::<String>::new());
    for org in after.orgs.values_mut() {
        org.secrets.values_mut().for_each(|file| file.stamp.size += 1);
    }
    let told = plan(&before, &after, &Members::default()).lines();
    assert_eq!(told, ["alice/main: secrets: at once, in the running container"]);
}

#[test]
fn c6_workspaces_that_come_and_go() {
    let after = BEFORE.replace("main]", "other]");
    assert_eq!(
        lines(BEFORE, &after),
        ["alice/main: removed: stopped, its home is kept", "alice/other: new: built at once"]
    );
    let off = after.replace("images = [\"*\"]", "build_on_create = false");
    assert_eq!(lines(BEFORE, &off)[1], "alice/other: new: stays off until somebody starts it");
    let removal = plan(&settings_from(BEFORE), &settings_from(&after), &Members::default());
    assert_eq!(removal.removed().collect::<Vec<_>>(), [&id()]);
}

#[test]
fn c6_several_changes_are_told_by_when_they_are_made() {
    let change = added("workspaces.main]", "cpus = 2\nimage = \"dev:2\"\nauto_off = \"2h\"\nshm = \"1GiB\"");
    insta::assert_snapshot!(change.join("\n"), @r"
    alice/main: auto_off: at once
    alice/main: cpus: at once, in the running container
    alice/main: image, shm: at its next build; outdated until then
    ");
}

#[test]
fn c6_what_a_member_set_over_it_does_not_change_with_the_file() {
    let own = MemberWorkspace { image: Some("dev:9".to_owned()), ..MemberWorkspace::default() };
    let members = Members { workspaces: [(id(), own)].into(), ..Members::default() };
    let after = BEFORE.replace("image = \"dev\"", "image = \"dev:2\"");
    let change = plan(&settings_from(BEFORE), &settings_from(&after), &members);
    assert!(change.workspaces.is_empty(), "{change:?}");
    let forbidden = BEFORE.replace("images = [\"*\"]", "");
    let change = plan(&settings_from(BEFORE), &settings_from(&forbidden), &members);
    let Change::Changed(changes) = &change.workspaces[&id()] else { panic!("{change:?}") };
    assert_eq!(
        (changes.outdated.as_slice(), changes.at_once.as_slice()),
        ([Outdated::Image].as_slice(), ["images"].as_slice())
    );
}

fn spec(settings: &Settings) -> SpecSummary {
    let workspace = &settings.workspaces[&id()];
    SpecSummary::of(&effective(settings, workspace, &Members::default()), settings.org_of(workspace))
}

#[test]
fn c6_a_containers_spec_is_compared_as_it_was_kept_and_shows_no_values_of_the_environment() {
    let before = settings_from(&BEFORE.replace("main]", "main]\nenv = { TOKEN = \"very-secret\" }"));
    let kept = serde_json::to_string(&spec(&before)).unwrap();
    assert!(!kept.contains("very-secret"), "{kept}");
    let kept: SpecSummary = serde_json::from_str(&kept).unwrap();
    assert_eq!(outdated(&kept, &spec(&before)), []);
    let other = settings_from(&BEFORE.replace("main]", "main]\ncpus = 1\nenv = { TOKEN = \"other\" }"));
    assert_eq!(outdated(&kept, &spec(&other)), [Outdated::Env, Outdated::Cpus]);
}

#[test]
fn c6_another_org_makes_the_container_outdated() {
    let two = format!("{BEFORE}org = \"acme\"\n[orgs.beta]\nimage = \"dev\"\n")
        .replace("orgs = [\"acme\"]", "orgs = [\"acme\", \"beta\"]");
    let moved = two.replace("org = \"acme\"", "org = \"beta\"");
    let change = lines(&two, &moved);
    assert!(change.contains(&"alice/main: org: at its next build; outdated until then".to_owned()), "{change:?}");
}
