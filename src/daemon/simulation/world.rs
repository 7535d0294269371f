//! A host with its engine, its files, its people and its hearthd.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;

use super::declared::{Declared, IMAGES};
use super::dice::Dice;
use super::faults::{Between, Call, Weather};
use super::hearthd::{Hearthd, Host, Left};
use super::people::{People, What, name};
use super::time::HostClock;
use super::timetable::Timetable;
use super::visitors::Visitors;
use super::watchman::{Broken, Invariant, Watchman};
use crate::access::{self, Person, Verb};
use crate::daemon::clock::Clock;
use crate::docker::fake::{FakeEngine, FakeImage, Ran};
use crate::docker::{ExecEnd, ExecSpec, Output, PullError, Stream};
use crate::handle::{EngineView, HoldAsked, RequestError};
use crate::helper::bundle::{
    Changed, Facts, HookReport, InjectReport, InjectRequest, Measured, Owned, Personalize, StepEnd, StepReport,
};
use crate::model::{BuildReason, Hook, Moment, OffReason, Power, WorkspaceId};
use crate::store::inline::Database;
use crate::store::{StoreError, WorkspaceRecord};

/// How large a history is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) workspaces: usize,
    /// Stretches of trouble, each with a look at what it comes to in the end.
    pub(super) stretches: usize,
    /// Things that happen in each.
    pub(super) steps: usize,
    /// From one to the next, at most.
    pub(super) between: Duration,
    /// How long nothing goes wrong after each, before it is looked at.
    pub(super) rest: Duration,
    /// Days after it on which nothing goes wrong either.
    pub(super) calm: usize,
}

pub(super) struct World {
    pub(super) host: Host,
    pub(super) dice: Dice,
    pub(super) size: Size,
    /// As the files have it.
    pub(super) declared: Declared,
    pub(super) files_are_good: bool,
    pub(super) people: People,
    pub(super) watchman: Watchman,
    pub(super) hearthd: Option<Hearthd>,
    pub(super) weather: Weather,
    pub(super) history: Vec<String>,
    /// Prints it as it happens.
    aloud: bool,
    pub(super) faults: BTreeMap<&'static str, usize>,
    pub(super) turns: u64,
    /// Failing hooks, in thousandths.
    hooks: Arc<AtomicUsize>,
    pub(super) mails: Mails,
    next_image: usize,
    _dir: tempfile::TempDir,
}

/// The e-mail address that was injected last, by the container's name.
pub(super) type Mails = Arc<Mutex<BTreeMap<String, Option<String>>>>;

impl World {
    pub(super) fn new(seed: u64, size: Size, aloud: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-sim-").tempdir_in("/dev/shm");
        let dir = dir.or_else(|_| tempfile::tempdir()).expect("a directory can be made");
        let (dice, engine) = (Dice::new(seed), FakeEngine::default());
        let clock = HostClock::at("2026-10-19T06:00:00Z".parse().expect("a moment"));
        let declared = Declared::new(size.workspaces, &dice);
        let timetable = Timetable::new(&clock);
        let visitors = Visitors::new(&clock, &timetable);
        let (database, dir_path) = (Database::new(), dir.path().to_owned());
        let host = Host { engine: engine.clone(), database, clock, visitors, timetable, dir: dir_path };
        let hooks = Arc::new(AtomicUsize::new(0));
        let mut world = Self {
            people: People::new(&declared),
            watchman: Watchman::new(&engine, &host.visitors, aloud),
            host,
            dice: dice.clone(),
            size,
            declared,
            files_are_good: true,
            hearthd: None,
            weather: Weather::CALM,
            history: Vec::new(),
            aloud,
            faults: BTreeMap::new(),
            turns: 0,
            hooks: hooks.clone(),
            mails: Mails::default(),
            next_image: 0,
            _dir: dir,
        };
        let mails = world.mails.clone();
        world.host.engine.script(move |container, spec| {
            let ran = command(spec, &dice, hooks.load(Ordering::Relaxed));
            if spec.argv.get(1).is_some_and(|arg| arg == "inject") && ran.end == Some(ExecEnd::Exited(0)) {
                let request: InjectRequest = serde_json::from_slice(&spec.stdin).expect("a request is JSON");
                mails.lock().unwrap().insert(container.to_owned(), request.git.email);
            }
            ran
        });
        for reference in IMAGES {
            world.publish(reference);
        }
        world.write_files();
        world
    }

    /// Notes what happens.
    pub(super) fn note(&mut self, what: impl AsRef<str>) {
        let passed = self.host.clock.passed();
        let (days, rest) = (passed.as_secs() / 86_400, passed.as_secs() % 86_400);
        let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
        let millis = passed.subsec_millis();
        let line = format!("{days:>3}d {hours:02}:{minutes:02}:{seconds:02}.{millis:03} {}", what.as_ref());
        if self.aloud {
            println!("{line}");
        }
        self.history.push(line);
    }

    /// Notes that something went wrong, of that kind.
    pub(super) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(super) fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
        self.hooks.store(weather.hook, Ordering::Relaxed);
        if let Some(hearthd) = &self.hearthd {
            hearthd.between.set_weather(weather);
        }
    }

    /// Makes the registry have a new image of that name.
    pub(super) fn publish(&mut self, reference: &str) {
        self.next_image += 1;
        let uid = if reference.starts_with("tools") { 1001 } else { 1000 };
        let mut image = FakeImage::with_user(&format!("{:064x}", self.next_image), "coder", uid);
        if reference.starts_with("bad") {
            image.image.user.clear();
        }
        self.registry(reference, Ok(image));
    }

    pub(super) fn registry(&mut self, reference: &str, answer: Result<FakeImage, PullError>) {
        self.host.engine.publish(&format!("docker.io/library/{reference}"), answer);
    }

    pub(super) fn write_files(&mut self) {
        let text = if self.files_are_good { self.declared.toml(&self.host.dir) } else { "[server\n".into() };
        std::fs::write(self.host.config(), text).expect("the file can be written");
    }

    /// Starts hearthd where it does not run.
    pub(super) fn start(&mut self) {
        let watchman = self.watchman.clone();
        let made = Box::new(move |call: &Call, done| watchman.sees(call, done));
        let between = Between::new(self.dice.clone(), self.weather, made);
        if self.dice.thousandth(100) && self.weather != Weather::CALM {
            between.end_in(1 + self.dice.below(30));
        }
        match Hearthd::start(&self.host, between) {
            Ok(hearthd) => {
                self.watchman.watch(Some(hearthd.handle.clone()));
                let store = self.host.database.open(super::faults::open_gate());
                let off = |record: &WorkspaceRecord| record.power == Power::Off { why: OffReason::AutoOff };
                let decided = hearthd.block_on(async {
                    let (records, builds) = (store.workspaces().await?, store.last_builds().await?);
                    let build = |id: &WorkspaceId| builds.get(id).map(|build| build.number);
                    Ok::<_, StoreError>(records.into_iter().filter(off).map(|r| (r.id.clone(), build(&r.id))).collect())
                });
                self.watchman.decided(decided.expect("the database can be read"));
                let on_files = !hearthd.snapshot().config.from_copy;
                self.hearthd = Some(hearthd);
                self.note("hearthd starts");
                if on_files {
                    self.people.files_are(&self.declared);
                }
            }
            Err(why) if why.is_empty() => self.note("hearthd is killed while it starts"),
            Err(why) => self.watchman.broken(Invariant::Alive, format!("hearthd does not start: {why}")),
        }
    }

    /// Ends hearthd, with a moment for what it is doing or without.
    pub(super) fn end(&mut self, kindly: bool) {
        let Some(hearthd) = self.hearthd.take() else { return };
        self.note(if kindly { "hearthd is told to stop" } else { "hearthd is killed" });
        for (kind, times) in hearthd.between.counts() {
            *self.faults.entry(kind).or_default() += times;
        }
        self.fault(if kindly { "hearthd stopped" } else { "hearthd killed" });
        self.turns += *hearthd.turns.lock().expect("nobody panics with it");
        self.watchman.watch(None);
        if kindly {
            hearthd.terminate()
        } else {
            hearthd.kill()
        }
        if self.people.lost() && !self.files_are_good {
            // Else nobody knows which copy it starts on.
            self.note("the files are in order");
            self.files_are_good = true;
            self.write_files();
        }
    }

    /// Lets time pass, with hearthd or without.
    pub(super) fn pass(&mut self, span: Duration) -> Result<(), Broken> {
        let until = self.host.clock.passed() + span;
        loop {
            let left = until.saturating_sub(self.passed());
            let Some(hearthd) = &mut self.hearthd else {
                // systemd starts it again.
                self.host.clock.pass(left.min(Duration::from_secs(2)));
                self.start();
                self.watchman.verdict()?;
                if left.is_zero() {
                    return Ok(());
                }
                continue;
            };
            self.host.engine.set_now(self.host.clock.now().wall);
            // In pieces, so that what is overdue is seen.
            let left = hearthd.run(left.min(Duration::from_secs(3600)));
            self.hear();
            match left {
                Left::Time => self.check()?,
                Left::Ended => self.end(false),
                Left::Died => self.watchman.broken(Invariant::Alive, "the loop has ended".into()),
            }
            self.watchman.verdict()?;
            if self.hearthd.is_some() && self.passed() >= until {
                return Ok(());
            }
        }
    }

    pub(super) fn passed(&self) -> Duration {
        self.host.clock.passed()
    }

    /// Takes in the answers that have come.
    fn hear(&mut self) {
        let passed = self.passed();
        for id in self.host.timetable.news() {
            self.note(format!("auto-start of {id}"));
            self.people.started(id, passed);
        }
        let Some(hearthd) = &self.hearthd else { return };
        let answers = std::mem::take(&mut *hearthd.answers.lock().expect("nobody panics with it"));
        for (number, answer) in answers {
            if let Some(what) = self.people.what(number).map(name) {
                self.note(format!("{}: {what}", if answer.is_ok() { "answered" } else { "refused" }));
            }
            if let Some(wrong) = self.people.answered(number, &answer) {
                self.watchman.broken(Invariant::Answered, wrong);
            }
            match (&answer, self.people.what(number)) {
                (Ok(()), Some(What::Hold(id, until))) => {
                    self.host.visitors.hold(id, *until);
                    self.host.timetable.used(id);
                }
                (Ok(()), Some(What::RestoreHome(_, volume))) => self.watchman.restored(volume),
                (_, Some(What::Away(user, until))) => {
                    let unknown = matches!(answer, Err(RequestError::Stopping));
                    if !unknown {
                        self.host.timetable.away_answered(user, *until, answer.is_ok());
                    }
                }
                _ => {}
            }
        }
        self.people.settle();
    }

    /// Has somebody ask for something.
    pub(super) fn ask(&mut self, what: What) {
        self.note(format!("somebody asks: {}", name(&what)));
        let passed = self.host.clock.passed();
        let Some(hearthd) = &self.hearthd else { return };
        let snapshot = hearthd.snapshot();
        if snapshot.engine == EngineView::Unknown {
            return;
        }
        let away = self.away_since().filter(|_| !matches!(what, What::Cancel(_) | What::Reload(_)));
        let number = self.people.ask(what.clone(), passed, away);
        let (handle, settings) = (hearthd.handle.clone(), hearthd.settings());
        let root = Person::Account { uid: 0, account: "root".into(), groups: Vec::new() };
        let may = |verb, id: &WorkspaceId| {
            let org = "acme".parse().expect("a name");
            access::check(&settings, &root, verb, id, &org).expect("root may")
        };
        let requester = root.requester();
        match what {
            What::Start(id) => {
                let may = may(Verb::Start, &id);
                hearthd.send(number, async move { handle.start(&may, BuildReason::User).await });
            }
            What::Rebuild(id) => {
                let may = may(Verb::Rebuild, &id);
                hearthd.send(number, async move { handle.rebuild(&may, BuildReason::User).await });
            }
            What::Stop(id) => {
                // What is off is not held any more.
                self.host.visitors.release(&id);
                let may = may(Verb::Stop, &id);
                hearthd.send(number, async move { handle.stop(&may).await });
            }
            What::Cancel(id) => {
                let may = may(Verb::Cancel, &id);
                hearthd.send(number, async move { handle.cancel(&may).await });
            }
            What::Personalize(id) => {
                let may = may(Verb::Personalize, &id);
                hearthd.send(number, async move { handle.personalize(&may).await });
            }
            What::Reload(_) => hearthd.send(number, async move { handle.reload(true, requester).await }),
            What::Set(owner, edits) => {
                hearthd.send(number, async move { handle.set(owner, edits, requester).await });
            }
            What::Away(user, until) => {
                self.host.timetable.away(&user, until);
                hearthd.send(number, async move { handle.away(user, until, requester).await });
            }
            What::TrashHome(id, volume) => {
                self.watchman.may_be_trashed(&volume);
                let may = may(Verb::DeleteHome, &id);
                let watchman = self.watchman.clone();
                hearthd.send(number, async move {
                    let home = handle.trash_home(&may, Some(volume)).await?;
                    home.iter().for_each(|home| watchman.trashed(home));
                    Ok(())
                });
            }
            What::RestoreHome(id, volume) => {
                let may = may(Verb::RestoreHome, &id);
                hearthd.send(number, async move { handle.restore_home(&may, volume).await });
            }
            // Nobody asks for it.
            What::AutoStart(_) => {}
            What::Hold(id, until) => {
                let may = may(Verb::Hold, &id);
                let lasts = Some(until.saturating_sub(passed));
                let (message, by, from) = (None, "root".to_owned(), "host".to_owned());
                let asked = HoldAsked { lasts, until_command_ends: false, message, by, from };
                hearthd.send(number, async move { handle.hold(&may, asked).await });
            }
            What::Release(id) => {
                self.host.visitors.release(&id);
                let may = may(Verb::Hold, &id);
                hearthd.send(number, async move { handle.release(&may, None).await });
            }
            What::Why(id) => {
                let may = may(Verb::See, &id);
                hearthd.send(number, async move { handle.why(&may).await });
            }
            What::Plan => hearthd.send(number, async move { handle.plan().await }),
        }
    }

    /// Returns since when hearthd has known the engine to be away.
    pub(super) fn away_since(&self) -> Option<Moment> {
        match self.hearthd.as_ref()?.snapshot().engine {
            EngineView::Away { since, .. } => Some(since),
            EngineView::Unknown | EngineView::Here { .. } => None,
        }
    }

    /// Has hearthd read the files, as SIGHUP does. Nobody is told what comes of it.
    pub(super) fn hang_up(&mut self) {
        self.note("SIGHUP");
        let passed = self.passed();
        if let Some(hearthd) = self.hearthd.as_ref().filter(|_| self.files_are_good) {
            hearthd.hangups.notify_one();
            let number = self.people.ask(What::Reload(self.declared.clone()), passed, None);
            self.people.unheard(number);
        }
    }

    pub(super) fn watch_files(&self) {
        if let Some(hearthd) = &self.hearthd {
            hearthd.watch_files(&self.host);
        }
    }

    pub(super) fn step_clock(&mut self, by: SignedDuration) {
        self.host.clock.step(by);
        self.host.timetable.clock_steps();
    }
}

/// Does what hearth's own binary does inside a container.
pub(super) fn command(spec: &ExecSpec, dice: &Dice, failing: usize) -> Ran {
    let fails = dice.thousandth(failing);
    let output = |stream, bytes: String| Output { stream, bytes: bytes.into() };
    let ended = |output, code| Ran { output: vec![output], end: Some(ExecEnd::Exited(code)) };
    let facts = Facts { configure: true, personalize: Personalize::Own, git: true, ssh: true, ..Facts::default() };
    let json = |value: serde_json::Result<String>| value.expect("a report is JSON") + "\n";
    match spec.argv.get(1).map(String::as_str) {
        Some("inject") if fails && dice.thousandth(500) => ended(output(Stream::Stderr, "killed\n".into()), 137),
        Some("inject") => {
            let failure = fails.then(|| "no room in /run/hearth".to_owned());
            let report = InjectReport { failure, notes: Vec::new(), given: 0, facts };
            ended(output(Stream::Stdout, json(serde_json::to_string(&report))), 0)
        }
        Some("hook") if fails && dice.thousandth(300) => Ran { output: Vec::new(), end: None },
        Some("hook") => {
            let end = if fails { StepEnd::Exited(1) } else { StepEnd::Exited(0) };
            let hook = if spec.argv.get(2).is_some_and(|arg| arg == "configure") {
                Hook::Configure
            } else {
                Hook::Personalize
            };
            let steps = vec![StepReport { hook, end, notes: Vec::new(), tail: Vec::new() }];
            ended(output(Stream::Stderr, json(serde_json::to_string(&HookReport { steps, facts }))), 0)
        }
        Some("own") => ended(output(Stream::Stdout, json(serde_json::to_string(&Owned::default()))), 0),
        Some("changed") => {
            let (failed, error) = if fails { (1, Some("no such device".to_owned())) } else { (0, None) };
            let changed = Changed { at: Moment::UNIX_EPOCH, failed, error };
            ended(output(Stream::Stdout, json(serde_json::to_string(&changed))), 0)
        }
        Some("measure") => ended(output(Stream::Stdout, json(serde_json::to_string(&Measured { bytes: 4096 }))), 0),
        _ => ended(output(Stream::Stdout, String::new()), 0),
    }
}
