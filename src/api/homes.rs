//! `GET /v1/homes`, `DELETE /v1/homes/{home}`, `POST /v1/homes/{home}/restore`, `DELETE /v1/workspaces/{user}/{name}`
//! (rule L10).

use axum::Json;
use axum::extract::{Path, State};

use super::ApiContext;
use super::caller::Caller;
use super::change::{Deed, Done, change, noted};
use super::context::KnownHome;
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Named, Nothing};
use super::gate::{Patience, answer};
use super::wire::{ErrorBody, ErrorCode, Home, HomeState};
use crate::access::{Allowed, Person, Verb, check_home};
use crate::config::Settings;
use crate::handle::Snapshot;
use crate::trash::Trashed;

/// Lists the homes of every workspace that the caller may see
#[utoipa::path(get, path = "/v1/homes", tag = "homes", responses(
    (status = 200, body = Vec<Home>), (status = 503, body = ErrorBody, description = "Docker was not reached yet")))]
pub(super) async fn list(State(context): State<ApiContext>, caller: Caller) -> ApiResult<Json<Vec<Home>>> {
    let (snapshot, settings) = (context.handle.snapshot(), context.handle.settings());
    let known = known(&context).await?;
    let seen = known.into_iter().filter(|home| may(&settings, &caller.0, Verb::See, home).is_ok());
    Ok(Json(seen.map(|home| shape(home, &settings, &snapshot)).collect()))
}

/// Moves a home to the trash, where it can be had back until the date that the reply says
#[utoipa::path(delete, path = "/v1/homes/{home}", tag = "homes", params(("home" = String, Path)), responses(
    (status = 200, body = Home), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "Its workspace runs"), (status = 503, body = ErrorBody)))]
pub(super) async fn delete(
    State(context): State<ApiContext>,
    caller: Caller,
    Path(home): Path<String>,
) -> ApiResult<Json<Home>> {
    changed(context, caller, Verb::DeleteHome, home, |context, allowed, home| async move {
        let asked = context.handle.trash_home(&allowed, Some(home.volume.clone()));
        let trashed = answer(&context.handle, Patience::Accepted, asked).await?;
        let already = home.trashed.is_some() && home.trashed == trashed;
        let after = trashed.as_ref().filter(|_| !already).map(in_trash);
        Ok((KnownHome { trashed, current: false, ..home }, after))
    })
    .await
}

/// Makes a home its workspace's again
#[utoipa::path(post, path = "/v1/homes/{home}/restore", tag = "homes", params(("home" = String, Path)), responses(
    (status = 200, body = Home), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "Its workspace has another one by now"),
    (status = 503, body = ErrorBody)))]
pub(super) async fn restore(
    State(context): State<ApiContext>,
    caller: Caller,
    Path(home): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> ApiResult<Json<Home>> {
    changed(context, caller, Verb::RestoreHome, home, |context, allowed, home| async move {
        if home.present == Some(false) {
            let message = format!("volume `{}` is gone from Docker: there is nothing to restore", home.volume);
            return Err(ApiError::new(ErrorCode::NotFound, message));
        }
        let asked = context.handle.restore_home(&allowed, home.volume.clone());
        answer(&context.handle, Patience::Accepted, asked).await?;
        let after = (!home.current).then(|| format!("the home of {}", home.workspace));
        Ok((KnownHome { trashed: None, current: true, ..home }, after))
    })
    .await
}

/// Deletes a workspace that no file declares: its home goes to the trash; the reply is that home, or null
#[utoipa::path(delete, path = "/v1/workspaces/{user}/{name}", tag = "workspaces",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Option<Home>), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "A file declares it, or it is still being stopped"),
    (status = 503, body = ErrorBody)))]
pub(super) async fn delete_workspace(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
) -> ApiResult<Json<Option<Home>>> {
    change(context, caller, Verb::Delete, id, |context, reached| async move {
        let id = reached.allowed.workspace();
        if let Some(workspace) = reached.settings.workspaces.get(id) {
            let message = format!("`{id}` is declared at {}: nothing was changed", workspace.declared_at);
            return Err(ApiError::new(ErrorCode::Conflict, message).hint(format!(
                "take it out there and reload; to delete its home alone: `hearth stop {id}`, `hearth home delete {id}`"
            )));
        }
        let asked = context.handle.trash_home(&reached.allowed, None);
        let trashed = answer(&context.handle, Patience::Accepted, asked).await?;
        let after = trashed.as_ref().map(in_trash);
        let home = trashed.map(|trashed| KnownHome {
            volume: trashed.volume.clone(),
            workspace: id.clone(),
            org: Some(reached.view.org.clone()),
            recorded: true,
            current: false,
            trashed: Some(trashed),
            present: None,
        });
        let home = home.map(|home| shape(home, &reached.settings, &reached.snapshot));
        Ok(Done { reply: Json(home), after: Some(after.unwrap_or_else(|| "deleted, without a home".into())) })
    })
    .await
}

/// Changes one home: finds it, checks access, acts and notes who did it.
async fn changed<F>(
    context: ApiContext,
    caller: Caller,
    verb: Verb,
    volume: String,
    act: impl FnOnce(ApiContext, Allowed, KnownHome) -> F + Send + 'static,
) -> ApiResult<Json<Home>>
where
    F: Future<Output = ApiResult<(KnownHome, Option<String>)>> + Send,
{
    let found = known(&context).await?.into_iter().find(|home| home.volume == volume);
    let deed = Deed { what: verb.name(), workspace: found.as_ref().map(|home| home.workspace.clone()) };
    noted(context, caller, deed, move |context, caller| async move {
        let (snapshot, settings) = (context.handle.snapshot(), context.handle.settings());
        let found = found.filter(|home| may(&settings, &caller.0, Verb::See, home).is_ok());
        let Some(home) = found else { return (None, Err(not_visible(&volume))) };
        let before = home.trashed.as_ref().map_or_else(|| volume.clone(), in_trash);
        let allowed = match may(&settings, &caller.0, verb, &home) {
            Ok(allowed) => allowed,
            Err(refused) => return (None, Err(refused)),
        };
        let acted = act(context, allowed, home).await;
        let done = acted.map(|(home, after)| Done { reply: Json(shape(home, &settings, &snapshot)), after });
        (Some(before), done)
    })
    .await
}

fn not_visible(volume: &str) -> ApiError {
    let volume: String = volume.chars().take(100).collect();
    let error = ApiError::new(ErrorCode::NotFound, format!("there is no home `{volume}` that you may see"));
    error.hint("`hearth home list` shows those that you may see")
}

fn may(settings: &Settings, person: &Person, verb: Verb, home: &KnownHome) -> ApiResult<Allowed> {
    Ok(check_home(settings, person, verb, &home.workspace, home.org.as_ref())?)
}

async fn known(context: &ApiContext) -> ApiResult<Vec<KnownHome>> {
    let known = context.outside.homes.list(&context.handle.snapshot().engine).await;
    known.map_err(|error| ApiError::internal("reading the state database", &error))
}

fn in_trash(home: &Trashed) -> String {
    format!("{} in the trash until {:.0}", home.volume, home.until)
}

fn shape(home: KnownHome, settings: &Settings, snapshot: &Snapshot) -> Home {
    let declared = settings.workspaces.contains_key(&home.workspace);
    let state = match (&home.trashed, home.current && declared) {
        (Some(_), _) => HomeState::InTrash,
        (None, true) => HomeState::InUse,
        (None, false) => HomeState::Orphaned,
    };
    let view = snapshot.workspaces.get(&home.workspace);
    let note = match &home {
        KnownHome { trashed: Some(Trashed { mounted_at: Some(at), .. }), .. } => {
            Some(format!("used at {at:.0}, after it was deleted: it stays until it is deleted again"))
        }
        KnownHome { present: Some(false), recorded: true, .. } => Some("its volume is gone from Docker".into()),
        KnownHome { recorded: false, .. } => {
            Some("hearthd's database does not know it: `hearth home restore` makes it its workspace's home".into())
        }
        KnownHome { .. } => None,
    };
    let kept = home.trashed.as_ref().filter(|trashed| trashed.mounted_at.is_some());
    Home {
        until: home.trashed.as_ref().filter(|_| kept.is_none()).map(|trashed| trashed.until),
        deleted_at: home.trashed.as_ref().map(|trashed| trashed.trashed_at),
        deleted_by: home.trashed.map(|trashed| trashed.by.0),
        home: home.volume,
        workspace: home.workspace,
        org: view.map(|view| view.org.clone()).or(home.org),
        state,
        bytes: None,
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{at, settings, snapshot};
    use crate::model::Requester;

    fn known(volume: &str, workspace: &str) -> KnownHome {
        let workspace = workspace.parse().unwrap();
        let volume = volume.into();
        KnownHome { volume, workspace, org: None, recorded: true, current: true, trashed: None, present: Some(true) }
    }

    #[test]
    fn l10_a_home_is_in_use_orphaned_or_in_the_trash() {
        let settings = settings();
        let snapshot = snapshot(&settings);
        let shown = |home: KnownHome| {
            let home = shape(home, &settings, &snapshot);
            (home.state, home.until, home.note.unwrap_or_default())
        };
        assert_eq!(shown(known("a", "alice/main")), (HomeState::InUse, None, String::new()));
        assert_eq!(shown(known("a", "carol/old")).0, HomeState::Orphaned);
        let lost = shown(KnownHome { recorded: false, current: false, ..known("a", "alice/main") });
        assert_eq!(lost.0, HomeState::Orphaned);
        assert!(lost.2.contains("database does not know it"), "{}", lost.2);
        assert!(shown(KnownHome { present: Some(false), ..known("a", "alice/main") }).2.contains("gone from Docker"));
        let trashed = Trashed {
            volume: "a".into(),
            workspace: "alice/main".parse().unwrap(),
            owner: None,
            trashed_at: at(0),
            until: at(9),
            by: Requester("alice".into()),
            mounted_at: None,
        };
        let trash = |trashed| KnownHome { current: false, trashed: Some(trashed), ..known("a", "alice/main") };
        assert_eq!(shown(trash(trashed.clone())), (HomeState::InTrash, Some(at(9)), String::new()));
        let kept = shown(trash(Trashed { mounted_at: Some(at(5)), ..trashed }));
        assert_eq!((kept.0, kept.1), (HomeState::InTrash, None));
        assert!(kept.2.contains("deleted again"), "{}", kept.2);
    }
}
