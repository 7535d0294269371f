//! The user's dotfiles (rule H3): cloned to `~/dotfiles` or pulled, then installed. Nothing of the user's is deleted: what is
//! in the way is moved aside, and a second run changes nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bundle::{Note, StepEnd};
use super::facts::{find_program, is_program};
use super::output::Output;
use super::supervise::{End, Limits, supervise};
use crate::model::WarningKind;

const INSTALLERS: [&str; 8] =
    ["install.sh", "install", "bootstrap.sh", "bootstrap", "script/bootstrap", "setup.sh", "setup", "script/setup"];

/// Dot-files that are about the repository, not about the home.
const OF_THE_REPOSITORY: [&str; 10] = [
    ".git",
    ".gitignore",
    ".gitattributes",
    ".gitmodules",
    ".gitkeep",
    ".github",
    ".gitlab",
    ".gitlab-ci.yml",
    ".gitea",
    ".forgejo",
];

/// The dotfiles step of one build.
pub(super) struct Dotfiles<'a> {
    pub(super) home: &'a Path,
    pub(super) url: &'a str,
    pub(super) limits: Limits,
    pub(super) output: &'a mut Output<File>,
    pub(super) notes: Vec<Note>,
}

impl Dotfiles<'_> {
    /// Clones or pulls, and installs.
    pub(super) fn run(&mut self) -> StepEnd {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if find_program("git", &path).is_none() {
            let message = "`git` is not in the image, so the dotfiles cannot be cloned";
            return StepEnd::NotRun(Note::new(WarningKind::Missing, message));
        }
        let done = self.fetch().and_then(|end| if end == END_WELL { self.install() } else { Ok(end) });
        match done {
            Ok(end) => end,
            Err(error) => StepEnd::NotRun(Note::new(WarningKind::Other, format!("dotfiles: {error}"))),
        }
    }

    fn dir(&self) -> PathBuf {
        self.home.join("dotfiles")
    }

    fn fetch(&mut self) -> io::Result<StepEnd> {
        let dir = self.dir();
        if dir.symlink_metadata().is_err() {
            return self.clone_it();
        }
        if origin(&dir).as_deref() == Some(self.url) {
            return self.pull();
        }
        let aside = free_name(self.home, "dotfiles");
        self.output.say(&format!("~/dotfiles is not a clone of {}: moving it to ~/{aside}", self.url));
        std::fs::rename(&dir, self.home.join(aside))?;
        self.clone_it()
    }

    /// Clones aside first, so that `~/dotfiles` is a whole clone or none.
    fn clone_it(&mut self) -> io::Result<StepEnd> {
        let new = self.home.join(".dotfiles.hearth-new");
        if new.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&new)?;
        }
        self.output.say(&format!("cloning {} to ~/dotfiles", self.url));
        let mut git = self.git();
        git.args(["clone", "--", self.url]).arg(&new);
        let end = self.execute(git)?;
        if end == END_WELL {
            std::fs::rename(&new, self.dir())?;
        }
        Ok(end)
    }

    /// A pull that fails leaves the clone as it is, and that is installed.
    fn pull(&mut self) -> io::Result<StepEnd> {
        self.output.say("pulling ~/dotfiles");
        let mut git = self.git();
        git.arg("-C").arg(self.dir()).args(["pull", "--ff-only"]);
        let end = self.execute(git)?;
        let StepEnd::Exited(code @ 1..) = end else { return Ok(end) };
        let message =
            format!("`git pull --ff-only` in ~/dotfiles ended with exit code {code}; the clone was installed as it is");
        self.notes.push(Note::new(WarningKind::Exit, message));
        Ok(END_WELL)
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.current_dir(self.home).env("GIT_TERMINAL_PROMPT", "0");
        git
    }

    fn install(&mut self) -> io::Result<StepEnd> {
        let dir = self.dir();
        for name in INSTALLERS {
            let path = dir.join(name);
            if is_program(&path) {
                return self.run_installer(&path, name);
            }
            if path.is_file() {
                self.output.say(&format!("~/dotfiles/{name} is not executable and passed over"));
            }
        }
        self.link_all()?;
        Ok(END_WELL)
    }

    fn run_installer(&mut self, path: &Path, name: &str) -> io::Result<StepEnd> {
        self.output.say(&format!("running ~/dotfiles/{name}"));
        match super::launch::prepare(path) {
            Ok(Some(mut command)) => {
                command.current_dir(self.dir());
                self.execute(command)
            }
            Ok(None) => Ok(StepEnd::Nothing),
            Err(note) => Ok(StepEnd::NotRun(note)),
        }
    }

    fn link_all(&mut self) -> io::Result<()> {
        let entries = std::fs::read_dir(self.dir())?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let mut names: Vec<String> = entries.filter_map(io::Result::transpose).collect::<io::Result<_>>()?;
        names.retain(|name| name.starts_with('.') && !OF_THE_REPOSITORY.contains(&name.as_str()));
        names.sort();
        for name in names {
            if let Some(done) = link(self.home, &name)? {
                self.output.say(&done);
            }
        }
        Ok(())
    }

    fn execute(&mut self, command: Command) -> io::Result<StepEnd> {
        Ok(match supervise(command, self.limits, self.output)? {
            End::Exited(code) => StepEnd::Exited(code),
            End::Signalled(signal) => StepEnd::Signalled(signal),
            End::TimedOut { .. } => StepEnd::TimedOut,
        })
    }
}

const END_WELL: StepEnd = StepEnd::Exited(0);

/// The URL that a clone came from.
fn origin(dir: &Path) -> Option<String> {
    // Without this, git would answer for a repository that the home itself is.
    dir.join(".git").symlink_metadata().ok()?;
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).args(["config", "--get", "remote.origin.url"]).stdin(Stdio::null()).stderr(Stdio::null());
    Some(String::from_utf8(git.output().ok()?.stdout).ok()?.trim_end().to_owned())
}

/// Links `~/NAME` to the dotfile of that name; returns what it did, if anything.
fn link(home: &Path, name: &str) -> io::Result<Option<String>> {
    // Relative: the home may be mounted at another path one day (rule L5).
    let target = Path::new("dotfiles").join(name);
    let place = home.join(name);
    let mut done = format!("~/{name} → ~/dotfiles/{name}");
    match std::fs::read_link(&place) {
        Ok(present) if present == target || present == home.join(&target) => return Ok(None),
        Ok(_) => done.push_str(&move_aside(home, name)?),
        Err(_) if place.symlink_metadata().is_ok() => done.push_str(&move_aside(home, name)?),
        Err(_) => {}
    }
    std::os::unix::fs::symlink(&target, &place)?;
    Ok(Some(done))
}

fn move_aside(home: &Path, name: &str) -> io::Result<String> {
    let aside = free_name(home, name);
    std::fs::rename(home.join(name), home.join(&aside))?;
    Ok(format!("; what was there is ~/{aside}"))
}

/// Returns `NAME.bak`, or `NAME.bak-2`, … where that is taken.
fn free_name(dir: &Path, name: &str) -> String {
    let later = (2..).map(|n: u32| format!("{name}.bak-{n}"));
    let mut names = std::iter::once(format!("{name}.bak")).chain(later);
    let is_free = |name: &String| dir.join(name).symlink_metadata().is_err();
    names.find(is_free).expect("a directory holds fewer names than there are")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, Instant};

    use super::*;

    struct World {
        temp: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self { temp: tempfile::tempdir().unwrap() };
            std::fs::create_dir(world.home()).unwrap();
            world
        }

        fn home(&self) -> PathBuf {
            self.temp.path().join("home")
        }

        /// A repository with these files (path, mode, content); returns its URL.
        fn repository(&self, name: &str, files: &[(&str, u32, &str)]) -> String {
            let path = self.temp.path().join(name);
            if !path.exists() {
                self.git(&["init", "--quiet", "--initial-branch=main", path.to_str().unwrap()]);
            }
            for (file, mode, content) in files {
                let file = path.join(file);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, content).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(*mode)).unwrap();
            }
            let path = path.to_str().unwrap();
            self.git(&["-C", path, "add", "--all"]);
            let who = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
            self.git(&[&["-C", path][..], &who[..], &["commit", "--quiet", "--allow-empty", "-m", "x"]].concat());
            path.to_owned()
        }

        fn git(&self, args: &[&str]) {
            assert!(Command::new("git").args(args).status().unwrap().success(), "{args:?}");
        }

        fn run(&self, url: &str) -> (StepEnd, Vec<Note>, Vec<String>) {
            let limits = Limits { deadline: Instant::now() + Duration::from_secs(60), grace: Duration::from_secs(1) };
            let mut output = Output::new(File::options().write(true).open("/dev/null").unwrap(), None, 1 << 20);
            let home = self.home();
            let mut dotfiles = Dotfiles { home: &home, url, limits, output: &mut output, notes: vec![] };
            let end = dotfiles.run();
            let notes = std::mem::take(&mut dotfiles.notes);
            output.finish();
            (end, notes, output.tail())
        }

        fn read(&self, path: &str) -> String {
            std::fs::read_to_string(self.home().join(path)).unwrap_or_else(|error| error.to_string())
        }

        /// Every path of the home outside `.git`, with what it is.
        fn listing(&self) -> Vec<String> {
            let mut find = Command::new("find");
            find.current_dir(self.home()).args([".", "-name", ".git", "-prune", "-o", "-printf", "%p %y %l %T@ %C@\n"]);
            let text = String::from_utf8(find.output().unwrap().stdout).unwrap();
            let mut lines: Vec<String> = text.lines().map(String::from).collect();
            lines.sort();
            assert!(!lines.is_empty());
            lines
        }
    }

    #[test]
    fn h3_dot_files_are_linked_what_is_in_the_way_is_kept_and_a_second_run_changes_nothing() {
        let world = World::new();
        let url = world.repository(
            "repo",
            &[(".vimrc", 0o644, "vim"), (".bashrc", 0o644, "new"), (".gitignore", 0o644, ""), ("README", 0o644, "")],
        );
        std::fs::write(world.home().join(".bashrc"), "old").unwrap();
        symlink("/elsewhere", world.home().join(".vimrc")).unwrap();
        let (end, notes, _) = world.run(&url);
        assert_eq!((end, notes), (END_WELL, vec![]));
        assert_eq!(world.read(".bashrc"), "new");
        assert_eq!(world.read(".bashrc.bak"), "old");
        assert_eq!(world.read(".vimrc"), "vim");
        assert!(world.home().join(".vimrc.bak").symlink_metadata().is_ok());
        assert_eq!(std::fs::read_link(world.home().join(".vimrc")).unwrap(), Path::new("dotfiles/.vimrc"));
        for absent in [".gitignore", ".git", "README"] {
            assert!(world.home().join(absent).symlink_metadata().is_err(), "{absent}");
        }
        let before = world.listing();
        let (end, _, _) = world.run(&url);
        assert_eq!(end, END_WELL);
        assert_eq!(world.listing(), before);
    }

    #[test]
    fn h3_the_first_executable_installer_runs_in_the_clone() {
        let world = World::new();
        let url = world.repository(
            "repo",
            &[
                ("install.sh", 0o644, "exit 1"),
                ("bootstrap", 0o755, "#!/bin/sh\npwd > ../ran; echo boot\n"),
                ("setup", 0o755, "#!/bin/sh\nexit 1\n"),
                (".vimrc", 0o644, ""),
            ],
        );
        let (end, _, tail) = world.run(&url);
        assert_eq!(end, END_WELL, "{tail:?}");
        assert!(world.read("ran").ends_with("/home/dotfiles\n"));
        assert!(tail.iter().any(|line| line.contains("install.sh is not executable")), "{tail:?}");
        assert!(world.home().join(".vimrc").symlink_metadata().is_err());
    }

    #[test]
    fn h3_an_existing_clone_is_pulled_and_one_that_cannot_be_is_installed_as_it_is() {
        let world = World::new();
        let url =
            world.repository("repo", &[("install", 0o755, "#!/bin/sh\ncp version ..\n"), ("version", 0o644, "1")]);
        assert_eq!(world.run(&url).0, END_WELL);
        world.repository("repo", &[("version", 0o644, "2")]);
        assert_eq!(world.run(&url).0, END_WELL);
        assert_eq!(world.read("version"), "2");

        std::fs::rename(world.temp.path().join("repo"), world.temp.path().join("away")).unwrap();
        std::fs::remove_file(world.home().join("version")).unwrap();
        let (end, notes, _) = world.run(&url);
        assert_eq!(end, END_WELL);
        assert!(notes[0].message.contains("git pull --ff-only"), "{notes:?}");
        assert_eq!(world.read("version"), "2");
    }

    #[test]
    fn h3_another_url_moves_the_old_clone_aside_each_time() {
        let world = World::new();
        let one = world.repository("one", &[("file", 0o644, "one")]);
        let two = world.repository("two", &[("file", 0o644, "two")]);
        for url in [&one, &two, &one] {
            assert_eq!(world.run(url).0, END_WELL);
        }
        assert_eq!(world.read("dotfiles/file"), "one");
        assert_eq!(world.read("dotfiles.bak/file"), "one");
        assert_eq!(world.read("dotfiles.bak-2/file"), "two");
    }

    #[test]
    fn h3_a_clone_that_fails_leaves_nothing_and_says_why() {
        let world = World::new();
        let (end, _, tail) = world.run("/no/such/repository");
        assert_eq!(end, StepEnd::Exited(128));
        assert!(tail.iter().any(|line| line.contains("/no/such/repository")), "{tail:?}");
        assert!(world.home().join("dotfiles").symlink_metadata().is_err());
    }
}
