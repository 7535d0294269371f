//! The HTTP API on the host's socket and on each workspace's (design section 9).
//!
//! ```text
//!   /run/hearth/hearth.sock ──▶ serve_host ─── uid, gid ──▶ Person::Account ─┐
//!   a workspace's own socket ─▶ serve_workspace_connection ─ token ─▶ Inside ─┴▶ router ─▶ one file per noun
//! ```
//!
//! A handler does four things: know the caller, check access, ask the handle, shape the reply. What all of them need
//! is in one place each: the first look at Docker is waited for in `gate`, access is checked and every change and
//! entry audited in `change`, every error gets its body in `error`. What a caller may not see looks exactly like
//! what does not exist.
//!
//! Left to others: what a request does (`handle`), what an entered stream carries (behind [`Entrance`]).

pub mod wire;

mod actions;
mod audit;
mod builds;
mod caller;
mod change;
mod config;
mod context;
mod enter;
mod error;
mod events;
mod extract;
mod gate;
mod holds;
mod homes;
mod openapi;
mod rate;
mod schedule;
mod serve;
mod settings;
mod shape;
mod status;
mod token;
mod users;
mod why;
mod workspaces;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

pub use context::{Accounts, ApiContext, Entering, Entrance, GitKeys, Homes, HostAccount, KnownHome, Logs, Outside};
pub use serve::{bind_host, serve_host, serve_workspace_connection};

/// Returns the API. Requests must carry a `Caller`, which the functions that serve connections put there.
pub fn router(context: ApiContext) -> Router {
    let answered_at_once = Router::new().route("/v1/openapi.json", get(openapi::document));
    Router::new()
        .route("/v1/workspaces", get(workspaces::list))
        .route("/v1/workspaces/{user}/{name}", get(workspaces::show).delete(homes::delete_workspace))
        .route("/v1/workspaces/{user}/{name}/start", post(actions::start))
        .route("/v1/workspaces/{user}/{name}/rebuild", post(actions::rebuild))
        .route("/v1/workspaces/{user}/{name}/stop", post(actions::stop))
        .route("/v1/workspaces/{user}/{name}/cancel", post(actions::cancel))
        .route("/v1/workspaces/{user}/{name}/personalize", post(actions::personalize))
        .route("/v1/workspaces/{user}/{name}/hold", post(holds::hold))
        .route("/v1/workspaces/{user}/{name}/release", post(holds::release))
        .route("/v1/workspaces/{user}/{name}/why", get(why::why))
        .route("/v1/workspaces/{user}/{name}/enter", post(enter::enter))
        .route("/v1/workspaces/{user}/{name}/builds", get(builds::list))
        .route("/v1/workspaces/{user}/{name}/builds/{number}/log", get(builds::log))
        .route("/v1/workspaces/{user}/{name}/config", get(config::show))
        .route("/v1/homes", get(homes::list))
        .route("/v1/homes/{home}", delete(homes::delete))
        .route("/v1/homes/{home}/restore", post(homes::restore))
        .route("/v1/workspaces/{user}/{name}/settings", get(settings::of_workspace).patch(settings::set_of_workspace))
        .route("/v1/workspaces/{user}/{name}/schedule", get(schedule::show))
        .route("/v1/users/{user}/away", get(schedule::away).post(schedule::set_away))
        .route("/v1/users/{user}/settings", get(settings::of_user).patch(settings::set_of_user))
        .route("/v1/users/{user}/git-key", get(users::git_key))
        .route("/v1/status", get(status::status))
        .route("/v1/events", get(events::events))
        .route("/v1/audit", get(audit::list))
        .route("/v1/config/reload", post(config::reload))
        .route("/v1/config/plan", get(config::plan))
        .route_layer(from_fn_with_state(context.clone(), gate::first_look))
        .merge(answered_at_once)
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(context)
}
