//! Completion in shells: words of the command line itself, and names of workspaces as hearthd knows them.

use std::ffi::OsString;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::CompleteEnv;

use super::client::Client;
use super::endpoint::Endpoint;
use crate::api::wire;

/// The variable that the registered shell function sets to ask for candidates.
pub(crate) const VARIABLE: &str = "HEARTH_COMPLETE";

/// A shell that waits longer than this is worse than one with no candidates.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers a shell that asks for candidates; returns whether one did.
pub(crate) fn answered(args: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let completer = CompleteEnv::with_factory(super::command).var(VARIABLE);
    // What cannot be completed is not worth an error in the middle of somebody's line.
    completer.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// Returns the workspaces that the caller may see, their own by their bare names first.
pub(crate) fn workspaces() -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return vec![] };
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask()).await });
    asked.ok().flatten().unwrap_or_default()
}

async fn ask() -> Option<Vec<CompletionCandidate>> {
    let client = Client::new(Endpoint::find(std::env::var_os("HEARTH_SOCKET").map(Into::into)).ok()?);
    let you = client.get::<wire::Status>("/v1/status").await.ok()?.you;
    let visible: Vec<wire::Workspace> = client.get("/v1/workspaces").await.ok()?;
    let own = |workspace: &wire::Workspace| you.users.len() == 1 && you.users[0] == workspace.user;
    let bare = visible.iter().filter(|w| own(w)).map(|w| w.name.to_string());
    let full = visible.iter().filter(|w| !own(w)).map(|w| w.workspace.to_string());
    Some(bare.chain(full).map(CompletionCandidate::new).collect())
}
