//! The way into a container (L2), without a daemon: `hearth init` as PID 1 of a real one, hearthd's end in the test.

use std::path::Path;
use std::time::Duration;

use hearthd::enter::{Doors, End, EnterError, Entry, EntrySpec, Lost, Run, Size, Visitor};
use hearthd::model::WorkspaceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::command::docker_remove;
use crate::support::{Image, ImageTag, PATIENCE, Ran, docker, unique, wait_for};

const HEARTH: &str = env!("CARGO_BIN_EXE_hearth");

/// A container with hearth's PID 1, and the doors to it.
struct World {
    doors: Doors,
    workspace: WorkspaceId,
    visitors: mpsc::Receiver<Visitor>,
    stop: CancellationToken,
    directory: tempfile::TempDir,
    container: String,
    _image: ImageTag,
}

impl World {
    fn of(image: &Image, user: &str) -> Self {
        let image = image.import();
        let directory = tempfile::tempdir().unwrap();
        let (doors, visitors, stop) = doors(directory.path());
        let workspace: WorkspaceId = "alice/main".parse().unwrap();
        doors.listen(7, &workspace).unwrap();
        let container = unique();
        let binary = format!("{HEARTH}:/usr/local/bin/hearth:ro");
        let door = format!("{}:/run/hearth/workspace:ro", doors.directory(7).display());
        let label = format!("hearth.instance={container}");
        let run = ["run", "-d", "--pull=never", "--network=none", "--name", &container, "--label", &label];
        let how = ["--user", user, "-v", &binary, "-v", &door, "--entrypoint", "/usr/local/bin/hearth"];
        docker(&[&run[..], &how[..], &["-e", "FROM_IMAGE=yes", &image.tag, "init"]].concat()).ok();
        Self { doors, workspace, visitors, stop, directory, container, _image: image }
    }

    fn new() -> Self {
        Self::of(&Image::coder(), "1000:1000")
    }

    async fn open(&self, run: Run, terminal: Option<Size>) -> Result<Entry, EnterError> {
        let env = vec![("HEARTH".into(), "1".into()), ("TERM".into(), "xterm".into())];
        self.doors.open(&self.workspace, EntrySpec { run, env, cwd: "/home/coder".into(), terminal }).await
    }

    async fn sh(&self, line: &str) -> Entry {
        self.open(Run::Line(line.into()), None).await.unwrap()
    }

    /// Runs a line to its end and returns how it ended and what it wrote.
    async fn say(&self, line: &str) -> (End, String, String) {
        finish(self.sh(line).await).await
    }

    /// Runs something by `docker exec`, as another way in.
    fn exec(&self, options: &[&str], argv: &[&str]) -> Ran {
        docker(&[&["exec"], options, &[&self.container], argv].concat())
    }

    /// Waits until no process has `word` in its command line.
    fn wait_until_gone(&self, word: &str) {
        wait_for(&format!("no process with `{word}`"), || {
            let listed = self.exec(&["-u", "0"], &["ps", "-o", "pid,stat,args"]).ok();
            if listed.lines().any(|line| line.contains(word)) { Err(listed) } else { Ok(()) }
        });
    }

    fn wait_until_there(&self, word: &str) {
        wait_for(&format!("a process with `{word}`"), || {
            let listed = self.exec(&["-u", "0"], &["ps", "-o", "pid,stat,args"]).ok();
            if listed.lines().any(|line| line.contains(word)) { Ok(()) } else { Err(listed) }
        });
    }

    /// Sends a signal to the helper from inside.
    fn signal_helper(&self, signal: &str) {
        let line =
            format!("kill -{signal} $(ps -o pid,args | awk '$2 == \"hearth\" && $3 == \"helper\" {{ print $1 }}')");
        self.exec(&[], &["sh", "-c", &line]).ok();
    }

    fn runs(&self) -> bool {
        docker(&["inspect", "--format", "{{.State.Running}}", &self.container]).ok() == "true\n"
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        docker_remove(&["rm", "-f", "-v", &self.container]);
    }
}

fn doors(run_dir: &Path) -> (Doors, mpsc::Receiver<Visitor>, CancellationToken) {
    let stop = CancellationToken::new();
    let (sender, visitors) = mpsc::channel(8);
    (Doors::new(run_dir, TaskTracker::new(), stop.clone(), sender), visitors, stop)
}

/// Reads everything, with no more input, until the process ended.
async fn finish(entry: Entry) -> (End, String, String) {
    finish_with(entry, b"").await
}

/// Writes a little, then end-of-file, and reads everything until the process ended.
async fn finish_with(mut entry: Entry, input: &[u8]) -> (End, String, String) {
    if let Some(mut stdin) = entry.stdin.take() {
        let _ = stdin.write_all(input).await;
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdout = entry.stdout.take().unwrap();
    let stderr = entry.stderr.take();
    let errors = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut err).await.unwrap();
        }
    };
    let all = async { tokio::join!(stdout.read_to_end(&mut out), errors, &mut entry.exit) };
    let (_, (), end) = timeout(PATIENCE, all).await.expect("the process does not end");
    (end.unwrap(), String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

/// Reads from a terminal until `word` came.
async fn read_until(entry: &mut Entry, word: &str) -> String {
    let mut seen = Vec::new();
    let stdout = entry.stdout.as_mut().unwrap();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(word) {
            assert!(stdout.read_buf(&mut seen).await.unwrap() > 0, "it ended");
        }
    };
    let read = timeout(Duration::from_secs(10), reading).await;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(read.is_ok(), "{word:?} did not come, but {seen:?}");
    seen
}

async fn type_in(entry: &mut Entry, text: &str) {
    entry.stdin.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
}

fn code(code: u8) -> End {
    End::Code(code)
}

fn signal(number: u8) -> End {
    End::Signal(number.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_command_runs_as_the_user_with_its_environment() {
    let world = World::new();
    let line = "id -u; pwd; echo $FROM_IMAGE $HEARTH $TERM $SHELL; echo oops >&2; exit 3";
    let (end, out, err) = world.say(line).await;
    assert_eq!((end, out.as_str(), err.as_str()), (code(3), "1000\n/home/coder\nyes 1 xterm /bin/sh\n", "oops\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_an_image_with_nothing_in_it_can_be_entered() {
    let world = World::of(&Image::empty(), "1000:1000");
    let missing = world.open(Run::Command(vec!["ls".into()]), None).await.err().unwrap();
    assert!(matches!(&missing, EnterError::Refused { code: 127, .. }), "{missing:?}");
    let shell = world.open(Run::LoginShell, None).await.err().unwrap();
    assert!(shell.to_string().contains("no shell"), "{shell}");
    let argv = vec!["/usr/local/bin/hearth".into(), "init".into()];
    let entry = world.open(Run::Command(argv), None).await.unwrap();
    let note = entry.note.clone();
    let (end, _, err) = finish(entry).await;
    assert_eq!(end, code(2));
    assert!(err.contains("first process"), "{err}");
    assert_eq!(note.as_deref(), Some("cannot enter /home/coder: No such file or directory; this begins in /"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_arguments_arrive_as_they_are_and_need_no_shell() {
    let world = World::new();
    let argv = ["printf", "%s|", "a b", "", "$HOME", "*", "'\"\n"].map(String::from).to_vec();
    let (end, out, _) = finish(world.open(Run::Command(argv), None).await.unwrap()).await;
    assert_eq!((end, out.as_str()), (code(0), "a b||$HOME|*|'\"\n|"));
    let login = world.open(Run::LoginShell, None).await.unwrap();
    let (end, out, _) = finish_with(login, b"echo $0\nexit 4\n").await;
    assert_eq!((end, out.as_str()), (code(4), "-sh\n"));
    let refused = world.open(Run::Command(vec!["/etc/passwd".into()]), None).await.err().unwrap();
    assert!(matches!(&refused, EnterError::Refused { code: 126, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_signals_are_passed_on_and_reported() {
    let world = World::new();
    assert_eq!(world.say("kill -9 $$").await.0, signal(9));
    let entry = world.sh("sleep 3600").await;
    entry.control.signal(2).await;
    assert_eq!(finish(entry).await.0, signal(2));
    let mut entry = world.sh("trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done").await;
    read_until(&mut entry, "ready").await;
    entry.control.signal(10).await;
    assert_eq!(finish(entry).await.0, code(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_end_of_input_arrives_and_output_goes_on() {
    let world = World::new();
    let entry = world.sh("cat; echo; cat; echo after; exit 5").await;
    let (end, out, _) = finish_with(entry, b"before").await;
    assert_eq!((end, out.as_str()), (code(5), "before\nafter\n"));
    // A process that closes its output early still tells its code later.
    let (end, out, _) = world.say("echo first; exec >&- 2>&-; sleep 0.2; exit 6").await;
    assert_eq!((end, out.as_str()), (code(6), "first\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_standard_streams_can_be_opened_by_name() {
    let world = World::new();
    let (end, out, err) = world.say("echo out > /dev/stdout; echo err > /dev/stderr").await;
    assert_eq!((end, out.as_str(), err.as_str()), (code(0), "out\n", "err\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_hundred_mebibytes_arrive_intact_each_way() {
    let world = World::new();
    let sent: Vec<u8> = (0u32..25 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut entry = world.sh("cat").await;
    let (mut stdin, mut stdout) = (entry.stdin.take().unwrap(), entry.stdout.take().unwrap());
    let mut received = Vec::with_capacity(sent.len());
    let both = async {
        let writing = async {
            stdin.write_all(&sent).await.unwrap();
            drop(stdin);
        };
        tokio::join!(writing, stdout.read_to_end(&mut received))
    };
    timeout(PATIENCE, both).await.unwrap().1.unwrap();
    assert!(received == sent, "{} bytes of {} arrived, or others", received.len(), sent.len());
    assert_eq!(entry.exit.await.unwrap(), code(0));
}

const SIZE: Size = Size { rows: 31, cols: 97 };

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_terminal_has_a_size_and_signals() {
    let world = World::new();
    let mut entry = world.open(Run::LoginShell, Some(SIZE)).await.unwrap();
    assert!(entry.stderr.is_none());
    read_until(&mut entry, "$ ").await;
    type_in(&mut entry, "stty size; tty; test -t 2 && echo is-''a-terminal\n").await;
    let seen = read_until(&mut entry, "is-a-terminal\r\n").await;
    assert!(seen.contains("31 97\r\n/dev/pts/"), "{seen}");
    type_in(&mut entry, "cat -u -\n").await;
    world.wait_until_there("cat -u -");
    entry.control.resize(Size { rows: 40, cols: 120 }).await;
    // Ctrl-C ends what is in the foreground, and the shell goes on.
    type_in(&mut entry, "\x03").await;
    read_until(&mut entry, "$ ").await;
    type_in(&mut entry, "stty size\n").await;
    read_until(&mut entry, "40 120\r\n").await;
    type_in(&mut entry, "sleep 3600\n").await;
    world.wait_until_there("sleep 3600");
    entry.control.signal(15).await;
    read_until(&mut entry, "$ ").await;
    type_in(&mut entry, "echo co''de $?\n").await;
    read_until(&mut entry, "code 143").await;
    type_in(&mut entry, "exit 7\n").await;
    assert_eq!(finish(entry).await.0, code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_terminals_output_is_whole_before_its_end_is_told() {
    let world = World::new();
    for background in ["", "sleep 3601 & "] {
        let line = Run::Line(format!("{background}seq 1 30000; exit 8"));
        let mut entry = world.open(line, Some(SIZE)).await.unwrap();
        // The process ends, or waits, long before anybody reads.
        let early = timeout(Duration::from_millis(300), &mut entry.exit).await;
        assert!(early.is_err(), "the end was told before the output was taken");
        let (end, out, _) = finish(entry).await;
        assert_eq!(end, code(8));
        assert!(out.ends_with("\r\n30000\r\n"), "{:?}", &out[out.len() - 60..]);
        assert_eq!(out.lines().count(), 30000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_end_of_input_ends_a_terminals_shell() {
    let world = World::new();
    let mut entry = world.open(Run::LoginShell, Some(SIZE)).await.unwrap();
    read_until(&mut entry, "$ ").await;
    let (end, out, _) = finish_with(entry, b"echo one\n").await;
    assert_eq!(end, code(0));
    assert!(out.contains("\r\none\r\n"), "{out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_nothing_of_a_session_stays_when_its_client_goes() {
    let world = World::new();
    for terminal in [None, Some(SIZE)] {
        let line = "trap '' HUP; sleep 3601 & (sleep 3602 &) ; setsid sleep 3603 & echo ready; sleep 3604";
        let mut entry = world.open(Run::Line(line.into()), terminal).await.unwrap();
        read_until(&mut entry, "ready").await;
        world.wait_until_there("sleep 3603");
        drop(entry);
        for number in ["3601", "3602", "3604"] {
            world.wait_until_gone(&format!("sleep {number}"));
        }
        // What made itself a session of its own (tmux, a daemon) is meant to stay.
        world.wait_until_there("sleep 3603");
        assert_eq!(world.say("killall sleep").await.0, code(0));
        world.wait_until_gone("sleep");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_background_process_stays_when_its_shell_ends_by_itself() {
    let world = World::new();
    let mut entry = world.sh("sleep 3601 & exit 0").await;
    assert_eq!(timeout(PATIENCE, &mut entry.exit).await.unwrap(), Ok(code(0)));
    drop(entry);
    drop(world.say("true").await);
    world.wait_until_there("sleep 3601");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_killed_helper_is_started_again_and_its_entries_end() {
    let world = World::new();
    let line = "trap '' HUP; echo ready; sleep 3601 & sleep 3602; sleep 3603";
    let mut entry = world.sh(line).await;
    let mut terminal = world.open(Run::Line(line.into()), Some(SIZE)).await.unwrap();
    read_until(&mut entry, "ready").await;
    read_until(&mut terminal, "ready").await;
    world.signal_helper("KILL");
    assert_eq!(timeout(PATIENCE, &mut entry.exit).await.unwrap(), Err(Lost));
    let (end, out, _) = timeout(Duration::from_secs(1), world.say("echo again")).await.expect("not within a second");
    assert_eq!((end, out.as_str()), (code(0), "again\n"));
    world.wait_until_gone("sleep 360");
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_stopped_helper_goes_on() {
    let world = World::new();
    world.say("true").await;
    world.signal_helper("STOP");
    assert_eq!(timeout(PATIENCE, world.say("exit 3")).await.unwrap().0, code(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_what_the_user_kills_inside_does_not_end_the_container() {
    let world = World::new();
    for user in ["1000", "0"] {
        for kill in ["kill -TERM 1", "kill -INT 1", "kill -KILL 1", "kill -HUP 1", "kill -9 -1"] {
            let _ = world.exec(&["-u", user], &["sh", "-c", kill]);
            let (end, ..) = timeout(PATIENCE, world.say("exit 3")).await.expect("nobody can enter");
            assert_eq!(end, code(3), "after {kill} by {user}");
        }
    }
    assert!(world.runs());
}

/// Stops the container and says how long it took.
fn stopping(stop: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    stop();
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_a_stop_lets_handlers_run_and_ends_at_once() {
    let world = World::new();
    let trap = "trap 'sleep 0.3; echo saved > /tmp/saved; exit' TERM; echo ready; while :; do sleep 0.1; done";
    let mut entry = world.sh(trap).await;
    read_until(&mut entry, "ready").await;
    let mut shell = world.open(Run::LoginShell, Some(SIZE)).await.unwrap();
    type_in(&mut shell, "echo re''ady\n").await;
    read_until(&mut shell, "ready").await;
    let mut stopped = world.sh("kill -STOP $$").await;
    assert!(timeout(Duration::from_millis(200), &mut stopped.exit).await.is_err());
    let took = stopping(|| drop(docker(&["stop", "-t", "20", &world.container]).ok()));
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(docker(&["inspect", "--format", "{{.State.ExitCode}}", &world.container]).ok(), "0\n");
    let saved = docker(&["cp", &format!("{}:/tmp/saved", world.container), "-"]).ok();
    assert!(saved.contains("saved\n"), "the handler did not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_processes_of_others_are_not_waited_for() {
    let world = World::new();
    drop(world.exec(&["-u", "0", "-d"], &["sleep", "3601"]));
    world.wait_until_there("sleep 3601");
    let took = stopping(|| drop(docker(&["stop", "-t", "20", &world.container]).ok()));
    assert!(took < Duration::from_secs(8), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_docker_kill_with_term_is_a_stop_and_others_are_nothing() {
    let world = World::new();
    world.say("true").await;
    for signal in ["HUP", "USR1", "WINCH"] {
        docker(&["kill", "-s", signal, &world.container]).ok();
    }
    assert_eq!(world.say("exit 3").await.0, code(3));
    docker(&["kill", "-s", "TERM", &world.container]).ok();
    wait_for("its end", || if world.runs() { Err("it runs".into()) } else { Ok(()) });
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_orphans_are_reaped() {
    let world = World::new();
    world.say("for i in 1 2 3 4 5; do (sleep 0.1 &); done; (sh -c 'sleep 0.2 & exec sleep 0.1' &)").await;
    wait_for("no zombie and no sleep", || {
        let listed = world.exec(&[], &["ps", "-o", "pid,ppid,stat,args"]).ok();
        let left = listed.lines().any(|line| line.contains(" Z ") || line.contains("sleep"));
        if left { Err(listed) } else { Ok(()) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_only_the_users_own_helper_counts() {
    let world = World::new();
    world.say("true").await;
    // Another user's process, a child of PID 1 or not; the user's own that is no child of it.
    world.exec(&["-u", "33"], &["sh", "-c", "(hearth helper >/dev/null 2>&1 &)"]).ok();
    world.exec(&["-u", "0"], &["sh", "-c", "(hearth helper >/dev/null 2>&1 &)"]).ok();
    docker(&["exec", "-d", "-u", "33", &world.container, "hearth", "helper"]).ok();
    docker(&["exec", "-d", &world.container, "hearth", "helper"]).ok();
    wait_for("all impostors", || {
        let listed = world.exec(&[], &["ps", "-o", "args"]).ok();
        let count = listed.lines().filter(|line| line.starts_with("hearth helper")).count();
        if count == 5 { Ok(()) } else { Err(listed) }
    });
    for _ in 0..30 {
        let (end, out, _) = world.say("id -u; cat /proc/$PPID/status | grep PPid").await;
        assert_eq!((end, out.as_str()), (code(0), "1000\nPPid:\t1\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_a_new_hearthd_takes_the_socket_over() {
    let mut world = World::new();
    let mut entry = world.sh("trap '' HUP; echo ready; sleep 3601; sleep 3602").await;
    read_until(&mut entry, "ready").await;
    world.stop.cancel();
    assert_eq!(timeout(PATIENCE, &mut entry.exit).await.unwrap(), Err(Lost));
    let (doors, visitors, stop) = doors(world.directory.path());
    doors.listen(7, &world.workspace).unwrap();
    doors.listen(7, &world.workspace).unwrap();
    (world.doors, world.visitors, world.stop) = (doors, visitors, stop);
    let (end, out, _) = timeout(PATIENCE, world.say("echo again")).await.unwrap();
    assert_eq!((end, out.as_str()), (code(0), "again\n"));
    world.wait_until_gone("sleep 360");
    world.doors.close(7);
    let closed = world.open(Run::LoginShell, None).await.err().unwrap();
    assert!(matches!(closed, EnterError::Closed(_)), "{closed:?}");
    assert!(world.doors.directory(7).is_dir(), "a container has it mounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_http_on_the_workspace_socket_goes_to_the_api_untouched() {
    let mut world = World::new();
    let mut client = tokio::net::UnixStream::connect(world.doors.directory(7).join("sock")).await.unwrap();
    client.write_all(b"GET /v1/status HTTP/1.1\r\n").await.unwrap();
    let mut visitor = timeout(PATIENCE, world.visitors.recv()).await.unwrap().unwrap();
    assert_eq!(visitor.workspace, world.workspace);
    let mut line = [0; 25];
    visitor.stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"GET /v1/status HTTP/1.1\r\n");
    for stranger in [&b"\x16\x03\x01"[..], b"\0\0\0\x02\0{}"] {
        let mut client = tokio::net::UnixStream::connect(world.doors.directory(7).join("sock")).await.unwrap();
        client.write_all(stranger).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("it is not turned away");
        assert_eq!(answer, b"");
    }
}
