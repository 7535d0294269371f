//! `GET …/schedule`, `GET|POST /v1/users/{user}/away`: when workspaces start by themselves (rules S1–S5).

use axum::Json;
use axum::extract::State;

use super::ApiContext;
use super::caller::Caller;
use super::change::{Deed, Done, noted, reach};
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Named, NamedUser};
use super::gate::{Patience, answer};
use super::wire::{Away, ErrorBody, ErrorCode, LastStart, NoStart, Schedule, ScheduleDay};
use crate::access::{UserVerb, Verb, check_user};
use crate::handle;
use crate::model::{Moment, WorkspaceId};
use crate::schedule::{self, Last, NextStart, Outcome, forecast};

/// Shows a workspace's next 14 days: when it starts by itself, and why not
#[utoipa::path(get, path = "/v1/workspaces/{user}/{name}/schedule", tag = "schedule",
    params(("user" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = Schedule), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "No file declares it")))]
pub(super) async fn show(
    State(context): State<ApiContext>,
    caller: Caller,
    Named(id): Named,
) -> ApiResult<Json<Schedule>> {
    let reached = reach(&context, &caller, Verb::See, &id)?;
    let Some(schedule) = reached.snapshot.schedules.get(&id) else {
        return Err(ApiError::new(ErrorCode::Conflict, format!("`{id}` has no schedule: no file declares it")));
    };
    Ok(Json(shape(id, schedule, (context.outside.clock)())))
}

/// Says until when a user is away
#[utoipa::path(get, path = "/v1/users/{user}/away", tag = "schedule", params(("user" = String, Path)), responses(
    (status = 200, body = Away), (status = 404, body = ErrorBody)))]
pub(super) async fn away(
    State(context): State<ApiContext>,
    caller: Caller,
    NamedUser(user): NamedUser,
) -> ApiResult<Json<Away>> {
    check_user(&context.handle.settings(), &caller.0, &user, UserVerb::See)?;
    let until = context.outside.store.away_until(&user).await;
    let until = until.map_err(|error| ApiError::internal("reading the state database", &error.into()))?;
    Ok(Json(Away { until }))
}

/// Pauses a user's schedules until a day, on which they are back, or ends the pause
#[utoipa::path(post, path = "/v1/users/{user}/away", tag = "schedule", params(("user" = String, Path)),
    request_body = Away, responses(
    (status = 200, body = Away), (status = 400, body = ErrorBody, description = "The day is not to come"),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn set_away(
    State(context): State<ApiContext>,
    caller: Caller,
    NamedUser(user): NamedUser,
    Body(Away { until }): Body<Away>,
) -> ApiResult<Json<Away>> {
    let deed = Deed { what: UserVerb::Away.name(), workspace: None };
    noted(context, caller, deed, move |context, caller| async move {
        if let Err(refused) = check_user(&context.handle.settings(), &caller.0, &user, UserVerb::Away) {
            return (None, Err(refused.into()));
        }
        let words = |until: Option<jiff::civil::Date>| match until {
            Some(until) => format!("{user} away until {until}"),
            None => format!("{user} here"),
        };
        let before = context.outside.store.away_until(&user).await.ok().flatten();
        let asked = context.handle.away(user.clone(), until, caller.0.requester());
        let done = answer(&context.handle, Patience::Accepted, asked).await;
        let after = (before != until).then(|| words(until));
        (Some(words(before)), done.map(|()| Done { reply: Json(Away { until }), after }))
    })
    .await
}

fn shape(workspace: WorkspaceId, schedule: &handle::Schedule, now: Moment) -> Schedule {
    let plan = &schedule.plan;
    let (next, no_next) = match &schedule.next {
        NextStart::At(at) => (Some(*at), None),
        NextStart::Paused { .. } => (None, Some(NoStart::Unused)),
        NextStart::None(reason) => (None, Some(why(reason))),
    };
    let days = forecast(plan, schedule.last_used, schedule.pause_after, now).days;
    let day = |day: schedule::ForecastDay| ScheduleDay {
        date: day.date,
        start: day.start.as_ref().ok().copied(),
        no_start: day.start.as_ref().err().map(why),
    };
    Schedule {
        workspace,
        at: plan.time.map(|time| time.strftime("%H:%M").to_string()),
        zone: plan.zone.name.clone(),
        next,
        no_next,
        away_until: plan.away_until.filter(|until| *until > plan.date_of(now)),
        last_used: schedule.last_used,
        last_start: schedule.last.as_ref().map(last),
        days: days.into_iter().map(day).collect(),
    }
}

fn why(reason: &schedule::NoStart) -> NoStart {
    match reason {
        schedule::NoStart::Never => NoStart::Never,
        schedule::NoStart::OrgForbids => NoStart::OrgForbids,
        schedule::NoStart::NotChosen => NoStart::NotChosen,
        schedule::NoStart::Holiday => NoStart::Holiday,
        schedule::NoStart::Away { .. } => NoStart::Away,
        schedule::NoStart::NoSuchDay => NoStart::NoSuchDay,
        schedule::NoStart::Unused { .. } => NoStart::Unused,
    }
}

fn last(last: &Last) -> LastStart {
    let outcome = match last.outcome {
        Outcome::Started => "started",
        Outcome::FoundRunning => "found-running",
        Outcome::Missed => "missed",
        Outcome::Paused { .. } => "paused",
        Outcome::GaveUp { .. } => "gave-up",
        Outcome::Stopped => "stopped",
        Outcome::Changed => "changed",
    };
    LastStart { at: last.at, outcome: outcome.to_owned() }
}
