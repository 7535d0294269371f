//! That the simulation finds bugs: each of these is put in on purpose.

use std::sync::Mutex;

use super::run::{on_each_processor, play};
use super::watchman::Invariant::{self, *};
use crate::mutant;

/// Bugs, and what of each breaks.
const MUTANTS: &[(&str, &[Invariant])] = &[
    ("labels prove it", &[NotOurs]),
    ("a user has one home", &[OneContainer, FixedPoint]),
    ("old looks count", &[FixedPoint, Because]),
    ("away is gone", &[Because, FixedPoint]),
    ("built anew without end", &[Alive, FixedPoint]),
    ("cut off builds are forgotten", &[BuildsEnd, FixedPoint]),
    ("wishes are not recorded", &[FixedPoint]),
    ("only events are looked after", &[FixedPoint]),
    ("cancels are not answered", &[Answered]),
    ("half removed is removed", &[FixedPoint, Because]),
    ("only builds bring secrets", &[FixedPoint]),
    ("failures are not told", &[Because]),
    ("nobody is warned", &[UsedStaysOn]),
    ("never off", &[FixedPoint]),
    ("no fresh look", &[UsedStaysOn]),
    ("holds hold nothing", &[UsedStaysOn, FixedPoint]),
    ("use is overlooked", &[UsedStaysOn]),
    ("forbidden days are not looked at", &[StartsAsAllowed]),
    ("missed starts are made up for ever", &[StartsAsAllowed]),
    ("all zones are the server's", &[StartsAsAllowed]),
    ("who is away is here", &[StartsAsAllowed]),
    ("unused is used", &[StartsAsAllowed]),
    ("nothing starts by itself", &[StartsAsAllowed]),
    ("a changed schedule starts at once", &[StartsAsAllowed]),
];

/// So many histories find each.
const ENOUGH: u64 = 600;

/// Returns what is wrong with how a bug is found.
fn missed(name: &'static str, breaks: &[Invariant]) -> Option<String> {
    mutant::turn_on(name);
    let mut small = (1..=ENOUGH).filter(|seed| seed % 50 < 48);
    let found = small.find_map(|seed| play(seed, false).0.err().map(|broken| (seed, broken)));
    mutant::turn_on("");
    // It is no find where something is wrong without it.
    if let Some((seed, _)) = found
        && let Err(broken) = play(seed, false).0
    {
        return Some(format!("{name}: SEED={seed} is broken without it: {broken:?}"));
    }
    match found {
        Some((seed, broken)) if breaks.contains(&broken.invariant) => {
            println!("{name}: found by history {seed}: {:?}: {}", broken.invariant, broken.what);
            None
        }
        found => Some(format!("{name}: {found:?}")),
    }
}

#[test]
#[ignore = "takes minutes: `cargo test --profile sim --lib mutants -- --ignored`"]
fn each_bug_that_is_put_in_is_found() {
    let only = std::env::var("MUTANT").ok();
    let mutants = MUTANTS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
    let (mutants, all) = (Mutex::new(mutants), Mutex::new(Vec::new()));
    on_each_processor(|| {
        while let Some((name, breaks)) = { mutants.lock().unwrap().next() } {
            all.lock().unwrap().extend(missed(name, breaks));
        }
    });
    let all = all.into_inner().unwrap();
    assert!(all.is_empty(), "missed of {}:\n{}", MUTANTS.len(), all.join("\n"));
}
