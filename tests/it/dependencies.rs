//! What is built into the programs: under which licences, from where, and nothing twice without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

/// Licences that let anybody give the programs away as they are, static and without their source.
const LICENCES: [&str; 8] =
    ["MIT", "Apache-2.0", "Unicode-3.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "CC0-1.0"];
/// Crates of which two versions are built in, as those who use them have not met on one yet.
const TWICE: [&str; 4] = ["base64", "cpufeatures", "rand_core", "syn"];

fn cargo(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).args(["--locked", "--offline"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every package that is built, also for tests.
fn packages() -> Vec<Value> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let all = cargo(&["metadata", "--format-version", "1", "--filter-platform", &target]);
    let mut all: Value = serde_json::from_str(&all).unwrap();
    all["packages"].as_array_mut().map(std::mem::take).unwrap()
}

fn is_accepted(licence: &str) -> bool {
    let accepted = |one: &LicenseReq| one.license.id().is_some_and(|id| LICENCES.contains(&id.name));
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| expression.evaluate(accepted))
}

#[test]
fn every_licence_lets_the_programs_be_given_away() {
    let packages = packages();
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_accepted(licence), "{} is under {licence}", package["name"]);
    }
    for (licence, accepted) in [("GPL-3.0-only", false), ("MIT AND GPL-2.0", false), ("GPL-2.0 OR MIT", true)] {
        assert_eq!(is_accepted(licence), accepted, "{licence}");
    }
}

#[test]
fn everything_comes_from_the_registry() {
    for package in packages() {
        let (name, source) = (&package["name"], &package["source"]);
        let registry = source.as_str().is_some_and(|source| source.starts_with("registry+"));
        assert!(registry || name == "hearthd", "{name} comes from {source}");
    }
}

#[test]
fn nothing_is_built_in_twice_without_a_reason() {
    let tree = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        versions.entry(name).or_default().insert(version);
    }
    assert!(versions.len() > 100, "{}", versions.len());
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.keys().copied().eq(TWICE), "{versions:?}");
}
