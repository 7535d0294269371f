//! Host paths that go into containers: none may hand out the engine or hearth's own state, none may hide what hearth puts
//! into the container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Check;
use crate::config::file::MountTable;
use crate::config::problem::Fault;
use crate::config::settings::{Mount, Server};
use crate::config::source::{At, Place};
use crate::model::inside::{BINARY, RUN_DIR};

/// The host as its kernel shows it: other people's processes and their environment, devices.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// What a container cannot do without, whatever its image is.
const SYSTEM: [&str; 10] = ["/proc", "/sys", "/dev", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var/run"];

impl Check<'_> {
    pub(super) fn mounts(&self, tables: &[MountTable], server: &Server) -> Vec<Mount> {
        let mut targets: BTreeMap<&Path, Place> = BTreeMap::new();
        let mut mounts = Vec::new();
        for table in tables {
            let (Some(source), Some(target)) = (&table.source, &table.target) else { continue };
            self.mount_source(source, server);
            self.mount_target(target);
            if let Some(first) = targets.insert(target.as_path(), target.place) {
                let message = format!("two mounts have the target `{}`", target.display());
                self.error(Fault::new(target.place, message).help("choose another").also(first, "the first is here"));
            }
            mounts.push(Mount {
                source: source.value.clone(),
                target: target.to_string_lossy().into_owned(),
                read_only: table.read_only.is_some_and(|read_only| read_only.value),
            });
        }
        mounts
    }

    fn mount_source(&self, source: &At<PathBuf>, server: &Server) {
        let sources = [source.value.clone(), self.host.resolve(source)];
        let sockets = [server.docker.as_path(), Path::new("/run/docker.sock"), Path::new("/var/run/docker.sock")];
        let gives_away = |path: &Path| sources.iter().any(|source| path.starts_with(source));
        let holds = |path: &Path| gives_away(path) || gives_away(&self.host.resolve(path));
        let is_in = |path: &Path| {
            sources.iter().any(|source| source.starts_with(path) || source.starts_with(self.host.resolve(path)))
        };
        let refused = if sockets.iter().any(|socket| holds(socket)) {
            Some("the engine's socket: whoever has it is root on this machine")
        } else if holds(&server.data_dir) || is_in(&server.data_dir) {
            Some("hearth's data directory")
        } else if holds(&server.run_dir) || is_in(&server.run_dir) {
            Some("hearth's run directory")
        } else if KERNEL.iter().any(|kernel| is_in(Path::new(kernel))) {
            Some("the host's processes or devices")
        } else if self.config_directories().iter().any(|directory| holds(directory)) {
            Some("hearth's configuration with its secrets")
        } else {
            None
        };
        if let Some(what) = refused {
            let message = format!("a mount of `{}` gives away {what}", source.display());
            self.error(Fault::new(source.place, message).help("mount a directory that has only what workspaces need"));
        }
    }

    fn mount_target(&self, target: &At<PathBuf>) {
        let at_or_above = |path: &str| Path::new(path).starts_with(&target.value);
        // The user's name is known only when the image is; so no directory right below `/home` will do.
        let home = target.as_path() == Path::new("/home") || target.parent() == Some(Path::new("/home"));
        let hidden = if target.as_path() == Path::new("/") {
            Some("everything")
        } else if home {
            Some("the home")
        } else if at_or_above(RUN_DIR) || target.starts_with(RUN_DIR) {
            Some("`/run/hearth`, where hearth puts its own")
        } else if at_or_above(BINARY) {
            Some("`/usr/local/bin/hearth`, hearth's binary")
        } else if SYSTEM.iter().any(|system| target.as_path() == Path::new(system)) {
            Some("what every program needs there")
        } else if target.starts_with("/var/run/hearth") {
            Some("`/run/hearth`, where hearth puts its own")
        } else {
            None
        };
        if let Some(what) = hidden {
            let message = format!("a mount at `{}` would hide {what}", target.display());
            let help = "choose another target, such as `/datasets` or a directory below the home";
            self.error(Fault::new(target.place, message).help(help));
        }
    }
}
