//! What people asked for, and what therefore is to be: the simulation's own and much simpler idea of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;

use super::declared::Declared;
use crate::config::set::Edits;
use crate::handle::{Owner, RequestError};
use crate::model::{Moment, UserName, WorkspaceId};

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Start(WorkspaceId),
    Rebuild(WorkspaceId),
    Stop(WorkspaceId),
    Cancel(WorkspaceId),
    Personalize(WorkspaceId),
    /// Until then, in time that passes.
    Hold(WorkspaceId, Duration),
    Release(WorkspaceId),
    Why(WorkspaceId),
    /// The files say this.
    Reload(Declared),
    Plan,
    /// A member's own: a workspace's, or a user's.
    Set(Owner, Edits),
    Away(UserName, Option<Date>),
    /// Of a workspace, by its volume.
    TrashHome(WorkspaceId, String),
    RestoreHome(WorkspaceId, String),
    /// Nobody did: its time had come.
    AutoStart(WorkspaceId),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Yes,
    No,
    /// hearthd ended before it answered.
    Lost,
}

#[derive(Debug)]
struct Asked {
    what: What,
    /// When, in time that passed.
    at: Duration,
    answer: Answer,
    /// Since when the engine was known to be away: if it stays away the answer is no, and soon.
    away: Option<Moment>,
}

/// How a declared workspace is to end up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    On,
    Off,
    /// It was not told which.
    Either,
}

#[derive(Debug)]
pub(super) struct People {
    declared: Declared,
    expected: BTreeMap<WorkspaceId, Expected>,
    /// Number of the first of `asked`.
    first: usize,
    asked: Vec<Asked>,
}

/// Commands that change one thing are answered within so long, whatever the engine does (rule L12).
const SOON: Duration = Duration::from_secs(5);

impl People {
    pub(super) fn new(declared: &Declared) -> Self {
        let nobody = Declared { workspaces: BTreeMap::new(), ..declared.clone() };
        let mut people = Self { declared: nobody, expected: BTreeMap::new(), first: 0, asked: Vec::new() };
        people.files_are(declared);
        people
    }

    /// Notes what somebody asks for; returns its number.
    pub(super) fn ask(&mut self, what: What, at: Duration, away: Option<Moment>) -> usize {
        self.asked.push(Asked { what, at, answer: Answer::None, away });
        self.first + self.asked.len() - 1
    }

    /// It started because its time had come.
    pub(super) fn started(&mut self, id: WorkspaceId, at: Duration) {
        let what = What::AutoStart(id);
        self.asked.push(Asked { what, at, answer: Answer::Yes, away: None });
    }

    /// Nobody hears what comes of it.
    pub(super) fn unheard(&mut self, number: usize) {
        if let Some(asked) = number.checked_sub(self.first).and_then(|at| self.asked.get_mut(at)) {
            asked.answer = Answer::Lost;
        }
    }

    /// Notes an answer; returns what is wrong with it.
    pub(super) fn answered(&mut self, number: usize, answer: &Result<(), RequestError>) -> Option<String> {
        let asked = self.asked.get_mut(number.checked_sub(self.first)?)?;
        asked.answer = if answer.is_ok() { Answer::Yes } else { Answer::No };
        let lost = matches!(answer, Err(RequestError::Stopping));
        lost.then(|| format!("{:?} was let go without an answer", name(&asked.what)))
    }

    /// Returns what was asked under a number.
    pub(super) fn what(&self, number: usize) -> Option<&What> {
        Some(&self.asked.get(number.checked_sub(self.first)?)?.what)
    }

    /// hearthd has ended: nobody answers what was not answered. Returns whether it is unknown which files it had taken.
    pub(super) fn lost(&mut self) -> bool {
        for asked in self.asked.iter_mut().filter(|asked| asked.answer == Answer::None) {
            asked.answer = Answer::Lost;
        }
        let unknown = |asked: &Asked| asked.answer == Answer::Lost && matches!(asked.what, What::Reload(_));
        let unknown = self.asked.iter().any(unknown);
        self.settle();
        unknown
    }

    /// hearthd starts, on these files.
    pub(super) fn files_are(&mut self, declared: &Declared) {
        self.settle();
        take(&mut self.declared, &mut self.expected, declared, true);
    }

    /// Returns how all are to end up.
    pub(super) fn all_expected(&mut self) -> BTreeMap<WorkspaceId, Expected> {
        self.settle();
        let (mut declared, mut expected) = (self.declared.clone(), self.expected.clone());
        for asked in &self.asked {
            apply(&mut declared, &mut expected, asked);
        }
        expected
    }

    /// Returns what should have been answered by now, the engine being away since then, or not.
    pub(super) fn overdue(&self, now: Duration, away: Option<Moment>) -> Option<String> {
        let waits = |asked: &&Asked| {
            let at_once = !matches!(asked.what, What::Stop(_) | What::Cancel(_) | What::Reload(_));
            asked.answer == Answer::None
                && (at_once || asked.away.is_some() && asked.away == away)
                && now > asked.at + SOON
        };
        self.asked.iter().find(waits).map(|asked| format!("{} is not answered", name(&asked.what)))
    }

    /// Returns what was not answered at all.
    pub(super) fn unanswered(&self) -> Option<String> {
        let waits = |asked: &&Asked| asked.answer == Answer::None;
        self.asked.iter().find(waits).map(|asked| format!("{} is not answered", name(&asked.what)))
    }

    /// Takes in what is answered and has nothing unanswered before it.
    pub(super) fn settle(&mut self) {
        let done = self.asked.iter().position(|asked| asked.answer == Answer::None).unwrap_or(self.asked.len());
        for asked in self.asked.drain(..done) {
            apply(&mut self.declared, &mut self.expected, &asked);
        }
        self.first += done;
    }
}

fn apply(declared: &mut Declared, expected: &mut BTreeMap<WorkspaceId, Expected>, asked: &Asked) {
    let mut set = |id: &WorkspaceId, to| {
        if let Some(expected) = expected.get_mut(id) {
            *expected = to;
        }
    };
    match (&asked.what, asked.answer) {
        (_, Answer::No)
        | (
            What::Personalize(_)
            | What::Plan
            | What::Hold(..)
            | What::Release(_)
            | What::Why(_)
            | What::Set(..)
            | What::TrashHome(..)
            | What::RestoreHome(..)
            | What::Away(..),
            _,
        ) => {}
        (What::Start(id) | What::Rebuild(id), Answer::Yes) => set(id, Expected::On),
        (What::Stop(id), Answer::Yes | Answer::None) => set(id, Expected::Off),
        (What::Start(id) | What::Rebuild(id) | What::Stop(id), Answer::None | Answer::Lost) => {
            set(id, Expected::Either)
        }
        (What::Cancel(id), _) => {
            if expected.get(id) == Some(&Expected::On) {
                expected.insert(id.clone(), Expected::Either);
            }
        }
        (What::AutoStart(id), _) => {
            if expected.get(id) == Some(&Expected::Off) {
                expected.insert(id.clone(), Expected::Either);
            }
        }
        (What::Reload(files), answer) => take(declared, expected, files, answer == Answer::Yes),
    }
}

/// Takes files into force. `certain` says whether it is known that hearthd did.
fn take(was: &mut Declared, expected: &mut BTreeMap<WorkspaceId, Expected>, files: &Declared, certain: bool) {
    expected.retain(|id, _| files.workspaces.contains_key(id));
    for id in files.workspaces.keys().filter(|id| !was.workspaces.contains_key(*id)) {
        let built = files.org(id).is_some_and(|org| org.build_on_create);
        let to = match (certain, built) {
            (false, _) => Expected::Either,
            (true, true) => Expected::On,
            (true, false) => Expected::Off,
        };
        expected.insert(id.clone(), to);
    }
    *was = files.clone();
}

pub(super) fn name(what: &What) -> String {
    match what {
        What::Start(id) => format!("start {id}"),
        What::Rebuild(id) => format!("rebuild {id}"),
        What::Stop(id) => format!("stop {id}"),
        What::Cancel(id) => format!("cancel {id}"),
        What::Personalize(id) => format!("personalize {id}"),
        What::Hold(id, until) => format!("hold {id} until {until:?}"),
        What::Release(id) => format!("release {id}"),
        What::Why(id) => format!("why {id}"),
        What::Reload(_) => "reload".into(),
        What::Plan => "plan".into(),
        What::Set(owner, edits) => format!("set {owner} {:?}, reset {:?}", edits.set, edits.reset),
        What::Away(user, until) => format!("away {user} until {until:?}"),
        What::TrashHome(_, volume) => format!("delete home {volume}"),
        What::RestoreHome(_, volume) => format!("restore home {volume}"),
        What::AutoStart(id) => format!("auto-start of {id}"),
    }
}
