//! Commands with a bound, and what came of them.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// No ordinary command of a test runs longer.
const BOUND: Duration = Duration::from_secs(180);

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// As typed, for messages.
    pub(crate) command: String,
    /// The exit code, or 128 + the signal.
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

impl Ran {
    /// Returns its output, which must be UTF-8, of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        self.exits(0)
    }

    /// Returns its output; it must have ended with `code`.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> String {
        assert_eq!(self.code, code, "unexpected exit code of {self}");
        self.stdout()
    }

    /// Returns its error output; it must have ended with `code`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32) -> String {
        assert_eq!(self.code, code, "unexpected exit code of {self}");
        self.stderr()
    }

    /// Returns its output as JSON; it must have succeeded.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap_or_else(|error| panic!("no JSON ({error}) from {self}"))
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` → {}", self.command, self.code)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}

/// Runs a command without input.
#[track_caller]
pub(crate) fn run(command: Command) -> Ran {
    run_with_input(command, b"")
}

/// Runs a command with `input`, then end-of-file.
///
/// # Panics
/// When it cannot be run at all or does not end.
#[track_caller]
pub(crate) fn run_with_input(command: Command, input: &[u8]) -> Ran {
    run_at_most(BOUND, command, input)
}

/// Is [`run_with_input`] with a bound of its own.
#[track_caller]
pub(crate) fn run_at_most(bound: Duration, mut command: Command, input: &[u8]) -> Ran {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // A command may end without having read its input.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = drain(child.stdout.take().unwrap());
    let err = drain(child.stderr.take().unwrap());
    let status = super::wait_at_most(bound, &format!("the end of {shown}"), || match child.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err("it still runs".into()),
    });
    writer.join().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or(signal.map(|signal| 128 + signal)).unwrap();
    Ran { command: shown, code, out: out.join().unwrap(), err: err.join().unwrap() }
}

fn drain(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Runs the docker client.
#[track_caller]
pub(crate) fn docker(args: &[&str]) -> Ran {
    docker_with_input(args, b"")
}

/// Runs the docker client with input.
#[track_caller]
pub(crate) fn docker_with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut command = Command::new("docker");
    command.args(args);
    run_with_input(command, input)
}

/// Runs a docker command that removes something. For clean-up: it never panics, and says what failed.
pub(crate) fn docker_remove(args: &[&str]) {
    match Command::new("docker").args(args).stdin(Stdio::null()).output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => {
            let error = String::from_utf8_lossy(&done.stderr).into_owned();
            if !error.contains("No such") {
                eprintln!("clean-up: docker {}: {error}", args.join(" "));
            }
        }
        Err(error) => eprintln!("clean-up: docker {}: {error}", args.join(" ")),
    }
}

/// Removes, with `docker REMOVE`, all that `docker LIST` prints; returns whether it printed anything.
pub(crate) fn docker_sweep(list: &[&str], remove: &[&str]) -> bool {
    let Ok(listed) = Command::new("docker").args(list).stdin(Stdio::null()).output() else { return false };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let found: Vec<&str> = listed.split_whitespace().collect();
    if !found.is_empty() {
        docker_remove(&[remove, &found].concat());
    }
    !found.is_empty()
}
