//! What a build needs to know of an image: who it runs as (rule L4), and whether a home can lie where it must.
//!
//! Everything is read from a container that is made of the image, never started, and removed. An image never changes,
//! so what was found is kept by its id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::user::{self, ImageUser, UserRefusal};
use crate::docker::{ContainerId, ContainerSpec, Engine, EngineError, FileKind, Image, Limits, labels};
use crate::helper::bundle::{BINARY, CONFIGURE};
use crate::model::InstanceName;

/// Files of users and groups that are larger are no such files.
const FILE_LIMIT: usize = 1 << 20;
/// So much is kept; past it all is forgotten and looked at again.
const KEPT: usize = 256;
/// A path with more links in it leads nowhere.
const STEPS: usize = 64;

/// An image as a workspace is built from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    pub username: String,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// What passwd says; the image need not have it.
    pub shell: String,
    /// What lies at `/coder/configure` (rule H2), links followed.
    pub configure: FileKind,
}

/// Why an image cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("image `{image}` cannot be a workspace: {why}")]
    Refused { image: String, why: Refusal },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What is wrong with an image, with what would put it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{}. {}", .0.of("its `USER`"), user_fix(.0))]
    User(UserRefusal),
    #[error("{}. Name a user that its /etc/passwd has, and not root", .0.of("the org's `user`"))]
    OrgUser(UserRefusal),
    #[error(
        "{home} is a symbolic link to {} in it, and the home is mounted there. Make it a directory, or give the `USER` \
         another name",
        .target.escape_debug()
    )]
    HomeIsLink { home: String, target: String },
    #[error("{home} is not a directory in it, and the home is mounted there. Remove it from the image")]
    HomeIsNoDirectory { home: String },
    #[error(
        "its `VOLUME {}` lies below the home {home}: what is in it would be lost at every rebuild. Take the VOLUME out \
         of its Dockerfile; all of the home is kept anyway",
        .volume.escape_debug()
    )]
    VolumeInHome { volume: String, home: String },
}

fn user_fix(refusal: &UserRefusal) -> String {
    let add = "`RUN useradd --create-home coder` and `USER coder`";
    match refusal {
        UserRefusal::Missing => format!("Add {add} to its Dockerfile, or set `user` in the org's table"),
        UserRefusal::Root => {
            format!("Add {add} as the last `USER` to its Dockerfile, or set `user` in the org's table")
        }
        UserRefusal::Unnamed { uid } => format!(
            "Add `RUN useradd --create-home --uid {uid} coder` before the `USER` in its Dockerfile, or set `user` in the \
             org's table"
        ),
        UserRefusal::Unknown { name } => {
            format!("Add `RUN useradd --create-home {}` before the `USER` in its Dockerfile", name.escape_debug())
        }
        UserRefusal::UnknownGroup { name } => {
            format!("Add `RUN groupadd {}` before the `USER` in its Dockerfile", name.escape_debug())
        }
        UserRefusal::BadName { .. } => "Give the `USER` of its Dockerfile another name".to_owned(),
    }
}

/// The image's id, and the org's `user`.
type Key = (String, Option<String>);

/// What was found out about images.
pub struct Images {
    engine: Arc<dyn Engine>,
    instance: InstanceName,
    /// Looks that go on to their end, so that no container is left when a build is cancelled.
    tasks: TaskTracker,
    known: Mutex<BTreeMap<Key, Arc<OnceCell<ResolvedImage>>>>,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Images {
    /// Returns a place to keep what is found out.
    pub fn new(engine: Arc<dyn Engine>, instance: InstanceName, tasks: TaskTracker) -> Self {
        Self { engine, instance, tasks, known: Mutex::default() }
    }

    /// Resolves an image; `reference` is for messages, `org_user` what the org says where the image says nothing.
    ///
    /// # Errors
    /// When the image cannot be a workspace, with what to change, or the engine is away.
    pub async fn resolve(
        &self,
        reference: &str,
        image: &Image,
        org_user: Option<&str>,
    ) -> Result<ResolvedImage, ImageError> {
        let cell = self.cell((image.id.clone(), org_user.map(str::to_owned)));
        let found = cell.get_or_try_init(|| self.look(reference, image, org_user)).await?;
        Ok(found.clone())
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<ResolvedImage>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT && !known.contains_key(&key) {
            known.clear();
        }
        known.entry(key).or_default().clone()
    }

    async fn look(&self, reference: &str, image: &Image, org_user: Option<&str>) -> Result<ResolvedImage, ImageError> {
        let (engine, spec) = (self.engine.clone(), probe(&self.instance, image));
        let (reference, image, org_user) = (reference.to_owned(), image.clone(), org_user.map(str::to_owned));
        let looking = self.tasks.spawn(async move {
            let id = engine.create(&spec).await?;
            let probe = Probe { engine: engine.as_ref(), id: &id };
            let found = probe.resolve(&reference, &image, org_user.as_deref()).await;
            if let Err(error) = engine.remove(&id).await {
                tracing::warn!(container = %id, "cannot remove the container that an image was looked at in: {error}");
            }
            found
        });
        let cut_off = |_| Err(ImageError::Engine(EngineError::Away("the look at an image was cut off".to_owned())));
        looking.await.unwrap_or_else(cut_off)
    }
}

/// Never started; the entrypoint is only there because the engine wants one.
fn probe(instance: &InstanceName, image: &Image) -> ContainerSpec {
    ContainerSpec {
        name: labels::passing_name(instance, "probe", rand::random()),
        hostname: "probe".to_owned(),
        image: image.id.clone(),
        user: "0:0".to_owned(),
        groups: Vec::new(),
        entrypoint: vec![BINARY.to_owned()],
        env: Vec::new(),
        working_dir: "/".to_owned(),
        labels: labels::passing_labels(instance, "probe"),
        mounts: Vec::new(),
        network: None,
        ports: Vec::new(),
        limits: Limits { nano_cpus: None, memory: None, pids: 1 },
        shm: 1 << 20,
        gpus: 0,
        runtime: None,
        stop_timeout: Duration::ZERO,
    }
}

/// A look into an image.
struct Probe<'a> {
    engine: &'a dyn Engine,
    id: &'a ContainerId,
}

impl Probe<'_> {
    async fn resolve(
        &self,
        reference: &str,
        image: &Image,
        org_user: Option<&str>,
    ) -> Result<ResolvedImage, ImageError> {
        let refused = |why| ImageError::Refused { image: reference.to_owned(), why };
        let (passwd, group) = (self.text("/etc/passwd").await?, self.text("/etc/group").await?);
        let user = who(&image.user, org_user, &passwd, &group).map_err(refused)?;
        let home = format!("/home/{}", user.name);
        match self.engine.file_kind(self.id, &home).await? {
            FileKind::Missing | FileKind::Directory => {}
            FileKind::Symlink { target } => return Err(refused(Refusal::HomeIsLink { home, target })),
            FileKind::File { .. } | FileKind::Other => return Err(refused(Refusal::HomeIsNoDirectory { home })),
        }
        if !image.volumes.is_empty() {
            let real_home = self.real_path(&home).await?;
            for volume in &image.volumes {
                let real = self.real_path(volume).await?;
                if real.strip_prefix(&real_home).is_some_and(|rest| rest.starts_with('/')) {
                    return Err(refused(Refusal::VolumeInHome { volume: volume.clone(), home }));
                }
            }
        }
        let configure = self.engine.file_kind(self.id, &self.real_path(CONFIGURE).await?).await?;
        let ImageUser { name, uid, gid, groups, shell } = user;
        Ok(ResolvedImage { username: name, uid, gid, groups, shell, configure })
    }

    async fn text(&self, path: &str) -> Result<String, EngineError> {
        let content = self.engine.read_file(self.id, path, FILE_LIMIT).await?;
        Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned())
    }

    /// Follows every link on the way. Docker mounts where a path leads, not at the path.
    async fn real_path(&self, path: &str) -> Result<String, EngineError> {
        let mut left: Vec<String> = components(path).rev().collect();
        let mut real = String::new();
        for _ in 0..STEPS {
            let Some(name) = left.pop() else { break };
            let next = format!("{real}/{name}");
            match self.engine.file_kind(self.id, &next).await? {
                // Where it leads in the end: no link is left in that.
                FileKind::Symlink { target } if target != next => {
                    real = components(&target).map(|name| format!("/{name}")).collect();
                }
                FileKind::Missing => {
                    // What is below is not there either.
                    let below = left.drain(..).rev().map(|name| format!("/{name}")).collect::<String>();
                    real = format!("{next}{below}");
                }
                FileKind::Symlink { .. } | FileKind::Directory | FileKind::File { .. } | FileKind::Other => real = next,
            }
        }
        Ok(real)
    }
}

/// The parts of a path, `.` and `..` taken out as Docker's own cleaning does.
fn components(path: &str) -> std::vec::IntoIter<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name.to_owned()),
        }
    }
    parts.into_iter()
}

/// The image's user, or the org's where the image has none that would do.
fn who(image_user: &str, org_user: Option<&str>, passwd: &str, group: &str) -> Result<ImageUser, Refusal> {
    let refusal = match (user::resolve(image_user, passwd, group), org_user) {
        (Ok(user), _) => return Ok(user),
        (Err(refusal), Some(org_user)) if refusal.gives_way() => {
            return user::resolve(org_user, passwd, group).map_err(Refusal::OrgUser);
        }
        (Err(refusal), _) => refusal,
    };
    Err(Refusal::User(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\ncoder:x:1000:1000::/home/coder:/bin/sh\n";

    fn message(image_user: &str, org_user: Option<&str>) -> String {
        let why = who(image_user, org_user, PASSWD, "").unwrap_err();
        ImageError::Refused { image: "dev".into(), why }.to_string()
    }

    #[test]
    fn l4_refusals_name_user_and_the_fix() {
        insta::assert_snapshot!(
            [
                message("", None),
                message("root", None),
                message("4242", None),
                message("eve", None),
                message("coder:wheel", None),
                message("", Some("eve")),
                message("root", Some("root")),
                message("4242", Some("4243")),
            ]
            .join("\n")
        );
    }

    #[test]
    fn l4_the_orgs_user_is_only_for_images_without_one() {
        assert_eq!(who("", Some("coder"), PASSWD, "").unwrap().name, "coder");
        assert_eq!(who("0:0", Some("coder"), PASSWD, "").unwrap().name, "coder");
        assert_eq!(who("4242", Some("coder"), PASSWD, "").unwrap().name, "coder");
        assert!(who("eve", Some("coder"), PASSWD, "").is_err());
        let both = format!("{PASSWD}other:x:1001:1001:::\n");
        assert_eq!(who("coder", Some("other"), &both, "").unwrap().name, "coder");
    }

    #[test]
    fn paths_are_cleaned_as_docker_does() {
        let clean = |path| components(path).collect::<Vec<_>>().join("/");
        assert_eq!(clean("/home//dev/./x/../y/"), "home/dev/y");
        assert_eq!(clean("../.."), "");
    }
}
