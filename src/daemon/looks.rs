//! When the engine is looked at, and how soon one that does not answer counts as away (rule L12).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::error;

use super::reconcile::Reconciler;
use super::world::Tried;
use crate::decide::Observed;
use crate::docker::ContainerId;
use crate::handle::{EngineView, Event, Request};
use crate::model::Now;
use crate::mutant;

/// How long the loop waits at most before it looks at everything again.
const RESYNC: Duration = Duration::from_secs(60);
/// Is [`RESYNC`] while something is done, which the engine may leave hanging.
const BUSY: Duration = Duration::from_secs(5);
/// How soon it asks an engine that is away again.
const RETRY: Duration = Duration::from_secs(2);
/// How long the engine may take for an answer to a look.
const SILENCE: Duration = Duration::from_secs(3);
/// When to look again after an event, one after the other: the engine's list lags behind what it tells (seen: a
/// second on a busy machine).
const SETTLE: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(3)];
/// An engine that stops ends its containers first: such an end is none of theirs.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// Looks at the engine: numbered, so that an old one is known as such. Spans are the boot clock's.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) next: u64,
    pub(super) wanted: bool,
    /// When the one that runs began.
    pub(super) running: Option<Duration>,
    /// When the next is due without any event.
    due: Duration,
    /// The last one that was answered.
    answered: u64,
    /// What something happened to since the last one began.
    pub(super) touched: BTreeSet<ContainerId>,
    /// How many more looks an event asks for: the engine's list shows what it told only after a while.
    settling: usize,
    /// Containers of which the engine did not say what they do.
    stuck: BTreeSet<ContainerId>,
    /// As the engine last said.
    pub(super) version: Option<(String, String)>,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self { wanted: true, ..Self::default() }
    }

    /// Something happened: it is looked at once, and again until the engine's list has settled.
    pub(super) fn after_event(&mut self) {
        self.wanted = true;
        self.settling = SETTLE.len();
    }

    /// Notes of which containers the engine did not say what they do, and why: it is asked again soon.
    pub(super) fn unanswered(&mut self, unanswered: BTreeMap<ContainerId, String>, now: Now) {
        for (id, why) in unanswered.iter().filter(|(id, _)| !self.stuck.contains(*id)) {
            error!("Docker lists container {id} and does not say what it does: {why}; asked again every {RETRY:?}");
        }
        self.stuck = unanswered.into_keys().collect();
        if !self.stuck.is_empty() {
            self.touched.extend(self.stuck.iter().cloned());
            self.due = self.due.min(now.boot + RETRY);
        }
    }

    /// Whether the engine has left the look that runs without an answer for too long.
    fn is_silent(&self, now: Now) -> bool {
        self.running.is_some_and(|began| now.boot >= began + SILENCE)
    }

    /// Notes that a look has come to its end.
    pub(super) fn ended(&mut self, number: u64) {
        self.running = None;
        self.answered = number;
    }
}

impl Reconciler {
    /// Starts a look if one is due; returns how long the loop may wait for what it hears.
    pub(super) fn look(&mut self, now: Now) -> Duration {
        let here = matches!(self.engine, EngineView::Here { .. });
        let busy = self.world.workspaces.values().any(|tracked| tracked.operation.is_some());
        let looks = &mut self.looks;
        if busy {
            looks.due = looks.due.min(now.boot + BUSY);
        }
        if looks.running.is_none() && now.boot >= looks.due {
            looks.wanted = true;
            looks.settling = looks.settling.saturating_sub(1);
        }
        if looks.wanted && looks.running.is_none() {
            (looks.next, looks.wanted, looks.running) = (looks.next + 1, false, Some(now.boot));
            let longest = match (here, busy) {
                (false, _) => RETRY,
                (true, true) => BUSY,
                (true, false) if mutant::is_on("only events are looked after") => 1000 * RESYNC,
                (true, false) => RESYNC,
            };
            let settle = SETTLE.iter().rev().nth(looks.settling.wrapping_sub(1));
            looks.due = now.boot + settle.map_or(longest, |settle| longest.min(*settle));
            let touched = std::mem::take(&mut looks.touched);
            let ours = self.world.workspaces.values().filter(|tracked| tracked.operation.is_none());
            let ours = ours.filter_map(|tracked| {
                let container = tracked.record.container.as_ref()?;
                let id = ContainerId(container.id.clone());
                // All of them where it is not known what happened to them.
                let happened = !here || touched.contains(&id);
                let over = matches!(tracked.observed, Observed::Ended | Observed::Restarted);
                let closely = happened && !container.token_hash.is_empty() || over;
                Some((id, closely))
            });
            self.executor.look(looks.next, here, ours.collect());
        }
        let Some(began) = looks.running else { return looks.due.saturating_sub(now.boot) };
        if !looks.is_silent(now) {
            return (began + SILENCE).saturating_sub(now.boot);
        }
        self.engine_away(&format!("it has not answered for {SILENCE:?}"));
        RESYNC
    }

    pub(super) fn engine_away(&mut self, why: &str) {
        let now = self.executor.now();
        if !matches!(self.engine, EngineView::Away { .. }) {
            error!("Docker does not answer: {why}; nothing is changed until it is back");
            self.engine = EngineView::Away { since: now.wall, why: why.to_owned() };
            self.emit(Event::Engine { at: now.wall, here: false });
        }
        for tracked in self.world.workspaces.quietly() {
            tracked.ends.retain(|end| now.since(*end) > SHUTDOWN);
            // Whether what is being changed was is not known: it is tried again.
            tracked.tried = Tried::default();
        }
        self.looks.due = self.looks.due.min(now.boot + RETRY);
        self.looked = true;
    }

    /// Carries out a request; one that needs the engine only once a look that began after it was answered, as an engine
    /// that was away may be back, and if somebody still waits for it by then.
    pub(super) async fn request(&mut self, request: Request) {
        let needs = needs_engine(&request);
        // Who waits for what follows from a setting is not to wait for an engine that hangs.
        self.looks.wanted |= needs || matches!(request, Request::Set { .. } | Request::Reload { .. });
        if needs {
            self.parked.push((self.looks.next + 1, request));
        } else {
            self.carry_out(request).await;
        }
    }

    /// Carries out what has waited for the engine's answer, or for one that does not come.
    pub(super) async fn carry_out_parked(&mut self, now: Now) {
        let silent = self.looks.is_silent(now);
        let answered = self.looks.answered;
        let (wait, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parked).into_iter().partition(|(look, _)| !silent && *look > answered);
        self.parked = wait;
        for (_, request) in go.into_iter().filter(|(_, request)| !is_given_up(request)) {
            self.carry_out(request).await;
        }
    }
}

/// Whether who asked was told meanwhile that Docker does not answer: then it is not to be done behind their back. A
/// stop is waited for as long as Docker is there, so nobody was told so of one.
fn is_given_up(request: &Request) -> bool {
    match request {
        Request::Start { reply, .. } | Request::Rebuild { reply, .. } => reply.is_closed(),
        Request::Personalize { reply, .. } => reply.is_closed(),
        Request::TrashHome { reply, .. } => reply.is_closed(),
        Request::Stop { .. }
        | Request::Cancel { .. }
        | Request::Reload { .. }
        | Request::Plan { .. }
        | Request::RestoreHome { .. }
        | Request::Away { .. }
        | Request::Set { .. }
        | Request::Look { .. }
        | Request::Why { .. }
        | Request::Hold { .. }
        | Request::Renew { .. }
        | Request::Release { .. } => false,
    }
}

/// Whether a request is refused while Docker is away.
fn needs_engine(request: &Request) -> bool {
    matches!(
        request,
        Request::Start { .. }
            | Request::Rebuild { .. }
            | Request::Stop { .. }
            | Request::Personalize { .. }
            | Request::TrashHome { .. }
    )
}
