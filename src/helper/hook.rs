//! `hearth hook configure|personalize` (rules H2, H3, H4), run by `docker exec` as the user in the home: a request on standard
//! input, the hook's output on standard output, one line of JSON on standard error when all is done.
//!
//! The hook itself has neither of our own streams, and cannot open them: this process is not dumpable, so its `/proc`
//! entry is closed to the user. What it reports is therefore what happened.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use nix::sys::prctl::set_dumpable;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::askpass;
use super::bundle::{CONFIGURE, Home, HookReport, HookRequest, Note, Personalize, StepEnd, StepReport};
use super::dotfiles::Dotfiles;
use super::nofollow::Dir;
use super::output::{self, Output};
use super::supervise::{self, End, Limits, supervise};
use super::{facts, launch};
use crate::model::{Hook, WarningKind};

const REQUEST_LIMIT: u64 = 1 << 20;

/// Runs `hearth hook NAME`.
pub(super) fn run(name: &str) -> ExitCode {
    let report = match name {
        "configure" => start("configure.log", |hooks| vec![hooks.configure()]),
        "personalize" => start("personalize.log", Hooks::personalize),
        "drain" => {
            supervise::drain();
            return ExitCode::SUCCESS;
        }
        _ => return ExitCode::from(2),
    };
    let line = report.and_then(|report| serde_json::to_string(&report).map_err(io::Error::from));
    match line.and_then(|line| io::stderr().write_all(format!("{line}\n").as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::stderr().write_all(format!("hearth hook {name}: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn start(log: &str, steps: impl FnOnce(&mut Hooks) -> Vec<StepReport>) -> io::Result<HookReport> {
    shield()?;
    let mut request = vec![];
    io::stdin().take(REQUEST_LIMIT).read_to_end(&mut request)?;
    let request: HookRequest = serde_json::from_slice(&request)?;
    let log = Dir::follow(Path::new(&request.home)).and_then(|home| home.truncate(log));
    let (log, log_error) = match log {
        Ok(log) => (Some(log), None),
        Err(error) => (None, Some(error)),
    };
    let mut hooks = Hooks { request, log, log_error, stdout: supervise::stdout()?, home_is_full: false };
    let steps = steps(&mut hooks);
    let mut facts = facts::look(&hooks.request.home);
    if hooks.home_is_full {
        facts.home = Home::Full;
    }
    Ok(HookReport { steps, facts })
}

/// A hook that signals its parent is not to end the one who watches over it. Handlers, unlike what is ignored, are not
/// inherited by the hook.
fn shield() -> io::Result<()> {
    set_dumpable(false)?;
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// The hooks of one exec.
struct Hooks {
    request: HookRequest,
    log: Option<File>,
    log_error: Option<io::Error>,
    stdout: File,
    home_is_full: bool,
}

impl Hooks {
    fn configure(&mut self) -> StepReport {
        self.step(Hook::Configure, |hooks, output| hooks.file(Path::new(CONFIGURE), output))
    }

    fn personalize(&mut self) -> Vec<StepReport> {
        let mut steps = vec![];
        if let Some(url) = self.request.dotfiles.clone() {
            steps.push(self.step(Hook::Dotfiles, |hooks, output| hooks.dotfiles(&url, output)));
        }
        steps.push(self.step(Hook::Personalize, |hooks, output| {
            let home = Path::new(&hooks.request.home);
            match facts::personalize(home) {
                Personalize::Own => hooks.file(&home.join("personalize"), output),
                Personalize::Nothing | Personalize::Default => (StepEnd::Nothing, vec![]),
            }
        }));
        steps
    }

    fn step(&mut self, hook: Hook, run: impl FnOnce(&Self, &mut Output<File>) -> (StepEnd, Vec<Note>)) -> StepReport {
        let unopened = || Note::new(WarningKind::Other, "cannot open the step's output");
        let Ok(to) = self.stdout.try_clone() else {
            return StepReport { hook, end: StepEnd::NotRun(unopened()), notes: vec![], tail: vec![] };
        };
        let log = self.log.as_ref().and_then(|log| log.try_clone().ok());
        let mut output = Output::new(to, log, output::LIMIT);
        let (end, mut notes) = run(self, &mut output);
        if output.ends_with_talk_of("Host key verification failed") && !output.ends_with_talk_of(".git.hosts.") {
            advise(&mut output);
        }
        output.finish();
        self.home_is_full |= output.log_is_full();
        match self.log_error.take() {
            Some(error) if facts::is_full(&error) => self.home_is_full = true,
            Some(error) => notes.push(Note::new(WarningKind::Other, format!("cannot write the hook's log: {error}"))),
            None => {}
        }
        let went_well = matches!(end, StepEnd::Exited(0) | StepEnd::Nothing) && notes.is_empty();
        let tail = if went_well { vec![] } else { output.tail() };
        StepReport { hook, end, notes, tail }
    }

    fn limits(&self) -> Limits {
        Limits { deadline: Instant::now() + self.request.timeout, grace: self.request.grace }
    }

    fn file(&self, path: &Path, output: &mut Output<File>) -> (StepEnd, Vec<Note>) {
        let mut command = match launch::prepare(path) {
            Ok(Some(command)) => command,
            Ok(None) => return (StepEnd::Nothing, vec![]),
            Err(note) => {
                output.say(&note.message);
                return (StepEnd::NotRun(note), vec![]);
            }
        };
        command.current_dir(&self.request.home);
        match supervise(command, self.limits(), output) {
            Ok(End::Exited(code)) => (StepEnd::Exited(code), vec![]),
            Ok(End::Signalled(signal)) => (StepEnd::Signalled(signal), vec![]),
            Ok(End::TimedOut { left }) => (StepEnd::TimedOut, left_over(left)),
            Err(error) => {
                let note = launch::explain(path, &error);
                output.say(&note.message);
                (StepEnd::NotRun(note), vec![])
            }
        }
    }

    fn dotfiles(&self, url: &str, output: &mut Output<File>) -> (StepEnd, Vec<Note>) {
        let home = Path::new(&self.request.home);
        let mut dotfiles = Dotfiles { home, url, limits: self.limits(), output, notes: vec![] };
        let end = dotfiles.run();
        (end, dotfiles.notes)
    }
}

fn left_over(left: usize) -> Vec<Note> {
    if left == 0 {
        return vec![];
    }
    let message =
        format!("{left} processes of another user (sudo) could not be ended and run on until the next rebuild");
    vec![Note::new(WarningKind::Timeout, message)]
}

/// An ssh older than 8.4 asks nobody where there is no terminal, and does not name the host.
fn advise(output: &mut Output<File>) {
    if !output.ends_with_talk_of("IDENTIFICATION HAS CHANGED") {
        let org = std::env::var("HEARTH_ORG").unwrap_or_else(|_| "ORG".into());
        output.take(askpass::lines_to_add("HOST", &org).as_bytes());
    }
}
