//! HTTP over hearthd's Unix socket: one connection for each request, bounded in time and size.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::endpoint::Endpoint;
use super::error::{Error, Kind, Result};
use super::render::Output;
use crate::api::wire::ErrorBody;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take that hearthd gives out of its memory.
const ANSWER: Duration = Duration::from_secs(10);
/// The largest JSON that is read.
const MAX_JSON: usize = 64 << 20;

/// What hearthd is asked through.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    /// Where it is said that what was asked may be out of date.
    out: Option<Output>,
}

/// On what hearthd answers while Docker is away: since when what it says may be out of date (rule L12).
const AWAY_SINCE: &str = "hearth-docker-away-since";

/// How long to wait for the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// hearthd answers at once or not at all.
    Short,
    /// The answer comes when something is done.
    UntilDone,
}

/// An answer with the task that reads its connection; dropping that closes it.
#[derive(Debug)]
struct Reply {
    response: Response<Incoming>,
    connection: JoinSet<()>,
}

/// A body that arrives piece by piece.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    unreachable: Error,
    _connection: JoinSet<()>,
}

/// A connection that has left HTTP, with what came behind the answer's head.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) stream: UnixStream,
    pub(crate) already_read: Bytes,
}

impl Client {
    /// Returns a client for that endpoint. Nothing is opened yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, out: None }
    }

    /// Returns the same client, which says on `out` where what it was told may be out of date.
    pub(crate) fn saying(self, out: Output) -> Self {
        Self { out: Some(out), ..self }
    }

    /// Returns where it talks to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for something that hearthd knows.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let reply = self.ask(Method::GET, path, None, Patience::Short).await?;
        let since = reply.response.headers().get(AWAY_SINCE).and_then(|since| since.to_str().ok()?.parse().ok());
        let value = self.json(reply).await?;
        if let (Some(out), Some(since)) = (&self.out, since) {
            out.away(since);
        }
        Ok(value)
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Patience,
    ) -> Result<T> {
        self.json(self.ask(Method::POST, path, Some(to_json(body)?), patience).await?).await
    }

    /// Asks for something to be deleted.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str, patience: Patience) -> Result<T> {
        self.json(self.ask(Method::DELETE, path, None, patience).await?).await
    }

    /// Asks for a part of something to be changed.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.json(self.ask(Method::PATCH, path, Some(to_json(body)?), Patience::UntilDone).await?).await
    }

    /// Asks for a body that comes piece by piece, for as long as it comes.
    pub(crate) async fn stream(&self, path: &str) -> Result<Stream> {
        let Reply { response, connection } = self.ask(Method::GET, path, None, Patience::Short).await?;
        Ok(Stream { body: response.into_body(), unreachable: self.lost(), _connection: connection })
    }

    /// Asks to leave HTTP for `protocol` on this connection.
    pub(crate) async fn upgrade(&self, path: &str, protocol: &'static str, body: &impl Serialize) -> Result<Upgraded> {
        let mut request = self.request(Method::POST, path, Some(to_json(body)?))?;
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
        let reply = self.exchange(request, Patience::Short).await?;
        if reply.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(reply).await);
        }
        let upgraded = hyper::upgrade::on(reply.response).await.map_err(|error| self.broken(&error))?;
        let parts = upgraded
            .downcast::<TokioIo<UnixStream>>()
            .map_err(|_| Error::new(Kind::Failed, "the connection is not the socket that was opened"))?;
        Ok(Upgraded { stream: parts.io.into_inner(), already_read: parts.read_buf })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Bytes>, patience: Patience) -> Result<Reply> {
        let reply = self.exchange(self.request(method, path, body)?, patience).await?;
        if reply.response.status().is_success() { Ok(reply) } else { Err(self.refusal(reply).await) }
    }

    fn request(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "hearth")
            .header(header::USER_AGENT, concat!("hearth/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = self.endpoint.token() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        request.map_err(|error| Error::new(Kind::Failed, format!("cannot ask for {path}: {error}")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, patience: Patience) -> Result<Reply> {
        let again = (request.method() == Method::GET).then(|| request.clone());
        let reply = match (self.once(request, patience).await?, again) {
            // hearthd ended as the question came. Where it restarts the next one answers, and to ask twice does no harm.
            (Err(error), Some(again)) if error.is_incomplete_message() || error.is_canceled() => {
                self.once(again, patience).await?
            }
            (reply, _) => reply,
        };
        reply.map_err(|error| self.broken(&error))
    }

    /// Fails where hearthd is not reached; the inner error is a connection that broke.
    async fn once(
        &self,
        request: Request<Full<Bytes>>,
        patience: Patience,
    ) -> Result<std::result::Result<Reply, hyper::Error>> {
        let stream = self.connect().await.map_err(|error| self.endpoint.unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { _ = connection.with_upgrades().await });
        let answer = sender.send_request(request);
        let response = match patience {
            Patience::UntilDone => answer.await,
            Patience::Short => tokio::time::timeout(ANSWER, answer)
                .await
                .map_err(|_| self.endpoint.unreachable(&io::ErrorKind::TimedOut.into()))?,
        };
        Ok(response.map(|response| Reply { response, connection: tasks }))
    }

    /// A full backlog refuses a non-blocking connection with EAGAIN: that is worth a moment's patience.
    async fn connect(&self) -> io::Result<UnixStream> {
        let connecting = async {
            loop {
                match UnixStream::connect(self.endpoint.socket()).await {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    other => return other,
                }
            }
        };
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn json<T: DeserializeOwned>(&self, reply: Reply) -> Result<T> {
        let body = self.collect(reply).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Error::new(Kind::Failed, format!("hearthd's answer is not what this hearth expects: {error}"))
                .hint("hearth version compares the two")
        })
    }

    async fn collect(&self, Reply { response, connection }: Reply) -> Result<Bytes> {
        let body = Limited::new(response.into_body(), MAX_JSON).collect();
        let body = tokio::time::timeout(ANSWER, body)
            .await
            .map_err(|_| self.endpoint.unreachable(&io::ErrorKind::TimedOut.into()))?
            .map_err(|error| Error::new(Kind::Failed, format!("hearthd's answer broke off: {error}")))?;
        drop(connection);
        Ok(body.to_bytes())
    }

    async fn refusal(&self, reply: Reply) -> Error {
        let status = reply.response.status();
        match self.collect(reply).await {
            Err(error) => error,
            Ok(body) => match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(body) => body.error.into(),
                Err(_) => Error::new(Kind::Failed, format!("hearthd answered {status}"))
                    .hint("hearth version compares client and server"),
            },
        }
    }

    fn broken(&self, error: &hyper::Error) -> Error {
        let hint = self.lost().hint;
        let message = format!("hearthd broke off: {error}");
        Error { hint, ..Error::new(Kind::Unreachable, message) }
    }

    fn lost(&self) -> Error {
        self.endpoint.unreachable(&io::ErrorKind::ConnectionReset.into())
    }
}

fn to_json(body: &impl Serialize) -> Result<Bytes> {
    let body = serde_json::to_vec(body);
    Ok(body.map_err(|error| Error::new(Kind::Failed, format!("cannot write JSON: {error}")))?.into())
}

impl Stream {
    /// Returns the next piece, nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(self.unreachable.clone()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
