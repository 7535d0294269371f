//! Plays histories, and says how to play one again that went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::watchman::Broken;
use super::world::{Size, World};

const HOUR: Duration = Duration::from_secs(3600);

/// What a history was like.
#[derive(Debug, Default)]
pub(super) struct Told {
    workspace_days: f64,
    turns: u64,
    faults: BTreeMap<&'static str, usize>,
    pub(super) history: Vec<String>,
}

/// Returns the size of a seed's history: most are small and full of trouble, some are large and long.
fn size(seed: u64) -> Size {
    match seed % 50 {
        49 => Size { workspaces: 120, stretches: 4, steps: 60, between: 4 * HOUR, rest: 4 * HOUR, calm: 5 },
        45..=48 => Size { workspaces: 30, stretches: 3, steps: 60, between: 2 * HOUR, rest: 4 * HOUR, calm: 3 },
        _ => Size {
            workspaces: 2 + (seed % 7) as usize,
            stretches: 3,
            steps: 40,
            between: HOUR / 2,
            rest: 4 * HOUR,
            calm: if seed.is_multiple_of(3) { 2 } else { 0 },
        },
    }
}

/// Plays one history.
pub(super) fn play(seed: u64, aloud: bool) -> (Result<(), Broken>, Told) {
    let size = size(seed);
    let mut world = World::new(seed, size, aloud);
    let lived = (|| {
        world.pass(Duration::from_secs(60))?;
        for _ in 0..size.stretches {
            world.trouble()?;
            world.quiesce()?;
            world.calm_days()?;
        }
        Ok(())
    })();
    world.end(false);
    let workspace_days = world.host.clock.passed().as_secs_f64() / 86_400.0 * size.workspaces as f64;
    if lived.is_err() {
        let calls = world.host.engine.calls();
        for call in &calls[calls.len().saturating_sub(40)..] {
            world.note(format!("call {call}"));
        }
    }
    let World { turns, faults, history, .. } = world;
    (lived, Told { workspace_days, turns, faults, history })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays histories until they make up so many workspace-years, and panics at the first that goes wrong.
fn play_all(seeds: impl Iterator<Item = u64>, years: f64) -> (usize, Told) {
    let mut all = Told::default();
    let mut histories = 0;
    for seed in seeds {
        let (lived, told) = play(seed, false);
        if let Err(Broken { invariant, what }) = lived {
            let history = told.history.join("\n");
            panic!("{history}\n{invariant:?}: {what}\nSEED={seed} cargo test --lib simulation::run -- --nocapture");
        }
        histories += 1;
        all.workspace_days += told.workspace_days;
        all.turns += told.turns;
        for (kind, times) in told.faults {
            *all.faults.entry(kind).or_default() += times;
        }
        if all.workspace_days / 365.0 >= years {
            break;
        }
    }
    (histories, all)
}

#[test]
fn lives_hold_what_the_design_says() {
    if let Some(seed) = number("SEED") {
        let (lived, told) = play(seed, true);
        println!("{lived:?} after {} turns, {:.0} workspace-days", told.turns, told.workspace_days);
        assert!(!told.history.is_empty());
        lived.unwrap();
        return;
    }
    let years = std::env::var("SIM_YEARS").ok().and_then(|years| years.parse().ok()).unwrap_or(0.2);
    let began = tokio::time::Instant::now();
    let (histories, told) = play_all(number("SIM_FROM").unwrap_or(1).., years);
    let took = began.elapsed().as_secs_f64();
    let Told { workspace_days, turns, faults, .. } = told;
    let years = workspace_days / 365.0;
    println!("{histories} histories, {years:.1} workspace-years, {turns} turns in {took:.1} s: {faults:#?}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    assert_eq!(play(7, false).1.history, play(7, false).1.history);
}
