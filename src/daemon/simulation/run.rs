//! Plays histories, and says how to play one again that went wrong.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// See [`Watchman::off_by`](super::watchman::Watchman::off_by).
    off_by: Vec<f64>,
    pub(super) history: Vec<String>,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.workspace_days += other.workspace_days;
        self.turns += other.turns;
        self.off_by.extend(other.off_by);
        for (kind, times) in other.faults {
            *self.faults.entry(kind).or_default() += times;
        }
    }
}

/// Returns the size of a seed's history: most are small and full of trouble, some are large and long.
fn size(seed: u64) -> Size {
    match seed % 50 {
        49 => Size { workspaces: 200, stretches: 3, steps: 60, between: 4 * HOUR, rest: 4 * HOUR, calm: 8 },
        48 => Size { workspaces: 30, stretches: 3, steps: 60, between: 2 * HOUR, rest: 4 * HOUR, calm: 3 },
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
    let off_by = world.watchman.off_by();
    let World { turns, faults, history, .. } = world;
    (lived, Told { workspace_days, turns, faults, off_by, history })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub(super) fn on_each_processor(play: impl Fn() + Sync) {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(&play))));
}

/// Plays histories, on each processor some, until they make up so many workspace-years or one goes wrong; returns how
/// many those were.
fn play_all(from: u64, years: f64) -> Result<(usize, Told), String> {
    let (next, all) = (AtomicU64::new(from), Mutex::new(Ok((0, Told::default()))));
    let is_over =
        || all.lock().unwrap().as_ref().map_or(true, |(_, told): &(_, Told)| told.workspace_days / 365.0 >= years);
    let play_some = || {
        while !is_over() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let (lived, told) = play(seed, false);
            let mut all = all.lock().unwrap();
            match (lived, &mut *all) {
                (Ok(()), Ok((histories, all))) => {
                    *histories += 1;
                    all.add(told);
                }
                (Err(Broken { invariant, what }), Ok(_)) => {
                    let history = told.history.join("\n");
                    let again = format!("SEED={seed} cargo test --profile sim --lib simulation::run -- --nocapture");
                    *all = Err(format!("{history}\n{invariant:?}: {what}\n{again}"));
                }
                (_, Err(_)) => {}
            }
        }
    };
    on_each_processor(play_some);
    all.into_inner().unwrap()
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
    let (histories, told) = play_all(number("SIM_FROM").unwrap_or(1), years).unwrap_or_else(|wrong| panic!("{wrong}"));
    let took = began.elapsed().as_secs_f64();
    let Told { workspace_days, turns, faults, mut off_by, .. } = told;
    off_by.sort_by(f64::total_cmp);
    let part = |of: usize| off_by.get(off_by.len() * of / 1000).copied().unwrap_or(f64::NAN);
    let years = workspace_days / 365.0;
    println!("{histories} histories, {years:.1} workspace-years, {turns} turns in {took:.1} s: {faults:#?}");
    println!(
        "{} went off as was foreseen, {:.1} s (least), {:.1} s (median), {:.1} s (999 of 1,000) later than was said",
        off_by.len(),
        part(0),
        part(500),
        part(999)
    );
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [5, 7, 12] {
        assert_eq!(play(seed, false).1.history, play(seed, false).1.history);
    }
}
