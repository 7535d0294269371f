//! Configurations that are accepted, and what they come to.

use std::time::Duration;

use super::MadeUp;
use crate::config::settings::{AutoStart, Limit, Origin, Override, Principal, Pull};
use crate::config::{Checked, Settings, Sources, read, settings_from};
use crate::model::{Bytes, WorkspaceId};

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

/// The sample of the design, with keys that are whole.
pub(super) fn sample() -> String {
    include_str!("design.toml").replace("AAAA…", KEY)
}

fn accepted(text: &str) -> Checked {
    read(&Sources::new("hearth.toml", text), &MadeUp).unwrap_or_else(|problems| panic!("{problems}"))
}

fn id(text: &str) -> WorkspaceId {
    text.parse().unwrap()
}

#[test]
fn c2_the_sample_of_the_design_is_accepted() {
    let Checked { settings, warnings } = accepted(&sample());
    assert_eq!(warnings, []);
    let org = &settings.orgs[&"acme".parse().unwrap()];
    assert_eq!(org.managers, [Principal::Account("dana".to_owned())]);
    assert_eq!(settings.server.admins[1], Principal::Group("sudo".to_owned()));
    assert_eq!(org.auto_off.value, Limit::After(Duration::from_secs(7200)));
    assert_eq!(org.auto_off_override, Override::Modify);
    assert_eq!(org.registries["registry.acme.example"].username, "pull");
    assert_eq!(org.secrets["NPM_TOKEN"].path.to_str(), Some("/etc/hearth/secrets/npm"));
    let alice = &settings.users[&"alice".parse().unwrap()];
    assert_eq!(alice.account, "alice.example");
    assert_eq!(settings.users_of_account("alice.example").count(), 1);
    assert_eq!(settings.users_of_account("alice").count(), 0);
    let main = &settings.workspaces[&id("alice/main")];
    assert_eq!(main.image.value, "registry.acme.example/dev:2026");
    assert_eq!(main.resources.memory.value, Some(Bytes(8 << 30)));
    assert_eq!(main.resources.pids.value, 4096);
    assert_eq!(main.timezone.name, "Europe/Lisbon");
    assert_eq!(main.auto_start.to_string(), "09:00");
    assert_eq!(main.env.keys().collect::<Vec<_>>(), ["EDITOR", "HTTPS_PROXY"]);
    assert_eq!(main.env["EDITOR"].origin.to_string(), "hearth.toml:84:25");
    assert_eq!(main.resources.pids.origin.to_string(), "hearth.toml:44:8");
    assert_eq!(settings.workspaces.len(), 1, "alice has her `main` already");
}

#[test]
fn c2_defaults_are_those_of_the_design() {
    let settings =
        accepted("[orgs.acme]\nimage = \"dev\"\n[users.alice]\norgs = [\"acme\"]\n[users.alice.workspaces.a]").settings;
    let server = &settings.server;
    assert_eq!(server.docker.to_str(), Some("/var/run/docker.sock"));
    assert_eq!((server.data_dir.to_str(), server.run_dir.to_str()), (Some("/var/lib/hearth"), Some("/run/hearth")));
    assert_eq!(server.timezone.name, "Europe/Vienna", "the host's");
    assert_eq!((server.max_builds, server.instance.as_str()), (4, "hearth"));
    assert!(
        server.admins.is_empty() && server.auditors.is_empty() && settings.ssh.is_none() && settings.metrics.is_none()
    );
    let org = &settings.orgs[&"acme".parse().unwrap()];
    assert!(org.managers.is_empty() && org.images.is_empty() && org.auto_off_max.is_none() && org.runtime.is_none());
    assert_eq!((org.pull, org.auto_off.value, org.auto_off_override), (Pull::Always, Limit::Never, Override::Deny));
    assert_eq!((org.activity.as_str(), org.activity_floor), ("traffic", Bytes(1024)));
    assert_eq!(org.auto_start_days.len(), 7);
    assert_eq!(org.auto_start_pause_after, Limit::After(Duration::from_secs(7 * 86_400)));
    assert_eq!([org.hold_max, org.trash_keep].map(|span| span.as_secs()), [86_400, 30 * 86_400]);
    assert_eq!([org.stop_grace, org.hook_timeout].map(|span| span.as_secs()), [10, 1800]);
    assert!(org.build_on_create && org.network_isolation && org.default_workspace.is_none() && org.user.is_none());
    let workspace = &settings.workspaces[&id("alice/a")];
    let resources = &workspace.resources;
    assert_eq!((resources.cpus.value, resources.memory.value), (None, None));
    assert_eq!((resources.pids.value, resources.shm.value, resources.gpus.value), (4096, Bytes(64 << 20), 0));
    assert_eq!((&workspace.auto_start.value, &workspace.auto_start.origin), (&AutoStart::Never, &Origin::Default));
    assert_eq!(workspace.image.origin.to_string(), "hearth.toml:2:9");
    let user = &settings.users[&"alice".parse().unwrap()];
    assert_eq!((user.account.as_str(), user.authorized_keys), ("alice", false));
}

#[test]
fn c2_an_empty_configuration_is_one() {
    assert!(accepted("").settings.orgs.is_empty());
    assert!(accepted("# nothing\n").settings.workspaces.is_empty());
}

#[test]
fn every_member_gets_the_orgs_default_workspace_once() {
    let settings = settings_from(
        "[orgs.acme]\nimage = \"dev\"\ndefault_workspace = \"main\"\n[orgs.beta]\nimage = \"dev\"\n\
         [users.alice]\norgs = [\"acme\", \"beta\"]\n[users.bob]\norgs = [\"beta\"]\n\
         [users.carol]\norgs = [\"acme\"]\n[users.carol.workspaces.main]\ncpus = 1.0\n",
    );
    let names: Vec<String> = settings.workspaces.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["alice/main", "carol/main"]);
    assert_eq!(settings.workspaces[&id("alice/main")].declared_at.to_string(), "hearth.toml:3:21");
    assert_eq!(settings.workspaces[&id("carol/main")].declared_at.to_string(), "hearth.toml:12:25");
}

#[test]
fn c3_workspaces_may_stand_in_another_file_than_their_user() {
    let mut sources = Sources::new("hearth.toml", "[orgs.acme]\nimage = \"dev\"\n");
    sources.push("conf.d/10.toml", "[users.alice.workspaces.main]\n");
    sources.push("conf.d/20.toml", "[users.alice]\norgs = [\"acme\"]\n[users.alice.workspaces.more]\n");
    sources.push("conf.d/30.toml", "users.alice.workspaces.third.cpus = 2\n");
    let settings = read(&sources, &MadeUp).unwrap_or_else(|problems| panic!("{problems}")).settings;
    assert_eq!(settings.workspaces.len(), 3);
    assert_eq!(settings.workspaces[&id("alice/third")].declared_at.to_string(), "conf.d/30.toml:1:24");
}

#[test]
fn a_workspace_of_a_user_with_several_orgs_names_its_own() {
    let settings = settings_from(
        "[orgs.acme]\nimage = \"a\"\n[orgs.beta]\nimage = \"b\"\n[users.alice]\norgs = [\"acme\", \"beta\"]\n\
         [users.alice.workspaces.main]\norg = \"beta\"\n",
    );
    assert_eq!(settings.org_of(&settings.workspaces[&id("alice/main")]).image.value, "b");
}

#[test]
fn warnings_are_told_and_do_not_refuse() {
    let text = format!(
        "[orgs.acme]\nimage = \"dev\"\n[orgs.acme.limits]\ncpus = 8.0\n\
         [orgs.acme.git.hosts.\"git.acme.example\"]\nknown_hosts = [\"other.example ssh-ed25519 {KEY}\"]\n\
         [orgs.acme.secrets.A]\nfile = \"/etc/hearth/secrets/hidden\"\n"
    );
    let warnings: Vec<String> = accepted(&text).warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n\n"), @r#"
    hearth.toml:4:8: workspaces of org `acme` that do not set `cpus` are unlimited, whatever this says
      |
    4 | cpus = 8.0
      |        ^^^
    help: set `cpus` in `[orgs.acme.resources]`

    hearth.toml:5:22: none of these lines is about `git.acme.example`
      |
    5 | [orgs.acme.git.hosts."git.acme.example"]
      |                      ^^^^^^^^^^^^^^^^^^
    help: the host will not be known: write what `ssh-keyscan git.acme.example` prints

    hearth.toml:8:8: `/etc/hearth/secrets/hidden` cannot be looked at: Permission denied
      |
    8 | file = "/etc/hearth/secrets/hidden"
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: check as root to be sure of this file
    "#);
}

#[test]
fn the_sample_that_is_installed_is_accepted_without_a_warning() {
    let text = include_str!("../../../config/hearth.toml");
    let Checked { settings, warnings } = accepted(text);
    assert_eq!(warnings, []);
    assert_eq!(settings.workspaces.keys().map(ToString::to_string).collect::<Vec<_>>(), ["alice/main"]);
}

#[test]
fn the_sample_of_the_quickstart_is_accepted() {
    let text = include_str!("../../../config/demo.toml")
        .replace("@INSTANCE@", "demo")
        .replace("@DIR@", "/srv/demo")
        .replace("@ACCOUNT@", "alice")
        .replace("@IMAGE@", "hearth-demo:latest")
        .replace("@GIT_HOST@", "127.0.0.1")
        .replace("@GIT_HOST_KEY@", &format!("[127.0.0.1]:2222 ssh-ed25519 {KEY}"))
        .replace("@DOTFILES@", "ssh://git@127.0.0.1:2222/srv/dotfiles.git");
    assert!(!text.lines().any(|line| !line.starts_with('#') && line.contains("= \"@")), "all is filled in");
    assert_eq!(accepted(&text).warnings, []);
}

/// What stands in comments is configuration too: without the `#` it has to be accepted, ellipses filled in.
#[test]
fn what_the_installed_sample_shows_in_comments_is_true() {
    let is_word = |key: &str| key.trim_end().bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_code = |line: &str| line.starts_with('[') || line.split_once('=').is_some_and(|(key, _)| is_word(key));
    let bare = |line: &'static str| line.strip_prefix('#').filter(|line| is_code(line)).unwrap_or(line);
    let text: Vec<&str> = include_str!("../../../config/hearth.toml").lines().map(bare).collect();
    let text = text.join("\n").replace("AAAA…", KEY);
    assert!(text.contains("\nknown_hosts = ["), "the comments were taken off");
    accepted(&text);
}

#[test]
fn a_thousand_users_are_read() {
    let text = many(1000);
    let settings: Settings = accepted(&text).settings;
    assert_eq!(settings.workspaces.len(), 1000);
}

/// As `cargo test --release -- --ignored --nocapture a_thousand` shows it.
#[test]
#[ignore = "a measurement"]
fn how_long_a_thousand_users_take() {
    let sources = Sources::new("hearth.toml", &many(1000));
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let start = tokio::time::Instant::now();
            read(&sources, &MadeUp).unwrap();
            start.elapsed()
        })
        .collect();
    took.sort();
    println!(
        "1000 users and workspaces, {} bytes: median {:?}, worst {:?}",
        sources.files()[0].text.len(),
        took[10],
        took[19]
    );
}

fn many(count: usize) -> String {
    let user = |n: usize| {
        format!(
            "[users.user-{n}]\norgs = [\"acme\"]\nname = \"User {n}\"\nemail = \"user{n}@acme.example\"\n\
             timezone = \"Europe/Lisbon\"\nauto_start = {{ at = \"08:30\", days = [\"mon\", \"tue\"] }}\n\
             [users.user-{n}.workspaces.main]\nimage = \"registry.acme.example/dev:{n}\"\ncpus = 2.0\nmemory = \"4GiB\"\n\
             ports = [\"127.0.0.1:{}:8080\"]\nenv = {{ EDITOR = \"vim\" }}\n\n",
            10_000 + n
        )
    };
    let org = "[orgs.acme]\nimage = \"registry.acme.example/dev\"\nimages = [\"registry.acme.example/*\"]\n\n";
    std::iter::once(org.to_owned()).chain((0..count).map(user)).collect()
}
