//! `hearth ssh` and hearthd's end of it, joined by a socket pair.

use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hearthd::enter::client::{Local, Outcome, attach};
use hearthd::enter::{Entries, EntrySpec, Open, Opened, Run, Served, serve};
use hearthd::model::Moment;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{World, code, numbers};
use crate::support::{PATIENCE, docker};

/// Local output of a client that is kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Input that never comes and output that nobody takes.
struct Never;

impl Read for Never {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        loop {
            std::thread::park();
        }
    }
}

impl Write for Never {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        loop {
            std::thread::park();
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn local(input: impl Read + Send + 'static, output: impl Write + Send + 'static, errors: &Kept) -> Local {
    Local { input: Some(Box::new(input)), output: Box::new(output), errors: Box::new(errors.clone()), own: false }
}

fn line(line: &str) -> Open {
    Open { run: Run::Line(line.into()), terminal: None, env: [("LANG".into(), "C".into())].into() }
}

impl World {
    /// Serves one end of a connection as hearthd does; returns the other with how it will have gone.
    fn serve(&self) -> (UnixStream, JoinSet<Served>) {
        let (near, far) = UnixStream::pair().unwrap();
        let (doors, workspace) = (self.doors.clone(), self.workspace.clone());
        let mut serving = JoinSet::new();
        serving.spawn(serve(far, async move |open: Open| {
            let env = open.environment().collect();
            let spec = EntrySpec { run: open.run, env, cwd: "/home/coder".into(), terminal: open.terminal };
            let entry = doors.open(&workspace, spec).await?;
            let entries = Entries::new(|| Moment::UNIX_EPOCH);
            let attached = entries.attach(&workspace, "alice".into(), "host".into(), false);
            Ok(Opened { entry, greeting: "be warned\n".into(), attached, stopping: doors.stopping() })
        }));
        (near, serving)
    }

    /// Enters as `hearth ssh` does, with pipes.
    async fn attach(&self, open: Open, input: impl Read + Send + 'static) -> (Outcome, Served, Kept, Kept) {
        let (stream, mut serving) = self.serve();
        let (output, errors) = (Kept::default(), Kept::default());
        let attached = attach(stream, open, local(input, output.clone(), &errors));
        let outcome = timeout(PATIENCE, attached).await.unwrap().unwrap();
        (outcome, serving.join_next().await.unwrap().unwrap(), output, errors)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_a_client_has_clean_streams_codes_and_signals() {
    let world = World::new();
    let (outcome, served, out, err) = world.attach(line("cat; echo $LANG; echo oops >&2; exit 3"), &b"in\n"[..]).await;
    assert_eq!((outcome, served), (Outcome::Ended(code(3)), Served::Ended(code(3))));
    assert_eq!((out.text(), err.text()), ("in\nC\n".into(), "be warned\noops\n".into()));
    let (outcome, ..) = world.attach(line("kill -TERM $$"), &b""[..]).await;
    assert_eq!(outcome.exit_code(), 143);
    let missing = Open { run: Run::Command(vec!["nothing-such".into()]), ..line("") };
    let (outcome, _, _, err) = world.attach(missing, &b""[..]).await;
    assert_eq!((outcome.exit_code(), err.text()), (127, "nothing-such: command not found\n".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_a_background_process_that_holds_the_output_holds_nobody() {
    let world = World::new();
    let start = Instant::now();
    let (outcome, _, out, _) = world.attach(line("sleep 3601 & echo done"), &b""[..]).await;
    assert_eq!((outcome, out.text()), (Outcome::Ended(code(0)), "done\n".into()));
    assert!(start.elapsed() < Duration::from_secs(5));
    world.wait_until_there("sleep 3601");
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_a_hundred_mebibytes_arrive_intact_each_way_through_frames() {
    let world = World::new();
    let sent = numbers(100 << 20);
    let (outcome, _, out, _) = world.attach(line("cat"), Cursor::new(sent.clone())).await;
    assert_eq!(outcome, Outcome::Ended(code(0)));
    assert!(*out.0.lock().unwrap() == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_a_client_that_goes_takes_its_processes_along() {
    let world = World::new();
    // Once where the process reads and says nothing, once where input is stuck, once where output is.
    for (command, input) in [("trap '' HUP; cat; sleep 3601", 0), ("sleep 3601", 16 << 20), ("yes 3601", 0)] {
        let (stream, mut serving) = world.serve();
        let input = std::io::repeat(b'x').take(input).chain(Never);
        let mut client = JoinSet::new();
        client.spawn(attach(stream, line(command), local(input, Never, &Kept::default())));
        world.wait_until_there("3601");
        assert!(timeout(Duration::from_millis(300), client.join_next()).await.is_err());
        client.abort_all();
        let served = timeout(PATIENCE, serving.join_next()).await.expect("it goes on").unwrap().unwrap();
        assert_eq!(served, Served::Left, "with `{command}`");
        world.wait_until_gone("3601");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_a_client_is_told_when_its_container_or_hearthd_goes() {
    let world = World::new();
    let (stream, mut serving) = world.serve();
    let mut client = JoinSet::new();
    let (out, err) = (Kept::default(), Kept::default());
    client.spawn(attach(stream, line("echo ready; sleep 3601"), local(Never, out.clone(), &err)));
    world.wait_until_there("sleep 3601");
    docker(&["kill", &world.container]).ok();
    let outcome = timeout(PATIENCE, client.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    let told = "the connection to the container was lost";
    assert!(matches!(&outcome, Outcome::Lost(text) if text.contains(told)), "{outcome:?}");
    assert_eq!(serving.join_next().await.unwrap().unwrap(), Served::Lost);
    assert_eq!(out.text(), "ready\n");

    docker(&["start", &world.container]).ok();
    let (stream, mut serving) = world.serve();
    client.spawn(attach(stream, line("sleep 3602"), local(Never, out.clone(), &err)));
    world.wait_until_there("sleep 3602");
    serving.abort_all();
    let outcome = timeout(PATIENCE, client.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert!(matches!(&outcome, Outcome::Lost(text) if text.contains("hearthd closed")), "{outcome:?}");
    assert_eq!(outcome.exit_code(), 3);
    world.wait_until_gone("sleep 3602");

    let (stream, _serving) = world.serve();
    client.spawn(attach(stream, line("sleep 3603"), local(Never, out.clone(), &err)));
    world.wait_until_there("sleep 3603");
    world.stop.cancel();
    let outcome = timeout(PATIENCE, client.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert!(matches!(&outcome, Outcome::Lost(text) if text.contains("hearthd stops")), "{outcome:?}");
}
