//! A registry of one's own: Debian's docker-registry on loopback, which the engine takes without TLS.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use tempfile::TempDir;

use super::command::docker_sweep;
use super::image::ImageTag;
use super::{docker, free_port, run, wait_for};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The user of a private registry.
pub(crate) const USERNAME: &str = "pull";
/// The password of a private registry.
pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// The same as the registry wants it: bcrypt, nothing else.
const HTPASSWD: &str = "pull:$2b$05$BXqSneRlC1jcudoKECaTBeL/lovvYyDoc8aMYvp7zzelmoDOhWH7C\n";

/// A registry; it ends, and what was pulled from it is removed from the engine, when this is dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    dir: TempDir,
    port: u16,
    private: bool,
    server: Option<Child>,
}

impl Registry {
    /// Starts one that anybody may use.
    pub(crate) fn start() -> Self {
        Self::start_with(false)
    }

    /// Starts one that wants [`USERNAME`] and [`PASSWORD`].
    pub(crate) fn start_private() -> Self {
        Self::start_with(true)
    }

    fn start_with(private: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-registry-").tempdir().unwrap();
        let mut registry = Self { dir, port: free_port(LOOPBACK), private, server: None };
        registry.write_files();
        registry.up();
        registry
    }

    /// Returns `127.0.0.1:PORT`, as it stands in image names.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the image's name in this registry: `name("dev:latest")` is `127.0.0.1:PORT/dev:latest`.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host())
    }

    /// Puts an image into the registry under `name` (`dev:latest`), and returns its full name. The engine itself
    /// forgets that name, so that a pull is a real one.
    pub(crate) fn push(&self, image: &ImageTag, name: &str) -> String {
        let full = self.name(name);
        docker(&["tag", &image.id, &full]).ok();
        let mut push = Command::new("docker");
        push.args(["push", "--quiet", &full]).env("DOCKER_CONFIG", self.dir.path().join("client"));
        run(push).ok();
        docker(&["image", "rm", &full]).ok();
        full
    }

    /// Ends the server; what is in it stays.
    pub(crate) fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Starts the server again.
    pub(crate) fn up(&mut self) {
        assert!(self.server.is_none(), "the registry is up already");
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut server = Command::new("setpriv");
        server.args(["--pdeathsig=KILL", "--", "docker-registry", "serve"]).arg(self.dir.path().join("config.yml"));
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.server = Some(server.spawn().expect("these tests need the package docker-registry: run tests/run"));
        wait_for("the registry", || {
            TcpStream::connect((LOOPBACK, self.port)).map_err(|error| {
                format!("{error}; its log: {}", std::fs::read_to_string(self.dir.path().join("log")).unwrap())
            })
        });
    }

    fn write_files(&self) {
        let dir = self.dir.path();
        let shown = Path::display;
        let mut config = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n\
             http: {{ addr: \"{}\", secret: tests }}\n",
            shown(&dir.join("storage")),
            self.host(),
        );
        let mut auths = serde_json::json!({});
        if self.private {
            let htpasswd = dir.join("htpasswd");
            std::fs::write(&htpasswd, HTPASSWD).unwrap();
            config.push_str(&format!("auth:\n  htpasswd: {{ realm: tests, path: {} }}\n", shown(&htpasswd)));
            let auth = base64::prelude::BASE64_STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
            auths = serde_json::json!({ self.host(): { "auth": auth } });
        }
        std::fs::write(dir.join("config.yml"), config).unwrap();
        std::fs::create_dir(dir.join("client")).unwrap();
        std::fs::write(dir.join("client/config.json"), serde_json::json!({ "auths": auths }).to_string()).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        let reference = format!("reference={}/*", self.host());
        docker_sweep(&["image", "ls", "-q", "--no-trunc", "--filter", &reference], &["image", "rm", "-f"]);
    }
}
