//! `hearth version`

use serde::Serialize;

use crate::api::wire::Status;
use crate::cli::Context;
use crate::cli::error::Result;

/// Print the versions of this command and of hearthd
///
/// Exit code 3 where hearthd cannot be reached; the version of the command is printed all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    server: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let server = async { context.client()?.get::<Status>("/v1/status").await }.await;
        let known = server.as_ref().ok().map(|status| status.version.clone());
        let versions = Versions { client: env!("CARGO_PKG_VERSION"), server: known };
        context.out.print_as(&versions, |versions| {
            let server = versions.server.as_ref().map(|server| format!("hearthd {server}\n")).unwrap_or_default();
            format!("hearth {}\n{server}", versions.client)
        })?;
        server.map(|_| ())
    }
}
