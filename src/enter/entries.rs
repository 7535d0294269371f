//! Who is inside through hearth at the moment: the evidence of it (rule P3), and the way to tell them something (P7).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Evidence, EvidenceKind, Live, LiveKey, Measure, Moment, WorkspaceId};

/// How many messages wait for somebody whose terminal takes none.
const MESSAGES: usize = 4;

/// All entries that are open. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Entries {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Box<dyn Fn() -> Moment + Send + Sync>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    next: u64,
    open: BTreeMap<u64, Open>,
    /// Of each workspace, the last one that has ended since somebody asked.
    ended: BTreeMap<WorkspaceId, Evidence>,
}

struct Open {
    workspace: WorkspaceId,
    who: String,
    from: String,
    /// When its terminal was used last; without one it is in use while it is open.
    terminal: Option<Arc<AtomicI64>>,
    messages: mpsc::Sender<String>,
}

/// An entry, for as long as it is open.
pub struct Attached {
    number: u64,
    entries: Entries,
    terminal: Option<Arc<AtomicI64>>,
    messages: mpsc::Receiver<String>,
}

/// What notes that the terminal of an entry is used.
#[derive(Clone)]
pub(super) struct Touch {
    entries: Entries,
    terminal: Option<Arc<AtomicI64>>,
}

impl Entries {
    /// Returns the owner of all entries to be; `clock` is the wall clock.
    pub fn new(clock: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self { shared: Arc::new(Shared { clock: Box::new(clock), known: Mutex::default() }) }
    }

    /// Notes that somebody enters, with a terminal or without.
    pub fn attach(&self, workspace: &WorkspaceId, who: String, from: String, terminal: bool) -> Attached {
        let terminal = terminal.then(|| Arc::new(AtomicI64::new(self.now())));
        let (sender, messages) = mpsc::channel(MESSAGES);
        let mut known = self.known();
        known.next += 1;
        let number = known.next;
        let workspace = workspace.clone();
        known.open.insert(number, Open { workspace, who, from, terminal: terminal.clone(), messages: sender });
        Attached { number, entries: self.clone(), terminal, messages }
    }

    /// Returns the entries of a workspace that are open.
    pub fn live(&self, workspace: &WorkspaceId) -> Vec<Live> {
        let known = self.known();
        let of = known.open.iter().filter(|(_, open)| open.workspace == *workspace);
        let live = of.map(|(number, open)| Live {
            key: LiveKey::Entry(*number),
            who: Some(open.who.clone()),
            from: Some(open.from.clone()),
            measure: match &open.terminal {
                Some(used) => Measure::Terminal { touched: moment(used), unnoticed: Duration::ZERO },
                None => Measure::Open,
            },
        });
        live.collect()
    }

    /// Takes out the use of the last entry that has ended since this was asked last.
    pub fn take_ended(&self, workspace: &WorkspaceId) -> Option<Evidence> {
        self.known().ended.remove(workspace)
    }

    /// Tells everybody who sits at a terminal in a workspace; the text is whole lines.
    pub fn tell(&self, workspace: &WorkspaceId, text: &str) {
        let known = self.known();
        for open in known.open.values().filter(|open| open.workspace == *workspace && open.terminal.is_some()) {
            // One whose terminal took none of the last few would not see this one either.
            let _ = open.messages.try_send(text.to_owned());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        (self.shared.clock)().as_microsecond()
    }
}

impl Attached {
    /// Returns what notes its use.
    pub(super) fn touch(&self) -> Touch {
        Touch { entries: self.entries.clone(), terminal: self.terminal.clone() }
    }

    /// Waits for something to tell the person.
    pub(super) async fn message(&mut self) -> String {
        match self.messages.recv().await {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut known = self.entries.known();
        let Some(Open { workspace, who, from, terminal, .. }) = known.open.remove(&self.number) else { return };
        let at = terminal.map_or_else(|| (self.entries.shared.clock)(), |used| moment(&used));
        let evidence = Evidence { at, kind: EvidenceKind::Entry, who: Some(who), from: Some(from) };
        let last = known.ended.entry(workspace).or_insert_with(|| evidence.clone());
        if last.at <= evidence.at {
            *last = evidence;
        }
    }
}

impl Touch {
    /// Notes that something was typed or shown.
    pub(super) fn touched(&self) {
        if let Some(used) = &self.terminal {
            used.store(self.entries.now(), Ordering::Relaxed);
        }
    }
}

fn moment(used: &AtomicI64) -> Moment {
    Moment::from_microsecond(used.load(Ordering::Relaxed)).unwrap_or(Moment::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;

    fn entries() -> (Entries, Arc<AtomicI64>, WorkspaceId) {
        let clock = Arc::new(AtomicI64::new(10));
        let shown = clock.clone();
        let entries = Entries::new(move || Moment::from_second(shown.load(Ordering::Relaxed)).unwrap());
        (entries, clock, "alice/main".parse().unwrap())
    }

    fn at(second: i64) -> Moment {
        Moment::from_second(second).unwrap()
    }

    #[test]
    fn p3_with_a_terminal_it_is_as_idle_as_that_and_without_it_is_open() {
        let (entries, clock, id) = entries();
        let attached = entries.attach(&id, "alice".into(), "host".into(), true);
        let pipes = entries.attach(&id, "bob".into(), "host".into(), false);
        let measures = || entries.live(&id).into_iter().map(|live| live.measure).collect::<Vec<_>>();
        let terminal = |touched| Measure::Terminal { touched: at(touched), unnoticed: Duration::ZERO };
        clock.store(20, Ordering::Relaxed);
        assert_eq!(measures(), [terminal(10), Measure::Open]);
        attached.touch().touched();
        pipes.touch().touched();
        assert_eq!(measures(), [terminal(20), Measure::Open]);
        assert_eq!(entries.live(&"bob/main".parse().unwrap()), []);
        assert_eq!(entries.take_ended(&id), None);
        clock.store(30, Ordering::Relaxed);
        drop(pipes);
        drop(attached);
        let ended = entries.take_ended(&id).unwrap();
        assert_eq!((ended.at, ended.who.as_deref()), (at(30), Some("bob")), "the terminal was used before");
        assert_eq!((entries.take_ended(&id), measures()), (None, vec![]));
    }

    #[tokio::test]
    async fn p7_whoever_sits_at_a_terminal_is_told_and_a_stuck_one_holds_up_nobody() {
        let (entries, _, id) = entries();
        let (mut first, mut stuck) = (
            entries.attach(&id, "a".into(), "host".into(), true),
            entries.attach(&id, "b".into(), "host".into(), true),
        );
        let mut pipes = entries.attach(&id, "c".into(), "host".into(), false);
        for n in 0..10 {
            entries.tell(&id, &n.to_string());
            assert_eq!(first.message().await, n.to_string());
        }
        assert_eq!(stuck.message().await, "0");
        assert!(pipes.messages.try_recv().is_err(), "what a program reads is not written to");
    }
}
