//! `hearth ssh WORKSPACE [-- CMD]` from the host (W3, L2).

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect};

use crate::support::account::GAMES;
use crate::support::config::alice;
use crate::support::{Daemon, Image, ImageTag, docker, wait_for};

fn running(image: &ImageTag) -> Daemon {
    let daemon = Daemon::start(&alice(image));
    daemon.wait_state("alice/main", "running");
    daemon
}

/// Runs `sh -c SCRIPT` inside.
fn script(daemon: &Daemon, script: &str) -> crate::support::Ran {
    daemon.hearth(&["ssh", "alice/main", "--", "sh", "-c", script])
}

/// Whether a process whose command line contains `text` runs in the workspace.
fn runs_inside(daemon: &Daemon, text: &str) -> Result<bool, String> {
    let listed = docker(&["top", &daemon.container("alice/main"), "-eo", "pid,args"]);
    if listed.code == 0 { Ok(listed.stdout().contains(text)) } else { Err(listed.to_string()) }
}

#[test]
fn w3_exit_codes_and_signals_are_passed_on() {
    let image = Image::coder().import();
    let daemon = running(&image);
    for code in [0, 1, 7, 255] {
        script(&daemon, &format!("exit {code}")).exits(code);
    }
    script(&daemon, "kill -TERM $$").exits(128 + 15);
    script(&daemon, "kill -KILL $$").exits(128 + 9);
    daemon.hearth(&["ssh", "alice/main", "--", "no-such-program"]).exits(127);
    daemon.hearth(&["ssh", "alice/main", "--", "/etc/passwd"]).exits(126);
}

#[test]
fn w3_arguments_arrive_as_given_and_need_no_shell() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let told = daemon.inside("alice/main", &["printf", "[%s]", "a b", "$HOME", "*", "", "'\""]);
    assert_eq!(told, "[a b][$HOME][*][]['\"]");
}

#[test]
fn w3_pipes_are_clean_and_close_one_way_at_a_time() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let ran = daemon.hearth_with_input(&["ssh", "alice/main", "--", "cat"], &bytes);
    assert_eq!(ran.code, 0, "{}", ran.stderr());
    assert!(ran.out == bytes, "sent {} bytes, got {} back", bytes.len(), ran.out.len());
    // The end of the input is seen inside while output goes on.
    let counted = daemon.hearth_with_input(&["ssh", "alice/main", "--", "sh", "-c", "wc -c; echo after"], b"12345");
    assert_eq!(counted.ok(), "5\nafter\n");
    // The command closes its output, and ends later.
    let ran = script(&daemon, "echo out; echo err >&2; exec >&- 2>&-; exit 3");
    assert_eq!((ran.exits(3), ran.stderr()), ("out\n".into(), "err\n".into()));
    assert_eq!(script(&daemon, "test -t 0 || test -t 1 || echo pipes").ok(), "pipes\n");
    assert_eq!(script(&daemon, "echo through > /dev/stdout").ok(), "through\n");
}

#[test]
fn w3_the_environment_is_that_of_the_hooks() {
    let image = Image::coder().change("ENV FROM_IMAGE=yes").import();
    let daemon = running(&image);
    let environment = daemon.inside("alice/main", &["env"]);
    for line in [
        "HOME=/home/coder",
        "USER=coder",
        "LOGNAME=coder",
        "SHELL=/bin/sh",
        "HEARTH=1",
        "HEARTH_WORKSPACE=alice/main",
        "HEARTH_USER=alice",
        "HEARTH_ORG=acme",
        "HEARTH_BUILD=1",
        "FROM_IMAGE=yes",
    ] {
        assert!(environment.lines().any(|given| given == line), "no {line} in:\n{environment}");
    }
    assert!(environment.contains(&format!("HEARTH_IMAGE={image}")), "{environment}");
}

#[test]
fn w3_needs_neither_docker_nor_a_key() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let who = daemon.hearth_as(GAMES, &["ssh", "main", "--", "id", "-un"]);
    assert_eq!(who.ok(), "coder\n");
}

#[test]
fn l2_processes_end_when_the_client_goes_away() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let mut client = daemon.command(&["ssh", "alice/main", "--", "sh", "-c", "sleep 4321 & sleep 4322"]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the command to run", || match runs_inside(&daemon, "sleep 4322") {
        Ok(true) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    client.kill().unwrap();
    client.wait().unwrap();
    wait_for("its processes to end", || match runs_inside(&daemon, "sleep 432") {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn l2_a_killed_helper_is_back_and_pid_1_survives_its_user() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let container = daemon.show("alice/main")["container"].clone();
    _ = script(&daemon, "kill -9 -1");
    wait_for("the helper to be back", || match script(&daemon, "true") {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    let after = daemon.show("alice/main");
    assert_eq!((&after["state"], &after["container"]), (&"running".into(), &container), "{after}");
    // A TERM from inside is ignored as well.
    _ = script(&daemon, "kill -TERM 1");
    daemon.inside("alice/main", &["true"]);
}

#[test]
fn l2_orphans_are_reaped() {
    let image = Image::coder().import();
    let daemon = running(&image);
    script(&daemon, "for n in 1 2 3; do (sleep 0.1 > /dev/null 2>&1 &) ; done").ok();
    wait_for("no zombies and no sleepers", || {
        let listed = docker(&["top", &daemon.container("alice/main"), "-eo", "pid,stat,args"]).ok();
        if listed.contains("sleep") || listed.contains("<defunct>") { Err(listed) } else { Ok(()) }
    });
}

#[test]
fn l7_what_traps_term_gets_it_at_a_stop() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let trap = "trap 'echo stopped > ~/trapped; exit' TERM; touch ~/ready; while :; do sleep 0.1; done";
    script(&daemon, &format!("setsid sh -c \"{trap}\" > /dev/null 2>&1 < /dev/null & ")).ok();
    wait_for("the trap", || match script(&daemon, "test -e ~/ready") {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    daemon.hearth(&["stop", "alice/main"]).ok();
    daemon.hearth(&["start", "alice/main"]).ok();
    assert_eq!(daemon.inside("alice/main", &["cat", "trapped"]), "stopped\n");
}

/// A terminal of 30 rows and 100 columns with `hearth ARGS` on it.
fn terminal(daemon: &Daemon, args: &[&str]) -> OsSession {
    let mut session = OsSession::spawn(daemon.command(args)).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(30)));
    session.get_process_mut().set_window_size(100, 30).unwrap();
    session
}

#[test]
fn w3_a_terminal_has_size_job_control_and_its_exit_code() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let mut terminal = terminal(&daemon, &["ssh", "alice/main"]);
    terminal.send_line("tty; echo at-$((40 + 2))").unwrap();
    terminal.expect("/dev/pts/").unwrap();
    terminal.expect("at-42").unwrap();
    terminal.get_process_mut().set_window_size(120, 40).unwrap();
    wait_for("the new size to arrive", || {
        terminal.send_line("echo $(stty size) rows-cols").unwrap();
        let found = terminal.expect("rows-cols").map_err(|error| error.to_string())?;
        let before = String::from_utf8_lossy(found.before()).into_owned();
        if before.contains("40 120") { Ok(()) } else { Err(before) }
    });
    terminal.send_line("sleep 1000").unwrap();
    wait_for("the command to run", || match runs_inside(&daemon, "sleep 1000") {
        Ok(true) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    terminal.send("\x03").unwrap();
    terminal.send_line("echo interrupted-$?").unwrap();
    terminal.expect("interrupted-130").unwrap();
    terminal.send_line("exit 5").unwrap();
    terminal.expect(Eof).unwrap();
    let ended = terminal.get_process().wait().unwrap();
    assert!(matches!(ended, WaitStatus::Exited(_, 5)), "{ended:?}");
}

#[test]
fn w3_a_closed_terminal_ends_what_ran_on_it() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let mut terminal = terminal(&daemon, &["ssh", "alice/main"]);
    terminal.send_line("sleep 5432").unwrap();
    wait_for("the command to run", || match runs_inside(&daemon, "sleep 5432") {
        Ok(true) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    drop(terminal);
    wait_for("it to end", || match runs_inside(&daemon, "sleep 5432") {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn x4_an_endless_reader_or_writer_holds_nobody_else_up() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let flood = |command: &str| {
        let mut client = daemon.command(&["ssh", "alice/main", "--", "sh", "-c", command]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    // One writes and nobody reads; one is written to and does not read.
    let mut writer = flood("cat /dev/zero");
    let mut reader = flood("sleep 6543");
    let mut stdin = reader.stdin.take().unwrap();
    let pump = std::thread::spawn(move || while stdin.write_all(&[0; 65536]).is_ok() {});
    assert_eq!(daemon.inside("alice/main", &["echo", "here"]), "here\n");
    daemon.hearth(&["list"]).ok();
    for client in [&mut writer, &mut reader] {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    pump.join().unwrap();
    let resident = resident_kib(daemon.pid());
    assert!(resident < 80 * 1024, "hearthd holds {resident} KiB");
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn w3_a_broken_pipe_ends_both_ends_quietly() {
    let image = Image::coder().import();
    let daemon = running(&image);
    let hearth = env!("CARGO_BIN_EXE_hearth");
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{hearth} ssh alice/main -- sh -c 'yes endless; sleep 7654' | head -1")]);
    shell.env("HEARTH_SOCKET", daemon.socket());
    let ran = crate::support::run(shell);
    assert_eq!((ran.stdout(), ran.stderr()), ("endless\n".into(), String::new()));
    wait_for("it to end inside", || match runs_inside(&daemon, "yes endless") {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
