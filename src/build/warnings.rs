//! What hooks reported, as the warnings that people see (rules L8, H5). Pure; everything here came from inside a container
//! and is bounded and neutralised on the way (rule X4).

use std::time::Duration;

use nix::sys::signal::Signal;

use super::lines::cut;
use crate::helper::bundle::{Facts, Home, Note, StepEnd, StepReport};
use crate::model::{Hook, Span, Warning, WarningKind, neutralise};

const MOST_NOTES: usize = 16;
const MOST_LINES: usize = 20;

/// Returns how a hook is called in a message.
pub(super) fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::Pull => "pull",
        Hook::Inject => "inject",
        Hook::Configure => "`/coder/configure`",
        Hook::Dotfiles => "dotfiles",
        Hook::Personalize => "`~/personalize`",
        Hook::Container => "the container",
    }
}

/// Returns what there is to warn of after a step.
pub(super) fn of_step(step: &StepReport, timeout: Duration) -> Vec<Warning> {
    let hook = name(step.hook);
    let warn = |kind, exit_code, message: String| {
        let tail = step.tail.iter().rev().take(MOST_LINES).rev().map(|line| readable(line)).collect();
        Warning { hook: step.hook, kind, exit_code, message: readable(&message), tail }
    };
    let end = match &step.end {
        StepEnd::Nothing | StepEnd::Exited(0) => None,
        StepEnd::Exited(code) => {
            Some(warn(WarningKind::Exit, Some(*code), format!("{hook} ended with exit code {code}")))
        }
        StepEnd::Signalled(signal) => {
            let name =
                Signal::try_from(*signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string());
            Some(warn(
                WarningKind::Signal,
                Some(128_i32.saturating_add(*signal)),
                format!("{hook} was ended by {name}"),
            ))
        }
        StepEnd::TimedOut => {
            let message = format!("{hook} ran longer than `hook_timeout` ({}) and was ended", Span(timeout));
            Some(warn(WarningKind::Timeout, None, message))
        }
        StepEnd::NotRun(note) => Some(warn(note.kind, None, note.message.clone())),
    };
    let notes = step.notes.iter().take(MOST_NOTES).map(|note| warn(note.kind, None, note.message.clone()));
    end.into_iter().chain(notes).collect()
}

/// Returns what there is to warn of in how the container looks.
pub(super) fn of_facts(facts: &Facts) -> Vec<Warning> {
    let mut warnings = vec![];
    let mut warn = |kind, message: String| {
        let message = readable(&message);
        warnings.push(Warning { hook: Hook::Inject, kind, exit_code: None, message, tail: vec![] });
    };
    for (program, is_there) in [("git", facts.git), ("ssh", facts.ssh)] {
        if !is_there {
            warn(WarningKind::Missing, format!("`{program}` is not in the image"));
        }
    }
    match (&facts.shell, &facts.missing_shell) {
        (None, _) => {
            warn(
                WarningKind::Missing,
                "the image has no shell: only commands can be run, `hearth ssh … -- COMMAND`".into(),
            );
        }
        (Some(shell), Some(missing)) => {
            warn(WarningKind::Missing, format!("the shell `{missing}` is not in the image; people get `{shell}`"));
        }
        (Some(_), None) => {}
    }
    match &facts.home {
        Home::Writable => {}
        Home::Full => warn(WarningKind::HomeFull, "the home is full: nothing can be written in it".into()),
        Home::NotWritable(error) => warn(WarningKind::Other, format!("the home cannot be written to: {error}")),
    }
    warnings
}

/// Returns what inject could not do and hinders nobody.
pub(super) fn of_notes(notes: &[Note]) -> Vec<Warning> {
    let warn = |note: &Note| Warning {
        hook: Hook::Inject,
        kind: note.kind,
        exit_code: None,
        message: readable(&note.message),
        tail: vec![],
    };
    notes.iter().take(MOST_NOTES).map(warn).collect()
}

/// Returns a text of a container's as it may be shown.
pub(super) fn readable(text: &str) -> String {
    cut(&neutralise(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(end: StepEnd) -> Vec<Warning> {
        let tail = (0..30).map(|n| format!("\x1b[1mline {n}\x07")).collect();
        let step = StepReport { hook: Hook::Configure, end, notes: vec![], tail };
        of_step(&step, Duration::from_secs(1800))
    }

    #[test]
    fn l8_a_warning_names_the_hook_its_end_and_its_last_lines() {
        assert_eq!(step(StepEnd::Exited(0)), []);
        assert_eq!(step(StepEnd::Nothing), []);
        for (end, kind, code, message) in [
            (StepEnd::Exited(7), WarningKind::Exit, Some(7), "`/coder/configure` ended with exit code 7"),
            (StepEnd::Signalled(9), WarningKind::Signal, Some(137), "`/coder/configure` was ended by SIGKILL"),
            (StepEnd::Signalled(64), WarningKind::Signal, Some(192), "`/coder/configure` was ended by signal 64"),
            (
                StepEnd::TimedOut,
                WarningKind::Timeout,
                None,
                "`/coder/configure` ran longer than `hook_timeout` (30m) and was ended",
            ),
        ] {
            let warning = &step(end)[0];
            assert_eq!((warning.kind, warning.exit_code, &*warning.message), (kind, code, message));
            assert_eq!(warning.tail.len(), 20);
            assert_eq!(warning.tail[19], "line 29\\x07");
        }
    }

    #[test]
    fn x4_a_hostile_report_is_bounded() {
        let note = Note::new(WarningKind::Other, format!("\x1b]0;x\x07{}", "y".repeat(100_000)));
        let step = StepReport {
            hook: Hook::Personalize,
            end: StepEnd::NotRun(note.clone()),
            notes: vec![note; 1000],
            tail: vec!["z".repeat(100_000); 1000],
        };
        let warnings = of_step(&step, Duration::ZERO);
        assert_eq!(warnings.len(), 1 + MOST_NOTES);
        assert!(warnings.iter().all(|warning| warning.message.chars().count() <= 401));
        assert!(warnings.iter().all(|warning| warning.tail.iter().map(String::len).sum::<usize>() < 10_000));
        assert!(!warnings[0].message.contains('\x1b'));
        assert_eq!(step_of_code(i32::MAX).exit_code, Some(i32::MAX));
    }

    fn step_of_code(signal: i32) -> Warning {
        step(StepEnd::Signalled(signal)).remove(0)
    }

    #[test]
    fn h5_what_the_image_lacks_is_said() {
        let facts = Facts { git: true, ssh: true, shell: Some("/bin/sh".into()), ..Facts::default() };
        assert_eq!(of_facts(&facts), []);
        let bare = Facts { home: Home::Full, ..Facts::default() };
        let kinds: Vec<WarningKind> = of_facts(&bare).iter().map(|warning| warning.kind).collect();
        assert_eq!(kinds, [WarningKind::Missing, WarningKind::Missing, WarningKind::Missing, WarningKind::HomeFull]);
        let other = Facts { missing_shell: Some("/bin/zsh".into()), ..facts };
        assert!(of_facts(&other)[0].message.contains("people get `/bin/sh`"));
    }
}
