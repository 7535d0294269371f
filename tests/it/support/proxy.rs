//! A proxy on Docker's socket that does what a sick engine does.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;

const DOCKER: &str = "/var/run/docker.sock";

/// What is wrong with the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes no connections, and those that were there are gone.
    Refuse,
    /// It takes connections and says nothing any more.
    Hang,
    /// It says nothing to requests for a path that has this in it.
    HangAt(&'static str),
    /// Each piece of what is said takes this long.
    Slow(Duration),
    /// It hangs up in the middle of its answers, after so many bytes.
    Cut(usize),
    /// It answers with something that is no HTTP.
    Garbage,
    /// It answers with an error of its own to requests for a path that has this in it.
    Fails(&'static str),
}

/// Docker's socket, for hearthds to use instead of the real one. It goes with the test.
#[derive(Debug)]
pub(crate) struct Proxy {
    dir: TempDir,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    open: Vec<UnixStream>,
    /// How often something went wrong because of a fault.
    hit: usize,
    /// The paths that were asked for.
    asked: Vec<String>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("docker.sock")).unwrap();
        let shared = Arc::new(Shared::default());
        let proxy = Self { dir, shared: shared.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                shared.serve(client);
            }
        });
        proxy
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Returns the line of `[server]` by which a hearthd uses it.
    pub(crate) fn server(&self) -> String {
        format!("docker = \"unix://{}\"", self.socket().display())
    }

    /// From here on this is wrong, or with `None` nothing.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        let mut state = self.shared.lock();
        if matches!(fault, Some(Fault::Refuse)) {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        state.fault = fault;
        self.shared.changed.notify_all();
    }

    /// Returns how often a fault has shown.
    pub(crate) fn hits(&self) -> usize {
        self.shared.lock().hit
    }
}

impl Proxy {
    /// Returns how many requests were for a path that has this in it.
    pub(crate) fn asked(&self, part: &str) -> usize {
        self.shared.lock().asked.iter().filter(|path| path.contains(part)).count()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(self: &Arc<Self>, client: UnixStream) {
        let mut state = self.lock();
        if state.fault == Some(Fault::Refuse) {
            state.hit += 1;
            return;
        }
        let Ok(engine) = UnixStream::connect(Path::new(DOCKER)) else { return };
        let ends = [client.try_clone().unwrap(), engine.try_clone().unwrap()];
        state.open.extend([client.try_clone().unwrap(), engine.try_clone().unwrap()]);
        drop(state);
        let [near, far] = ends;
        let (asked, answered) = (self.clone(), self.clone());
        std::thread::spawn(move || asked.requests(client, engine));
        std::thread::spawn(move || answered.answers(far, near));
    }

    /// Hands on what hearthd says.
    fn requests(&self, mut client: UnixStream, mut engine: UnixStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Some(piece) = read(&mut client, &mut buffer) {
            let path = path_of(piece).unwrap_or_default();
            if !path.is_empty() {
                self.lock().asked.push(path.to_owned());
            }
            let answer = self.held_back(|fault| match fault {
                Fault::Hang => None,
                Fault::HangAt(part) if path.contains(part) => None,
                Fault::Garbage => Some("\u{1}what is this\r\n\r\n".to_owned()),
                Fault::Fails(part) if path.contains(part) => {
                    let body = r#"{"message":"the fault that was ordered"}"#;
                    let head =
                        "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close";
                    Some(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
                }
                Fault::Refuse | Fault::HangAt(_) | Fault::Slow(_) | Fault::Cut(_) | Fault::Fails(_) => {
                    Some(String::new())
                }
            });
            if !answer.is_empty() {
                let _ = client.write_all(answer.as_bytes());
                break;
            }
            if engine.write_all(piece).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Read);
        let _ = engine.shutdown(Shutdown::Write);
    }

    /// Hands on what the engine says.
    fn answers(&self, mut engine: UnixStream, mut client: UnixStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Some(piece) = read(&mut engine, &mut buffer) {
            let cut = self.held_back(|fault| match fault {
                Fault::Hang => None,
                Fault::Cut(bytes) => Some(bytes.to_string()),
                Fault::Refuse | Fault::HangAt(_) | Fault::Slow(_) | Fault::Garbage | Fault::Fails(_) => {
                    Some(String::new())
                }
            });
            let kept = cut.parse().unwrap_or(piece.len()).min(piece.len());
            if client.write_all(&piece[..kept]).is_err() || !cut.is_empty() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = engine.shutdown(Shutdown::Both);
    }

    /// Says what a fault makes of a piece; waits while it makes nothing of it. Empty: it goes on as it is.
    fn held_back(&self, makes: impl Fn(&Fault) -> Option<String>) -> String {
        let mut state = self.lock();
        if let Some(Fault::Slow(by)) = state.fault {
            state.hit += 1;
            state = self.changed.wait_timeout(state, by).unwrap().0;
        }
        loop {
            let made = state.fault.as_ref().map_or_else(|| Some(String::new()), &makes);
            match made {
                Some(made) => {
                    state.hit += usize::from(!made.is_empty());
                    return made;
                }
                None => {
                    state.hit += 1;
                    state = self.changed.wait(state).unwrap();
                }
            }
        }
    }
}

fn read<'a>(from: &mut UnixStream, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match from.read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Returns the path of the request that begins here.
fn path_of(piece: &[u8]) -> Option<&str> {
    let line = piece.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let method = words.next().filter(|method| ["GET", "HEAD", "POST", "PUT", "DELETE"].contains(method));
    method.and(words.next())
}
