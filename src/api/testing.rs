//! A daemon for tests: settings and a snapshot by hand, a loop that answers what the test says, real sockets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::{Request as HttpRequest, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::caller::Caller;
use super::{
    Accounts, ApiContext, Entering, Entrance, GitKeys, Homes, HostAccount, KnownHome, Logs, Outside, bind_host,
    serve_host,
};
use crate::access::Person;
pub(crate) use crate::access::testing::{account, settings};
use crate::activity::HoldId;
use crate::config::Settings;
use crate::config::settings::{AutoStart, Limit};
use crate::enter::Visitor;
use crate::handle::{
    Activity, ConfigView, EngineView, Event, Explained, Handle, Held, Inside, Rejected, Request, Schedule,
    SettingsChanged, Snapshot, Started, View,
};
use crate::model::{BuildNumber, BuildReason, Moment, OffReason, Requester, State, UserName, WorkspaceId};
use crate::schedule::{Plan, next_start};
use crate::store::{AuditEntry, AuditFilter, Store};
use crate::trash::Trashed;

pub(crate) fn at(second: i64) -> Moment {
    Moment::from_second(1_800_000_000 + second).unwrap()
}

/// The token of a workspace's container in these tests.
pub(crate) fn token(id: &str) -> String {
    format!("token-of-{id}")
}

pub(crate) fn inside(id: &str) -> Inside {
    Inside {
        container: format!("0123456789abcdef-{id}"),
        username: "coder".into(),
        uid: 1000,
        gid: 1000,
        token_hash: blake3::hash(token(id).as_bytes()).to_hex().to_string(),
        image_id: "sha256:0".into(),
        open: true,
    }
}

fn view(id: &WorkspaceId, org: crate::model::OrgName, number: u64) -> View {
    let state = State::Running { since: at(1), warnings: vec![], outdated: vec![] };
    let inside = Some(inside(&id.to_string()));
    View {
        id: id.clone(),
        number,
        org,
        declared: true,
        state,
        build: None,
        inside,
        because: "it runs".into(),
        activity: Activity::default(),
    }
}

/// Everything of [`settings`] runs, and `carol/old` of acme, which no file declares any more, is off.
pub(crate) fn snapshot(settings: &Settings) -> Snapshot {
    let mut workspaces: BTreeMap<_, _> = settings
        .workspaces
        .values()
        .zip(1..)
        .map(|(workspace, number)| (workspace.id.clone(), view(&workspace.id, workspace.org.clone(), number).into()))
        .collect();
    let old: WorkspaceId = "carol/old".parse().unwrap();
    let off = State::Off { since: at(2), why: OffReason::Removed };
    let view = View { declared: false, state: off, inside: None, ..view(&old, "acme".parse().unwrap(), 99) };
    workspaces.insert(old, view.into());
    let workspaces = Arc::new(workspaces);
    let rejected = Rejected { since: at(3), errors: "hearth.toml:1:1: no".into() };
    let config = ConfigView {
        path: "/etc/hearth/hearth.toml".into(),
        in_force_since: at(0),
        from_copy: false,
        rejected: Some(rejected),
    };
    let engine = EngineView::Here { version: "20.10.24".into(), api: "1.41".into() };
    let (members, schedules) = (Arc::default(), schedules(settings));
    Snapshot { workspaces, engine, config, members, schedules, foreign: vec![], blind: None, started_at: at(0) }
}

/// Every workspace of [`settings`] starts at 09:00 in its zone.
fn schedules(settings: &Settings) -> Arc<BTreeMap<WorkspaceId, Arc<Schedule>>> {
    let one = |workspace: &crate::config::settings::Workspace| {
        let org = settings.org_of(workspace);
        let nine = AutoStart::At { time: jiff::civil::time(9, 0, 0, 0), days: None };
        let plan = Plan::new(&nine, &workspace.timezone.value, &org.auto_start_days, &org.holidays, None);
        let (last_used, pause_after) = (at(0), Limit::After(std::time::Duration::from_secs(7 * 86_400)));
        let next = next_start(&plan, last_used, pause_after, at(100));
        (workspace.id.clone(), Arc::new(Schedule { plan, last_used, pause_after, next, due: None, last: None }))
    };
    Arc::new(settings.workspaces.values().map(one).collect())
}

/// What stands behind the API in a test, as far as it is not the daemon's loop.
#[derive(Default)]
pub(crate) struct Surroundings {
    pub(crate) accounts: Mutex<BTreeMap<u32, HostAccount>>,
    pub(crate) accounts_away: AtomicBool,
    pub(crate) entries: Mutex<Vec<(WorkspaceId, Vec<String>)>>,
}

#[async_trait]
impl Accounts for Surroundings {
    async fn account(&self, uid: u32) -> anyhow::Result<Option<HostAccount>> {
        anyhow::ensure!(!self.accounts_away.load(Ordering::Relaxed), "no answer");
        Ok(self.accounts.lock().unwrap().get(&uid).cloned())
    }
}

/// The home of alice/main, and one of hers in the trash.
#[async_trait]
impl Homes for Surroundings {
    async fn list(&self, _: &EngineView) -> anyhow::Result<Vec<KnownHome>> {
        let home = |volume: &str, trashed: Option<Trashed>| KnownHome {
            volume: volume.into(),
            workspace: "alice/main".parse().unwrap(),
            org: Some("acme".parse().unwrap()),
            recorded: true,
            current: trashed.is_none(),
            trashed,
            present: Some(true),
        };
        Ok(vec![home("hearth.alice.main.home-2", None), home(TRASHED, Some(trashed()))])
    }
}

const TRASHED: &str = "hearth.alice.main.home";

fn trashed() -> Trashed {
    Trashed {
        volume: TRASHED.into(),
        workspace: "alice/main".parse().unwrap(),
        owner: None,
        trashed_at: at(0),
        until: at(30),
        by: Requester("alice".into()),
        mounted_at: None,
    }
}

#[async_trait]
impl GitKeys for Surroundings {
    async fn public_key(&self, user: &UserName) -> anyhow::Result<String> {
        Ok(format!("ssh-ed25519 AAAA {user}"))
    }
}

#[async_trait]
impl Logs for Surroundings {
    async fn read(&self, number: u64, build: BuildNumber, follow: bool) -> anyhow::Result<BoxStream<'static, Bytes>> {
        let so_far = stream::iter([Bytes::from(format!("log of {number}, build {build}\n"))]);
        Ok(if follow { so_far.chain(stream::pending()).boxed() } else { so_far.boxed() })
    }
}

/// Echoes what the client sends, in capitals.
#[async_trait]
impl Entrance for Surroundings {
    async fn serve(&self, mut entering: Entering) {
        self.entries.lock().unwrap().push((entering.workspace, entering.notices));
        let mut received = entering.early.to_vec();
        let mut buffer = [0; 64];
        loop {
            entering.stream.write_all(&received.to_ascii_uppercase()).await.unwrap();
            match entering.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => received = buffer[..n].to_vec(),
            }
        }
    }
}

/// hearthd as far as the API sees it.
pub(crate) struct World {
    pub(crate) context: ApiContext,
    pub(crate) snapshot: watch::Sender<Arc<Snapshot>>,
    /// Kept, so that the daemon's settings are there to be seen.
    _settings: watch::Sender<Arc<Settings>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) directory: tempfile::TempDir,
    /// What the loop was asked, in words.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// Returns a world whose loop accepts everything.
    pub(crate) fn new() -> Self {
        Self::with(accept)
    }

    /// Returns a world whose loop answers so.
    pub(crate) fn with(answer: impl Fn(Request) + Send + 'static) -> Self {
        let settings = settings();
        let (snapshot, snapshots) = watch::channel(Arc::new(snapshot(&settings)));
        let (settings, settings_seen) = watch::channel(Arc::new(settings));
        let events = broadcast::Sender::new(8);
        let (requests, mut asked_of) = mpsc::channel(8);
        let (tasks, stop, asked) = (TaskTracker::new(), CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&asked);
        tasks.spawn(async move {
            while let Some(request) = asked_of.recv().await {
                noted.lock().unwrap().push(words(&request));
                answer(request);
            }
        });
        let around = Arc::new(Surroundings::default());
        let outside = Outside {
            store: Store::in_memory().unwrap(),
            logs: around.clone(),
            entrance: around.clone(),
            keys: around.clone(),
            accounts: around.clone(),
            homes: around.clone(),
            clock: Arc::new(|| at(100)),
        };
        let handle = Handle::new(requests, snapshots, settings_seen, events.clone());
        let context = ApiContext::new(handle, outside, tasks.clone(), stop.clone());
        let directory = tempfile::tempdir().unwrap();
        Self { context, snapshot, _settings: settings, events, around, tasks, stop, directory, asked }
    }

    /// Says that this process, whoever runs the tests, is the host account `name`; root among them.
    pub(crate) fn i_am(&self, name: &str) {
        let uid = nix::unistd::getuid().as_raw();
        let account = HostAccount { name: name.into(), groups: vec![] };
        self.around.accounts.lock().unwrap().insert(uid, account);
    }

    /// Changes one workspace's view.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut View)) {
        self.snapshot.send_modify(|snapshot| {
            let workspaces = Arc::make_mut(&mut Arc::make_mut(snapshot).workspaces);
            change(Arc::make_mut(workspaces.get_mut(&id.parse().unwrap()).unwrap()));
        });
    }

    pub(crate) fn engine(&self, engine: EngineView) {
        self.snapshot.send_modify(|snapshot| Arc::make_mut(snapshot).engine = engine);
    }

    /// Records what the store has to know of a workspace, with one build.
    pub(crate) async fn record(&self, id: &str) {
        let id: WorkspaceId = id.parse().unwrap();
        let store = &self.context.outside.store;
        store.declare(&id, &"acme".parse().unwrap(), crate::store::Power::On, at(0)).await.unwrap();
        store.begin_build(&id, BuildReason::User, &Requester("alice".into()), "debian:12", at(5)).await.unwrap();
    }

    /// Makes one request as that person, past all sockets.
    pub(crate) async fn ask_as(&self, person: &Person, method: &str, uri: &str, body: &str) -> Answer {
        let request = HttpRequest::builder().method(method).uri(uri).extension(Caller(person.clone()));
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let Ok(response) = super::router(self.context.clone()).call(request).await;
        Answer::read(response).await
    }

    /// Returns every line of the audit log as `who, from: what workspace: before → after: result`.
    pub(crate) async fn audited(&self) -> Vec<String> {
        let filter = AuditFilter { since: None, workspace: None, before: None, limit: 1000 };
        let line = |(_, entry): (i64, AuditEntry)| {
            let workspace = entry.workspace.map(|id| id.to_string()).unwrap_or_default();
            let [before, after] = [entry.before, entry.after].map(|text| text.unwrap_or("-".into()));
            format!("{}, {}: {} {workspace}: {before} → {after}: {}", entry.who, entry.from, entry.what, entry.result)
        };
        self.context.outside.store.audit_log(filter).await.unwrap().into_iter().map(line).collect()
    }

    /// Serves the host's socket and returns its path.
    pub(crate) fn serve(&self) -> PathBuf {
        let path = self.directory.path().join("hearth.sock");
        let listener = bind_host(&path).unwrap();
        self.tasks.spawn(serve_host(listener, self.context.clone()));
        path
    }

    /// Returns a client's end of a connection on the workspace's own socket.
    pub(crate) fn call_inside(&self, id: &str) -> UnixStream {
        let (near, far) = UnixStream::pair().unwrap();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let visitor = Visitor { stream: far, workspace: id.parse().unwrap(), permit };
        self.tasks.spawn(super::serve_workspace_connection(visitor, self.context.clone()));
        near
    }
}

fn accept(request: Request) {
    match request {
        Request::Start { reply, .. } | Request::Rebuild { reply, .. } => {
            let _ = reply.send(Ok(Started::Build(BuildNumber(17))));
        }
        Request::Stop { reply, .. } => {
            let _ = reply.send(Ok(()));
        }
        Request::Cancel { reply, .. } | Request::Personalize { reply, .. } => {
            let _ = reply.send(Ok(BuildNumber(17)));
        }
        Request::TrashHome { home, requester, reply, .. } => {
            let volume = home.unwrap_or_else(|| "hearth.carol.old.home".into());
            let _ = reply.send(Ok(Some(Trashed { volume, by: requester, ..trashed() })));
        }
        Request::RestoreHome { reply, .. } => {
            let _ = reply.send(Ok(()));
        }
        Request::Away { reply, .. } => {
            let _ = reply.send(Ok(()));
        }
        Request::Set { reply, .. } => {
            let changed = SettingsChanged { before: vec![], after: vec![], effects: vec![] };
            let _ = reply.send(Ok(changed));
        }
        Request::Look { reply, .. } => {
            let _ = reply.send(Ok(()));
        }
        Request::Why { reply, .. } => {
            let _ = reply.send(Ok(Explained::default()));
        }
        Request::Hold { reply, .. } | Request::Renew { reply, .. } => {
            let _ = reply.send(Ok(Held { id: HoldId(7), until: at(500), lease: None }));
        }
        Request::Release { reply, .. } => {
            let _ = reply.send(Ok(2));
        }
        Request::Reload { reply, .. } | Request::Plan { reply } => {
            let changes = vec!["alice/main: cpus 2.0 → 4.0, at once".into()];
            let _ = reply.send(Ok(crate::handle::Reloaded { changes }));
        }
    }
}

fn words(request: &Request) -> String {
    match request {
        Request::Start { workspace, reason, requester, .. } => format!("start {workspace} {reason:?} {requester}"),
        Request::Rebuild { workspace, reason, requester, .. } => format!("rebuild {workspace} {reason:?} {requester}"),
        Request::Stop { workspace, requester, .. } => format!("stop {workspace} {requester}"),
        Request::Cancel { workspace, requester, .. } => format!("cancel {workspace} {requester}"),
        Request::Personalize { workspace, requester, .. } => format!("personalize {workspace} {requester}"),
        Request::Reload { yes, requester, .. } => format!("reload {yes} {requester}"),
        Request::Plan { .. } => "plan".into(),
        Request::TrashHome { workspace, home, requester, .. } => {
            format!("trash {workspace} {} {requester}", home.as_deref().unwrap_or("-"))
        }
        Request::RestoreHome { workspace, home, requester, .. } => format!("restore {workspace} {home} {requester}"),
        Request::Away { user, until, requester, .. } => format!("away {user} {until:?} {requester}"),
        Request::Set { owner, edits, requester, .. } => format!("set {owner} {edits:?} {requester}"),
        Request::Look { workspace, .. } => format!("look {workspace}"),
        Request::Why { workspace, .. } => format!("why {workspace}"),
        Request::Hold { workspace, asked, requester, .. } => format!("hold {workspace} {:?} {requester}", asked.lasts),
        Request::Renew { workspace, hold, .. } => format!("renew {workspace} {}", hold.0),
        Request::Release { workspace, hold, requester, .. } => format!("release {workspace} {hold:?} {requester}"),
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn read<B: hyper::body::Body<Error: std::fmt::Debug>>(response: hyper::Response<B>) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let status = StatusCode::as_u16(&head.status);
        Self { status, headers: head.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// Returns the code of the error that it must be.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        assert!(!error["message"].as_str().unwrap().is_empty() && error.get("hint").is_some(), "{json}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Makes one request on a connection of its own.
pub(crate) async fn ask(path: &Path, method: &str, uri: &str, body: &str) -> Answer {
    ask_on(UnixStream::connect(path).await.unwrap(), method, uri, body, None).await
}

/// Makes one request on that connection.
pub(crate) async fn ask_on(stream: UnixStream, method: &str, uri: &str, body: &str, token: Option<&str>) -> Answer {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut request = HttpRequest::builder().method(method).uri(uri).header("host", "hearth");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    Answer::read(response).await
}
