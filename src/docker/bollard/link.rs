//! The connection: made when needed, the API version agreed on, errors sorted into ours.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::Uri;
use hyper::header::HeaderValue;

use super::Reply;
use crate::docker::EngineError;

/// Docker 20.10.
const OLDEST: Api = Api { major: 1, minor: 41 };
const NEGOTIATE: Duration = Duration::from_secs(5);
/// bollard's own limit, which covers headers only: ours is always shorter.
const NEVER: u64 = 24 * 60 * 60;

/// A connection that is made again when it broke.
#[derive(Debug, Clone)]
pub(super) struct Link {
    socket: PathBuf,
    agreed: Arc<Mutex<Option<Docker>>>,
}

impl Link {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), agreed: Arc::default() }
    }

    /// Makes a call with a deadline.
    pub(super) async fn call<T, F>(
        &self,
        call: &'static str,
        after: Duration,
        run: impl FnOnce(Docker) -> F + Send,
    ) -> Reply<T>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let docker = self.docker().await?;
        self.noticed(bounded(call, after, run(docker)).await)
    }

    /// Returns a client that speaks a version which both sides know.
    pub(super) async fn docker(&self) -> Reply<Docker> {
        if let Some(docker) = self.slot().clone() {
            return Ok(docker);
        }
        let socket = self.socket.to_string_lossy();
        let plain = Docker::connect_with_unix(&socket, NEVER, API_DEFAULT_VERSION).map_err(sorted)?;
        let engine = bounded("version", NEGOTIATE, plain.version()).await?;
        let version = agree(engine.api_version.as_deref(), engine.min_api_version.as_deref())?;
        let docker = plain.with_request_modifier(move |request| prepared(request, version));
        *self.slot() = Some(docker.clone());
        Ok(docker)
    }

    /// Forgets the agreed version when the engine is away.
    pub(super) fn noticed<T>(&self, reply: Reply<T>) -> Reply<T> {
        if let Err(EngineError::Away(_)) = &reply {
            *self.slot() = None;
        }
        reply
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn bounded<T>(
    call: &'static str,
    after: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Reply<T> {
    match tokio::time::timeout(after, answer).await {
        Ok(answer) => answer.map_err(sorted),
        Err(_) => Err(EngineError::Slow { call, after }),
    }
}

/// A version of the engine's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Api {
    major: usize,
    minor: usize,
}

impl Api {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Returns the newest version that both sides know.
fn agree(newest: Option<&str>, oldest: Option<&str>) -> Reply<Api> {
    let ours = Api { major: API_DEFAULT_VERSION.major_version, minor: API_DEFAULT_VERSION.minor_version };
    let Some(newest) = newest.and_then(Api::parse) else {
        return Err(EngineError::Away("it does not say which version of its API it speaks".into()));
    };
    if newest < OLDEST {
        let Api { major, minor } = newest;
        return Err(EngineError::Refused(format!(
            "Docker here speaks API {major}.{minor}; hearth needs Docker 20.10 (API 1.41) or newer"
        )));
    }
    match oldest.and_then(Api::parse) {
        Some(Api { major, minor }) if (Api { major, minor }) > ours => Err(EngineError::Refused(format!(
            "Docker here speaks API {major}.{minor} or newer; this hearth knows up to {}.{}",
            ours.major, ours.minor
        ))),
        Some(_) | None => Ok(newest.min(ours)),
    }
}

/// Puts on a request what bollard 0.21 leaves out: the version, and an alphabet that the engine reads in credentials
/// (with the other one it takes them for none at all).
fn prepared(mut request: BollardRequest, version: Api) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let Api { major, minor } = version;
    if let Ok(versioned) = format!("/v{major}.{minor}{path}").parse() {
        parts.path_and_query = Some(versioned);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    if let Some(value) = request.headers_mut().get_mut("x-registry-auth") {
        let url_safe = value.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
        if let Ok(mut url_safe) = HeaderValue::from_str(&url_safe) {
            url_safe.set_sensitive(true);
            *value = url_safe;
        }
    }
    request
}

/// What the engine says when what it needs itself is away: it is not an answer to the question.
const HALF_AWAY: [&str; 3] = ["containerd.sock", "transport is closing", "context canceled"];
const TAKEN: [&str; 4] = ["already allocated", "address already in use", "already in use", "is already in progress"];

/// Sorts bollard's errors into ours.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's cases: all that are no answer are alike")]
pub(super) fn sorted(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            let said = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
            match status_code {
                502..=504 => EngineError::Away(format!("status {status_code}: {message}")),
                500 if said(&HALF_AWAY) => EngineError::Away(message),
                404 => EngineError::NotFound(message),
                409 => EngineError::Conflict(message),
                500 if said(&TAKEN) => EngineError::Conflict(message),
                _ if message.is_empty() => EngineError::Refused(format!("Docker answered with status {status_code}")),
                _ => EngineError::Refused(message),
            }
        }
        Error::DockerStreamError { error } | Error::DockerContainerWaitError { error, .. } => {
            EngineError::Refused(error)
        }
        Error::SocketNotFoundError(path) => EngineError::Away(format!("there is no socket at {path}")),
        other => EngineError::Away(chain(&other)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_agreed_on() {
        let newest = Api { major: API_DEFAULT_VERSION.major_version, minor: API_DEFAULT_VERSION.minor_version };
        assert_eq!(agree(Some("1.41"), Some("1.12")).unwrap(), OLDEST);
        assert_eq!(agree(Some("1.44"), Some("1.24")).unwrap(), Api { major: 1, minor: 44 });
        assert_eq!(agree(Some("1.99"), Some("1.44")).unwrap(), newest);
        assert!(matches!(agree(Some("1.40"), None), Err(EngineError::Refused(_))));
        assert!(matches!(agree(Some("1.99"), Some("1.98")), Err(EngineError::Refused(_))));
        assert!(matches!(agree(Some("garbage"), None), Err(EngineError::Away(_))));
        assert!(matches!(agree(None, None), Err(EngineError::Away(_))));
    }

    #[test]
    fn l12_away_is_neither_not_found_nor_refused() {
        let answer = |status_code, message: &str| {
            sorted(Error::DockerResponseServerError { status_code, message: message.to_owned() })
        };
        assert!(matches!(answer(404, "No such container: x"), EngineError::NotFound(_)));
        assert!(matches!(answer(409, "name is in use"), EngineError::Conflict(_)));
        assert!(matches!(answer(500, "port is already allocated"), EngineError::Conflict(_)));
        assert!(matches!(answer(400, "invalid mount config"), EngineError::Refused(_)));
        assert!(matches!(answer(503, ""), EngineError::Away(_)));
        let dialing = "connection error: dial unix:///run/containerd/containerd.sock: timeout";
        assert!(matches!(answer(500, dialing), EngineError::Away(_)));
        assert!(matches!(sorted(Error::SocketNotFoundError("/x".into())), EngineError::Away(_)));
        let garbage = serde_json::from_str::<u8>("<html>").unwrap_err();
        assert!(matches!(sorted(Error::JsonSerdeError { err: garbage }), EngineError::Away(_)));
    }

    #[test]
    fn requests_carry_the_version_and_credentials_in_the_engines_alphabet() {
        let request = hyper::Request::builder()
            .uri("unix://2f72756e/images/create?fromImage=dev")
            .header("X-Registry-Auth", "a+b/c==")
            .body(bollard::body_full(bytes::Bytes::new()))
            .unwrap();
        let request = prepared(request, OLDEST);
        assert_eq!(request.uri().to_string(), "unix://2f72756e/v1.41/images/create?fromImage=dev");
        assert_eq!(request.headers()["x-registry-auth"], "a-b_c==");
        assert!(request.headers()["x-registry-auth"].is_sensitive());
    }
}
