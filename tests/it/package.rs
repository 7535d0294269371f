//! What the package is made from: the configuration as installed, and who wrote what is linked in.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::support::run;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn check(text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hearth.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command.args(["config", "check"]).arg(&file);
    run(command).ok();
}

#[test]
fn the_installed_configuration_is_good_with_and_without_its_comment_signs() {
    let installed = std::fs::read_to_string(format!("{ROOT}/packaging/deb/hearth.toml")).unwrap();
    assert!(installed.parse::<toml::Table>().unwrap().is_empty(), "it does something before anybody edited it");
    check(&installed);
    let uncommented: Vec<_> = installed.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
    let values = uncommented.iter().filter(|line| line.starts_with('[') || line.contains(" = "));
    let values: Vec<_> = values.map(|line| format!("{line}\n")).collect();
    assert!(values.len() > 10, "found only {values:?}");
    check(&values.concat());
}

#[test]
fn c4_the_configurations_that_the_readme_shows_are_good() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let block = regex::Regex::new(r"(?ms)^```toml$(.*?)^```$").unwrap();
    let blocks: Vec<_> = block.captures_iter(&readme).map(|found| found[1].to_owned()).collect();
    assert!(!blocks.is_empty(), "found none");
    blocks.iter().for_each(|block| check(block));
}

/// Name, version and licence of all that is linked into the programs: not what only tests and builds use.
fn linked() -> BTreeSet<(String, String, String)> {
    let mut cargo = Command::new("cargo");
    cargo.args(["tree", "--locked", "--offline", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}|{l}"]);
    cargo.current_dir(ROOT);
    let package = |line: &str| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
        let mut words = package.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned(), licence.to_owned()))
    };
    run(cargo).ok().lines().filter_map(package).collect()
}

fn rules() -> toml::Table {
    std::fs::read_to_string(format!("{ROOT}/.deny.toml")).unwrap().parse().unwrap()
}

/// Whether a licence expression can be fulfilled with those that are allowed.
fn may(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.trim();
    if allowed.contains(&expression) {
        return true;
    }
    let split = |by: &str| {
        let mut depth = 0i32;
        let at = expression.char_indices().find(|(at, character)| {
            depth += i32::from(*character == '(') - i32::from(*character == ')');
            depth == 0 && expression[*at..].starts_with(by)
        });
        at.map(|(at, _)| (&expression[..at], &expression[at + by.len()..]))
    };
    for by in [" OR ", "/"] {
        if let Some((one, other)) = split(by) {
            return may(one, allowed) || may(other, allowed);
        }
    }
    if let Some((one, other)) = split(" AND ") {
        return may(one, allowed) && may(other, allowed);
    }
    expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).is_some_and(|inner| may(inner, allowed))
}

#[test]
fn licences_are_understood() {
    let allowed = ["MIT", "Unicode-3.0"];
    for (expression, fine) in [
        ("MIT", true),
        ("Apache-2.0/MIT", true),
        ("Apache-2.0 OR MIT", true),
        ("MIT AND Apache-2.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(GPL-3.0 OR Apache-2.0) AND Unicode-3.0", false),
        ("GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(may(expression, &allowed), fine, "{expression}");
    }
}

#[test]
fn every_licence_is_allowed_and_every_duplicate_is_known() {
    let (packages, rules) = (linked(), rules());
    assert!(packages.len() > 100, "found only {} packages", packages.len());
    let allowed = rules["licenses"]["allow"].as_array().unwrap();
    let allowed: Vec<_> = allowed.iter().filter_map(toml::Value::as_str).collect();
    let refused: Vec<_> = packages.iter().filter(|(_, _, licence)| !may(licence, &allowed)).collect();
    assert!(refused.is_empty(), "{refused:?}");

    let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, version, _) in &packages {
        versions.entry(name.as_str()).or_default().insert(version);
    }
    let twice: BTreeSet<_> =
        versions.into_iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name).collect();
    let known = rules["bans"]["skip"].as_array().unwrap();
    let known: BTreeSet<_> = known.iter().filter_map(|skip| skip["crate"].as_str()).collect();
    assert_eq!(twice, known, "left: what is linked twice; right: what .deny.toml knows");
}

#[test]
fn every_command_that_a_document_names_is_there() {
    let named = regex::Regex::new(r"`(?:sudo )?hearth ((?:[a-z]+ ?)+)").unwrap();
    let mut documents: Vec<_> =
        std::fs::read_dir(format!("{ROOT}/packaging/doc")).unwrap().map(|e| e.unwrap().path()).collect();
    documents.push(format!("{ROOT}/README.md").into());
    let texts: String = documents.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let commands: BTreeSet<_> = named.captures_iter(&texts).map(|found| found[1].trim().to_owned()).collect();
    assert!(commands.len() > 15, "found only {commands:?}");
    for command in commands {
        let mut words: Vec<_> = command.split(' ').collect();
        // Only what has commands of its own takes more than a word of the language.
        let nested = ["config", "git", "home"].contains(&words[0]);
        words.truncate(if nested { 2 } else { 1 });
        let mut help = Command::new(env!("CARGO_BIN_EXE_hearth"));
        help.args(words).arg("--help");
        run(help).ok();
    }
}
