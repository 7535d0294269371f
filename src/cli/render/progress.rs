//! A build as it goes: a line for each stage with its time; on a terminal the running one is drawn again and again.

use std::collections::BTreeSet;

use super::{Style, time, visible};
use crate::api::wire::{BuildDetail, StageTime};
use crate::model::{BuildResult, Moment, Stage, Warning};

/// Clears the line that the cursor is on.
const CLEAR: &str = "\r\x1b[K";

/// What of a build is on the screen.
#[derive(Debug)]
pub(crate) struct Progress {
    live: bool,
    colours: bool,
    width: usize,
    finished: BTreeSet<Stage>,
    queued: bool,
    drawn: bool,
}

impl Progress {
    /// Returns the progress of a build that nothing was said of. `live` draws the running stage.
    pub(crate) fn new(live: bool, colours: bool, width: usize) -> Self {
        Self { live, colours, width, finished: BTreeSet::new(), queued: false, drawn: false }
    }

    /// Returns what to write now that the build is so; `tail` is the last line of its log.
    pub(crate) fn update(&mut self, build: &BuildDetail, tail: &str, now: Moment) -> String {
        let mut out = self.clear();
        if build.build.started_at.is_none() && build.build.result.is_none() && !self.queued {
            self.queued = true;
            out.push_str(&format!("build {} waits for its turn\n", build.build.number));
        }
        for stage in &build.stages {
            if let Some(seconds) = stage.seconds
                && self.finished.insert(stage.stage)
            {
                out.push_str(&self.line(stage.stage, seconds, ended_badly(build, stage)));
                out.push('\n');
            }
        }
        let running = build.stages.iter().find(|stage| stage.seconds.is_none());
        if let (true, Some(stage)) = (self.live, running) {
            out.push_str(&self.running(stage, tail, now));
            self.drawn = true;
        }
        out
    }

    /// Returns what takes a drawn line off the screen, so that something else can be written.
    pub(crate) fn clear(&mut self) -> String {
        if std::mem::take(&mut self.drawn) { CLEAR.into() } else { String::new() }
    }

    fn line(&self, stage: Stage, seconds: f64, badly: Option<(&str, Style)>) -> String {
        let mut line = format!("  {stage:<12}{:>8}", time::took(seconds));
        if let Some((word, style)) = badly {
            line.push_str(&format!("  {}", style.paint(word, self.colours)));
        }
        line
    }

    fn running(&self, stage: &StageTime, tail: &str, now: Moment) -> String {
        let so_far = match time::between(stage.started_at, now).as_secs() {
            seconds @ ..60 => format!("{seconds} s"),
            seconds => time::took(seconds as f64),
        };
        let head = format!("  {:<12}{so_far:>8}", stage.stage.as_str());
        let room = self.width.saturating_sub(head.chars().count() + 3);
        let tail: String = visible::line(tail).chars().take(room).collect();
        format!("{}  {}", Style::Bold.paint(&head, self.colours), Style::Dim.paint(&tail, self.colours))
    }
}

/// Returns the word for a stage that did not do what it should.
fn ended_badly(build: &BuildDetail, stage: &StageTime) -> Option<(&'static str, Style)> {
    let last = build.build.stage == Some(stage.stage);
    match build.build.result {
        Some(BuildResult::Failed) if last => Some(("failed", Style::Bad)),
        Some(BuildResult::Cancelled) if last => Some(("cancelled", Style::Warn)),
        _ => None,
    }
}

/// Returns a warning with the last lines of the hook's output.
pub(crate) fn warning_text(warning: &Warning, colours: bool) -> String {
    let mut out = format!("{} {}\n", Style::Warn.paint("warning:", colours), visible::text(&warning.message));
    out.push_str(&tail_text(&warning.tail, colours));
    out
}

/// Returns lines of output, set off from our own.
pub(crate) fn tail_text(lines: &[String], colours: bool) -> String {
    lines.iter().map(|line| format!("  {} {}\n", Style::Dim.paint("|", colours), visible::line(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::samples;

    fn at(second: i64) -> Moment {
        Moment::from_second(samples::EPOCH + second).unwrap()
    }

    #[test]
    fn each_stage_gets_one_line_when_it_is_over() {
        let mut progress = Progress::new(false, false, 80);
        let mut build = samples::build_detail();
        build.build.started_at = None;
        assert_eq!(progress.update(&build, "", at(0)), "build 17 waits for its turn\n");
        assert_eq!(progress.update(&build, "", at(1)), "");

        build.build.started_at = Some(at(2));
        build.stages = vec![samples::stage(Stage::Pull, 2, Some(3.21)), samples::stage(Stage::Create, 5, None)];
        assert_eq!(progress.update(&build, "x", at(6)), "  pull           3.2 s\n");
        assert_eq!(progress.update(&build, "x", at(7)), "");
    }

    #[test]
    fn on_a_terminal_the_running_stage_is_drawn_with_the_last_line_of_the_log() {
        let mut progress = Progress::new(true, false, 40);
        let mut build = samples::build_detail();
        build.stages = vec![samples::stage(Stage::Pull, 2, Some(0.04)), samples::stage(Stage::Configure, 5, None)];
        let first = progress.update(&build, "apt-get\x1b[2J install a-long-list-of-things", at(8));
        assert_eq!(first, "  pull          0.04 s\n  configure        3 s  apt-get install");
        build.stages[1].seconds = Some(4.2);
        build.build.stage = Some(Stage::Configure);
        build.build.result = Some(BuildResult::Failed);
        assert_eq!(progress.update(&build, "", at(9)), "\r\x1b[K  configure      4.2 s  failed\n");
    }
}
