//! No text makes the reader panic, and every problem has a place that exists.

use proptest::prelude::*;

use super::MadeUp;
use crate::config::{Sources, read};

fn check(text: &str) -> Result<(), TestCaseError> {
    let mut sources = Sources::new("hearth.toml", text);
    sources.push("conf.d/10.toml", text);
    if let Err(problems) = read(&sources, &MadeUp) {
        prop_assert!(!problems.problems.is_empty());
        for problem in &problems.problems {
            let line = problem.line as usize;
            prop_assert!(line >= 1 && line <= text.split('\n').count(), "{}", problem);
            prop_assert!(problem.column >= 1, "{}", problem);
            prop_assert!(!problem.to_string().contains('\u{1b}'), "{}", problem);
        }
    }
    Ok(())
}

fn sample() -> String {
    super::good::sample()
}

/// Few, for the sake of the whole suite; `PROPTEST_CASES=20000 cargo test random` looks longer.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_text(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn what_looks_like_toml(text in "([\\[\\]{}=,.\"'#\\\\ \n\t\r]|orgs|users|alice|acme|main|workspaces|image|env|mounts|1|true|ä){0,80}") {
        check(&text)?;
    }

    #[test]
    fn a_sample_cut_off_or_cut_out(from in 0usize..4000, to in 0usize..4000) {
        let sample = sample();
        let cut = |at: usize| (0..=at.min(sample.len())).rev().find(|at| sample.is_char_boundary(*at)).unwrap();
        let (from, to) = (cut(from), cut(to));
        check(&sample[..from])?;
        check(&format!("{}{}", &sample[..from.min(to)], &sample[from.max(to)..]))?;
    }

    #[test]
    fn a_sample_with_something_put_in(at in 0usize..4000, text in "[\\[\\]{}=,.\"'#\\\\ \n\u{0}\u{1b}aé-]{1,6}") {
        let sample = sample();
        let at = (0..=at.min(sample.len())).rev().find(|at| sample.is_char_boundary(*at)).unwrap();
        check(&format!("{}{text}{}", &sample[..at], &sample[at..]))?;
    }

    #[test]
    fn a_sample_with_lines_in_another_order(a in 0usize..100, b in 0usize..100) {
        let sample = sample();
        let mut lines: Vec<&str> = sample.lines().collect();
        let (a, b) = (a % lines.len(), b % lines.len());
        lines.swap(a, b);
        check(&lines.join("\n"))?;
        lines.insert(a, lines[b]);
        check(&lines.join("\r\n"))?;
    }
}
