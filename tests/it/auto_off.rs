//! Auto-off from the outside, on a real engine and a real clock, with thresholds of seconds (rules P1–P8).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Daemon, Image, ImageTag, docker, free_port, wait_for};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An org whose workspaces go off after `auto_off`, with more lines for it, and one workspace of alice's.
fn org(image: &ImageTag, auto_off: &str, more: &str, workspace: &str) -> String {
    format!(
        "[orgs.acme]\nimage = \"{}\"\npull = \"never\"\nstop_grace = \"1s\"\nauto_off = \"{auto_off}\"\n{more}\n\
         [users.alice]\naccount = \"root\"\norgs = [\"acme\"]\n[users.alice.workspaces.main]\n{workspace}\n",
        image.tag
    )
}

/// A process that is ended with the test.
struct Held(Child);

impl Held {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn why(&self) -> Value {
        self.hearth(&["why", "alice/main", "--json"]).json()
    }

    /// Waits until hearthd has looked for so long, and it still runs; `meanwhile` is done again and again.
    #[track_caller]
    fn stays_on_for(&self, span: Duration, mut meanwhile: impl FnMut()) -> Value {
        let mut since: Option<jiff::Timestamp> = None;
        wait_for("time to pass", || {
            meanwhile();
            let why = self.why();
            assert_eq!(why["state"], "running", "{why}");
            // On a busy machine the first look after a start may take its time.
            let Some(looked) = why["looked_at"].as_str() else { return Err(why.to_string()) };
            let looked: jiff::Timestamp = looked.parse().unwrap();
            let since = *since.get_or_insert(looked);
            if looked.duration_since(since).unsigned_abs() > span { Ok(why) } else { Err(why.to_string()) }
        })
    }

    /// Waits until it went off by itself.
    #[track_caller]
    fn goes_off(&self) {
        self.wait_state("alice/main", "off");
        assert!(self.log().contains("`alice/main` goes off: it was not used since"), "{}", self.log());
    }
}

#[test]
fn p1_p7_an_idle_workspace_goes_off_and_whoever_sits_in_it_was_told() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "6s", "", ""));
    daemon.wait_state("alice/main", "running");
    let mut events = Held::start(daemon.command(&["events"]));
    let mut terminal = {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} ssh alice/main", env!("CARGO_BIN_EXE_hearth")), "/dev/null"]);
        command.env("HEARTH_SOCKET", daemon.socket());
        Held::start(command)
    };
    daemon.goes_off();
    let why = daemon.why();
    assert_eq!((&why["state"], &why["outlook"]), (&"off".into(), &Value::Null));
    let mut shown = String::new();
    terminal.0.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(shown.contains("`alice/main` goes off in"), "{shown}");
    assert!(shown.contains("`hearth hold alice/main 4h`"), "{shown}");
    let _ = events.0.kill();
    let mut told = String::new();
    events.0.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    let mut told = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let warning = told.rfind(|event| event["event"] == "auto-off").unwrap();
    assert_eq!(warning["workspace"], "alice/main");
    assert!(warning["message"].as_str().unwrap().contains("goes off in"), "{warning}");
}

/// Sends some bytes now and then, or nothing, over a connection to a published port.
struct Line(TcpStream);

impl Line {
    /// Connects to a server in the workspace that may begin to listen in a moment, and talks to it once.
    fn open(port: u16) -> Self {
        wait_for("an echo", || Self::try_open(port).map_err(|error| error.to_string()))
    }

    fn try_open(port: u16) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect((LOOPBACK, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"hello")?;
        stream.read_exact(&mut [0; 5])?;
        Ok(Self(stream))
    }

    fn use_it(&mut self) {
        self.try_use().unwrap();
    }

    fn try_use(&mut self) -> std::io::Result<()> {
        self.0.write_all(&[7; 1000])?;
        self.0.read_exact(&mut [0; 1000])
    }
}

/// A port of alice's workspace, with a server that echoes in it.
fn published(more: &str) -> (ImageTag, u16, String) {
    let image = Image::coder().configure("nc -ll -p 8080 -e cat >/dev/null 2>&1 &").import();
    let port = free_port(LOOPBACK);
    let config = org(&image, "5s", more, &format!("ports = [\"127.0.0.1:{port}:8080\"]"));
    (image, port, config)
}

#[test]
fn p3_a_connection_keeps_on_while_bytes_move_and_an_idle_one_does_not() {
    let (_image, port, config) = published("");
    let daemon = Daemon::start(&config);
    daemon.wait_state("alice/main", "running");
    let mut line = Line::open(port);
    let mut used = || line.use_it();
    let why = daemon.stays_on_for(Duration::from_secs(8), &mut used);
    let seen = &why["evidence"][0];
    assert_eq!(
        (&seen["kind"], &seen["port"], &seen["who"]),
        (&"connection".into(), &8080.into(), &"root".into()),
        "{why}"
    );
    let shown = daemon.show("alice/main");
    assert_eq!((&shown["connections"], &shown["last_activity"]["kind"]), (&1.into(), &"connection".into()), "{shown}");
    assert!(shown["usage"]["memory"].as_u64().is_some_and(|bytes| bytes > 0), "{shown}");
    assert!(shown["usage"]["cpu"].as_f64().is_some(), "{shown}");
    // It stays open, and nothing moves any more.
    daemon.goes_off();
}

#[test]
fn p3_under_open_a_connection_keeps_on_until_it_is_closed_and_a_scanner_never() {
    let (_image, port, config) = published("activity = \"open\"");
    let daemon = Daemon::start(&config);
    daemon.wait_state("alice/main", "running");
    let line = Line::open(port);
    let why = daemon.stays_on_for(Duration::from_secs(8), || {});
    assert_eq!(why["outlook"]["off"], "kept", "{why}");
    drop(line);
    let _scanner = TcpStream::connect((LOOPBACK, port)).unwrap();
    daemon.goes_off();
}

#[test]
fn p3_whoever_is_ignored_is_nobodys_use() {
    let (_image, port, config) = published("activity = \"open\"\nactivity_ignore = [\"port:8080\"]");
    let daemon = Daemon::start(&config);
    daemon.wait_state("alice/main", "running");
    let _line = Line::open(port);
    daemon.goes_off();
}

/// Waits until it is seen, connection or exec, and returns why it does not count.
#[track_caller]
fn does_not_count(daemon: &Daemon) -> String {
    wait_for("something that does not count", || {
        let why = daemon.why();
        let seen = &why["evidence"][0];
        if seen["counts"] == false { Ok(seen["how"].as_str().unwrap().to_owned()) } else { Err(why.to_string()) }
    })
}

#[test]
fn p3_a_trickle_below_the_floor_is_nobodys_use() {
    let (_image, port, config) = published("");
    let daemon = Daemon::start(&config);
    daemon.wait_state("alice/main", "running");
    let mut line = Line::open(port);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let trickle = std::thread::spawn(move || {
        let mut bytes = 0;
        // As a client does that keeps its connection alive.
        while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            if line.0.write_all(&[7]).is_err() {
                break;
            }
            bytes += 1;
        }
        bytes
    });
    let how = does_not_count(&daemon);
    assert!(how.contains("less than `activity_floor`"), "{how}");
    daemon.goes_off();
    drop(stop);
    let bytes = trickle.join().unwrap();
    assert!(bytes >= 3, "only {bytes} bytes came through");
}

#[test]
fn p3_a_source_that_is_ignored_is_nobodys_use_however_often_it_comes() {
    let (_image, port, config) = published("activity_ignore = [\"127.0.0.1\"]");
    let daemon = Daemon::start(&config);
    daemon.wait_state("alice/main", "running");
    let mut scrape = Some(Line::open(port));
    let how = does_not_count(&daemon);
    assert_eq!(how, "it is in `activity_ignore`");
    let mut came = 0;
    wait_for("it to go off", || {
        // One is open at every moment, and has moved as much as anybody's use.
        let next = Line::try_open(port).and_then(|mut line| line.try_use().map(|()| line));
        came += u32::from(next.is_ok());
        scrape = next.ok();
        let state = daemon.show("alice/main")["state"].clone();
        if state == "off" { Ok(()) } else { Err(state.to_string()) }
    });
    daemon.goes_off();
    assert!(came >= 3, "it came only {came} times");
}

#[test]
fn p3_a_docker_exec_that_somebody_talks_to_keeps_on_and_a_health_check_does_not() {
    let image = Image::coder().change("HEALTHCHECK --interval=1s CMD true").import();
    let daemon = Daemon::start(&org(&image, "5s", "", ""));
    daemon.wait_state("alice/main", "running");
    let mut command = Command::new("docker");
    command.args(["exec", "-i", &daemon.container("alice/main"), "cat"]);
    let exec = Held::start(command);
    let why = daemon.stays_on_for(Duration::from_secs(8), || {});
    assert_eq!(why["outlook"]["kept_by"], serde_json::json!(["a `docker exec` from host"]), "{why}");
    drop(exec);
    docker(&["exec", "-d", &daemon.container("alice/main"), "sleep", "1000"]).ok();
    daemon.goes_off();
}

#[test]
fn p5_a_hold_keeps_on_and_its_command_gives_the_exit_code() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "5s", "hold_max = \"2h\"", ""));
    daemon.wait_state("alice/main", "running");
    let said = daemon.hearth(&["hold", "alice/main", "3h"]).fails(4);
    assert!(said.contains("hold_max = \"2h\""), "{said}");
    let mut held =
        Held::start(daemon.command(&["hold", "alice/main", "-m", "training", "--", "sh", "-c", "read x; exit 7"]));
    wait_for("the hold", || {
        let why = daemon.why();
        if why["holds"].as_array().unwrap().is_empty() { Err(why.to_string()) } else { Ok(()) }
    });
    let why = daemon.stays_on_for(Duration::from_secs(8), || {});
    assert_eq!((&why["outlook"]["off"], &why["holds"][0]["message"]), (&"kept".into(), &"training".into()), "{why}");
    assert_eq!(why["without_holds"]["off"], "at", "{why}");
    let text = daemon.hearth(&["why", "alice/main"]).ok();
    assert!(text.contains("stays on because of a hold") && text.contains("training"), "{text}");
    assert!(daemon.show("alice/main")["auto_off"]["held_until"].is_string());
    drop(held.0.stdin.take());
    assert_eq!(held.0.wait().unwrap().code(), Some(7));
    assert_eq!(daemon.why()["holds"], serde_json::json!([]));
    assert_eq!(daemon.hearth(&["hold", "alice/main", "--", "sh", "-c", "kill -TERM $$"]).code, 143);
    assert_eq!(daemon.hearth(&["hold", "alice/main", "--", "nothing-such"]).code, 127);
    daemon.hearth(&["hold", "alice/main", "1h"]).ok();
    // From inside, where the workspace needs no name.
    daemon.inside("alice/main", &["hearth", "hold", "1h", "-m", "from inside"]);
    let said = daemon.inside("alice/main", &["hearth", "why"]);
    assert!(said.contains("from inside"), "{said}");
    assert!(daemon.hearth(&["release", "alice/main"]).ok().contains("2 holds ended"));
    daemon.goes_off();
    daemon.hearth(&["hold", "alice/main", "1h"]).fails(6);
}

#[test]
fn p5_a_hold_until_a_command_ends_ends_at_hold_max_and_the_command_runs_on() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "4s", "hold_max = \"3s\"", ""));
    daemon.wait_state("alice/main", "running");
    let mut held = Held::start(daemon.command(&["hold", "alice/main", "--", "sh", "-c", "echo begun; read x; exit 7"]));
    wait_for("the hold", || if daemon.why()["holds"] == serde_json::json!([]) { Err(String::new()) } else { Ok(()) });
    daemon.goes_off();
    assert_eq!(held.0.try_wait().unwrap(), None, "the command runs on");
    drop(held.0.stdin.take());
    assert_eq!(held.0.wait().unwrap().code(), Some(7));
    let mut said = String::new();
    held.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the command runs on without it"), "{said}");
}

#[test]
fn p8_hearthd_away_for_longer_than_the_threshold_stops_no_workspace_in_use_and_none_without_warning() {
    let (_image, port, config) = published("activity = \"open\"");
    let mut daemon = Daemon::start(&config);
    daemon.wait_state("alice/main", "running");
    daemon.hearth(&["hold", "alice/main", "1s"]).ok();
    let line = Line::open(port);
    let away = |daemon: &mut Daemon| {
        daemon.down();
        let down = Instant::now();
        wait_for("more than the threshold", || if down.elapsed().as_secs() > 6 { Ok(()) } else { Err(String::new()) });
        daemon.up();
    };
    away(&mut daemon);
    let why = daemon.stays_on_for(Duration::from_secs(3), || {});
    assert_eq!(why["outlook"]["off"], "kept", "{why}");
    drop(line);
    away(&mut daemon);
    // It was told of before it went.
    daemon.goes_off();
    let log = daemon.log();
    let (warned, off) =
        (log.rfind("`alice/main` goes off in").unwrap(), log.find("goes off: it was not used").unwrap());
    assert!(warned < off, "{log}");
    let after = log.rfind("hearthd has stopped").unwrap();
    assert!(after < warned, "{log}");
}

#[test]
fn p3_a_docker_exec_with_a_terminal_is_as_idle_as_that() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "6s", "", ""));
    daemon.wait_state("alice/main", "running");
    let command = format!("docker exec -it {} sh", daemon.container("alice/main"));
    let mut terminal = expectrl::spawn(command).unwrap();
    // The kernel moves a terminal's times in steps of eight seconds.
    let why = daemon.stays_on_for(Duration::from_secs(16), || terminal.write_all(b"echo\n").unwrap());
    assert_eq!((&why["evidence"][0]["kind"], &why["evidence"][0]["counts"]), (&"exec".into(), &true.into()), "{why}");
    daemon.goes_off();
}

#[test]
fn p3_an_entry_keeps_on_while_its_terminal_is_used_and_without_one_while_it_lasts() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "5s", "", ""));
    daemon.wait_state("alice/main", "running");
    let pipes = Held::start(daemon.command(&["ssh", "alice/main", "--", "sleep", "1000"]));
    let why = daemon.stays_on_for(Duration::from_secs(7), || {});
    let kept_by = serde_json::json!(["an entry through hearth of root from host"]);
    assert_eq!(why["outlook"]["kept_by"], kept_by, "{why}");
    drop(pipes);
    let mut terminal = expectrl::Session::spawn(daemon.command(&["ssh", "alice/main"])).unwrap();
    let why = daemon.stays_on_for(Duration::from_secs(7), || terminal.write_all(b"echo\n").unwrap());
    let last = daemon.show("alice/main")["last_activity"].clone();
    assert_eq!(
        (&last["kind"], &last["who"], &last["from"]),
        (&"entry".into(), &"root".into(), &"host".into()),
        "{why}"
    );
    daemon.goes_off();
}

#[test]
fn p7_a_threshold_that_is_lowered_while_idle_gives_warning_first() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "1h", "", ""));
    daemon.wait_state("alice/main", "running");
    assert_eq!(daemon.why()["rule"]["threshold"], 3600);
    daemon.stays_on_for(Duration::from_secs(3), || {});
    daemon.write_config(&org(&image, "4s", "", ""));
    daemon.hearth(&["config", "reload"]).ok();
    let line = daemon.why()["rule"]["said_in"].as_str().unwrap().to_owned();
    assert!(line.contains("test.toml:5:"), "{line}");
    daemon.goes_off();
    let log = daemon.log();
    let (warned, off) = (log.find("`alice/main` goes off in 2s"), log.find("goes off: it was not used"));
    assert!(warned.is_some() && warned < off, "{log}");
    // X1: what hearthd does by itself is noted as well.
    let audit = daemon.hearth(&["audit", "--json", "--workspace", "alice/main", "--since", "2026-01-01"]).ok();
    assert!(audit.contains("build 1, create") && audit.contains("off: it was not used since"), "{audit}");
}

#[test]
fn p2_an_org_that_forbids_what_a_member_had_chosen_wins_at_once_and_gives_warning_first() {
    let image = Image::coder().import();
    let daemon = Daemon::start(&org(&image, "4s", "auto_off_override = \"disable\"", ""));
    daemon.hearth(&["set", "alice/main", "auto_off=never"]).ok();
    daemon.wait_state("alice/main", "running");
    let why = daemon.stays_on_for(Duration::from_secs(6), || {});
    assert_eq!((&why["outlook"]["off"], &why["rule"]["threshold"]), (&"never".into(), &Value::Null), "{why}");
    daemon.write_config(&org(&image, "4s", "auto_off_override = \"deny\"", ""));
    daemon.hearth(&["config", "reload"]).ok();
    let rule = daemon.why()["rule"].clone();
    let said_in = rule["said_in"].as_str().unwrap();
    assert!(rule["threshold"] == 4 && said_in.contains("test.toml:5:"), "{rule}");
    daemon.goes_off();
    let log = daemon.log();
    let (warned, off) = (log.find("`alice/main` goes off in 2s"), log.find("goes off: it was not used"));
    assert!(warned.is_some() && warned < off, "{log}");
}

#[test]
fn l9_one_that_ended_and_whose_time_passed_meanwhile_is_not_started_again() {
    let image = Image::coder().import();
    let mut daemon = Daemon::start(&org(&image, "3s", "", ""));
    daemon.wait_state("alice/main", "running");
    daemon.down();
    docker(&["kill", &daemon.container("alice/main")]).ok();
    let killed = Instant::now();
    wait_for("more than the threshold", || if killed.elapsed().as_secs() > 3 { Ok(()) } else { Err(String::new()) });
    daemon.up();
    daemon.wait_state("alice/main", "off");
    let log = daemon.log();
    assert!(log.contains("its container ended, and its time without use was over"), "{log}");
    assert!(!log.contains("runs again"), "{log}");
    assert_eq!(daemon.containers(), [""; 0]);
}

#[test]
fn x5_without_the_capabilities_it_says_so_and_turns_nothing_off() {
    let image = Image::coder().import();
    let mut daemon = Daemon::prepare("", &org(&image, "2s", "", ""));
    daemon.without(&["sys_admin", "sys_ptrace"]);
    daemon.up();
    daemon.wait_state("alice/main", "running");
    let why = daemon.stays_on_for(Duration::from_secs(5), || {});
    assert_eq!(why["outlook"]["off"], "blind", "{why}");
    let status = daemon.hearth(&["status"]).ok();
    assert!(status.contains("hearthd runs without CAP_SYS_ADMIN and CAP_SYS_PTRACE"), "{status}");
    assert_eq!(daemon.show("alice/main")["connections"], Value::Null);
}
