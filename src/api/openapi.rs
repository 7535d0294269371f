//! `GET /v1/openapi.json`: what this API is, for programs.

use std::sync::LazyLock;

use axum::Json;
use utoipa::OpenApi;

use super::{
    actions, audit, builds, config, enter, events, holds, homes, schedule, settings, status, users, why, workspaces,
};

/// Workspaces of a team that shares one server, over Unix sockets: on the host's the caller is known by its account, on
/// a workspace's by a bearer token. Every error is `{"error": {"code", "message", "hint"}}`. While Docker is away
/// every answer carries the header `hearth-docker-away-since`.
#[derive(OpenApi)]
#[openapi(
    info(title = "hearth"),
    paths(
        workspaces::list,
        workspaces::show,
        actions::start,
        actions::rebuild,
        actions::stop,
        actions::cancel,
        actions::personalize,
        holds::hold,
        holds::release,
        why::why,
        enter::enter,
        builds::list,
        builds::log,
        config::show,
        config::reload,
        config::plan,
        homes::list,
        homes::delete,
        homes::restore,
        homes::delete_workspace,
        users::git_key,
        schedule::show,
        schedule::away,
        schedule::set_away,
        settings::of_workspace,
        settings::set_of_workspace,
        settings::of_user,
        settings::set_of_user,
        status::status,
        events::events,
        audit::list,
        document,
    )
)]
struct Document;

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// Returns this document
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", responses((status = 200, body = Object)))]
pub(super) async fn document() -> Json<&'static utoipa::openapi::OpenApi> {
    Json(&DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{World, account};

    #[test]
    fn the_document_is_what_it_was() {
        insta::assert_snapshot!("openapi", DOCUMENT.to_pretty_json().unwrap());
    }

    #[tokio::test]
    async fn what_the_document_lists_is_there() {
        let world = World::new();
        let document = world.ask_as(&account("ops"), "GET", "/v1/openapi.json", "").await.json();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 28);
        for (path, methods) in paths.iter().filter(|(path, _)| *path != "/v1/events") {
            for method in methods.as_object().unwrap().keys() {
                let uri = path
                    .replace("{user}", "alice")
                    .replace("{name}", "main")
                    .replace("{number}", "x")
                    .replace("{home}", "hearth.alice.main.home");
                let answer = world.ask_as(&account("ops"), &method.to_uppercase(), &uri, "").await;
                assert!(![404, 405, 500].contains(&answer.status), "{method} {path}: {}", answer.text);
            }
        }
    }
}
