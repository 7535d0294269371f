//! Watches a build until it has ended, or until people may enter.
//!
//! An event of hearthd says "look again", the list of builds says how it is: a lost event costs a second. The log is
//! read beside it, for its last line or, with `-v`, for all of it. Ctrl-C leaves; the build goes on.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Context;
use super::client::{Client, Stream};
use super::error::{Error, Kind, Result};
use super::render::progress::Progress;
use super::render::visible::{self, Lines};
use super::render::width;
use crate::api::wire::BuildDetail;
use crate::model::{BuildNumber, BuildResult, Moment, Stage, WorkspaceId};

/// The exit code of a command that was left with Ctrl-C, as shells have it.
pub(crate) const DETACHED: u8 = 130;

/// A look without an event, and the redrawing of a running stage's time.
const TICK: Duration = Duration::from_secs(1);
/// Not more often than this, however many events come.
const BREATH: Duration = Duration::from_millis(40);
/// hearthd may be restarted under a build and takes it up again.
const RESTART: Duration = Duration::from_secs(30);
/// How long the rest of a log may take once its build has ended.
const REST_OF_LOG: Duration = Duration::from_secs(5);
/// How much of a log is shown where something failed.
const TAIL: usize = 20;

/// A build to watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) workspace: &'a WorkspaceId,
    pub(crate) build: BuildNumber,
    /// What to wait for.
    pub(crate) until: Until,
    /// Whether to show the log as it comes.
    pub(crate) verbose: bool,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The build's end.
    Ended,
    /// `inject` is done, so that people may enter (rule L2), or the build's end.
    Open,
    /// The hooks' end, where one of them was run again in a running workspace.
    HooksEnded,
}

/// How the watching ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Reached(Box<BuildDetail>),
    Detached,
}

/// Watches the build and shows it, as the terminal and the flags want it.
pub(crate) async fn follow(context: &Context, client: &Client, watched: Watched<'_>) -> Result<End> {
    let mut watch = Watch::new(context, client, watched).await;
    let end = tokio::select! {
        end = watch.run() => end,
        _ = tokio::signal::ctrl_c() => Ok(End::Detached),
    };
    watch.clear();
    end
}

/// Returns the last lines of a build's log, without those that say the failure itself; nothing where it cannot be had.
pub(crate) async fn tail_of_log(client: &Client, workspace: &WorkspaceId, build: &BuildDetail) -> Vec<String> {
    let mut tail = VecDeque::new();
    let path = log_path(workspace, build.build.number, false);
    let Ok(mut stream) = client.stream(&path).await else { return vec![] };
    let mut lines = Lines::default();
    let reading = async {
        while let Ok(Some(bytes)) = stream.next().await {
            _ = lines.push(&bytes, |line| {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
                Ok::<_, Error>(())
            });
        }
    };
    _ = timeout(REST_OF_LOG, reading).await;
    tail.extend(lines.finish());
    let failure: Vec<String> = build.failure.iter().flat_map(|failure| failure.lines()).map(visible::line).collect();
    let says_it = |line: &str| failure.iter().any(|said| !said.is_empty() && line.ends_with(said.as_str()));
    tail.iter().map(|line| without_time(line)).filter(|line| !says_it(line)).map(str::to_owned).collect()
}

/// Returns the path of a build's log.
pub(crate) fn log_path(workspace: &WorkspaceId, build: BuildNumber, follow: bool) -> String {
    let query = if follow { "?follow=true" } else { "" };
    format!("/v1/workspaces/{workspace}/builds/{build}/log{query}")
}

/// Returns a line of a log without the time that it begins with.
fn without_time(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, rest)) if time.parse::<Moment>().is_ok() => rest,
        _ => line,
    }
}

/// Returns the stage that a line of a log, its time gone, begins with, and what it says.
fn stage_and_text(line: &str) -> (Option<Stage>, &str) {
    let parts = line.split_once(' ');
    let stage = parts.and_then(|(stage, _)| Stage::ALL.into_iter().find(|one| one.as_str() == stage));
    match (stage, parts) {
        (Some(_), Some((_, text))) => (stage, text.trim_start()),
        _ => (None, line),
    }
}

struct Watch<'a> {
    context: &'a Context,
    client: &'a Client,
    watched: Watched<'a>,
    progress: Progress,
    events: Option<Stream>,
    log: Option<Stream>,
    log_was_read: bool,
    lines: Lines,
    /// The last line of the log, and its stage.
    tail: (Option<Stage>, String),
    /// Since when hearthd does not answer.
    lost: Option<Instant>,
}

impl<'a> Watch<'a> {
    async fn new(context: &'a Context, client: &'a Client, watched: Watched<'a>) -> Self {
        let out = context.out;
        let mut watch = Self {
            context,
            client,
            watched,
            progress: Progress::new(out.live && !out.quiet, out.talk_colours, width()),
            events: None,
            log: None,
            log_was_read: false,
            lines: Lines::default(),
            tail: (None, String::new()),
            lost: None,
        };
        watch.listen().await;
        watch
    }

    /// Listens to what happens, as far as it can be had: none of it is needed.
    async fn listen(&mut self) {
        let Watched { workspace, build, verbose, .. } = self.watched;
        let out = self.context.out;
        if self.events.is_none() {
            self.events = self.client.stream("/v1/events").await.ok();
        }
        // What was shown is not shown again; of a build that has just been asked for there may be no log yet.
        if !out.quiet && (verbose || out.live) && !self.log_was_read && self.log.is_none() {
            self.log = self.client.stream(&log_path(workspace, build, true)).await.ok();
        }
    }

    async fn run(&mut self) -> Result<End> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            match self.look().await {
                Ok(build) => {
                    self.draw(&build);
                    if self.reached(&build) {
                        self.rest_of_log(&build).await;
                        return Ok(End::Reached(Box::new(build)));
                    }
                }
                Err(error) if error.kind == Kind::Unreachable => self.endure(error)?,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(BREATH).await;
            self.wait(&mut tick).await;
        }
    }

    /// Waits for a reason to look again; meanwhile the log is read.
    async fn wait(&mut self, tick: &mut tokio::time::Interval) {
        let name = format!("\"{}\"", self.watched.workspace);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    self.listen().await;
                    return;
                }
                event = next(&mut self.events) => match event {
                    Some(bytes) if !String::from_utf8_lossy(&bytes).contains(&name) => {}
                    _ => return,
                },
                Some(bytes) = next(&mut self.log) => self.take(&bytes),
            }
        }
    }

    async fn look(&mut self) -> Result<BuildDetail> {
        let Watched { workspace, build, until, .. } = self.watched;
        let builds: Vec<BuildDetail> = self.client.get(&format!("/v1/workspaces/{workspace}/builds")).await?;
        self.lost = None;
        let mut found = builds.into_iter().find(|one| one.build.number == build).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("build {build} of `{workspace}` is not there any more"))
                .hint(format!("hearth show {workspace}"))
        })?;
        if until == Until::HooksEnded {
            found.stages.retain(|stage| stage.stage == Stage::Personalize);
        }
        Ok(found)
    }

    fn reached(&self, build: &BuildDetail) -> bool {
        let hooks_run = || build.stages.iter().any(|stage| stage.seconds.is_none());
        match (self.watched.until, build.build.result) {
            (Until::HooksEnded, Some(_)) => !hooks_run(),
            (Until::Ended | Until::Open, Some(_)) => true,
            (Until::Open, None) => build.build.stage > Some(Stage::Inject),
            (Until::Ended | Until::HooksEnded, None) => false,
        }
    }

    fn draw(&mut self, build: &BuildDetail) {
        if !self.context.out.quiet {
            let (stage, tail) = &self.tail;
            let tail = if *stage == build.build.stage { tail } else { "" };
            let drawing = self.progress.update(build, tail, self.context.now());
            self.context.out.say_raw(drawing);
        }
    }

    fn clear(&mut self) {
        let clearing = self.progress.clear();
        self.context.out.say_raw(clearing);
    }

    fn take(&mut self, bytes: &[u8]) {
        self.log_was_read = true;
        let mut complete = vec![];
        _ = self.lines.push(bytes, |line| {
            complete.push(line);
            Ok::<_, Error>(())
        });
        self.show(complete);
    }

    fn show(&mut self, complete: Vec<String>) {
        let Some(last) = complete.last() else { return };
        let (stage, text) = stage_and_text(without_time(last));
        self.tail = (stage, text.to_owned());
        if self.watched.verbose {
            self.clear();
            complete.iter().for_each(|line| self.context.out.say(without_time(line)));
        }
    }

    /// With `-v` all of the log is shown before anything is said of the end.
    async fn rest_of_log(&mut self, build: &BuildDetail) {
        if !self.watched.verbose || build.build.result.is_none() {
            return;
        }
        self.listen().await;
        let deadline = Instant::now() + REST_OF_LOG;
        while let Ok(Some(bytes)) = tokio::time::timeout_at(deadline, next_or_end(&mut self.log)).await {
            self.take(&bytes);
        }
        let last = std::mem::take(&mut self.lines).finish();
        self.show(last.into_iter().collect());
    }

    fn endure(&mut self, error: Error) -> Result<()> {
        match self.lost {
            Some(since) if since.elapsed() > RESTART => return Err(error),
            Some(_) => {}
            None => {
                self.clear();
                self.context.out.say("hearthd went away; waiting for it to come back");
                self.lost = Some(Instant::now());
                self.events = None;
            }
        }
        Ok(())
    }
}

/// Returns the next piece of a stream; one that has ended or was never there gives nothing, once or for ever.
async fn next(stream: &mut Option<Stream>) -> Option<bytes::Bytes> {
    if stream.is_none() {
        return std::future::pending().await;
    }
    next_or_end(stream).await
}

async fn next_or_end(stream: &mut Option<Stream>) -> Option<bytes::Bytes> {
    let piece = stream.as_mut()?.next().await.ok().flatten();
    if piece.is_none() {
        *stream = None;
    }
    piece
}

/// Returns the failure of a build that did not make a running workspace, nothing for one that did.
pub(crate) fn failure_of(workspace: &WorkspaceId, build: &BuildDetail, state: &str) -> Option<Error> {
    let number = build.build.number;
    match build.build.result {
        None | Some(BuildResult::Ok) => None,
        Some(BuildResult::Cancelled) => {
            let message = format!("build {number} of `{workspace}` was cancelled\n{state}");
            Some(Error::new(Kind::Failed, message).hint(format!("hearth start {workspace}")))
        }
        Some(BuildResult::Failed) => {
            let stage = build.build.stage.map(|stage| format!(" in `{stage}`")).unwrap_or_default();
            let why = build.failure.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!("build {number} of `{workspace}` failed{stage}{why}\n{state}");
            let hint =
                format!("hearth logs {workspace} --build {number}; once it is mended: hearth rebuild {workspace}");
            Some(Error::new(Kind::Failed, message).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_is_shown_without_what_stands_beside_it_anyway() {
        let line = "2026-07-01T12:00:00Z configure   apt-get install";
        assert_eq!(without_time(line), "configure   apt-get install");
        assert_eq!(stage_and_text(without_time(line)), (Some(Stage::Configure), "apt-get install"));
        for line in ["", "apt-get install", "configured it"] {
            assert_eq!(stage_and_text(without_time(line)), (None, line));
        }
    }
}
