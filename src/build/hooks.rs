//! The hooks of a build (section 5), each one `docker exec` of hearth's own binary: inject as root, configure and
//! personalize as the user. What they print goes to the build's log; what they report becomes warnings.
//!
//! Which of them runs when is decided by who called them.

use std::time::Duration;

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::lines::{Lines, Tail};
use super::log::LogWriter;
use super::warnings;
use crate::docker::{ContainerId, Engine, EngineError, ExecEnd, ExecSpec, Output, Stream};
use crate::helper::bundle::{
    BINARY, Facts, HookReport, HookRequest, Inhabitant, InjectReport, InjectRequest, Personalize,
};
use crate::model::{Hook, Stage, Warning, WarningKind};

/// No report is longer (rule X4).
const LONGEST_REPORT: usize = 1 << 20;
/// Giving a large home to its user takes a while.
const INJECT_DEADLINE: Duration = Duration::from_secs(600);
/// From SIGTERM to SIGKILL for a hook that ran too long.
const GRACE: Duration = Duration::from_secs(5);
/// What the runner inside may take beyond its hooks' time.
const MARGIN: Duration = Duration::from_secs(30);
const PIECES: usize = 64;

/// The running container that hooks run in.
#[derive(Clone, Copy)]
pub struct Inside<'a> {
    pub engine: &'a dyn Engine,
    pub container: &'a ContainerId,
    pub user: &'a Inhabitant,
    /// Added to the container's own environment.
    pub env: &'a [String],
    pub log: &'a LogWriter,
}

/// Why inject failed: then nobody may enter (rule L8).
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("inject failed: {0}")]
    Failed(String),
}

/// What came of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub warnings: Vec<Warning>,
    /// How the container looks after it; `None` where it did not come to tell.
    pub facts: Option<Facts>,
}

impl Ran {
    fn well() -> Self {
        Self { warnings: vec![], facts: None }
    }
}

/// Returns what there is to warn of in how the container looks after its last hook (rule H5).
pub fn fact_warnings(facts: &Facts) -> Vec<Warning> {
    warnings::of_facts(facts)
}

impl Inside<'_> {
    /// Brings token, keys, hosts and secrets, and the ownership of the home (rules H1, L5).
    ///
    /// # Errors
    /// When it could not be done: the build fails. What hinders nobody is in the warnings.
    pub async fn inject(&self, request: &InjectRequest) -> Result<(Vec<Warning>, Facts), InjectError> {
        let request = json(request)?;
        let exec = self.exec(&["inject"], "0:0", "/", request, INJECT_DEADLINE);
        let mut collected = Collected::new(self.log, Stage::Inject, Stream::Stdout);
        let end = collected.run(self, exec).await?;
        let report = serde_json::from_slice::<InjectReport>(&collected.report);
        let report = match (end, report) {
            (ExecEnd::TimedOut, _) => return Err(InjectError::Failed("it did not end in time".into())),
            (ExecEnd::Exited(_), Ok(report)) => report,
            (ExecEnd::Exited(code), Err(_)) => {
                let said = collected.tail.into_lines().join("\n");
                return Err(InjectError::Failed(format!("it ended with exit code {code} and no report\n{said}")));
            }
        };
        if let Some(failure) = report.failure {
            return Err(InjectError::Failed(warnings::readable(&failure)));
        }
        if report.given > 0 {
            let text = format!("gave {} files of the home to `{}`", report.given, self.user.name);
            self.log.line(Stage::Inject, &text);
        }
        Ok((warnings::of_notes(&report.notes), report.facts))
    }

    /// Runs `/coder/configure`, if `facts` say that there is one (rule H2).
    ///
    /// # Errors
    /// When the engine is away: a hook that fails, or that it refuses to run, is in the warnings (rule L8).
    pub async fn configure(&self, facts: &Facts, timeout: Duration) -> Result<Ran, EngineError> {
        if !facts.configure {
            return Ok(Ran::well());
        }
        self.hook(Stage::Configure, Hook::Configure, None, timeout).await
    }

    /// Installs the dotfiles, if there are any, and runs `~/personalize`, if it is the user's own (rule H3). `facts` are
    /// from before configure where configure could not tell.
    ///
    /// # Errors
    /// When the engine is away: a hook that fails, or that it refuses to run, is in the warnings (rule L8).
    pub async fn personalize(
        &self,
        facts: &Facts,
        dotfiles: Option<&str>,
        timeout: Duration,
    ) -> Result<Ran, EngineError> {
        if dotfiles.is_none() && facts.personalize != Personalize::Own {
            return Ok(Ran::well());
        }
        self.hook(Stage::Personalize, Hook::Personalize, dotfiles, timeout).await
    }

    async fn hook(
        &self,
        stage: Stage,
        hook: Hook,
        dotfiles: Option<&str>,
        timeout: Duration,
    ) -> Result<Ran, EngineError> {
        let steps = if dotfiles.is_some() { 2 } else { 1 };
        let request =
            HookRequest { home: self.user.home.clone(), dotfiles: dotfiles.map(String::from), timeout, grace: GRACE };
        let deadline = (timeout + GRACE) * steps + MARGIN;
        let user = format!("{}:{}", self.user.uid, self.user.gid);
        let exec = self.exec(&["hook", stage.as_str()], &user, &self.user.home, json(&request)?, deadline);
        let mut collected = Collected::new(self.log, stage, Stream::Stderr);
        let ran = match collected.run(self, exec).await {
            Ok(end) => collected.ran(hook, end, timeout),
            Err(error @ (EngineError::Away(_) | EngineError::Slow { .. })) => return Err(error),
            // People are in already: nothing but the hook has failed.
            Err(error) => Ran { warnings: vec![not_run(hook, &error)], facts: None },
        };
        for warning in &ran.warnings {
            self.log.line(stage, &format!("warning: {}", warning.message));
        }
        Ok(ran)
    }

    fn exec(&self, args: &[&str], user: &str, dir: &str, stdin: Zeroizing<Vec<u8>>, deadline: Duration) -> ExecSpec {
        ExecSpec {
            argv: std::iter::once(BINARY).chain(args.iter().copied()).map(String::from).collect(),
            user: user.into(),
            env: self.env.to_vec(),
            working_dir: dir.into(),
            stdin,
            deadline,
        }
    }
}

fn not_run(hook: Hook, error: &EngineError) -> Warning {
    let message = format!("{} could not be run: {}", warnings::name(hook), warnings::readable(&error.to_string()));
    Warning { hook, kind: WarningKind::Other, exit_code: None, message, tail: vec![] }
}

/// Growing would leave copies of the secrets behind, so it begins large.
fn json(request: &impl serde::Serialize) -> Result<Zeroizing<Vec<u8>>, EngineError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    serde_json::to_writer(&mut *bytes, request)
        .map_err(|error| EngineError::Refused(format!("cannot write the request of a hook: {error}")))?;
    Ok(bytes)
}

/// What an exec printed.
struct Collected<'a> {
    log: &'a LogWriter,
    stage: Stage,
    reports_on: Stream,
    report: Vec<u8>,
    lines: Lines,
    tail: Tail,
}

impl<'a> Collected<'a> {
    fn new(log: &'a LogWriter, stage: Stage, reports_on: Stream) -> Self {
        Self { log, stage, reports_on, report: vec![], lines: Lines::default(), tail: Tail::default() }
    }

    async fn run(&mut self, inside: &Inside<'_>, exec: ExecSpec) -> Result<ExecEnd, EngineError> {
        let (pieces, mut received) = mpsc::channel(PIECES);
        let take = async {
            while let Some(piece) = received.recv().await {
                self.take(&piece);
            }
        };
        let (end, ()) = tokio::join!(inside.engine.exec(inside.container, exec, pieces), take);
        self.log.end_of_output(self.stage);
        if let Some(line) = self.lines.end() {
            self.tail.push(&line);
        }
        end
    }

    fn take(&mut self, piece: &Output) {
        if piece.stream == self.reports_on {
            let room = LONGEST_REPORT.saturating_sub(self.report.len());
            self.report.extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
            return;
        }
        self.log.output(self.stage, &piece.bytes);
        for line in self.lines.push(&piece.bytes) {
            self.tail.push(&line);
        }
    }

    /// Makes sense of how a hook's runner ended.
    fn ran(self, hook: Hook, end: ExecEnd, timeout: Duration) -> Ran {
        let line = self.report.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Ok(report) = serde_json::from_slice::<HookReport>(line) {
            // One step each for dotfiles and personalize; more than these nobody sent.
            let steps = report.steps.iter().take(2);
            return Ran {
                warnings: steps.flat_map(|step| warnings::of_step(step, timeout)).collect(),
                facts: Some(report.facts),
            };
        }
        let name = warnings::name(hook);
        let (kind, exit_code, message) = match end {
            ExecEnd::TimedOut => (WarningKind::Timeout, None, format!("{name} could not be ended in time")),
            ExecEnd::Exited(137) => {
                let message = format!("{name} killed the process of hearth that ran it, and was ended with it");
                (WarningKind::Signal, Some(137), message)
            }
            ExecEnd::Exited(code) => {
                let said = warnings::readable(&String::from_utf8_lossy(line));
                let message = format!("{name} was not seen to end (exit code {code}): {said}");
                (WarningKind::Other, i32::try_from(code).ok(), message)
            }
        };
        let warning = Warning { hook, kind, exit_code, message, tail: self.tail.into_lines() };
        Ran { warnings: vec![warning], facts: None }
    }
}
