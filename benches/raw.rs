//! hearth against the engine itself: `cargo bench`, or `cargo bench -- ssh list` for those with such names.
//!
//! Each line is a ratio or a figure from one run. Both sides take turns, so that a machine that slows down slows both;
//! what is compared is the median. The limits are those that the project holds itself to; a line past its limit says
//! so, and the command ends with 1.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints, or ends")]

#[path = "raw/engine.rs"]
mod engine;
#[path = "raw/evidence.rs"]
mod evidence;
#[path = "raw/measure.rs"]
mod measure;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::Engine;
use measure::{Figure, Table, in_turns, median_of};
use support::config::alice;
use support::{Daemon, Image};

/// What the hooks have to do: as good as nothing, so that what is measured is the way to them.
const CONFIGURE: &str = "true";
const PERSONALIZE: &str = "#!/bin/sh\ntrue\n";
/// inject, configure and personalize: each has something to run.
const HOOKS: usize = 3;

type Bench = fn(&mut Table);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benches: [(&str, Bench); 8] = [
        ("start", start_to_running),
        ("four", four_at_once),
        ("idle", a_hundred_stopped),
        ("reload", a_thousand_users),
        ("ssh", entering),
        ("throughput", throughput),
        ("evidence", evidence::a_look),
        ("minute", evidence::a_minute),
    ];
    let mut table = Table::new();
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            eprintln!("measuring {name} …");
            bench(&mut table);
        }
    }
    assert!(!table.is_empty(), "no benchmark has a name like {wanted:?}");
    print!("{table}");
    assert!(table.holds(), "a limit is missed");
}

fn image() -> support::ImageTag {
    Image::coder().configure(CONFIGURE).owned_file("/home/coder/personalize", 0o755, (1000, 1000), PERSONALIZE).import()
}

/// `alice/main`, and more of hers.
fn daemon(image: &support::ImageTag, more: &[&str]) -> Daemon {
    let more: String = more.iter().map(|name| format!("[users.alice.workspaces.{name}]\n")).collect();
    let daemon = Daemon::start(&format!("{}{more}", alice(image)));
    let all = daemon.hearth(&["list", "--json"]).json();
    for workspace in all.as_array().unwrap() {
        daemon.wait_state(workspace["workspace"].as_str().unwrap(), "running");
    }
    daemon
}

/// From `hearth start` to running, against create, start and one exec for each hook, of the same container.
fn start_to_running(table: &mut Table) {
    let image = image();
    let daemon = daemon(&image, &[]);
    let engine = Engine::connect();
    let like = engine.model_of(&daemon.container("alice/main"));
    daemon.hearth(&["stop", "alice/main"]).ok();
    let (raw, hearth) = in_turns(
        9,
        || engine.build(&like, HOOKS),
        || {
            let took = timed(|| quick(daemon.command(&["start", "alice/main"])));
            daemon.hearth(&["stop", "alice/main"]).ok();
            took
        },
    );
    table.ratio("start to running, against create + start + 3 execs", &hearth, &raw, 1.15);
}

/// Four builds at once, against the engine doing four at once.
fn four_at_once(table: &mut Table) {
    const NAMES: [&str; 4] = ["alice/main", "alice/two", "alice/three", "alice/four"];
    let image = image();
    let daemon = daemon(&image, &["two", "three", "four"]);
    let engine = Engine::connect();
    let like = NAMES.map(|name| engine.model_of(&daemon.container(name)));
    let all = |verb: &str| {
        std::thread::scope(|scope| {
            for name in NAMES {
                let daemon = &daemon;
                scope.spawn(move || quick(daemon.command(&[verb, name])));
            }
        });
    };
    all("stop");
    let (raw, hearth) = in_turns(
        7,
        || engine.build_all(&like, HOOKS),
        || {
            let took = timed(|| all("start"));
            all("stop");
            took
        },
    );
    table.ratio("four builds at once, against four by the engine", &hearth, &raw, 1.15);
}

/// A hearthd with a hundred workspaces that are off.
fn a_hundred_stopped(table: &mut Table) {
    let image = image();
    let config = alice(&image).replace("[orgs.acme]", "[orgs.acme]\nbuild_on_create = false");
    let more: String = (1..100).map(|n| format!("[users.alice.workspaces.w{n}]\n")).collect();
    let daemon = Daemon::start(&format!("{config}{more}"));
    let list = || timed(|| quick(daemon.command(&["list"])));
    assert_eq!(daemon.hearth(&["list", "--json"]).json().as_array().unwrap().len(), 100);
    table.figure("hearth list of 100 workspaces", Figure::Time(median_of((0..21).map(|_| list()))), 20.0);
    table.figure("memory with 100 stopped workspaces", Figure::Mebibytes(measure::resident(daemon.pid())), 30.0);
    eprintln!("  and a minute of idleness …");
    table.figure("CPU while nothing happens", Figure::Percent(measure::idle_cpu(daemon.pid())), 0.1);
}

/// A configuration with 1,000 users, each with a workspace: read again, and seen to have changed.
fn a_thousand_users(table: &mut Table) {
    let users: String =
        (0..1000).map(|n| format!("[users.u{n}]\norgs = [\"acme\"]\n[users.u{n}.workspaces.main]\n")).collect();
    let config =
        |hours: u64| format!("[orgs.acme]\nimage = \"dev\"\nbuild_on_create = false\nauto_off = \"{hours}h\"\n{users}");
    let daemon = Daemon::start(&config(1));
    let mut hours = 1;
    let mut next = || {
        hours += 1;
        let new = daemon.dir().join("new.toml");
        std::fs::write(&new, config(hours)).unwrap();
        (new, hours)
    };
    let reload = |new: &std::path::Path| {
        std::fs::rename(new, daemon.conf_d_file()).unwrap();
        timed(|| quick(daemon.command(&["config", "reload"])))
    };
    table.figure(
        "reload with 1,000 users and workspaces",
        Figure::Time(median_of((0..7).map(|_| reload(&next().0)))),
        200.0,
    );
    let seen = |(new, hours): (std::path::PathBuf, u64)| {
        let threshold = format!("\"threshold\":{}", hours * 3600);
        std::fs::rename(new, daemon.conf_d_file()).unwrap();
        let shown = || daemon.get("/v1/workspaces/u500/main").unwrap().contains(&threshold);
        timed(|| while !shown() {})
    };
    table.figure("from `mv` to what it says", Figure::Time(median_of((0..5).map(|_| seen(next())))), 1000.0);
    table.figure("memory with 1,000 users and workspaces", Figure::Mebibytes(measure::resident(daemon.pid())), 60.0);
}

/// `hearth ssh W -- true` against `docker exec C true`.
fn entering(table: &mut Table) {
    let image = image();
    let daemon = daemon(&image, &[]);
    let container = daemon.container("alice/main");
    let run = |command: Command| timed(|| quick(command));
    let (raw, hearth) = in_turns(25, || run(docker_exec(&container, &["true"])), || run(ssh(&daemon, &["true"])));
    table.ratio("hearth ssh W -- true, against docker exec", &hearth, &raw, 1.0 / 3.0);
}

/// 256 MiB each way, against `docker exec`.
fn throughput(table: &mut Table) {
    const SIZE: u64 = 256 << 20;
    let image = image();
    let daemon = daemon(&image, &[]);
    let container = daemon.container("alice/main");
    let source = ["dd", "if=/dev/zero", "bs=1048576", "count=256"];
    let out = |command: Command| timed(|| assert_eq!(read_all(command), SIZE));
    let (raw, hearth) = in_turns(5, || out(docker_exec(&container, &source)), || out(ssh(&daemon, &source)));
    table.speed("256 MiB out of a workspace, against docker exec", &hearth, &raw, SIZE, 2.0);

    let sink = ["sh", "-c", "cat > /dev/null"];
    let into = |command: Command| timed(|| write_all(command, SIZE));
    let (raw, hearth) = in_turns(5, || into(docker_exec(&container, &sink)), || into(ssh(&daemon, &sink)));
    table.speed("256 MiB into a workspace, against docker exec", &hearth, &raw, SIZE, 2.0);
}

/// Runs a command that must succeed, without the tests' way of waiting for its end, which takes its time.
fn quick(mut command: Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "{command:?}");
}

fn docker_exec(container: &str, argv: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(["exec", "--interactive", container]).args(argv);
    command
}

fn ssh(daemon: &Daemon, argv: &[&str]) -> Command {
    daemon.command(&[&["ssh", "alice/main", "--"], argv].concat())
}

fn read_all(mut command: Command) -> u64 {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut out, mut buffer, mut total) = (child.stdout.take().unwrap(), vec![0; 1 << 20], 0);
    loop {
        match out.read(&mut buffer).unwrap() {
            0 => break,
            read => total += read as u64,
        }
    }
    assert!(child.wait().unwrap().success());
    total
}

fn write_all(mut command: Command, size: u64) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let (mut input, block) = (child.stdin.take().unwrap(), vec![0; 1 << 20]);
    for _ in 0..size >> 20 {
        input.write_all(&block).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
