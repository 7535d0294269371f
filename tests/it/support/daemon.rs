//! hearthd as a child process, on paths and under an instance name of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::command::docker_sweep;
use super::{Account, Ran, docker, run, run_with_input, unique, wait_for};

const HEARTHD: &str = env!("CARGO_BIN_EXE_hearthd");
const HEARTH: &str = env!("CARGO_BIN_EXE_hearth");

/// A hearthd that runs. Dropped, it ends, and every container, volume and network of its instance with it.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// Not below the build's directory: a Unix socket's path has at most 108 bytes.
    dir: TempDir,
    instance: String,
    child: Option<Child>,
    /// Options of `setpriv` besides those that every hearthd is started with.
    privileges: Vec<String>,
}

impl Daemon {
    /// Starts one on `config`, which says all but `[server]`, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with("", config)
    }

    /// Starts one with more lines for `[server]`: `admins = ["backup"]`.
    #[track_caller]
    pub(crate) fn start_with(server: &str, config: &str) -> Self {
        let mut daemon = Self::prepare(server, config);
        daemon.up();
        daemon
    }

    /// Writes the configuration and starts nothing.
    pub(crate) fn prepare(server: &str, config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let daemon = Self { dir, instance: unique(), child: None, privileges: Vec::new() };
        let path = daemon.dir.path().display();
        let main = format!(
            "[server]\ninstance = \"{}\"\ndata_dir = \"{path}/data\"\nrun_dir = \"{path}/run\"\n{server}\n",
            daemon.instance
        );
        std::fs::write(daemon.config_file(), main).unwrap();
        std::fs::create_dir(daemon.dir.path().join("conf.d")).unwrap();
        daemon.write_config(config);
        daemon
    }

    /// Lets hearthd be started without some capabilities: `sys_admin`.
    pub(crate) fn without(&mut self, capabilities: &[&str]) {
        let dropped: Vec<String> = capabilities.iter().map(|capability| format!("-{capability}")).collect();
        self.privileges.push(format!("--bounding-set={}", dropped.join(",")));
    }

    /// Starts hearthd and waits until it answers.
    #[track_caller]
    pub(crate) fn up(&mut self) {
        assert!(self.child.is_none(), "hearthd runs already");
        self.child = Some(self.spawn());
        wait_for("hearthd to answer", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if let Some(status) = ended {
                self.child = None;
                panic!("hearthd ended at its start: {status}");
            }
            match self.get("/v1/status") {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Runs hearthd on the configuration until it ends by itself: for one that it must refuse.
    pub(crate) fn run_until_it_ends(&self) -> Ran {
        let mut command = Command::new(HEARTHD);
        command.arg("--config").arg(self.config_file());
        run(command)
    }

    /// Ends hearthd as systemd would: SIGTERM, and it must end by itself.
    #[track_caller]
    pub(crate) fn down(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut child = self.child.take().unwrap();
        let status = wait_for("hearthd to end", || child.try_wait().unwrap().ok_or("it still runs".into()));
        assert!(status.success(), "hearthd ended with {status}");
    }

    /// Ends hearthd with no chance to do anything about it.
    pub(crate) fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.take().unwrap().wait().unwrap();
    }

    /// Ends it by SIGTERM and starts it again.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.down();
        self.up();
    }

    /// Ends hearthd, loses its database, and starts it again.
    #[track_caller]
    pub(crate) fn lose_database(&mut self) {
        self.down();
        self.remove_database();
        self.up();
    }

    /// Removes the database of a hearthd that does not run.
    #[track_caller]
    pub(crate) fn remove_database(&self) {
        let mut lost = 0;
        for file in std::fs::read_dir(self.dir.path().join("data")).unwrap().map(|entry| entry.unwrap().path()) {
            if file.file_name().unwrap().to_str().unwrap().starts_with("state.db") {
                std::fs::remove_file(&file).unwrap();
                lost += 1;
            }
        }
        assert!(lost > 0, "there was no database");
    }

    /// Replaces the configuration; nothing tells hearthd.
    pub(crate) fn write_config(&self, config: &str) {
        std::fs::write(self.conf_d_file(), config).unwrap();
    }

    /// Sends hearthd a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Returns hearthd's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("hearthd runs").id()
    }

    /// Runs `hearth ARGS` as root.
    #[track_caller]
    pub(crate) fn hearth(&self, args: &[&str]) -> Ran {
        run(self.command(args))
    }

    /// Runs `hearth ARGS` as root, with input.
    #[track_caller]
    pub(crate) fn hearth_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        run_with_input(self.command(args), input)
    }

    /// Runs `hearth ARGS` as an account.
    #[track_caller]
    pub(crate) fn hearth_as(&self, account: Account, args: &[&str]) -> Ran {
        run(self.command_as(account, args))
    }

    /// Returns `hearth ARGS` as a command for root that finds this hearthd.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(HEARTH);
        command.args(args).env("HEARTH_SOCKET", self.socket()).env_remove("NO_COLOR");
        command
    }

    /// Returns `hearth ARGS` as a command for an account.
    pub(crate) fn command_as(&self, account: Account, args: &[&str]) -> Command {
        let mut command = account.command(self.hearth_for_everybody());
        command.args(args).env("HEARTH_SOCKET", self.socket());
        command
    }

    /// Returns what `hearth show WORKSPACE --json` says.
    #[track_caller]
    pub(crate) fn show(&self, workspace: &str) -> Value {
        self.hearth(&["show", workspace, "--json"]).json()
    }

    /// Waits until a workspace is in `state`, and returns what `show` says then.
    #[track_caller]
    pub(crate) fn wait_state(&self, workspace: &str, state: &str) -> Value {
        wait_for(&format!("{workspace} to be {state}"), || {
            let shown = self.hearth(&["show", workspace, "--json"]);
            if shown.code != 0 {
                return Err(shown.to_string());
            }
            let shown = shown.json();
            if shown["state"] == state { Ok(shown) } else { Err(shown.to_string()) }
        })
    }

    /// Runs a command in a workspace with `hearth ssh`, which must succeed, and returns its output.
    #[track_caller]
    pub(crate) fn inside(&self, workspace: &str, argv: &[&str]) -> String {
        self.hearth(&[&["ssh", workspace, "--"], argv].concat()).ok()
    }

    /// Returns the name of a workspace's container.
    pub(crate) fn container(&self, workspace: &str) -> String {
        format!("{}.{}", self.instance, workspace.replace('/', "."))
    }

    /// Returns the name of a workspace's first home volume.
    pub(crate) fn home_volume(&self, workspace: &str) -> String {
        format!("{}.home", self.container(workspace))
    }

    /// Returns the ids of all containers that carry the instance's label.
    pub(crate) fn containers(&self) -> Vec<String> {
        let listed = docker(&["ps", "-aq", "--no-trunc", "--filter", &self.label()]).ok();
        listed.split_whitespace().map(String::from).collect()
    }

    /// Asks the API and returns the whole answer, status line first.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: hearth\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns the directory that everything of this hearthd lies in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/hearth.sock")
    }

    /// Returns the main file, which holds `[server]`.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("hearth.toml")
    }

    /// Returns the drop-in, which holds the rest.
    pub(crate) fn conf_d_file(&self) -> PathBuf {
        self.dir.path().join("conf.d/test.toml")
    }

    /// Returns all that hearthd logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn label(&self) -> String {
        format!("label=hearth.instance={}", self.instance)
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        // Should the test be killed, hearthd is not to outlive it.
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL").args(&self.privileges);
        command.args(["--", HEARTHD, "--config"]).arg(self.config_file());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    /// The command line at a path that every account may reach, which the build's directory need not be.
    fn hearth_for_everybody(&self) -> PathBuf {
        let path = self.dir.path().join("hearth");
        if !path.exists() {
            let linked = std::fs::hard_link(HEARTH, &path);
            linked.or_else(|_| std::fs::copy(HEARTH, &path).map(drop)).unwrap();
        }
        path
    }

    /// Removes all that is of the instance. The engine goes on making what a killed hearthd had asked for: it is looked
    /// at again until nothing was found.
    fn clean(&self) {
        let label = self.label();
        let sweep = || {
            let containers = docker_sweep(&["ps", "-aq", "--filter", &label], &["rm", "--force", "--volumes"]);
            let volumes = docker_sweep(&["volume", "ls", "-q", "--filter", &label], &["volume", "rm", "--force"]);
            let networks = docker_sweep(&["network", "ls", "-q", "--filter", &label], &["network", "rm"]);
            containers || volumes || networks
        };
        let _ = (0..5).find(|_| !sweep());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- hearthd's log\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.clean();
    }
}
