//! Whole configurations: good ones, and bad ones each named after its fault with its message beside it.

mod effective;
mod files;
mod good;
mod random;
mod reload;

use std::path::{Path, PathBuf};

use super::{FileFact, FileStamp, HostFacts, Problems, Sources, read};

/// A machine made up: everything is in order but for a few paths that say so.
pub(super) struct MadeUp;

impl HostFacts for MadeUp {
    fn timezone(&self) -> Option<String> {
        Some("Europe/Vienna".to_owned())
    }

    fn uid(&self) -> u32 {
        999
    }

    fn file(&self, path: &Path) -> FileFact {
        let there = |owner, mode, directory| FileFact::There { owner, mode, directory, stamp: FileStamp::default() };
        let file = |owner, mode| there(owner, mode, false);
        match path.to_str().unwrap() {
            "/etc/hearth/secrets/open" => file(0, 0o644),
            "/etc/hearth/secrets/group" => file(0, 0o640),
            "/etc/hearth/secrets/foreign" => file(1000, 0o600),
            "/etc/hearth/secrets/missing" => FileFact::Missing,
            "/etc/hearth/secrets/directory" => there(0, 0o700, true),
            "/etc/hearth/secrets/hidden" => FileFact::Hidden("Permission denied".to_owned()),
            _ => file(999, 0o600),
        }
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        for (link, target) in [("/var/run", "/run"), ("/srv/link-to-run", "/run")] {
            if let Ok(rest) = path.strip_prefix(link) {
                return Path::new(target).join(rest).components().collect();
            }
        }
        path.to_owned()
    }
}

pub(super) fn problems(sources: &Sources) -> Problems {
    match read(sources, &MadeUp) {
        Ok(_) => panic!("this should not be accepted:\n{}", sources.files()[0].text),
        Err(problems) => problems,
    }
}

/// Reads the bad configurations: a file, or a directory with a main file and a `conf.d`.
fn bad() -> Vec<(String, Sources)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/bad");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let main = super::load_sources(&path.join("hearth.toml")).unwrap();
            let files: Vec<(String, String)> = main.into();
            let short = |file: &str| file.strip_prefix(&format!("{}/", path.display())).unwrap().to_owned();
            found.push((name, files.into_iter().map(|(file, text)| (short(&file), text)).collect::<Vec<_>>().into()));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((name.clone(), Sources::new(&format!("{name}.toml"), &text)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn c2_bad_configurations_are_refused_with_everything_that_is_wrong() {
    let bad = bad();
    assert!(bad.len() > 30, "found {}", bad.len());
    insta::with_settings!({ snapshot_path => "bad", prepend_module_to_snapshot => false, omit_expression => true }, {
        for (name, sources) in bad {
            insta::assert_snapshot!(name, problems(&sources));
        }
    });
}
