//! Images: looking at one, pulling one, reading files out of a container that never ran.

use std::io::Read;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use super::link::sorted;
use super::{BollardEngine, LOOK, Reply, found};
use crate::docker::{ContainerId, Credentials, EngineError, FileKind, Image, PullError, PullProgress};

/// A pull in which nothing moves for so long is given up.
const STALLED: Duration = Duration::from_secs(5 * 60);
/// A link that leads to another link is followed so often.
const LINKS: usize = 8;

pub(super) async fn inspect(engine: &BollardEngine, reference: &str) -> Reply<Option<Image>> {
    checked(reference)?;
    let reply = engine.call("inspect image", LOOK, |docker| async move { docker.inspect_image(reference).await }).await;
    Ok(found(reply)?.map(|image| image_of(image, reference)))
}

/// A reference becomes part of a path of the API.
fn checked(reference: &str) -> Reply<()> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-/:@[]".contains(c);
    if reference.is_empty() || !reference.chars().all(known) || reference.contains("..") {
        return Err(EngineError::Refused(format!("`{reference}` is not the name of an image")));
    }
    Ok(())
}

fn image_of(image: ImageInspect, reference: &str) -> Image {
    let config = image.config.unwrap_or_default();
    let digests = image.repo_digests.unwrap_or_default();
    let name = familiar(repository(reference));
    let same = digests.iter().find(|digest| familiar(repository(digest)) == name);
    Image {
        id: image.id.unwrap_or_default(),
        digest: same.or(digests.first()).cloned(),
        user: config.user.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        volumes: config.volumes.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
    }
}

/// Cuts off tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    name[last..].find(':').map_or(name, |colon| &name[..last + colon])
}

/// Leaves out what Docker leaves out of the names of its own registry.
fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

pub(super) async fn pull(
    engine: &BollardEngine,
    reference: &str,
    credentials: Option<&Credentials>,
    progress: mpsc::Sender<PullProgress>,
) -> Result<(), PullError> {
    checked(reference)?;
    let docker = engine.link.docker().await?;
    let credentials = credentials.map(|credentials| DockerCredentials {
        username: Some(credentials.username.clone()),
        password: Some(credentials.password.expose_secret().to_owned()),
        serveraddress: reference.split_once('/').map(|(registry, _)| registry.to_owned()),
        ..DockerCredentials::default()
    });
    let options = CreateImageOptionsBuilder::default().from_image(reference).build();
    let steps = docker.create_image(Some(options), None, credentials);
    tokio::pin!(steps);
    loop {
        let Ok(step) = tokio::time::timeout(STALLED, steps.next()).await else {
            return Err(PullError::Unreachable(format!("nothing has moved for {STALLED:?}")));
        };
        match step {
            None => return Ok(()),
            Some(Ok(step)) => {
                // Progress is for the eye: what nobody takes in time is left out.
                let _ = progress.try_send(progress_of(step));
            }
            Some(Err(error)) => {
                let error = pull_error(error);
                if let PullError::Engine(engine_error) = &error {
                    let _ = engine.link.noticed(Err::<(), _>(engine_error.clone()));
                }
                return Err(error);
            }
        }
    }
}

fn progress_of(step: CreateImageInfo) -> PullProgress {
    let detail = step.progress_detail.unwrap_or_default();
    let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    PullProgress {
        layer: step.id,
        status: step.status.unwrap_or_default(),
        current: count(detail.current),
        total: count(detail.total),
    }
}

const DENIED: [&str; 5] = [
    "unauthorized",
    "access denied",
    "access to the resource is denied",
    "no basic auth credentials",
    "incorrect username or password",
];
const UNKNOWN: [&str; 5] =
    ["manifest unknown", "not found", "name unknown", "does not exist", "repository name not known"];
const UNREACHABLE: [&str; 17] = [
    "dial tcp",
    "no such host",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "no route to host",
    "i/o timeout",
    "handshake timeout",
    "Client.Timeout",
    "deadline exceeded",
    "unexpected EOF",
    ": EOF",
    "toomanyrequests",
    "429",
    "received unexpected HTTP status: 5",
    "server misbehaving",
    "proxyconnect",
];

/// Sorts by the engine's text: the status is 500 or 404 whatever happened.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's cases: all that are no answer are alike")]
fn pull_error(error: Error) -> PullError {
    let text = match error {
        Error::DockerStreamError { error } => error,
        Error::DockerResponseServerError { status_code: 400..=500, message } => message,
        other => return PullError::Engine(sorted(other)),
    };
    let said = |texts: &[&str]| texts.iter().any(|part| text.contains(part));
    if said(&UNREACHABLE) {
        PullError::Unreachable(text)
    } else if said(&DENIED) {
        PullError::Denied(text)
    } else if said(&UNKNOWN) {
        PullError::NotFound(text)
    } else {
        PullError::Failed(text)
    }
}

pub(super) async fn file_kind(engine: &BollardEngine, id: &ContainerId, path: &str) -> Reply<FileKind> {
    // Go's own bits for what is no regular file.
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const OTHER: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
    let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
    let reply =
        engine
            .call("look at a file", LOOK, |docker| async move {
                docker.get_container_archive_info(&id.0, Some(options)).await
            })
            .await;
    Ok(match found(reply)? {
        None => FileKind::Missing,
        Some(stat) if stat.file_mode & SYMLINK != 0 => FileKind::Symlink { target: stat.link_target },
        Some(stat) if stat.file_mode & DIRECTORY != 0 => FileKind::Directory,
        Some(stat) if stat.file_mode & OTHER != 0 => FileKind::Other,
        Some(stat) => FileKind::File { executable: stat.file_mode & 0o111 != 0 },
    })
}

pub(super) async fn read_file(
    engine: &BollardEngine,
    id: &ContainerId,
    path: &str,
    limit: usize,
) -> Reply<Option<Vec<u8>>> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match file_kind(engine, id, &path).await? {
            FileKind::Symlink { target } => path = target,
            FileKind::File { .. } => {
                let read =
                    engine.call("read a file", LOOK, |docker| first_file(docker, id.0.clone(), path.clone(), limit));
                return match read.await? {
                    Some(content) => Ok(Some(content)),
                    None => Err(EngineError::Refused(format!("{path} is larger than {limit} bytes"))),
                };
            }
            FileKind::Missing | FileKind::Directory | FileKind::Other => return Ok(None),
        }
    }
    Ok(None)
}

/// Reads the one file of an archive; `None` when it is larger than `limit`. No more is read than that takes.
async fn first_file(docker: Docker, id: String, path: String, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let options = DownloadFromContainerOptionsBuilder::default().path(&path).build();
    let archive = head_of(docker.download_from_container(&id, Some(options)), limit + 8 * 1024).await?;
    let mut archive = tar::Archive::new(archive.as_slice());
    let Some(mut entry) = archive.entries()?.next().transpose()? else { return Ok(Some(Vec::new())) };
    let fits = usize::try_from(entry.size()).is_ok_and(|size| size <= limit);
    let mut content = Vec::new();
    if fits {
        entry.read_to_end(&mut content)?;
    }
    Ok(fits.then_some(content))
}

async fn head_of(stream: impl Stream<Item = Result<bytes::Bytes, Error>>, limit: usize) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    tokio::pin!(stream);
    while let Some(chunk) = stream.next().await {
        head.extend_from_slice(&chunk?);
        if head.len() >= limit {
            head.truncate(limit);
            break;
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_a_registry_that_is_away_is_told_from_one_that_refuses() {
        let answer = |text: &str| pull_error(Error::DockerStreamError { error: text.to_owned() });
        for text in [
            "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
            "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host",
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "received unexpected HTTP status: 503 Service Unavailable",
            "toomanyrequests: You have reached your pull rate limit.",
        ] {
            assert!(matches!(answer(text), PullError::Unreachable(_)), "{text}");
        }
        let denied = "pull access denied for acme/dev, repository does not exist or may require 'docker login'";
        assert!(matches!(answer(denied), PullError::Denied(_)));
        assert!(matches!(answer("Get \"http://h/v2/\": no basic auth credentials"), PullError::Denied(_)));
        assert!(matches!(answer("manifest for h/dev:1 not found: manifest unknown"), PullError::NotFound(_)));
        assert!(matches!(answer("no space left on device"), PullError::Failed(_)));
        let away = Error::SocketNotFoundError("/x".into());
        assert!(matches!(pull_error(away), PullError::Engine(EngineError::Away(_))));
    }

    #[test]
    fn the_digest_is_that_of_the_name_asked_for() {
        let image = ImageInspect {
            id: Some("sha256:1".into()),
            repo_digests: Some(vec!["other.test/dev@sha256:a".into(), "dev@sha256:b".into()]),
            ..ImageInspect::default()
        };
        let digest = |reference| image_of(image.clone(), reference).digest.unwrap();
        assert_eq!(digest("docker.io/library/dev:latest"), "dev@sha256:b");
        assert_eq!(digest("other.test/dev"), "other.test/dev@sha256:a");
        assert_eq!(repository("[::1]:5000/dev:1@sha256:a"), "[::1]:5000/dev");
    }

    #[test]
    fn a_reference_stays_within_its_path() {
        for bad in ["", "dev?x=1", "../version", "dev#", "de v", "dev%2f"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        checked("registry.acme.example:5000/a/b_c:1.2@sha256:00").unwrap();
    }
}
