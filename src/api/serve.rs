//! Listening and connections: who is at the other end, how many at once, and how they end.

use std::convert::Infallible;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::caller::Caller;
use super::error::ApiResult;
use super::rate::Places;
use super::{ApiContext, gate, router, token};
use crate::enter::Visitor;

/// Connections on the host's socket: of all accounts together, and of one. Root has as many of its own as one account,
/// whatever the others do.
const CONNECTIONS: usize = 512;
const CONNECTIONS_EACH: usize = 256;
/// How long a client may take for the head of a request, and may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that is buffered of a head, and of an answer that is not read.
const BUFFER: usize = 64 * 1024;
/// How long an ending waits for answers that are on their way, and for a first request to come.
const DRAIN: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(500);

/// What a client is told that finds every place taken; written without looking at what it asks, and only if it listens.
fn turn_away(stream: &UnixStream) {
    let body = serde_json::to_string(&gate::too_many("too many connections are open").body()).unwrap_or_default();
    let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nconnection: close";
    let _ = stream.try_write(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
}

/// Why the host's socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another hearthd answers on `{}`: stop it, or set another `run_dir`", .0.display())]
    InUse(PathBuf),
    #[error("`{}` is in the way: it is not a socket", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot listen on `{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Opens the host's socket, mode 0666, in place of one that nobody listens on any more.
///
/// # Errors
/// As [`BindError`] says; a socket on which a hearthd answers stays as it is.
pub fn bind_host(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source: io::Error| BindError::Io { path: path.to_owned(), source };
    // Two that start at once look one after the other. The file is nobody else's to open, for whoever can holds us up.
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("lock"));
    let _lock =
        Flock::lock(lock.map_err(failed)?, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) if is_answered(path).map_err(failed)? => return Err(BindError::InUse(path.to_owned())),
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

/// Whether somebody listens on a socket, however busy.
fn is_answered(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Serves the host's socket until the context's `stop`. The caller of each connection is whoever the kernel names by uid and gid.
pub async fn serve_host(listener: UnixListener, context: ApiContext) {
    let stop = context.stop.clone();
    let router = router(context.clone());
    let (places, roots) = (Places::new(CONNECTIONS, CONNECTIONS_EACH), Places::new(CONNECTIONS_EACH, CONNECTIONS_EACH));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream))),
            () = stop.cancelled() => return,
        };
        let (peer, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the host's socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = (if peer.uid() == 0 { &roots } else { &places }).take(peer.uid()) else {
            turn_away(&stream);
            continue;
        };
        let (router, context, stop) = (router.clone(), context.clone(), stop.clone());
        let tasks = context.tasks.clone();
        tasks.spawn(async move {
            let caller = Caller::of_peer(&context, peer).await;
            serve(stream, &stop, |request| answer(router.clone(), request, caller.clone())).await;
            drop(place);
        });
    }
}

/// Serves one connection that came in on a workspace's own socket. Each request shows that workspace's token.
pub async fn serve_workspace_connection(visitor: Visitor, context: ApiContext) {
    // The permit is the doors' own bound, given back at the end.
    let Visitor { stream, workspace, permit: _permit } = visitor;
    // A narrower one: the helper's own connection must always find room beside these.
    let Some(_place) = context.guests.connections.take(workspace.clone()) else {
        turn_away(&stream);
        return;
    };
    let router = router(context.clone());
    serve(stream, &context.stop, |request| {
        let caller = token::caller(&context, &workspace, request.headers());
        answer(router.clone(), request, caller)
    })
    .await;
}

async fn answer(mut router: Router, mut request: Request<Incoming>, caller: ApiResult<Caller>) -> Response {
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(caller);
    let answered: Result<Response, Infallible> = router.call(request).await;
    answered.unwrap_or_else(|never| match never {})
}

async fn serve<F>(stream: UnixStream, stop: &CancellationToken, respond: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Response>,
{
    let begun = Notify::new();
    let service = service_fn(|request| {
        begun.notify_one();
        let response = respond(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // Whatever ends a connection is the client's doing: a hang-up, a timeout, what is not HTTP.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => tokio::select! {
            ended = connection.as_mut() => ended,
            // What has read nothing yet is closed at once by the next call, with the request that is on its way.
            _ = timeout(FIRST, begun.notified()) => {
                connection.as_mut().graceful_shutdown();
                timeout(DRAIN, connection).await.unwrap_or(Ok(()))
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the API ended");
    }
}
