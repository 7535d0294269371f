//! `GET …/why`: what keeps a workspace on or when it goes off, on what evidence, by whose rule (rule P6).

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::reach;
use super::error::ApiResult;
use super::extract::Named;
use super::gate::{Patience, answer};
use super::wire::{AutoOffRule, ErrorBody, HoldOf, OutgoingTo, SeenUse, Why, WhyOutlook};
use crate::access::Verb;
use crate::activity::{Counts, Judged, Keeper, Off, Outlook};
use crate::config::settings::Limit;
use crate::handle::{Explained, View};
use crate::model::{Measure, Outgoing, Protocol};

/// How long a fresh look is waited for; past it the last one has to do.
const LOOK: Duration = Duration::from_secs(3);

/// Says why the workspace is on or when it goes off, after a fresh look
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}/why", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Why), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn why(State(context): State<ApiContext>, caller: Caller, Named(id): Named) -> ApiResult<Json<Why>> {
    let reached = reach(&context, &caller, Verb::Why, &id)?;
    let handle = &context.handle;
    // An engine that hangs is no reason to say nothing: `looked_at` tells how old it is (rule L12).
    let _ = tokio::time::timeout(LOOK, handle.look(&reached.allowed)).await;
    let explained = answer(handle, Patience::Accepted, handle.why(&reached.allowed)).await?;
    let view = handle.snapshot().workspaces.get(&id).cloned().unwrap_or(reached.view);
    Ok(Json(shape(&view, explained)))
}

fn shape(view: &View, explained: Explained) -> Why {
    let Explained { why, holds } = explained;
    let holds = holds.into_iter().map(|(hold, until, since)| HoldOf {
        hold: hold.id.0,
        by: hold.by,
        from: hold.from,
        message: hold.message,
        since,
        until,
        until_command_ends: hold.renewed.is_some(),
    });
    let mut shaped = Why {
        workspace: view.id.clone(),
        org: view.org.clone(),
        state: view.state.name(),
        since: view.state.since(),
        because: view.because.clone(),
        rule: None,
        outlook: None,
        without_holds: None,
        holds: holds.collect(),
        evidence: Vec::new(),
        outgoing: Vec::new(),
        looked_at: None,
    };
    let Some(why) = why else { return shaped };
    shaped.because = why.because;
    let threshold = match why.threshold {
        Limit::After(after) => Some(after.as_secs()),
        Limit::Never => None,
    };
    shaped.rule = Some(AutoOffRule { threshold, said_in: why.said_in.to_string() });
    shaped.outlook = Some(outlook(&why.outlook));
    shaped.without_holds = why.without_holds.as_ref().map(outlook);
    shaped.evidence = why.evidence.iter().map(seen).collect();
    shaped.outgoing = why.outgoing.into_iter().map(outgoing).collect();
    shaped.looked_at = why.looked_at;
    shaped
}

fn outlook(outlook: &Outlook) -> WhyOutlook {
    let (off, at, kept_by, blind) = match &outlook.off {
        Off::Never => ("never", None, Vec::new(), None),
        Off::Kept { by } => ("kept", None, by.iter().map(keeper).collect(), None),
        Off::Blind { why } => ("blind", None, Vec::new(), Some(why.clone())),
        Off::At { at } => ("at", Some(*at), Vec::new(), None),
    };
    let idle_from = outlook.idle_from.to_string();
    WhyOutlook { off: off.into(), at, kept_by, blind, idle_since: outlook.idle_since, idle_from }
}

fn keeper(keeper: &Keeper) -> String {
    match keeper {
        Keeper::Hold { hold, .. } => format!("hold {}", hold.id.0),
        Keeper::Open(open) => open.to_string(),
    }
}

fn outgoing(to: Outgoing) -> OutgoingTo {
    let protocol = match to.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    OutgoingTo { protocol: protocol.into(), peer: to.peer }
}

fn seen(judged: &Judged) -> SeenUse {
    let port = match judged.live.measure {
        Measure::Connection { port, .. } => Some(port),
        Measure::Open | Measure::Terminal { .. } => None,
    };
    SeenUse {
        kind: judged.live.kind().to_string(),
        who: judged.live.who.clone(),
        from: judged.live.from.clone(),
        port,
        counts: !matches!(judged.counts, Counts::No(_)),
        how: judged.counts.to_string(),
    }
}
