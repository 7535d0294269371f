//! A real OpenSSH server that serves git repositories, on an address that containers reach.

use std::io::Read;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{bridge_address, free_port, run, wait_for};

/// An SSH server for git, ended when this is dropped. Every login runs git-shell, whatever it asks for.
#[derive(Debug)]
pub(crate) struct Sshd {
    dir: TempDir,
    address: IpAddr,
    port: u16,
    server: Child,
}

impl Sshd {
    /// Starts one that lets nobody in until [`Sshd::authorize`].
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-sshd-").tempdir().unwrap();
        let address = bridge_address();
        let port = free_port(address);
        generate_key(&dir.path().join("host_key"), "host");
        std::fs::write(dir.path().join("authorized_keys"), "").unwrap();
        std::fs::write(dir.path().join("config"), configuration(dir.path(), address, port)).unwrap();
        let server = spawn(dir.path());
        let sshd = Self { dir, address, port, server };
        sshd.wait();
        sshd
    }

    /// Lets the holder of a public key in, beside those who were let in before.
    pub(crate) fn authorize(&self, public_key: &str) {
        let file = self.dir.path().join("authorized_keys");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{before}{}\n", public_key.trim())).unwrap();
    }

    /// Returns `[ADDRESS]:PORT`, as the host stands in a known_hosts file.
    pub(crate) fn host(&self) -> String {
        format!("[{}]:{}", self.address, self.port)
    }

    /// Returns the line that pins the server's host key.
    pub(crate) fn known_hosts(&self) -> String {
        let key = std::fs::read_to_string(self.dir.path().join("host_key.pub")).unwrap();
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        format!("{} {}", self.host(), key.join(" "))
    }

    /// Makes a repository with one commit of `files` (path, mode, content) on its branch `main`; returns its URL.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, u32, &str)]) -> String {
        let bare = self.bare(name);
        git(self.dir.path(), &["init", "--quiet", "--bare", "--initial-branch=main", &bare.to_string_lossy()]);
        self.commit(name, files);
        format!("ssh://{}@{}:{}{}", user(), self.address, self.port, bare.display())
    }

    /// Adds a commit to a repository's `main`, as somebody who pushed from elsewhere.
    pub(crate) fn commit(&self, name: &str, files: &[(&str, u32, &str)]) {
        let work = tempfile::tempdir().unwrap();
        let path = work.path();
        git(path, &["clone", "--quiet", &self.bare(name).to_string_lossy(), "."]);
        git(path, &["checkout", "--quiet", "-B", "main"]);
        for (file, mode, content) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, content).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(*mode)).unwrap();
        }
        git(path, &["add", "--all"]);
        git(path, &["commit", "--quiet", "--message", "change"]);
        git(path, &["push", "--quiet", "origin", "main"]);
    }

    /// Returns what the server logged: who came with which key, and what was refused.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn bare(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.git"))
    }

    fn wait(&self) {
        wait_for("the SSH server's banner", || {
            let greet = || -> std::io::Result<[u8; 4]> {
                let mut stream = TcpStream::connect((self.address, self.port))?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                let mut banner = [0; 4];
                stream.read_exact(&mut banner)?;
                Ok(banner)
            };
            match greet() {
                Ok(banner) if &banner == b"SSH-" => Ok(()),
                other => Err(format!("{other:?}; its log: {}", self.log())),
            }
        });
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- sshd's log\n{}", self.log());
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes an ed25519 key pair without a passphrase at `path` and `path.pub`.
pub(crate) fn generate_key(path: &Path, comment: &str) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
    run(keygen).ok();
}

/// The account that the tests run as: the one that people log in to.
fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().expect("our own account exists").name
}

fn configuration(dir: &Path, address: IpAddr, port: u16) -> String {
    let git_shell = which("git-shell");
    let dir = dir.display();
    format!(
        "Port {port}\nListenAddress {address}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
         PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nLogLevel VERBOSE\nMaxStartups 100\n\
         ForceCommand {git_shell} -c \"$SSH_ORIGINAL_COMMAND\"\n"
    )
}

fn spawn(dir: &Path) -> Child {
    // Where sshd was never started as a service, the directory for its unprivileged half is missing.
    if nix::unistd::geteuid().is_root() {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let mut server = Command::new("setpriv");
    server.args(["--pdeathsig=KILL", "--", "/usr/sbin/sshd", "-D", "-f"]).arg(dir.join("config"));
    server.arg("-E").arg(dir.join("log"));
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().expect("these tests need the package openssh-server: run tests/run")
}

fn which(program: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let mut candidates = path.split(':').map(|dir| format!("{dir}/{program}"));
    candidates.find(|path| Path::new(path).exists()).unwrap_or_else(|| panic!("{program} is not on PATH"))
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=Test", "-c", "user.email=test@example.org"]).args(args);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    run(command).ok();
}
