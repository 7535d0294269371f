//! `GET /v1/events`: server-sent events, "look again" with what happened.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::ApiContext;
use super::caller::Caller;
use super::wire::ErrorBody;
use crate::access::{Person, Verb, check};
use crate::handle::{Event, Handle};
use crate::model::WorkspaceId;

/// How often a silent stream says that it is there, so that one whose client went away is found out.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Streams what happens to the workspaces that the caller may see, until hearthd stops
#[utoipa::path(get, path = "/v1/events", tag = "daemon", responses(
    (status = 200, content_type = "text/event-stream", body = String,
     description = "Events `state stage built auto-start auto-off config engine` with JSON as data; `lagged` where some were lost: look at the list again"),
    (status = 503, body = ErrorBody)))]
pub(super) async fn events(
    State(context): State<ApiContext>,
    caller: Caller,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let stop = context.stop.clone();
    let receiver = context.handle.events();
    let events = stream::unfold((receiver, context, caller), next).take_until(async move { stop.cancelled().await });
    Sse::new(events.map(Ok)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

type Following = (Receiver<Event>, ApiContext, Caller);

async fn next((mut receiver, context, caller): Following) -> Option<(sse::Event, Following)> {
    loop {
        let event = match receiver.recv().await {
            Ok(event) if may_see(&context.handle, &caller.0, &event) => shape(&event),
            Ok(_) => continue,
            Err(RecvError::Lagged(lost)) => sse::Event::default().event("lagged").data(format!("{{\"lost\":{lost}}}")),
            Err(RecvError::Closed) => return None,
        };
        return Some((event, (receiver, context, caller)));
    }
}

fn shape(event: &Event) -> sse::Event {
    let name = match event {
        Event::State { .. } => "state",
        Event::Stage { .. } => "stage",
        Event::Built { .. } => "built",
        Event::AutoStart { .. } => "auto-start",
        Event::Config { .. } => "config",
        Event::Engine { .. } => "engine",
        Event::AutoOff { .. } => "auto-off",
    };
    sse::Event::default().event(name).data(serde_json::to_string(event).unwrap_or_default())
}

/// Judged at each event: access that was taken away ends with the next one.
fn may_see(handle: &Handle, person: &Person, event: &Event) -> bool {
    let Some(id) = workspace(event) else { return true };
    let snapshot = handle.snapshot();
    let Some(view) = snapshot.workspaces.get(id) else { return false };
    check(&handle.settings(), person, Verb::See, id, &view.org).is_ok()
}

fn workspace(event: &Event) -> Option<&WorkspaceId> {
    match event {
        Event::State { workspace, .. }
        | Event::Stage { workspace, .. }
        | Event::Built { workspace, .. }
        | Event::AutoStart { workspace, .. }
        | Event::AutoOff { workspace, .. } => Some(workspace),
        Event::Config { .. } | Event::Engine { .. } => None,
    }
}
