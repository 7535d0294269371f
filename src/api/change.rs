//! What every request about one workspace has in common: access is checked, and each change and each entry is in the
//! audit log (rule X1), with its result, even when the client goes away in the middle.

use std::sync::Arc;

use tokio::time::Instant;

use super::ApiContext;
use super::caller::Caller;
use super::error::{ApiError, ApiResult};
use super::gate::too_many;
use super::rate::Kind;
use super::wire::ErrorCode;
use crate::access::{Allowed, DaemonVerb, Person, Refused, Verb, check, check_daemon};
use crate::config::Settings;
use crate::handle::{Snapshot, View};
use crate::model::{Requester, WorkspaceId};
use crate::store::AuditEntry;

/// A workspace that the caller may do something to, as of one snapshot.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) allowed: Allowed,
    pub(super) view: Arc<View>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) settings: Arc<Settings>,
}

/// Finds a workspace and checks that the caller may do `verb` to it.
pub(super) fn reach(context: &ApiContext, caller: &Caller, verb: Verb, id: &WorkspaceId) -> ApiResult<Reached> {
    let (snapshot, settings) = (context.handle.snapshot(), context.handle.settings());
    let view = snapshot.workspaces.get(id).ok_or_else(|| Refused::NotVisible(id.clone()))?;
    let allowed = check(&settings, &caller.0, verb, id, &view.org)?;
    Ok(Reached { allowed, view: view.clone(), snapshot, settings })
}

/// What came of a change.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub(super) reply: T,
    /// What the audit log says that it became; `None` where nothing had to be done, which is no change.
    pub(super) after: Option<String>,
}

/// Changes or enters a workspace: checks, acts and notes who did it.
///
/// Once it has begun it goes on to its end, for what was asked of the daemon cannot be taken back by hanging up.
pub(super) async fn change<T, F>(
    context: ApiContext,
    caller: Caller,
    verb: Verb,
    id: WorkspaceId,
    act: impl FnOnce(ApiContext, Reached) -> F + Send + 'static,
) -> ApiResult<T>
where
    T: Send + 'static,
    F: Future<Output = ApiResult<Done<T>>> + Send,
{
    let deed = Deed { what: verb.name(), workspace: Some(id.clone()) };
    noted(context, caller, deed, move |context, caller| async move {
        let reached = match reach(&context, &caller, verb, &id) {
            Ok(reached) => reached,
            Err(error) => return (None, Err(error)),
        };
        let before = reached.view.state.name().to_string();
        (Some(before), act(context, reached).await)
    })
    .await
}

/// Changes the daemon itself: checks, acts and notes who did it.
pub(super) async fn change_daemon<T, F>(
    context: ApiContext,
    caller: Caller,
    verb: DaemonVerb,
    act: impl FnOnce(ApiContext, Requester) -> F + Send + 'static,
) -> ApiResult<T>
where
    T: Send + 'static,
    F: Future<Output = ApiResult<Done<T>>> + Send,
{
    let deed = Deed { what: verb.name(), workspace: None };
    noted(context, caller, deed, move |context, caller| async move {
        if let Err(refused) = check_daemon(&context.handle.settings(), &caller.0, verb) {
            return (None, Err(refused.into()));
        }
        (None, act(context, caller.0.requester()).await)
    })
    .await
}

/// What was done, as the audit log has it.
pub(super) struct Deed {
    pub(super) what: &'static str,
    pub(super) workspace: Option<WorkspaceId>,
}

/// What the audit log says that it was, and what came of the deed.
pub(super) type Outcome<T> = (Option<String>, ApiResult<Done<T>>);

/// Acts and notes who did it; the act says how it was before.
pub(super) async fn noted<T, F>(
    context: ApiContext,
    caller: Caller,
    deed: Deed,
    act: impl FnOnce(ApiContext, Caller) -> F + Send + 'static,
) -> ApiResult<T>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send,
{
    if let Person::Inside { workspace } = &caller.0
        && !context.guests.may(workspace, Kind::Change, Instant::now())
    {
        return Err(too_many("this workspace asks for too many changes"));
    }
    let tasks = context.tasks.clone();
    let work = async move {
        let (before, outcome) = act(context.clone(), caller.clone()).await;
        if let Some((after, result)) = worth_noting(&context, &caller, &deed, &outcome) {
            let (who, from, at) = (caller.0.requester(), caller.from(), (context.outside.clock)());
            let Deed { what, workspace } = deed;
            let what = what.to_owned();
            note(&context, AuditEntry { at, who, from, what, workspace, before, after, result }).await;
        }
        outcome.map(|done| done.reply)
    };
    tasks.spawn(work).await.unwrap_or_else(|error| Err(ApiError::internal("the request", &error.into())))
}

/// Returns what it became and how it went, for the audit log.
fn worth_noting<T>(
    context: &ApiContext,
    caller: &Caller,
    deed: &Deed,
    outcome: &ApiResult<Done<T>>,
) -> Option<(Option<String>, String)> {
    match outcome {
        Ok(Done { after, .. }) => after.clone().map(|after| (Some(after), "ok".to_owned())),
        // Anybody can make up names; what is not there was neither changed nor entered.
        Err(error) if error.code() == ErrorCode::NotFound && !is_there(context, deed) => None,
        // A client that waits for a build knocks again and again.
        Err(error) if error.code() == ErrorCode::Conflict && deed.what == Verb::Enter.name() => None,
        Err(error) => {
            let may = context.guests.may_note_refusal(&caller.0.requester(), Instant::now());
            may.then(|| (None, error.message().to_owned()))
        }
    }
}

/// Returns whether what somebody wanted to change is there, even where they are told that it is not.
fn is_there(context: &ApiContext, deed: &Deed) -> bool {
    deed.workspace.as_ref().is_some_and(|id| context.handle.snapshot().workspaces.contains_key(id))
}

async fn note(context: &ApiContext, entry: AuditEntry) {
    if let Err(error) = context.outside.store.audit(entry).await {
        tracing::error!(error = format!("{:#}", anyhow::Error::from(error)), "cannot write the audit log");
    }
}
