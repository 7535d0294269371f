//! The configuration of the simulated host: what an administrator writes, changed at random, as TOML.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::dice::Dice;
use crate::model::{UserName, WorkspaceId};

/// Where there are more, most are off.
const FEW: usize = 50;

/// Images that the registry has at the beginning; `bad` has no user.
pub(super) const IMAGES: [&str; 4] = ["dev:1", "dev:2", "tools:9", "bad:1"];

/// The day on which every history begins.
pub(super) const FIRST_DAY: Date = date(2026, 10, 19);

/// Zones of users; the server's is Berlin's.
pub(super) const ZONES: [Option<&str>; 6] = [
    None,
    Some("America/Los_Angeles"),
    Some("Pacific/Kiritimati"),
    Some("Asia/Kolkata"),
    Some("Europe/Lisbon"),
    Some("Pacific/Honolulu"),
];

/// As they are written in a file.
const ORG_DAYS: [&str; 4] = [
    "\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"",
    "\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"",
    "\"sat\", \"sun\"",
    "",
];
/// How long deleted homes can be brought back, in every org.
pub(super) const TRASH_KEEP: Duration = Duration::from_secs(2 * 3600);

const STARTS: [&str; 7] = [
    "\"09:00\"",
    "\"08:30\"",
    "\"02:30\"",
    "\"23:30\"",
    "\"00:00\"",
    "{ at = \"10:00\", days = [\"mon\", \"wed\", \"fri\", \"sun\"] }",
    "\"never\"",
];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    pub(super) orgs: Vec<Org>,
    pub(super) workspaces: BTreeMap<WorkspaceId, Workspace>,
    pub(super) max_builds: usize,
    /// Zones and starts of users.
    pub(super) users: BTreeMap<UserName, User>,
    /// No org permits a start.
    pub(super) nothing_starts: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct User {
    zone: Option<&'static str>,
    auto_start: Option<&'static str>,
    /// Which e-mail address it is, of those that the user had.
    mail: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Org {
    pub(super) name: &'static str,
    pub(super) build_on_create: bool,
    pub(super) pull: &'static str,
    image: &'static str,
    auto_off: &'static str,
    start_days: &'static str,
    holidays: Vec<Date>,
    pause_after: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workspace {
    /// Which of [`Declared::orgs`].
    pub(super) org: usize,
    pub(super) image: Option<&'static str>,
    memory: usize,
    env: usize,
    auto_start: Option<&'static str>,
}

impl Declared {
    /// Returns a configuration with that many workspaces.
    pub(super) fn new(workspaces: usize, dice: &Dice) -> Self {
        let org = |name, build_on_create| Org {
            name,
            build_on_create,
            pull: "always",
            image: IMAGES[0],
            auto_off: "never",
            start_days: ORG_DAYS[0],
            holidays: Vec::new(),
            pause_after: "7d",
        };
        let mut declared = Self {
            orgs: vec![
                Org { auto_off: "1h", ..org("acme", true) },
                Org { auto_off: if workspaces > FEW { "2h" } else { "never" }, ..org("globex", false) },
            ],
            workspaces: BTreeMap::new(),
            max_builds: 1 + dice.below(4),
            users: BTreeMap::new(),
            nothing_starts: false,
        };
        for n in 0..workspaces {
            let id = name(n);
            let user = User { zone: dice.pick(&ZONES).copied().flatten(), auto_start: start(dice), mail: 0 };
            declared.users.entry(id.user.clone()).or_insert(user);
            declared.workspaces.insert(id, Workspace::new(n % 2));
        }
        declared
    }

    pub(super) fn org(&self, id: &WorkspaceId) -> Option<&Org> {
        self.workspaces.get(id).map(|workspace| &self.orgs[workspace.org])
    }

    /// Returns a user's e-mail address, where it was changed.
    pub(super) fn mail(&self, user: &UserName) -> Option<String> {
        self.users.get(user).filter(|user| user.mail > 0).map(|user| format!("mail{}@example.org", user.mail))
    }

    /// Changes something; `most` workspaces at most.
    pub(super) fn change(&mut self, most: usize, dice: &Dice) -> String {
        let ids: Vec<_> = self.workspaces.keys().cloned().collect();
        let Some(id) = dice.pick(&ids).cloned() else { return self.add(most, dice) };
        let org = dice.below(self.orgs.len());
        let workspace = self.workspaces.get_mut(&id).expect("it was just listed");
        match dice.below(14) {
            10 => {
                workspace.auto_start = start(dice);
                format!("{id} has auto-start {:?}", workspace.auto_start)
            }
            11 => {
                let mail = self.users.get(&id.user).map_or(0, |user| user.mail + 1);
                let user = User { zone: dice.pick(&ZONES).copied().flatten(), auto_start: start(dice), mail };
                let text = format!("{} has {user:?}", id.user);
                self.users.insert(id.user, user);
                text
            }
            12 => {
                let org = &mut self.orgs[org];
                org.start_days = dice.pick(&ORG_DAYS).copied().unwrap_or(ORG_DAYS[0]);
                org.pause_after = dice.pick(&["7d", "1d", "12h", "never"]).copied().unwrap_or("7d");
                format!("org {} permits starts on [{}], and pauses after {}", org.name, org.start_days, org.pause_after)
            }
            13 => {
                let org = &mut self.orgs[org];
                org.holidays = FIRST_DAY.series(1.day()).take(20).filter(|_| dice.thousandth(200)).collect();
                format!("org {} has holidays {:?}", org.name, org.holidays)
            }
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
                let at_most = if ids.len() > FEW { 1 } else { 0 };
                self.orgs[org].auto_off = dice.pick(&["never", "20m", "1h", "2h"][at_most..]).copied().unwrap_or("2h");
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
        self.workspaces.entry(id.clone()).or_insert(Workspace::new(org));
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
        for Org { name, build_on_create, pull, image, auto_off, start_days, holidays, pause_after } in &self.orgs {
            let days = if self.nothing_starts { "" } else { start_days };
            let holidays: Vec<_> = holidays.iter().map(|day| format!("\"{day}\"")).collect();
            let holidays = holidays.join(", ");
            let _ = write!(
                text,
                "[orgs.{name}]\nimage = \"{image}\"\nimages = [\"*\"]\npull = \"{pull}\"\n\
                 build_on_create = {build_on_create}\nauto_off = \"{auto_off}\"\nauto_start_days = [{days}]\n\
                 holidays = [{holidays}]\nauto_start_pause_after = \"{pause_after}\"\n\
                 auto_off_override = \"disable\"\ntrash_keep = \"{}s\"\n",
                TRASH_KEEP.as_secs()
            );
        }
        let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, workspace) in &self.workspaces {
            users.entry(&id.user).or_default().push((&id.name, workspace));
        }
        for (user, workspaces) in users {
            let _ = writeln!(text, "[users.{user}]\norgs = [\"acme\", \"globex\"]");
            let of = self.users.get(user);
            if let Some(zone) = of.and_then(|user| user.zone) {
                let _ = writeln!(text, "timezone = \"{zone}\"");
            }
            if let Some(start) = of.and_then(|user| user.auto_start) {
                let _ = writeln!(text, "auto_start = {start}");
            }
            if let Some(mail) = self.mail(user) {
                let _ = writeln!(text, "email = \"{mail}\"");
            }
            for (name, Workspace { org, image, memory, env, auto_start }) in workspaces {
                let org = self.orgs[*org].name;
                let _ = writeln!(text, "[users.{user}.workspaces.{name}]\norg = \"{org}\"\nmemory = \"{memory}GiB\"");
                let _ = writeln!(text, "env = {{ N = \"{env}\" }}");
                if let Some(image) = image {
                    let _ = writeln!(text, "image = \"{image}\"");
                }
                if let Some(start) = auto_start {
                    let _ = writeln!(text, "auto_start = {start}");
                }
            }
        }
        text
    }
}

impl Workspace {
    fn new(org: usize) -> Self {
        Self { org, image: None, memory: 2, env: 0, auto_start: None }
    }
}

/// Returns when something starts, if that is said.
fn start(dice: &Dice) -> Option<&'static str> {
    dice.pick(&STARTS).copied().filter(|_| dice.thousandth(600))
}

/// Returns the name of the `n`-th workspace there can be: users have two.
fn name(n: usize) -> WorkspaceId {
    let text = format!("u{}/{}", n / 2, ["main", "side"][n % 2]);
    text.parse().expect("a good name")
}
