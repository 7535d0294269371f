//! The hooks of a build (section 5) in real containers, without a daemon: hearthd's end in the test, the static binary inside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hearthd::build::hooks::{Inside, Ran, fact_warnings};
use hearthd::build::keys::{GitKey, Token, git_key};
use hearthd::build::log::{LogWriter, Logs};
use hearthd::docker::{BollardEngine, ContainerId};
use hearthd::helper::bundle::{Facts, Git, Home, Inhabitant, InjectRequest, Personalize, Secret};
use hearthd::model::{BuildNumber, Hook, Warning, WarningKind};

use crate::support::command::docker_remove;
use crate::support::{Image, ImageTag, PATIENCE, Sshd, debian, docker, unique, wait_for};

const HEARTH: &str = env!("CARGO_BIN_EXE_hearth");
const BUILD: BuildNumber = BuildNumber(1);

/// A running container with a home, ready to be injected.
struct World {
    engine: BollardEngine,
    container: ContainerId,
    name: String,
    user: Inhabitant,
    data: tempfile::TempDir,
    logs: Logs,
    log: LogWriter,
    token: Token,
    key: GitKey,
    _image: Option<ImageTag>,
}

impl World {
    fn new() -> Self {
        Self::of(&Image::coder().dir("/coder", 0o777, (0, 0)))
    }

    fn of(image: &Image) -> Self {
        let image = image.import();
        Self::start(&image.tag.clone(), Some(image), &[])
    }

    /// `volume`: further options of the home's volume.
    fn start(tag: &str, image: Option<ImageTag>, volume: &[&str]) -> Self {
        let name = unique();
        let label = format!("hearth.instance={name}");
        docker(&[&["volume", "create", "--label", &label], volume, &[&name]].concat()).ok();
        let binary = format!("{HEARTH}:/usr/local/bin/hearth:ro");
        let home = format!("{name}:/home/coder");
        let run = ["run", "-d", "--pull=never", "--name", &name, "--label", &label, "--user", "1000:1000"];
        let tmpfs = "/run/hearth:uid=1000,gid=1000,mode=0700,size=16m";
        let mounts = ["-v", &binary, "-v", &home, "--tmpfs", tmpfs, "-e", "HOME=/home/coder", "-w", "/home/coder"];
        let groups = ["--group-add", "27", "-e", "HEARTH_ORG=acme"];
        let entry = ["--entrypoint", "/usr/local/bin/hearth", tag, "init"];
        let container = docker(&[&run[..], &mounts[..], &groups[..], &entry[..]].concat()).ok();
        let data = tempfile::tempdir().unwrap();
        let logs = Logs::new(data.path(), std::sync::Arc::new(|| "2026-11-24T09:00:00Z".parse().unwrap()));
        Self {
            engine: BollardEngine::connect(Path::new("/var/run/docker.sock")),
            container: ContainerId(container.trim().into()),
            name,
            user: Inhabitant { name: "coder".into(), uid: 1000, gid: 1000, home: "/home/coder".into() },
            log: logs.open(1, BUILD),
            logs,
            token: Token::random().unwrap(),
            key: git_key(data.path(), &"alice".parse().unwrap()).unwrap(),
            data,
            _image: image,
        }
    }

    fn inside(&self) -> Inside<'_> {
        Inside { engine: &self.engine, container: &self.container, user: &self.user, env: &[], log: &self.log }
    }

    fn request(&self, secrets: &[(&str, &str)], known_hosts: &[String]) -> InjectRequest {
        let secret = |(name, text): &(&str, &str)| ((*name).to_owned(), Secret::new(text.as_bytes().to_vec()));
        InjectRequest {
            user: self.user.clone(),
            fresh_home: true,
            token: Some(self.token.secret.clone()),
            git: Git {
                private_key: self.key.private.clone(),
                public_key: self.key.public.clone(),
                known_hosts: known_hosts.to_vec(),
                name: Some("Alice \"A\" Example".into()),
                email: Some("alice@acme.example".into()),
            },
            secrets: secrets.iter().map(secret).collect::<BTreeMap<_, _>>(),
        }
    }

    async fn inject(&self) -> (Vec<Warning>, Facts) {
        self.inside().inject(&self.request(&[("NPM", "s3cret")], &[])).await.unwrap()
    }

    /// Runs a `/coder/configure` with that content and mode.
    async fn configure(&self, content: &[u8], mode: &str, timeout: Duration) -> Ran {
        let mut write = std::process::Command::new("docker");
        let script = format!("rm -f /coder/configure; cat > /coder/configure; chmod {mode} /coder/configure");
        write.args(["exec", "-i", &self.name, "/bin/sh", "-c", &script]);
        crate::support::run_with_input(write, content).ok();
        let facts = Facts { configure: true, ..Facts::default() };
        self.inside().configure(&facts, timeout).await.unwrap()
    }

    async fn script(&self, script: &str) -> Ran {
        self.configure(format!("#!/bin/sh\n{script}\n").as_bytes(), "755", PATIENCE).await
    }

    async fn personalize(&self, dotfiles: Option<&str>) -> Ran {
        let facts = Facts { personalize: Personalize::Own, ..Facts::default() };
        self.inside().personalize(&facts, dotfiles, PATIENCE).await.unwrap()
    }

    #[track_caller]
    fn sh(&self, script: &str) -> String {
        docker(&["exec", &self.name, "/bin/sh", "-c", script]).ok()
    }

    #[track_caller]
    fn as_root(&self, script: &str) -> String {
        docker(&["exec", "--user", "0", &self.name, "/bin/sh", "-c", script]).ok()
    }

    /// The command lines of the container's processes that hold a text.
    fn processes(&self, text: &str) -> Vec<String> {
        let all = docker(&["exec", &self.name, "ps", "-o", "args"]).ok();
        assert!(all.contains("init"), "{all}");
        all.lines().filter(|line| line.contains(text)).map(String::from).collect()
    }

    fn wait_for_no(&self, text: &str) {
        wait_for(&format!("the end of {text}"), || match self.processes(text) {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        });
    }

    async fn log(&self) -> String {
        let pieces = self.logs.read(1, BUILD, false).await.unwrap().collect::<Vec<_>>().await;
        String::from_utf8(pieces.concat()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read(self.data.path().join("logs/1/1.log")).unwrap_or_default();
            let shown = log.len().saturating_sub(5000);
            eprintln!("--- build log\n{}", String::from_utf8_lossy(&log[shown..]));
        }
        docker_remove(&["rm", "-f", &self.name]);
        docker_remove(&["volume", "rm", "-f", &self.name]);
    }
}

#[track_caller]
fn only(ran: &Ran) -> &Warning {
    assert_eq!(ran.warnings.len(), 1, "{ran:?}");
    &ran.warnings[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_secrets_are_the_users_files_and_nowhere_else() {
    let world = World::new();
    let (warnings, facts) = world.inject().await;
    assert_eq!(warnings, []);
    let expected = Facts {
        configure: false,
        personalize: Personalize::Default,
        git: false,
        ssh: false,
        shell: Some("/bin/sh".into()),
        missing_shell: None,
        home: Home::Writable,
    };
    assert_eq!(facts, expected);
    assert!(fact_warnings(&facts).iter().all(|warning| warning.kind == WarningKind::Missing));

    let files = "cd /run/hearth && find . -type f -exec stat -c '%a %u:%g %n' {} + | sort -k3";
    assert_eq!(
        world.sh(files),
        "600 1000:1000 ./git/id_ed25519\n600 1000:1000 ./git/id_ed25519.pub\n600 1000:1000 ./git/known_hosts\n\
         600 1000:1000 ./secrets/NPM\n600 1000:1000 ./token\n"
    );
    let token = String::from_utf8(world.token.secret.expose().to_vec()).unwrap();
    assert_eq!(world.sh("cat /run/hearth/token"), token);
    assert_eq!(world.sh("cat /run/hearth/secrets/NPM"), "s3cret");
    assert_eq!(world.sh("cat /run/hearth/git/id_ed25519.pub").trim(), world.key.public);

    let ran = world.script("cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'").await;
    assert_eq!(ran.warnings, []);
    let private = String::from_utf8(world.key.private.expose().to_vec()).unwrap();
    let inspected = docker(&["inspect", &world.name]).ok();
    let image = docker(&["image", "inspect", &world._image.as_ref().unwrap().tag]).ok();
    let home = world.sh("find /home/coder -type f -exec cat {} +");
    assert!(home.contains("HEARTH_ORG=acme"), "the hook saw no environment: {home}");
    let log = world.log().await;
    for secret in [&*token, "s3cret", private.lines().nth(2).unwrap()] {
        for (place, text) in [("container", &inspected), ("image", &image), ("home, hook", &home), ("log", &log)] {
            assert!(!text.contains(secret), "a secret is in the {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l9_a_second_inject_brings_fresh_secrets_and_changes_nothing_else() {
    let world = World::new();
    world.inject().await;
    let state = "cat /etc/gitconfig; find /etc/ssh -type f -exec cat {} +; cat ~/personalize";
    let before = world.sh(state);
    assert!(before.contains("Alice \\\"A\\\" Example") && before.contains("IdentityFile /run/hearth"), "{before}");
    world.inside().inject(&world.request(&[("OTHER", "changed")], &["h ssh-ed25519 A".into()])).await.unwrap();
    assert_eq!(world.sh(state), before);
    assert_eq!(world.sh("ls /run/hearth/secrets"), "OTHER\n");
    assert_eq!(world.sh("cat /run/hearth/git/known_hosts"), "h ssh-ed25519 A\n");
    // A container that was restarted has an empty tmpfs.
    docker(&["restart", "-t", "5", &world.name]).ok();
    assert_eq!(world.sh("ls /run/hearth"), "");
    world.inject().await;
    assert_eq!(world.sh("ls /run/hearth/secrets"), "NPM\n");
    assert_eq!(world.sh(state), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn x3_root_writes_through_no_link_that_a_user_left_in_etc() {
    let world = World::new();
    world.as_root("ln -s /home/coder/target /etc/gitconfig; rm -rf /etc/ssh; ln -s /home/coder /etc/ssh");
    let (warnings, _) = world.inject().await;
    let messages: Vec<&str> = warnings.iter().map(|warning| &*warning.message).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("/etc/gitconfig") && messages[1].contains("/etc/ssh"), "{messages:?}");
    assert_eq!(world.sh("ls -A /home/coder"), "personalize\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_a_failing_hook_is_a_warning_that_says_what_happened() {
    let world = World::new();
    world.inject().await;
    for (content, mode, kind, code, said) in [
        (&b"#!/bin/sh\necho the reason; exit 1\n"[..], "755", WarningKind::Exit, Some(1), "ended with exit code 1"),
        (b"#!/bin/sh\nkill -TERM $$\n", "755", WarningKind::Signal, Some(143), "SIGTERM"),
        (b"#!/bin/sh\n", "644", WarningKind::NotExecutable, None, "chmod +x /coder/configure"),
        (b"#!/bin/sh\r\necho hi\r\n", "755", WarningKind::NotExecutable, None, "CRLF"),
        (
            b"#!/usr/bin/nope -x\n",
            "755",
            WarningKind::NotExecutable,
            None,
            "`/usr/bin/nope`, which is not in the image",
        ),
        (b"nonsense-command\n", "755", WarningKind::Exit, Some(127), "exit code 127"),
    ] {
        let ran = world.configure(content, mode, PATIENCE).await;
        let warning = only(&ran);
        assert_eq!((warning.hook, warning.kind, warning.exit_code), (Hook::Configure, kind, code), "{warning:?}");
        assert!(warning.message.contains(said), "{warning:?}");
        if code == Some(1) {
            assert_eq!(warning.tail, ["the reason"]);
        }
    }
    let well = world.configure(b"echo no interpreter line\n", "755", PATIENCE).await;
    assert_eq!(well.warnings, []);
    assert_eq!(world.sh("cat ~/configure.log"), "no interpreter line\n");
    assert!(world.log().await.contains("configure   no interpreter line\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_input_is_at_its_end_and_the_environment_is_a_logins() {
    let world = World::new();
    world.inject().await;
    let ran = world.script("cat; read x; echo $? $PWD $SHELL $(tty); id -G; [ -e /dev/tty ] && : < /dev/tty").await;
    let log = world.sh("cat ~/configure.log");
    assert!(log.starts_with("1 /home/coder /bin/sh not a tty\n1000 27\n"), "{log} {ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_endless_output_is_cut_in_log_and_home_and_its_end_is_shown() {
    let world = World::new();
    world.inject().await;
    let started = Instant::now();
    let ran = world
        .script("yes 0123456789012345678901234567890123456789012345678 | head -c 50000000; echo; echo last; exit 3")
        .await;
    eprintln!("50 MB took {:?}", started.elapsed());
    let warning = only(&ran);
    assert_eq!(warning.tail.last().map(String::as_str), Some("last"));
    let size: u64 = world.sh("stat -c %s ~/configure.log").trim().parse().unwrap();
    assert!(size > 10 << 20 && size < 11 << 20, "{size}");
    let log = world.log().await;
    assert!(log.contains("longer than 10 MiB") && log.len() < 20 << 20, "{}", log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_control_characters_and_invalid_utf_8_reach_no_terminal() {
    let world = World::new();
    world.inject().await;
    let ran = world.script("printf '\\033]0;owned\\007\\033[31mred\\033[0m \\377\\376 ok\\rover\\n'; exit 1").await;
    let expected = "over";
    assert_eq!(only(&ran).tail, [expected]);
    let ran = world.script("printf '\\033]0;owned\\007\\033[31mred\\033[0m \\377\\376 ok\\n'; exit 1").await;
    assert_eq!(only(&ran).tail, ["\\x1b]0;owned\\x07red \u{fffd}\u{fffd} ok"]);
    let log = world.log().await;
    assert!(log.contains("\\x1b]0;owned\\x07red") && !log.contains(['\x1b', '\x07', '\r']), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_service_that_a_hook_leaves_holds_nothing_up_and_lives_on() {
    let world = World::new();
    world.inject().await;
    let started = Instant::now();
    let ran = world.script("(while :; do echo still here; sleep 0.1; done) & echo $! > ~/pid").await;
    assert_eq!(ran.warnings, []);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // It writes ten times a second into a pipe whose first reader is gone.
    let alive = "n=0; while [ $n -lt 10 ]; do kill -0 $(cat ~/pid) || exit 1; n=$((n+1)); sleep 0.1; done; echo alive";
    assert_eq!(world.sh(alive), "alive\n");
    assert_eq!(world.processes("hook drain").len(), 1);
    world.sh("kill $(cat ~/pid)");
    world.wait_for_no("hook drain");
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_at_the_timeout_everything_of_the_hook_ends() {
    let world = World::new();
    world.inject().await;
    let script = b"#!/bin/sh\ntrap '' TERM\nsleep 7777 & (trap '' TERM; while :; do sleep 7778; done) & echo begun; wait; wait\n";
    let ran = world.configure(script, "755", Duration::from_secs(1)).await;
    let warning = only(&ran);
    assert_eq!((warning.kind, warning.exit_code), (WarningKind::Timeout, None));
    assert!(warning.message.contains("`hook_timeout` (1s)"), "{warning:?}");
    assert_eq!(warning.tail.first().map(String::as_str), Some("begun"));
    assert_eq!(world.processes("sleep 777"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_a_hook_that_kills_its_parent_is_seen_through() {
    let world = World::new();
    world.inject().await;
    for signal in ["TERM", "HUP", "INT", "QUIT", "USR1"] {
        let ran = world.script(&format!("kill -{signal} $PPID; sleep 0.3; exit 5")).await;
        assert_eq!(only(&ran).exit_code, Some(5), "{signal}");
    }
    let ran = world.script("echo before; sleep 0.5; kill -KILL $PPID; sleep 7779").await;
    let warning = only(&ran);
    assert_eq!(
        (warning.kind, warning.exit_code, &warning.tail[..]),
        (WarningKind::Signal, Some(137), &["before".into()][..])
    );
    assert!(warning.message.contains("killed the process of hearth that ran it"), "{warning:?}");
    world.wait_for_no("/coder/configure");
    // The report cannot be written by the hook: the runner's descriptors are out of its reach.
    let ran = world.script("(echo '{\"steps\":[],\"facts\":{}}' > /proc/$PPID/fd/2) && exit 7; exit 6").await;
    assert_eq!(only(&ran).exit_code, Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn h5_a_full_home_is_a_warning_and_hooks_run_all_the_same() {
    let image = Image::coder().dir("/coder", 0o777, (0, 0)).import();
    let size = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=256k,uid=1000,gid=1000"];
    let world = World::start(&image.tag.clone(), Some(image), &size);
    world.inject().await;
    let ran = world
        .script(
            "head -c 1000000 /dev/zero > ~/big; echo ran > /coder/ran; head -c 100000 /dev/zero | tr '\\0' x; exit 0",
        )
        .await;
    assert_eq!(ran.warnings, []);
    assert_eq!(world.sh("cat /coder/ran"), "ran\n");
    let facts = ran.facts.unwrap();
    assert_eq!(facts.home, Home::Full);
    assert!(fact_warnings(&facts).iter().any(|warning| warning.kind == WarningKind::HomeFull));
    let (_, facts) = world.inject().await;
    assert_eq!(facts.home, Home::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn h5_an_image_with_nothing_in_it_is_injected_all_the_same() {
    let image =
        Image::empty().passwd("coder:x:1000:1000::/home/coder:/bin/bash").dir("/home/coder", 0o755, (1000, 1000));
    let world = World::of(&image);
    let (warnings, facts) = world.inject().await;
    assert_eq!(warnings, []);
    assert_eq!((facts.shell.as_deref(), facts.missing_shell.as_deref()), (None, Some("/bin/bash")));
    let kinds: Vec<WarningKind> = fact_warnings(&facts).iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, [WarningKind::Missing; 3]);
    // The default, which asks for a shell that is not there, is not run.
    assert_eq!(facts.personalize, Personalize::Default);
    let ran = world.personalize(Some("git@h:x")).await;
    assert_eq!(only(&ran).kind, WarningKind::Missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn h3_personalize_runs_as_the_user_after_failed_dotfiles_and_a_fresh_home_is_the_users() {
    let world = World::new();
    world.inject().await;
    world.sh("printf '#!/bin/sh\\nid -un; exit 4\\n' > ~/personalize");
    let ran = world.personalize(Some("/no/such/repository")).await;
    let told: Vec<(Hook, WarningKind)> = ran.warnings.iter().map(|warning| (warning.hook, warning.kind)).collect();
    assert_eq!(told, [(Hook::Dotfiles, WarningKind::Missing), (Hook::Personalize, WarningKind::Exit)]);
    assert!(world.sh("cat ~/personalize.log").ends_with("coder\n"));
    assert_eq!(world.sh("cat ~/personalize").lines().count(), 2);
    assert_eq!(ran.facts.unwrap().personalize, Personalize::Own);
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_h3_dotfiles_come_over_ssh_with_the_injected_key_and_no_prompt() {
    let sshd = Sshd::start();
    let world = World::start(&debian::image(), None, &[]);
    sshd.authorize(&world.key.public);
    let url = sshd.repository(
        "dotfiles",
        &[("install.sh", 0o755, "#!/bin/sh\necho installed >> ~/installed\n"), ("one", 0o644, "1")],
    );
    // Not pinned: it fails at once, and says what to add.
    let (warnings, facts) = world.inject().await;
    assert_eq!((warnings, fact_warnings(&facts)), (vec![], vec![]));
    let started = Instant::now();
    let ran = world.personalize(Some(&url)).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let warning = ran.warnings.iter().find(|warning| warning.hook == Hook::Dotfiles).unwrap();
    assert!(warning.tail.iter().any(|line| line.contains("[orgs.acme.git.hosts.")), "{warning:?}");
    let line = format!("known_hosts = [\"{} ssh-ed25519", sshd.host());
    assert!(warning.tail.iter().any(|tail| tail.contains(&line)), "{warning:?}");

    // Pinned: cloned and installed.
    world.inside().inject(&world.request(&[], &[sshd.known_hosts()])).await.unwrap();
    for run in 1..=2 {
        let ran = world.personalize(Some(&url)).await;
        assert_eq!(ran.warnings, [], "{run}");
        assert_eq!(world.sh("wc -l < ~/installed").trim(), run.to_string());
        assert_eq!(world.sh("cat ~/dotfiles/one"), run.to_string());
        if run == 1 {
            sshd.commit("dotfiles", &[("one", 0o644, "2")]);
        }
    }
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
    // A script that clones by itself finds everything too.
    world.sh("mkdir -p ~/.ssh; echo '#!/bin/sh' > ~/personalize; chmod +x ~/personalize");
    world.sh(&format!("echo 'git clone -q {url} ~/again && cat ~/again/one' >> ~/personalize"));
    assert_eq!(world.personalize(None).await.warnings, []);
    assert_eq!(world.sh("cat ~/personalize.log"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_name_and_email_come_from_the_configuration_unless_the_user_set_them() {
    let world = World::start(&debian::image(), None, &[]);
    world.inject().await;
    let ask = "cd; git config user.name; git config user.email; git var GIT_AUTHOR_IDENT | cut -d'>' -f1";
    assert_eq!(world.sh(ask), "Alice \"A\" Example\nalice@acme.example\nAlice \"A\" Example <alice@acme.example\n");
    // Another user of the container reads the same and is in nobody's way.
    assert_eq!(world.as_root("HOME=/nonexistent git config user.email"), "alice@acme.example\n");
    world.sh("git config --global user.email me@home.example");
    assert_eq!(world.sh("git config user.email"), "me@home.example\n");
    let identities = world.sh("ssh -G somewhere | grep ^identityfile");
    let own = identities.find("~/.ssh/id_ed25519\n");
    let ours = identities.find("/run/hearth/git/id_ed25519\n");
    assert!(own.is_some() && own < ours, "{identities}");
    world.sh("mkdir -p ~/.ssh; printf 'Host *\\n  UserKnownHostsFile /dev/null\\n  IdentityFile ~/.ssh/mine\\n' > ~/.ssh/config");
    let effective = world.sh("ssh -G somewhere | grep -iE '^(identityfile|globalknown|userknown)'");
    assert!(effective.contains("userknownhostsfile /dev/null"), "{effective}");
    assert!(
        effective.starts_with("identityfile ~/.ssh/mine") || effective.find("mine") < effective.find("run/hearth"),
        "{effective}"
    );
    assert!(effective.contains("globalknownhostsfile /run/hearth/git/known_hosts"), "{effective}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_a_hook_may_use_sudo() {
    let world = World::start(&debian::image(), None, &[]);
    world.as_root("mkdir -p /coder && chmod 777 /coder");
    world.inject().await;
    let ran = world.script("sudo -n sh -c 'id -u; echo x > /etc/made-by-root'; cat; echo end").await;
    assert_eq!(ran.warnings, []);
    assert_eq!(world.sh("cat ~/configure.log"), "0\nend\n");
    // What root runs past the timeout cannot be ended by the user, and is named.
    let ran = world
        .configure(
            b"#!/bin/sh\nsudo -n sh -c 'trap : TERM; while :; do sleep 1; done'\n",
            "755",
            Duration::from_secs(1),
        )
        .await;
    assert!(ran.warnings.iter().all(|warning| warning.kind == WarningKind::Timeout), "{ran:?}");
    assert!(ran.warnings.iter().any(|warning| warning.message.contains("could not be ended")), "{ran:?}");
}
