//! A hearthd that answers what a test tells it to, on a Unix socket: for the command line alone.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// `POST /v1/workspaces/alice/main/stop`
    pub(crate) what: String,
    pub(crate) body: Value,
    /// Lines of the head, lower case.
    pub(crate) head: Vec<String>,
}

/// An answer.
pub(crate) enum Answer {
    Json(u16, Value),
    /// Pieces of a body; each is asked for when the one before it is sent, `None` ends it.
    Stream(Box<dyn FnMut() -> Option<Vec<u8>> + Send>),
    /// The connection is cut off.
    Nothing,
}

type Answers = BTreeMap<String, Box<dyn FnMut() -> Answer + Send>>;

/// The server; it ends with the process.
pub(crate) struct Fake {
    dir: TempDir,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Starts a server that knows the caller as `alice` and nothing else.
    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("hearth-fake-").unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let fake = Self { dir, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (fake.answers.clone(), fake.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, asked) = (answers.clone(), asked.clone());
                std::thread::spawn(move || serve(stream, &answers, &asked));
            }
        });
        fake.says("GET /v1/status", 200, status(&["alice"]));
        fake
    }

    /// Answers a request with JSON from here on.
    pub(crate) fn says(&self, what: &str, code: u16, body: Value) {
        self.answers(what, move || Answer::Json(code, body.clone()));
    }

    /// Answers a request with an error from here on.
    pub(crate) fn refuses(&self, what: &str, code: u16, name: &str, message: &str) {
        self.says(what, code, json!({ "error": { "code": name, "message": message, "hint": "the hint" } }));
    }

    /// Answers a request as the function says from here on.
    pub(crate) fn answers(&self, what: &str, answer: impl FnMut() -> Answer + Send + 'static) {
        self.answers.lock().unwrap().insert(what.into(), Box::new(answer));
    }

    /// Returns the requests that came for `what`.
    pub(crate) fn asked(&self, what: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.what == what).cloned().collect()
    }

    /// Returns `hearth ARGS` that talks to this server.
    pub(crate) fn hearth(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.args(args).env_clear().env("HEARTH_SOCKET", self.dir.path().join("sock")).env("TZ", "UTC");
        command
    }
}

/// Returns what `GET /v1/status` says.
pub(crate) fn status(users: &[&str]) -> Value {
    json!({
        "version": "9.9.9", "started_at": "2026-07-01T12:00:00Z", "instance": "hearth",
        "you": { "name": "alice", "users": users, "admin": false, "inside": null },
        "docker": { "reachable": true, "version": "20.10", "api": "1.41", "away_since": null, "error": null },
        "config": { "path": "/etc/hearth/hearth.toml", "in_force_since": "2026-07-01T12:00:00Z", "from_copy": false,
            "rejected_since": null, "rejected": null },
        "workspaces": {}, "notes": [],
    })
}

/// Returns a workspace as the list has it.
pub(crate) fn workspace(id: &str, state: &str) -> Value {
    let (user, name) = id.split_once('/').unwrap();
    json!({
        "workspace": id, "user": user, "name": name, "org": "acme", "image": "debian:12", "state": state,
        "since": "2026-07-01T12:00:00Z", "warnings": [], "outdated": [], "build": null, "last_activity": null,
        "auto_off": { "threshold": null, "at": null, "held_until": null },
        "auto_start": { "at": null, "zone": "UTC", "next": null },
        "resources": { "cpus": null, "memory": null, "pids": 4096 },
        "usage": { "cpu": null, "memory": null, "home_bytes": null }, "connections": null,
    })
}

/// Returns a workspace as `show` has it.
pub(crate) fn detail(id: &str, state: &str, failure: Option<&str>) -> Value {
    let mut detail = workspace(id, state);
    let more = json!({
        "declared": true, "home": null, "container": null, "username": null, "image_digest": null,
        "failure": failure, "because": "so it is", "stages": [], "ports": [],
    });
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    detail
}

/// Returns a build; `seconds` of its stages, the last of which runs where that is `None`.
pub(crate) fn build(number: u32, result: Option<&str>, stages: &[(&str, Option<f64>)]) -> Value {
    let started = "2026-07-01T12:00:00Z";
    let stages: Vec<_> = stages
        .iter()
        .map(|(stage, seconds)| json!({ "stage": stage, "started_at": started, "seconds": seconds }))
        .collect();
    json!({
        "number": number, "reason": "user", "stage": stages.last().map(|last| last["stage"].clone()),
        "requester": "alice", "started_at": started, "ended_at": result.map(|_| "2026-07-01T12:00:41Z"),
        "result": result, "queued_at": started, "image": "debian:12", "image_digest": null, "failure": null,
        "warnings": [], "stages": stages,
    })
}

fn serve(stream: UnixStream, answers: &Mutex<Answers>, asked: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let head: Vec<String> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let what = head.first()?.strip_suffix(" HTTP/1.1")?.to_owned();
    let head: Vec<String> = head.iter().map(|line| line.to_lowercase()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    asked.lock().ok()?.push(Asked { what: what.clone(), body, head });
    let missing = || Answer::Json(404, json!({ "error": { "code": "not_found", "message": what, "hint": null } }));
    let answer = answers.lock().ok()?.get_mut(&what).map_or_else(missing, |answer| answer());
    reply(stream, answer).ok()
}

fn reply(mut stream: UnixStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Nothing => Ok(()),
        Answer::Json(code, body) => {
            let body = body.to_string();
            write!(stream, "HTTP/1.1 {code} x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Stream(mut next) => {
            write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            while let Some(piece) = next() {
                write!(stream, "{:x}\r\n", piece.len())?;
                stream.write_all(&piece)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")
        }
    }
}
