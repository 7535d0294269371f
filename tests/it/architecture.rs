//! The arrows between modules: what may use what. Reads the `use` and path expressions of `src/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// For each module, which others it may name. A module that is missing here may name anything (`daemon`).
const ARROWS: &[(&str, &[&str])] = &[
    // Pure.
    ("blocking", &[]),
    ("model", &[]),
    ("config", &["model"]),
    ("access", &["config", "model"]),
    ("decide", &["model", "config", "activity"]),
    ("pipeline", &["model"]),
    ("trash", &["model"]),
    ("schedule", &["model", "config"]),
    ("activity", &["model", "config"]),
    ("evidence", &["model", "config", "docker"]),
    // Outside.
    ("docker", &["model"]),
    ("store", &["model", "trash"]),
    ("helper", &["model"]),
    ("enter", &["model", "docker", "helper"]),
    ("build", &["blocking", "model", "config", "docker", "enter", "handle", "helper", "store", "trash"]),
    ("handle", &["model", "config", "access", "activity", "schedule", "trash"]),
    (
        "api",
        &["model", "config", "access", "activity", "handle", "schedule", "store", "build", "enter", "daemon", "trash"],
    ),
    ("cli", &["model", "config", "api", "enter", "helper"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level modules that a source text names as `crate::x` outside of comments and tests.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names = BTreeSet::new();
    for line in lines {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let grouped = rest.strip_prefix('{').unwrap_or(rest);
            let end = grouped.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(grouped.len());
            names.insert(grouped[..end].to_owned());
        }
    }
    names
}

#[test]
fn arrows_point_the_right_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "found only {} sources", files.len());
    let arrows: BTreeMap<_, BTreeSet<_>> =
        ARROWS.iter().map(|(module, may)| (*module, may.iter().copied().collect())).collect();
    let modules: BTreeSet<_> = arrows.keys().copied().chain(["daemon"]).collect();
    let mut wrong = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        let Some(may) = arrows.get(module) else { continue };
        for name in named(&std::fs::read_to_string(&file).unwrap()) {
            if modules.contains(name.as_str()) && name != module && !may.contains(name.as_str()) {
                wrong.push(format!("{}: {module} → {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn l10_one_place_in_hearth_removes_a_volume() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    // Whatever way there is to say it to the engine, by its API or by its program.
    let ways = ["remove_volume", "prune_volumes", "volume prune", "volume rm", "\"prune\"", "/volumes/"];
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let calls = ways.iter().filter(|way| line.contains(**way)).count();
            let declares = line.contains("fn remove_volume(");
            // What a person is told to type is no call.
            if calls > 0 && !declares && !line.contains('`') {
                found.push(path.clone());
            }
        }
    }
    // The call, and behind the interface how each engine does it.
    let expected = ["build/volume.rs", "docker/bollard/mod.rs", "docker/bollard/objects.rs", "docker/fake/mod.rs"];
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn no_source_is_longer_than_one_can_hold_in_mind() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut files);
    }
    let lines = |file: &PathBuf| std::fs::read_to_string(file).unwrap().lines().count();
    let long: Vec<_> = files.iter().map(|file| (lines(file), file)).filter(|(lines, _)| *lines > 560).collect();
    assert!(long.is_empty(), "look for the second concept in: {long:?}");
}
