//! The configuration of the simulated host: what an administrator writes, changed at random, as TOML.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::dice::Dice;
use crate::model::WorkspaceId;

/// Images that the registry has at the beginning; `bad` has no user.
pub(super) const IMAGES: [&str; 4] = ["dev:1", "dev:2", "tools:9", "bad:1"];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    pub(super) orgs: Vec<Org>,
    pub(super) workspaces: BTreeMap<WorkspaceId, Workspace>,
    pub(super) max_builds: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Org {
    pub(super) name: &'static str,
    pub(super) build_on_create: bool,
    pub(super) pull: &'static str,
    image: &'static str,
    auto_off: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workspace {
    /// Which of [`Declared::orgs`].
    pub(super) org: usize,
    pub(super) image: Option<&'static str>,
    memory: usize,
    env: usize,
}

impl Declared {
    /// Returns a configuration with that many workspaces.
    pub(super) fn new(workspaces: usize, dice: &Dice) -> Self {
        let org =
            |name, build_on_create| Org { name, build_on_create, pull: "always", image: IMAGES[0], auto_off: "never" };
        let mut declared = Self {
            orgs: vec![Org { auto_off: "1h", ..org("acme", true) }, org("globex", false)],
            workspaces: BTreeMap::new(),
            max_builds: 1 + dice.below(4),
        };
        for n in 0..workspaces {
            declared.workspaces.insert(name(n), Workspace { org: n % 2, image: None, memory: 2, env: 0 });
        }
        declared
    }

    pub(super) fn org(&self, id: &WorkspaceId) -> Option<&Org> {
        self.workspaces.get(id).map(|workspace| &self.orgs[workspace.org])
    }

    /// Changes something; `most` workspaces at most.
    pub(super) fn change(&mut self, most: usize, dice: &Dice) -> String {
        let ids: Vec<_> = self.workspaces.keys().cloned().collect();
        let Some(id) = dice.pick(&ids).cloned() else { return self.add(most, dice) };
        let org = dice.below(self.orgs.len());
        let workspace = self.workspaces.get_mut(&id).expect("it was just listed");
        match dice.below(10) {
            0 | 1 => {
                self.workspaces.remove(&id);
                format!("{id} is removed")
            }
            2 | 3 => self.add(most, dice),
            4 => {
                workspace.image = dice.pick(&IMAGES).copied().filter(|_| dice.thousandth(800));
                format!("{id} has image {:?}", workspace.image)
            }
            5 => {
                workspace.memory = 1 + dice.below(8);
                format!("{id} has {} GiB", workspace.memory)
            }
            6 => {
                workspace.env += 1;
                format!("{id} has another environment")
            }
            7 if dice.thousandth(500) => {
                self.orgs[org].auto_off = dice.pick(&["never", "20m", "1h", "2h"]).copied().unwrap_or("never");
                format!("org {} has auto-off {}", self.orgs[org].name, self.orgs[org].auto_off)
            }
            7 => {
                self.orgs[org].pull = dice.pick(&["always", "missing", "never"]).copied().unwrap_or("always");
                format!("org {} pulls {}", self.orgs[org].name, self.orgs[org].pull)
            }
            8 => {
                self.orgs[org].image = dice.pick(&IMAGES[..3]).copied().unwrap_or(IMAGES[0]);
                format!("org {} has image {}", self.orgs[org].name, self.orgs[org].image)
            }
            _ => {
                workspace.org = org;
                format!("{id} is in org {}", self.orgs[org].name)
            }
        }
    }

    fn add(&mut self, most: usize, dice: &Dice) -> String {
        let id = name(dice.below(most.max(1)));
        let org = dice.below(self.orgs.len());
        self.workspaces.entry(id.clone()).or_insert(Workspace { org, image: None, memory: 2, env: 0 });
        format!("{id} is declared")
    }

    /// Returns the file.
    pub(super) fn toml(&self, dir: &Path) -> String {
        let dir = dir.display();
        let mut text = format!(
            "[server]\ndata_dir = \"{dir}/data\"\nrun_dir = \"{dir}/run\"\ntimezone = \"Europe/Berlin\"\n\
             max_builds = {}\n",
            self.max_builds
        );
        for Org { name, build_on_create, pull, image, auto_off } in &self.orgs {
            let _ = write!(
                text,
                "[orgs.{name}]\nimage = \"{image}\"\nimages = [\"*\"]\npull = \"{pull}\"\n\
                 build_on_create = {build_on_create}\nauto_off = \"{auto_off}\"\n",
            );
        }
        let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, workspace) in &self.workspaces {
            users.entry(&id.user).or_default().push((&id.name, workspace));
        }
        for (user, workspaces) in users {
            let _ = writeln!(text, "[users.{user}]\norgs = [\"acme\", \"globex\"]");
            for (name, Workspace { org, image, memory, env }) in workspaces {
                let org = self.orgs[*org].name;
                let _ = writeln!(text, "[users.{user}.workspaces.{name}]\norg = \"{org}\"\nmemory = \"{memory}GiB\"");
                let _ = writeln!(text, "env = {{ N = \"{env}\" }}");
                if let Some(image) = image {
                    let _ = writeln!(text, "image = \"{image}\"");
                }
            }
        }
        text
    }
}

/// Returns the name of the `n`-th workspace there can be: users have two.
fn name(n: usize) -> WorkspaceId {
    let text = format!("u{}/{}", n / 2, ["main", "side"][n % 2]);
    text.parse().expect("a good name")
}
