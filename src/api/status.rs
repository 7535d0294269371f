//! `GET /v1/status`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::error::ApiResult;
use super::wire::{ConfigStatus, DockerStatus, ErrorBody, Status, You};
use crate::access::{DaemonVerb, Person, Verb, check, check_daemon, is_admin, sees_all, users};
use crate::config::Settings;
use crate::handle::{ConfigView, EngineView, Snapshot};

/// Says how hearthd, Docker and the configuration are
#[utoipa::path(get, path = "/v1/status", tag = "daemon", responses(
    (status = 200, body = Status), (status = 503, body = ErrorBody, description = "Docker was not reached yet")))]
pub(super) async fn status(State(context): State<ApiContext>, caller: Caller) -> ApiResult<Json<Status>> {
    let (snapshot, settings) = (context.handle.snapshot(), context.handle.settings());
    check_daemon(&settings, &caller.0, DaemonVerb::Status)?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: snapshot.started_at,
        instance: settings.server.instance.to_string(),
        you: you(&settings, &caller.0),
        docker: docker(&snapshot.engine),
        config: config(&snapshot.config, sees_all(&settings, &caller.0)),
        workspaces: counts(&snapshot, &settings, &caller.0),
        notes: notes(&snapshot, sees_all(&settings, &caller.0)),
    }))
}

fn notes(snapshot: &Snapshot, all: bool) -> Vec<String> {
    let blind = snapshot
        .blind
        .as_ref()
        .map(|why| format!("no connection into a workspace can be seen, so auto-off turns nothing off: {why}"));
    let foreign = snapshot.foreign.iter().filter(|_| all).cloned();
    blind.into_iter().chain(foreign).collect()
}

fn you(settings: &Settings, person: &Person) -> You {
    let inside = match person {
        Person::Account { .. } => None,
        Person::Inside { workspace } => Some(workspace.clone()),
    };
    let users = users(settings, person).into_iter().cloned().collect();
    You { name: person.requester().0, users, admin: is_admin(settings, person), inside }
}

fn docker(engine: &EngineView) -> DockerStatus {
    let nothing = DockerStatus { reachable: false, version: None, api: None, away_since: None, error: None };
    match engine.clone() {
        EngineView::Unknown => nothing,
        EngineView::Here { version, api } => {
            DockerStatus { reachable: true, version: Some(version), api: Some(api), ..nothing }
        }
        EngineView::Away { since, why } => DockerStatus { away_since: Some(since), error: Some(why), ..nothing },
    }
}

fn config(config: &ConfigView, with_errors: bool) -> ConfigStatus {
    let rejected = config.rejected.as_ref();
    ConfigStatus {
        path: config.path.display().to_string(),
        in_force_since: config.in_force_since,
        from_copy: config.from_copy,
        rejected_since: rejected.map(|rejected| rejected.since),
        rejected: rejected.filter(|_| with_errors).map(|rejected| rejected.errors.clone()),
    }
}

fn counts(snapshot: &Snapshot, settings: &Settings, person: &Person) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for view in snapshot.workspaces.values() {
        if check(settings, person, Verb::See, &view.id, &view.org).is_ok() {
            *counts.entry(view.state.name().to_string()).or_default() += 1;
        }
    }
    counts
}
