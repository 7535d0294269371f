//! What a reload brings into workspaces that run (rule C6): secrets that change, and what hinders that.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tracing_subscriber::fmt::MakeWriter;

use super::dice::Dice;
use super::faults;
use super::found::{self, state};
use super::people::What;
use super::world::{World, command};
use crate::config::set::Edits;
use crate::docker::fake::{Fault, Ran};
use crate::docker::{EngineError, PullError};
use crate::handle::Owner;
use crate::helper::bundle::{InjectReport, InjectRequest, Note};
use crate::model::{Outdated, State, StateName, WarningKind, WorkspaceId};
use crate::store::ContainerRecord;

const SECOND: Duration = Duration::from_secs(1);

/// A host whose workspace, which runs, has a secret.
struct Host {
    world: World,
    id: WorkspaceId,
    /// The secret of each inject that came to its end.
    injected: Arc<Mutex<Vec<String>>>,
    /// How commands go whose line has this in it.
    goes: Arc<Mutex<Option<(&'static str, Ran)>>>,
}

impl Host {
    fn new() -> Self {
        Self::with(1)
    }

    /// Of so many workspaces, every other one is in the org that has the secret, and runs.
    fn with(workspaces: usize) -> Self {
        let (world, id) = found::world_of(workspaces);
        let (injected, goes) = (Arc::default(), Arc::default());
        let mut host = Self { world, id, injected, goes };
        let (injected, goes, dice) = (host.injected.clone(), host.goes.clone(), Dice::new(1));
        host.world.host.engine.script(move |container, spec| {
            let line = format!("{container} {}", spec.argv.join(" "));
            let ordered = goes.lock().unwrap().clone().filter(|(of, _)| line.contains(*of));
            if line.ends_with(" inject") && ordered.as_ref().is_none_or(|(_, ran)| ran.end.is_some()) {
                let request: InjectRequest = serde_json::from_slice(&spec.stdin).unwrap();
                let secret = request.secrets.get("NPM").map(|secret| secret.expose().to_vec());
                injected.lock().unwrap().extend(secret.map(|secret| String::from_utf8(secret).unwrap()));
            }
            ordered.map_or_else(|| command(spec, &dice, 0), |(_, ran)| ran)
        });
        host.rotate("first");
        host.write_files();
        host.reload();
        host.pass(60);
        assert_eq!(host.take_injected(), vec!["first"; workspaces.div_ceil(2)]);
        host
    }

    /// Whose secret changes, and whose renewal breaks like that.
    fn with_broken_renewal(error: EngineError) -> Self {
        let mut host = Self::new();
        host.rotate("second");
        host.world.host.engine.order("exec", 1, Fault::Before(error));
        host.reload();
        host
    }

    /// How many injects were begun.
    fn begun(&self) -> usize {
        self.world.host.engine.calls().iter().filter(|call| call.ends_with(" inject")).count()
    }

    fn set(&mut self, id: &WorkspaceId, key: &str, value: &str) {
        let edits = Edits { set: [(key.to_owned(), value.into())].into(), ..Edits::default() };
        self.world.ask(What::Set(Owner::Workspace(id.clone()), edits));
    }

    fn container(&self) -> String {
        format!("hearth.{}.{}", self.id.user, self.id.name)
    }

    /// Replaces the secret's file. Each is to have another length, as the clock of files is coarse.
    fn rotate(&self, secret: &str) {
        let path = self.world.host.dir.join("npm");
        fs::write(&path, secret).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the files with the secret in them.
    fn write_files(&mut self) {
        self.world.write_files();
        let (path, file) = (self.world.host.config(), self.world.host.dir.join("npm"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}[orgs.acme.secrets.NPM]\nfile = \"{}\"\n", file.display())).unwrap();
    }

    fn reload(&mut self) {
        self.world.ask(What::Reload(self.world.declared.clone()));
    }

    fn pass(&mut self, seconds: u64) {
        self.world.pass(SECOND * u32::try_from(seconds).unwrap()).unwrap();
    }

    fn take_injected(&self) -> Vec<String> {
        std::mem::take(&mut self.injected.lock().unwrap())
    }

    /// Has commands with this in their line go like that.
    fn has(&self, of: &'static str, ran: Ran) {
        *self.goes.lock().unwrap() = Some((of, ran));
    }

    fn begin_renewals_that_never_end(&mut self) {
        self.rotate("second");
        self.has(" inject", endless());
        self.reload();
    }

    fn state(&self) -> StateName {
        state(&self.world, &self.id).name()
    }
}

fn endless() -> Ran {
    Ran { output: Vec::new(), end: None }
}

#[test]
fn c6_a_secret_that_changed_is_renewed_once() {
    let mut host = Host::new();
    host.rotate("second");
    host.reload();
    host.pass(120);
    host.reload();
    host.pass(120);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn x4_c5_a_workspace_that_never_ends_its_renewal_does_not_hold_up_the_reload() {
    let mut host = Host::new();
    host.begin_renewals_that_never_end();
    host.pass(35);
    assert_eq!(host.world.people.unanswered(), None);
    // It is not tried again and again, but by the next, and in a while.
    let before = host.begun();
    host.pass(590);
    assert_eq!(host.begun(), before);
    host.pass(10);
    assert_eq!(host.begun(), before + 1);
    host.pass(30);
    *host.goes.lock().unwrap() = None;
    host.reload();
    host.pass(5);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn x4_a_workspace_that_never_ends_its_renewal_is_stopped_at_once() {
    for personalize in [false, true] {
        let mut host = Host::new();
        if personalize {
            host.has("personalize", endless());
            host.world.ask(What::Personalize(host.id.clone()));
        } else {
            host.begin_renewals_that_never_end();
        }
        host.pass(2);
        host.world.ask(What::Stop(host.id.clone()));
        host.pass(2);
        assert_eq!(host.state(), StateName::Off, "personalize: {personalize}");
        assert_eq!(host.world.people.unanswered(), None);
    }
}

#[test]
fn c6_a_renewal_that_docker_cut_off_is_made_when_docker_is_back() {
    for notices in [false, true] {
        let mut host = Host::with_broken_renewal(EngineError::Away("reset".into()));
        host.pass(1);
        if notices {
            host.world.host.engine.set_away(Some("connect: no such file or directory"));
            host.pass(20);
            host.world.host.engine.set_away(None);
        }
        host.pass(90);
        assert_eq!(host.take_injected(), ["second"], "noticed: {notices}");
    }
}

#[test]
fn c6_a_renewal_that_failed_is_made_at_the_next_reload_or_in_a_while() {
    for by_reload in [true, false] {
        let mut host = Host::with_broken_renewal(EngineError::Refused("no room".into()));
        host.pass(300);
        assert_eq!(host.take_injected(), Vec::<String>::new());
        let outdated = |host: &Host| {
            let State::Running { outdated, .. } = state(&host.world, &host.id) else { panic!("it does not run") };
            outdated
        };
        assert_eq!(outdated(&host), [Outdated::Secrets]);
        if by_reload {
            host.reload();
            host.pass(5);
        } else {
            host.pass(600);
        }
        assert_eq!((host.take_injected(), outdated(&host)), (vec!["second".to_owned()], vec![]));
    }
}

#[test]
fn c6_one_that_is_paused_during_its_renewal_has_it_when_it_goes_on() {
    let mut host = Host::new();
    host.begin_renewals_that_never_end();
    host.pass(5);
    let container = host.container();
    host.world.host.engine.set_paused(&container, true).unwrap();
    host.pass(60);
    *host.goes.lock().unwrap() = None;
    host.world.host.engine.set_paused(&container, false).unwrap();
    host.pass(60);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn x4_c7_what_others_set_does_not_wait_for_a_renewal_that_never_ends() {
    let mut host = Host::with(2);
    host.begin_renewals_that_never_end();
    host.pass(35);
    let before = host.begun();
    host.set(&"u0/side".parse().unwrap(), "memory", "1GiB");
    host.pass(1);
    assert_eq!((host.world.people.unanswered(), host.begun()), (None, before));
}

#[test]
fn x4_c5_a_reload_does_not_wait_for_what_is_begun_in_workspaces_after_it_was_there() {
    let mut host = Host::with(3);
    host.rotate("second");
    host.has("u0.main /usr/local/bin/hearth inject", endless());
    host.reload();
    host.pass(5);
    assert_eq!(host.take_injected(), ["second"]);
    host.has("hearth hook", endless());
    host.world.ask(What::Personalize("u1/main".parse().unwrap()));
    host.pass(30);
    assert_eq!(host.world.people.unanswered(), None);
}

#[test]
fn c6_sixteen_are_renewed_at_a_time() {
    let mut host = Host::with(40);
    let before = host.begun();
    host.begin_renewals_that_never_end();
    host.pass(5);
    assert_eq!(host.begun(), before + 16);
    host.pass(30);
    assert_eq!(host.begun(), before + 20);
}

#[test]
fn c6_l6_a_rebuild_that_failed_has_brought_no_secret() {
    let mut host = Host::new();
    host.rotate("second");
    host.world.registry("dev:1", Err(PullError::NotFound("manifest unknown".into())));
    host.world.ask(What::Rebuild(host.id.clone()));
    host.pass(60);
    assert_eq!((host.state(), host.take_injected()), (StateName::Running, vec![]));
    host.reload();
    host.pass(5);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn c6_l11_a_secret_that_changed_while_hearthd_was_down_is_renewed_once() {
    for kindly in [true, false] {
        let mut host = Host::new();
        host.world.end(kindly);
        host.world.start();
        host.pass(120);
        assert_eq!(host.take_injected(), Vec::<String>::new(), "nothing changed");
        host.world.end(kindly);
        host.rotate("second");
        host.world.start();
        host.pass(120);
        host.world.end(kindly);
        host.world.start();
        host.pass(120);
        assert_eq!(host.take_injected(), ["second"]);
    }
}

#[test]
fn c6_l11_a_secret_that_changed_before_a_restart_is_renewed_by_the_reload_after_it() {
    let mut host = Host::new();
    host.rotate("second");
    host.world.end(true);
    host.world.start();
    host.pass(5);
    host.reload();
    host.pass(5);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn c6_l11_a_database_that_does_not_say_what_was_injected_has_it_renewed_once() {
    let mut host = Host::new();
    host.world.end(true);
    let store = host.world.host.database.open(faults::open_gate());
    let record = store.workspaces().now_or_never().unwrap().unwrap().remove(0);
    let container = record.container.map(|container| ContainerRecord { injected: None, ..container });
    store.set_container(&host.id, container).now_or_never().unwrap().unwrap();
    for expected in [vec!["first".to_owned()], vec![]] {
        host.world.start();
        host.pass(120);
        assert_eq!(host.take_injected(), expected);
        host.world.end(true);
    }
}

#[test]
fn c6_l10_one_that_is_removed_is_stopped_and_not_renewed_before() {
    let mut host = Host::new();
    host.world.declared.workspaces.remove(&host.id);
    host.write_files();
    let log = logged(|| {
        host.reload();
        host.pass(5);
    });
    assert!(host.world.watchman.ours().is_empty());
    assert!(log.contains("is off") && !log.contains("secrets"), "{log}");
}

#[test]
fn c6_one_that_was_paused_gets_what_a_reload_brought_when_it_goes_on() {
    let mut host = Host::new();
    host.world.host.engine.set_paused(&host.container(), true).unwrap();
    host.pass(5);
    host.rotate("second");
    host.reload();
    host.pass(120);
    assert_eq!((host.take_injected(), host.world.people.unanswered()), (vec![], None));
    host.world.host.engine.set_paused(&host.container(), false).unwrap();
    host.pass(60);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn c6_what_a_renewal_could_not_write_is_said() {
    let mut host = Host::new();
    host.rotate("second");
    let note = Note::new(WarningKind::Other, "cannot write /etc/gitconfig".to_owned());
    let report =
        InjectReport { failure: None, notes: vec![note], given: 0, facts: crate::helper::bundle::Facts::default() };
    host.has("inject", Ran::well(serde_json::to_vec(&report).unwrap()));
    let log = logged(|| {
        host.reload();
        host.pass(5);
    });
    assert!(log.contains("WARN") && log.contains("cannot write /etc/gitconfig"), "{log}");
}

#[test]
fn c6_a_renewal_that_failed_is_tried_again_when_its_owner_sets_something_or_in_a_while() {
    for sets in [true, false] {
        let mut host = Host::with_broken_renewal(EngineError::Refused("no room".into()));
        host.pass(30);
        host.has(" inject", endless());
        host.set(&host.id.clone(), "memory", "1GiB");
        host.pass(1);
        assert!(host.world.host.engine.calls().contains(&format!("update {}", host.container())), "limits come first");
        host.pass(60);
        *host.goes.lock().unwrap() = None;
        if sets {
            host.set(&host.id.clone(), "memory", "2GiB");
            host.pass(5);
        } else {
            host.pass(700);
        }
        assert_eq!(host.take_injected(), ["second"], "sets: {sets}");
    }
}

#[test]
fn c6_what_changed_while_another_secret_was_brought_in_vain_is_brought_at_once() {
    let mut host = Host::new();
    host.begin_renewals_that_never_end();
    host.pass(10);
    host.rotate("the third");
    host.reload();
    host.pass(10);
    assert_ne!(host.world.people.unanswered(), None, "it is not in the workspace");
    *host.goes.lock().unwrap() = None;
    host.pass(15);
    assert_eq!((host.take_injected(), host.world.people.unanswered()), (vec!["the third".to_owned()], None));
}

#[test]
fn x4_however_many_never_end_their_renewal_a_reload_is_answered_and_limits_change() {
    let mut host = Host::with(160);
    let other: WorkspaceId = "u0/side".parse().unwrap();
    host.world.ask(What::Start(other.clone()));
    host.pass(60);
    assert_eq!(state(&host.world, &other).name(), StateName::Running);
    host.begin_renewals_that_never_end();
    host.pass(5);
    host.set(&other, "memory", "1GiB");
    host.pass(1);
    assert!(host.world.host.engine.calls().contains(&"update hearth.u0.side".to_owned()));
    host.pass(60);
    assert_eq!(host.world.people.unanswered(), None);
}

#[test]
fn x4_a_rebuild_does_not_wait_for_a_renewal_that_never_ends() {
    let mut host = Host::new();
    host.begin_renewals_that_never_end();
    host.pass(5);
    host.world.ask(What::Rebuild(host.id.clone()));
    host.pass(1);
    assert_eq!(host.state(), StateName::Building);
}

#[test]
fn l13_a_cancel_does_not_wait_for_what_the_build_was_to_bring() {
    let mut host = Host::new();
    host.world.host.engine.order("pull", 1, Fault::Before(EngineError::Away("reset".into())));
    host.world.ask(What::Rebuild(host.id.clone()));
    host.pass(1);
    host.begin_renewals_that_never_end();
    host.pass(0);
    host.world.ask(What::Cancel(host.id.clone()));
    host.pass(1);
    assert_eq!((host.world.people.unanswered(), host.state()), (None, StateName::Running));
    *host.goes.lock().unwrap() = None;
    host.pass(640);
    assert_eq!(host.take_injected(), ["second"]);
}

#[test]
fn c6_no_renewal_begins_when_hearthd_stops() {
    let mut host = Host::with(40);
    let before = host.begun();
    host.begin_renewals_that_never_end();
    host.pass(25);
    host.world.end(true);
    assert_eq!(host.begun(), before + 16);
}

/// Returns what is logged while `work` is done.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl MakeWriter<'_> for Kept {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(kept.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(std::mem::take(&mut *kept.0.lock().unwrap())).unwrap()
}
