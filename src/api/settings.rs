//! `GET|PATCH …/settings`: what members set of their workspaces and of themselves (rule C7).

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::{Deed, Done, Outcome, noted, reach};
use super::error::ApiResult;
use super::extract::{Body, Named, NamedUser};
use super::gate::{Patience, answer};
use super::wire::{ErrorBody, Setting, SettingsChanged, SettingsEffect, SettingsRequest, TakesEffect};
use crate::access::{UserVerb, Verb, check_user};
use crate::config::InForce;
use crate::config::set::Edits;
use crate::config::show::{self, Row};
use crate::handle::{self, EngineView, Owner, When};
use crate::model::{Requester, State as WorkspaceState};

/// Shows what the members' own settings of a workspace are, and what is in force
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}/settings", tag = "settings",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Vec<Setting>), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn of_workspace(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
) -> ApiResult<Json<Vec<Setting>>> {
    reach(&context, &caller, Verb::Config, &id)?;
    let (in_force, owner) = (in_force(&context), Owner::Workspace(id.clone()));
    Ok(Json(settings(show::settable(&in_force, &id), &in_force, &owner)))
}

/// Changes the owner's settings of a workspace, all of them or none; replies when a running one is in line
#[utoipa::path(patch, path = "/v1/workspaces/{user}/{name}/settings", tag = "settings",
    params(("user" = String, Path), ("name" = String, Path)), request_body = SettingsRequest, responses(
    (status = 200, body = SettingsChanged), (status = 400, body = ErrorBody, description = "A value makes no sense"),
    (status = 403, body = ErrorBody, description = "The org does not allow it"), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "A port is taken"), (status = 503, body = ErrorBody)))]
pub(super) async fn set_of_workspace(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
    Body(request): Body<SettingsRequest>,
) -> ApiResult<Json<SettingsChanged>> {
    let deed = Deed { what: Verb::Set.name(), workspace: Some(id.clone()) };
    noted(context, caller, deed, move |context, caller| async move {
        match reach(&context, &caller, Verb::Set, &id) {
            Ok(reached) => set(&context, Owner::Workspace(id), request, reached.allowed.requester().clone()).await,
            Err(error) => (None, Err(error)),
        }
    })
    .await
}

/// Shows what a user's own settings are, and what is in force
#[utoipa::path(get, path = "/v1/users/{user}/settings", tag = "settings", params(("user" = String, Path)), responses(
    (status = 200, body = Vec<Setting>), (status = 404, body = ErrorBody)))]
pub(super) async fn of_user(
    State(context): State<ApiContext>,
    caller: Caller,
    NamedUser(user): NamedUser,
) -> ApiResult<Json<Vec<Setting>>> {
    check_user(&context.handle.settings(), &caller.0, &user, UserVerb::See)?;
    let (in_force, owner) = (in_force(&context), Owner::User(user.clone()));
    Ok(Json(settings(show::of_user(&in_force, &user), &in_force, &owner)))
}

/// Changes a user's own settings, all of them or none
#[utoipa::path(patch, path = "/v1/users/{user}/settings", tag = "settings", params(("user" = String, Path)),
    request_body = SettingsRequest, responses(
    (status = 200, body = SettingsChanged), (status = 400, body = ErrorBody, description = "A value makes no sense"),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn set_of_user(
    State(context): State<ApiContext>,
    caller: Caller,
    NamedUser(user): NamedUser,
    Body(request): Body<SettingsRequest>,
) -> ApiResult<Json<SettingsChanged>> {
    let deed = Deed { what: UserVerb::Set.name(), workspace: None };
    noted(context, caller, deed, move |context, caller| async move {
        match check_user(&context.handle.settings(), &caller.0, &user, UserVerb::Set) {
            Ok(_) => set(&context, Owner::User(user), request, caller.0.requester()).await,
            Err(refused) => (None, Err(refused.into())),
        }
    })
    .await
}

async fn set(
    context: &ApiContext,
    owner: Owner,
    SettingsRequest { set, reset }: SettingsRequest,
    requester: Requester,
) -> Outcome<Json<SettingsChanged>> {
    let asked = context.handle.set(owner.clone(), Edits { set, reset }, requester);
    let changed = match answer(&context.handle, Patience::Done, asked).await {
        Ok(changed) => changed,
        Err(error) => return (None, Err(error)),
    };
    let (before, after) = (noteworthy(&owner, &changed.before), noteworthy(&owner, &changed.after));
    let after = (changed.before != changed.after).then_some(after);
    let effects = changed.effects.into_iter().flat_map(|effect| effects(context, effect)).collect();
    let settings = settings(changed.after, &in_force(context), &owner);
    (Some(before), Ok(Done { reply: Json(SettingsChanged { settings, effects }), after }))
}

fn in_force(context: &ApiContext) -> InForce {
    InForce { settings: context.handle.settings(), members: context.handle.snapshot().members.clone() }
}

fn settings(rows: Vec<Row>, in_force: &InForce, owner: &Owner) -> Vec<Setting> {
    let members = &in_force.members;
    let set = match owner {
        Owner::Workspace(id) => members.workspaces.get(id).map(|own| own.as_set()),
        Owner::User(user) => members.users.get(user).map(|me| me.as_set()),
    };
    let set = set.unwrap_or_default();
    let setting =
        |Row { key, value, origin }| Setting { set: set.get(&key).cloned(), key, value, origin: origin.to_string() };
    rows.into_iter().map(setting).collect()
}

/// What a running container did not take over after all, such as less memory than it uses, waits for its next build;
/// while Docker is away, for its return.
fn effects(context: &ApiContext, effect: handle::Effect) -> Vec<SettingsEffect> {
    let handle::Effect { workspace, keys, when } = effect;
    let snapshot = context.handle.snapshot();
    let away = !matches!(snapshot.engine, EngineView::Here { .. });
    let outdated = match snapshot.workspaces.get(&workspace).map(|view| view.state.clone()) {
        Some(WorkspaceState::Running { outdated, .. }) => outdated.iter().map(ToString::to_string).collect(),
        Some(_) | None => Vec::new(),
    };
    let (waiting, at_once): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|key| when == When::NextBuild || outdated.contains(key));
    let later = if when == When::AtOnce && away { TakesEffect::DockerBack } else { TakesEffect::NextBuild };
    [(at_once, TakesEffect::AtOnce), (waiting, later)]
        .into_iter()
        .filter(|(keys, _)| !keys.is_empty())
        .map(|(keys, takes_effect)| SettingsEffect { workspace: workspace.clone(), keys, takes_effect })
        .collect()
}

/// What the audit log says; of the environment only names.
fn noteworthy(owner: &Owner, rows: &[Row]) -> String {
    let one = |row: &Row| match row.key.strip_prefix("env.") {
        Some(_) if row.value != "none" => format!("{} = (a value)", row.key),
        _ => format!("{} = {}", row.key, row.value),
    };
    let rows = rows.iter().map(one).collect::<Vec<_>>().join(", ");
    match owner {
        Owner::Workspace(_) => rows,
        Owner::User(user) => format!("{user}: {rows}"),
    }
}
