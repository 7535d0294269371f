//! A Docker engine of a test's own, which it may end, and whose disk it may fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::command::run_with_input;
use super::{Ran, run, wait_for};

/// dockerd on a socket, a small disk and in a network namespace of its own, without networks but those that are made. It
/// shares with the machine's engine nothing but the kernel. Dropped, it ends with all that it has.
#[derive(Debug)]
pub(crate) struct OwnEngine {
    dir: TempDir,
    child: Option<Child>,
}

impl OwnEngine {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-").tempdir().unwrap();
        let mut engine = Self { dir, child: None };
        std::fs::create_dir(engine.disk()).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m,mode=0711", "tmpfs"]).arg(engine.disk());
        run(mount).ok();
        engine.up();
        engine
    }

    /// Starts dockerd and waits until it answers.
    #[track_caller]
    pub(crate) fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        // What a killed one left would be taken for one that runs while nobody has reaped it.
        for left in ["pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(self.path(left));
        }
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        // Should the test be killed, it is not to outlive it. In the machine's network namespace, one without a bridge of
        // its own would remove the machine's engine's.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig=TERM",
            "--",
            "unshare",
            "--net",
            "dockerd",
            "--bridge=none",
            "--iptables=false",
            "--log-level=error",
            "--host",
        ]);
        command.arg(self.host()).arg("--data-root").arg(self.disk()).arg("--exec-root").arg(self.path("exec"));
        command.arg("--pidfile").arg(self.path("pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let bridge = Path::new("/sys/class/net/docker0");
        let before = bridge.exists();
        self.child = Some(command.spawn().unwrap());
        wait_for("the engine to answer", || match self.docker(&["version"]) {
            ran if ran.code == 0 => Ok(()),
            ran => Err(format!("{ran}\n{}", self.log())),
        });
        assert_eq!(bridge.exists(), before, "the machine's engine has lost its bridge");
    }

    /// Ends dockerd with no chance to do anything about it.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Leaves no room on its disk.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.disk().join("filler")).unwrap();
        // Down to the last byte: what there is for half a page is enough for a small file.
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.disk().join("filler")).unwrap();
    }

    /// Returns the line of `[server]` by which a hearthd uses it.
    pub(crate) fn server(&self) -> String {
        format!("docker = \"{}\"", self.host())
    }

    /// Runs the docker client on it.
    #[track_caller]
    pub(crate) fn docker(&self, args: &[&str]) -> Ran {
        self.docker_with_input(args, b"")
    }

    #[track_caller]
    pub(crate) fn docker_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(args);
        run_with_input(command, input)
    }

    fn disk(&self) -> PathBuf {
        self.path("data")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Removes what it has: of its networks, bridges would stay on the host.
    fn clean(&self) {
        for (list, remove) in [
            (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
            (&["network", "ls", "--quiet", "--filter", "type=custom"], &["network", "rm"]),
        ] {
            let listed = self.docker(list).stdout();
            let found: Vec<&str> = listed.split_whitespace().collect();
            if !found.is_empty() {
                let removed = self.docker(&[remove, &found].concat());
                if removed.code != 0 {
                    eprintln!("clean-up: {removed}");
                }
            }
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the engine's log\n{}", self.log());
        }
        let _ = std::fs::remove_file(self.disk().join("filler"));
        if self.child.is_none() && !std::thread::panicking() {
            self.up();
        }
        if let Some(mut child) = self.child.take() {
            self.clean();
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            wait_for("the engine to end", || match child.try_wait() {
                Ok(None) => Err(self.log()),
                _ => Ok(()),
            });
        }
        let below = self.dir.path().to_owned();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        for point in points.filter(|point| point.starts_with(&below)).collect::<Vec<_>>().into_iter().rev() {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
}
