//! README's first command, whole: what it makes, that a second run is quick, and that its undo leaves nothing.
//!
//! Two things it does not do here: build (the tests' own binaries serve) and debootstrap (the tests' own root does).

use std::path::Path;
use std::process::Command;

use crate::support::command::run_at_most;
use crate::support::{PATIENCE, Ran, debian, docker, unique};

struct Demo {
    dir: tempfile::TempDir,
    instance: String,
}

impl Demo {
    fn quickstart(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/quickstart"));
        command.args(args).env("HEARTH_DEMO_DIR", self.dir.path()).env("HEARTH_DEMO_INSTANCE", &self.instance);
        command.env("HEARTH_DEMO_BIN", Path::new(env!("CARGO_BIN_EXE_hearth")).parent().unwrap());
        command.env("HEARTH_DEMO_ROOT", debian::root());
        run_at_most(PATIENCE * 3, command, b"")
    }

    fn hearth(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(self.dir.path().join("bin/hearth"));
        command.args(args).env("HEARTH_SOCKET", self.dir.path().join("run/hearth.sock"));
        crate::support::run(command)
    }

    /// Lists what the engine has of this demo.
    fn on_the_engine(&self) -> String {
        let label = format!("label=hearth.instance={}", self.instance);
        let listed = [
            docker(&["ps", "-aq", "--filter", &label]),
            docker(&["volume", "ls", "-q", "--filter", &label]),
            docker(&["network", "ls", "-q", "--filter", &label]),
            docker(&["image", "ls", "-q", &format!("hearth-{}", self.instance)]),
        ];
        listed.iter().map(Ran::ok).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.quickstart(&["--undo", "--yes"]);
    }
}

#[test]
fn the_first_command_of_the_readme_and_its_undo() {
    let demo = Demo { dir: tempfile::Builder::new().prefix("demo-").tempdir().unwrap(), instance: unique() };
    let told = demo.quickstart(&[]).ok();
    for line in ["[6/6] alice/main", "export HEARTH_SOCKET=", "hearth ssh main"] {
        assert!(told.contains(line), "no {line} in:\n{told}");
    }
    let shown = demo.hearth(&["show", "main", "--json"]).json();
    assert_eq!((&shown["state"], &shown["warnings"]), (&"running".into(), &serde_json::json!([])), "{shown}");
    let motd = demo.hearth(&["ssh", "main", "--", "cat", "/etc/motd"]).ok();
    assert_eq!(motd, "Welcome to alice/main, build 1.\nHer dotfiles are in place; ~/personalize ran.\n");

    let again = demo.quickstart(&[]);
    again.ok();
    let after = demo.hearth(&["show", "main", "--json"]).json();
    assert_eq!((&after["container"], &after["build"]), (&shown["container"], &shown["build"]), "{again}");

    demo.quickstart(&["--undo"]).fails(1);
    demo.quickstart(&["--undo", "--yes"]).ok();
    assert_eq!(demo.on_the_engine(), "");
    assert!(!demo.dir.path().exists());
    assert!(demo.quickstart(&["--undo"]).ok().contains("nothing to undo"));
}
