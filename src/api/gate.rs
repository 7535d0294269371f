//! Nothing is answered before the first look at Docker (rule L11), and no answer is silent about Docker being away.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::timeout;

use super::ApiContext;
use super::error::{ApiError, ApiResult, engine_away};
use super::wire::ErrorCode;
use crate::handle::{EngineView, Handle, RequestError};

/// On every answer while Docker is away: since when what it says may be out of date (rule L12).
pub(super) const AWAY_SINCE: HeaderName = HeaderName::from_static("hearth-docker-away-since");

/// How long a request waits for the first look, and at most for an answer that needs Docker: its client has it
/// within 5 s (rule L12).
pub(super) const PATIENCE: Duration = Duration::from_millis(4500);
/// How long Docker may be away in the middle of something: with the look that finds it away, under [`PATIENCE`].
const ABSENCE: Duration = Duration::from_secs(3);

/// Holds a request back until there is something to answer it with.
pub(super) async fn first_look(State(context): State<ApiContext>, request: Request, next: Next) -> ApiResult<Response> {
    let mut snapshots = context.handle.snapshots();
    let looked = snapshots.wait_for(|snapshot| snapshot.engine != EngineView::Unknown);
    match timeout(PATIENCE, looked).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(RequestError::Stopping.into()),
        Err(_) => return Err(engine_away("hearthd has just started and has not reached Docker yet".into())),
    }
    let mut response = next.run(request).await;
    if let EngineView::Away { since, .. } = &context.handle.snapshot().engine
        && let Ok(since) = HeaderValue::from_str(&since.to_string())
    {
        response.headers_mut().insert(AWAY_SINCE, since);
    }
    Ok(response)
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It only has to be accepted.
    Accepted,
    /// It has to be done, which takes as long as it takes while Docker is there.
    Done,
}

/// Waits for the daemon's answer, but not for a Docker that is away (rule L12).
pub(super) async fn answer<T>(
    handle: &Handle,
    patience: Patience,
    asked: impl Future<Output = Result<T, RequestError>>,
) -> ApiResult<T> {
    let limit = async {
        match patience {
            Patience::Accepted => {
                tokio::time::sleep(PATIENCE).await;
                "hearthd took too long to accept this; Docker may be hanging".to_owned()
            }
            Patience::Done => absence(handle).await,
        }
    };
    tokio::select! {
        answer = asked => Ok(answer?),
        why = limit => Err(engine_away(why)),
    }
}

/// Ends when Docker has been away for [`ABSENCE`] without a break.
async fn absence(handle: &Handle) -> String {
    let mut snapshots = handle.snapshots();
    let away = |engine: &EngineView| matches!(engine, EngineView::Away { .. });
    loop {
        let Ok(snapshot) = snapshots.wait_for(|snapshot| away(&snapshot.engine)).await.map(|s| s.clone()) else {
            return std::future::pending().await;
        };
        let back = snapshots.wait_for(|snapshot| !away(&snapshot.engine));
        if timeout(ABSENCE, back).await.is_err()
            && let EngineView::Away { why, .. } = &snapshot.engine
        {
            return format!("Docker does not answer: {why}. What was asked is done when it is back");
        }
    }
}

/// Returns the error of a request that came while too much was going on.
pub(super) fn too_many(message: &str) -> ApiError {
    ApiError::new(ErrorCode::TooMany, message).hint("wait a moment and try again")
}
