//! Starting the process of an entry: its own session, the descriptors that hearthd sent, a clean signal state.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, geteuid, setsid};

use super::protocol::{Run, Spawn};
use super::registry;
use super::shell;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NO_SHELL: &str =
    "this image has no shell that its user could run; a command needs none: `hearth ssh WORKSPACE -- COMMAND`";

/// The three descriptors of a process.
pub(super) struct Streams {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
    /// They are a terminal, which shall control the session.
    pub(super) terminal: bool,
}

/// A process that runs.
pub(super) struct Started {
    /// The process, its process group and its session.
    pub(super) pid: Pid,
    pub(super) note: Option<String>,
}

/// Why there is none.
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) code: u8,
}

/// Starts what `spawn` says. The session is in the registry before anything of it runs.
pub(super) fn spawn(spawn: &Spawn, streams: Streams, registry: BorrowedFd<'_>) -> Result<Started, Failure> {
    let shell = shell::shell(geteuid().as_raw());
    let mut command = command(&spawn.run, shell.as_deref())?;
    let program = command.get_program().to_owned();
    set_environment(&mut command, &spawn.env, shell.as_deref());
    let (cwd, note) = starting_place(&spawn.cwd);
    let terminal = streams.terminal;
    command.current_dir(cwd).stdin(streams.input).stdout(streams.output).stderr(streams.errors);
    prepare(&mut command, terminal, registry);
    match command.spawn() {
        Ok(child) => Ok(Started { pid: Pid::from_raw(child.id().cast_signed()), note }),
        Err(error) => Err(failure(&program, &error)),
    }
}

fn command(run: &Run, shell: Option<&Path>) -> Result<Command, Failure> {
    let shell = || shell.ok_or(Failure { message: NO_SHELL.into(), code: 127 });
    let bare = |program: &OsStr| Command::new(program);
    match run {
        Run::LoginShell => {
            let shell = shell()?;
            let mut name = OsString::from("-");
            name.push(shell.file_name().unwrap_or_default());
            let mut command = bare(shell.as_os_str());
            command.arg0(name);
            Ok(command)
        }
        Run::Line(line) => {
            let mut command = bare(shell()?.as_os_str());
            command.arg("-c").arg(line);
            Ok(command)
        }
        Run::Command(argv) => {
            let Some((program, arguments)) = argv.split_first().filter(|(program, _)| !program.is_empty()) else {
                return Err(Failure { message: "the command is empty".into(), code: 127 });
            };
            let mut command = bare(OsStr::new(program));
            command.args(arguments);
            Ok(command)
        }
    }
}

/// The container's own environment, what hearthd says over it, and what only the image knows.
fn set_environment(command: &mut Command, env: &[(String, String)], shell: Option<&Path>) {
    for stale in ["PWD", "OLDPWD", "SHLVL", "_"] {
        command.env_remove(stale);
    }
    let mut has_path = std::env::var_os("PATH").is_some();
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        has_path |= name == "PATH";
        command.env(name, value);
    }
    if !has_path {
        command.env("PATH", DEFAULT_PATH);
    }
    if let Some(shell) = shell {
        command.env("SHELL", shell);
    }
}

fn starting_place(cwd: &str) -> (PathBuf, Option<String>) {
    let cwd = PathBuf::from(cwd);
    match nix::unistd::access(&cwd, nix::unistd::AccessFlags::X_OK) {
        Ok(()) if cwd.is_dir() => (cwd, None),
        Ok(()) => (PathBuf::from("/"), Some(format!("{} is not a directory; this begins in /", cwd.display()))),
        Err(error) => {
            (PathBuf::from("/"), Some(format!("cannot enter {}: {}; this begins in /", cwd.display(), error.desc())))
        }
    }
}

#[expect(unsafe_code, reason = "pre_exec runs between fork and exec: only system calls in it")]
fn prepare(command: &mut Command, terminal: bool, registry: BorrowedFd<'_>) {
    let registry = registry.as_raw_fd();
    let steps = move || -> io::Result<()> {
        let session = setsid()?;
        if terminal && unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let record = registry::began(session.as_raw());
        let _ = nix::unistd::write(unsafe { BorrowedFd::borrow_raw(registry) }, &record);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        Ok(())
    };
    unsafe { command.pre_exec(steps) };
}

fn failure(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.to_string_lossy();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let why = match error.raw_os_error() {
        Some(libc::ENOENT) if program.contains('/') => "no such file, or its interpreter is missing",
        Some(libc::ENOENT) => "command not found",
        Some(libc::EAGAIN) => "the workspace has as many processes as it may have",
        Some(number) => nix::errno::Errno::from_raw(number).desc(),
        None => "the kernel refused it, or it holds a zero byte",
    };
    Failure { message: format!("{program}: {why}"), code }
}

/// Makes the three from one terminal.
pub(super) fn on_terminal(terminal: OwnedFd) -> io::Result<Streams> {
    Ok(Streams { input: terminal.try_clone()?, output: terminal.try_clone()?, errors: terminal, terminal: true })
}
