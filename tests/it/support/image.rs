//! Images, made in memory from the host's static busybox and given to the engine by `docker import`.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use super::command::{docker_remove, docker_with_input};
use super::{OwnEngine, run, unique};

/// An image to be. Later entries win over earlier ones of the same path.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    entries: BTreeMap<String, Entry>,
    passwd: String,
    group: String,
    changes: Vec<String>,
}

#[derive(Debug, Clone)]
struct Entry {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
}

impl Image {
    /// An image with nothing in it but the directories that a container needs: no shell, no passwd of its own.
    pub(crate) fn empty() -> Self {
        let image = Self { entries: BTreeMap::new(), passwd: String::new(), group: String::new(), changes: vec![] };
        ["/etc", "/usr/local/bin", "/home", "/var"]
            .iter()
            .fold(image, |image, path| image.dir(path, 0o755, (0, 0)))
            .dir("/tmp", 0o1777, (0, 0))
            .dir("/root", 0o700, (0, 0))
    }

    /// A busybox root: every applet in `/bin`, `root` and `nobody` in `/etc/passwd`, no `USER`.
    pub(crate) fn busybox() -> Self {
        let (program, applets) = busybox();
        let mut image = Self::empty().file("/bin/busybox", 0o755, program);
        for applet in applets {
            image = image.symlink(&format!("/bin/{applet}"), "busybox");
        }
        image.passwd("root:x:0:0:root:/root:/bin/sh").passwd("nobody:x:65534:65534:nobody:/:/bin/false")
    }

    /// A busybox root whose user is `coder`, uid 1000: what most tests want.
    pub(crate) fn coder() -> Self {
        Self::busybox().user("coder", 1000).change("USER coder")
    }

    /// Adds a user with a group of its own and a home at `/home/<name>`. Says nothing about `USER`.
    pub(crate) fn user(self, name: &str, uid: u32) -> Self {
        let home = format!("/home/{name}");
        self.passwd(&format!("{name}:x:{uid}:{uid}::{home}:/bin/sh")).group(&format!("{name}:x:{uid}:")).dir(
            &home,
            0o755,
            (uid, uid),
        )
    }

    /// Adds a line to `/etc/passwd`.
    pub(crate) fn passwd(mut self, line: &str) -> Self {
        self.passwd.push_str(&format!("{line}\n"));
        self
    }

    /// Adds a line to `/etc/group`.
    pub(crate) fn group(mut self, line: &str) -> Self {
        self.group.push_str(&format!("{line}\n"));
        self
    }

    /// Adds a file of root's.
    pub(crate) fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.owned_file(path, mode, (0, 0), content)
    }

    /// Adds a file of `owner`, uid and gid.
    pub(crate) fn owned_file(self, path: &str, mode: u32, owner: (u32, u32), content: impl AsRef<[u8]>) -> Self {
        self.entry(path, Kind::File(content.as_ref().to_vec()), mode, owner)
    }

    /// Adds a directory.
    pub(crate) fn dir(self, path: &str, mode: u32, owner: (u32, u32)) -> Self {
        self.entry(path, Kind::Directory, mode, owner)
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Kind::Symlink(target.into()), 0o777, (0, 0))
    }

    /// Takes a path out again, and everything below it.
    pub(crate) fn without(mut self, path: &str) -> Self {
        let below = format!("{path}/");
        self.entries.retain(|entry, _| entry != path && !entry.starts_with(&below));
        self
    }

    /// Adds a line of a Dockerfile: `USER`, `ENV`, `VOLUME`, `ENTRYPOINT`, `HEALTHCHECK`, …
    pub(crate) fn change(mut self, line: &str) -> Self {
        self.changes.push(line.into());
        self
    }

    /// Adds a label.
    pub(crate) fn label(self, key: &str, value: &str) -> Self {
        self.change(&format!("LABEL {key}=\"{value}\""))
    }

    /// Adds a `/coder/configure` that runs with `/bin/sh`.
    pub(crate) fn configure(self, script: &str) -> Self {
        self.file("/coder/configure", 0o755, format!("#!/bin/sh\n{script}\n"))
    }

    /// Gives the image to the engine under a name that no other test has.
    pub(crate) fn import(&self) -> ImageTag {
        self.import_as(&format!("hearth-{}:latest", unique()))
    }

    /// Gives the image to the engine under a name; one that had the name before loses it.
    pub(crate) fn import_as(&self, tag: &str) -> ImageTag {
        let changes: Vec<&str> = self.changes.iter().flat_map(|change| ["--change", change]).collect();
        let imported = docker_with_input(&[&["import"], &changes[..], &["-", tag]].concat(), &self.tar()).ok();
        ImageTag { tag: tag.into(), id: imported.trim().into() }
    }

    /// Gives the image to an engine of the test's own; returns its name there.
    pub(crate) fn import_into(&self, engine: &OwnEngine) -> &'static str {
        let tag = "hearth-test:latest";
        let changes: Vec<&str> = self.changes.iter().flat_map(|change| ["--change", change]).collect();
        let args = [&["import"], &changes[..], &["-", tag]].concat();
        engine.docker_with_input(&args, &self.tar()).ok();
        tag
    }

    fn entry(mut self, path: &str, kind: Kind, mode: u32, owner: (u32, u32)) -> Self {
        assert!(path.starts_with('/'), "{path} is not absolute");
        self.entries.insert(path.into(), Entry { kind, mode, owner });
        self
    }

    fn tar(&self) -> Vec<u8> {
        let mut whole = self.clone();
        for (path, text) in [("/etc/passwd", &self.passwd), ("/etc/group", &self.group)] {
            if !text.is_empty() && !self.entries.contains_key(path) {
                whole = whole.file(path, 0o644, text);
            }
        }
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &whole.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner.0.into());
            header.set_gid(entry.owner.1.into());
            let path = path.trim_start_matches('/');
            match &entry.kind {
                Kind::File(content) => {
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, &content[..]).unwrap();
                }
                Kind::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    archive.append_data(&mut header, path, std::io::empty()).unwrap();
                }
                Kind::Symlink(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        archive.into_inner().unwrap()
    }
}

/// The host's busybox and the names of its applets.
fn busybox() -> &'static (Vec<u8>, Vec<String>) {
    static BUSYBOX: OnceLock<(Vec<u8>, Vec<String>)> = OnceLock::new();
    BUSYBOX.get_or_init(|| {
        let found =
            ["/usr/bin/busybox", "/bin/busybox"].iter().find_map(|path| Some((*path, std::fs::read(path).ok()?)));
        let (path, program) = found.expect("these tests need the package busybox-static: run tests/run");
        let mut list = Command::new(path);
        list.arg("--list");
        let applets = run(list).ok().split_whitespace().filter(|name| *name != "busybox").map(String::from).collect();
        (program, applets)
    })
}

/// An image that the engine has, removed when this is dropped: with all its names, not whatever has its name by then.
#[derive(Debug)]
pub(crate) struct ImageTag {
    pub(crate) tag: String,
    /// `sha256:…`
    pub(crate) id: String,
}

impl std::fmt::Display for ImageTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.tag)
    }
}

impl Drop for ImageTag {
    fn drop(&mut self) {
        docker_remove(&["image", "rm", "-f", &self.id]);
    }
}
