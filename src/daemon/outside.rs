//! What the daemon puts behind the API: the logs, the way in, the keys, the host's accounts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::io::AsyncReadExt;

use super::clock::Clock;
use super::{accounts, homes};
use crate::api;
use crate::build::{Tools, keys};
use crate::enter::{self, Entries, EntrySpec, Opened};
use crate::handle::EngineView;
use crate::model::{BuildNumber, UserName};

/// How long Docker is waited for where hearthd knows most of the answer itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Returns the API's surroundings.
pub(super) fn behind(
    tools: &Arc<Tools>,
    entries: Entries,
    accounts: Arc<accounts::Accounts>,
    clock: &Arc<dyn Clock>,
) -> api::Outside {
    let outside = Arc::new(Outside { tools: tools.clone(), entries, clock: clock.clone(), accounts });
    let clock = clock.clone();
    api::Outside {
        store: tools.store.clone(),
        logs: outside.clone(),
        entrance: outside.clone(),
        keys: outside.clone(),
        homes: outside.clone(),
        accounts: outside,
        clock: Arc::new(move || clock.now().wall),
    }
}

struct Outside {
    tools: Arc<Tools>,
    entries: Entries,
    clock: Arc<dyn Clock>,
    accounts: Arc<accounts::Accounts>,
}

#[async_trait]
impl api::Logs for Outside {
    async fn read(&self, number: u64, build: BuildNumber, follow: bool) -> anyhow::Result<BoxStream<'static, Bytes>> {
        Ok(self.tools.logs.read(number, build, follow).await?)
    }
}

#[async_trait]
impl api::Entrance for Outside {
    async fn serve(&self, entering: api::Entering) {
        let api::Entering { workspace, who, inside, stream, early, notices } = entering;
        let (read, write) = stream.into_split();
        let stream = tokio::io::join(std::io::Cursor::new(early).chain(read), write);
        let greeting = async |open: enter::Open| {
            let env = open.environment().collect();
            let home = format!("/home/{}", inside.username);
            let terminal = open.terminal.is_some();
            let spec = EntrySpec { env, cwd: home, terminal: open.terminal, run: open.run };
            let told = terminal.then(|| notices.iter().map(|notice| format!("{notice}\n")).collect());
            let entry = self.tools.doors.open(&workspace, spec).await?;
            let attached = self.entries.attach(&workspace, who.0, "host".into(), terminal);
            let stopping = self.tools.doors.stopping();
            Ok(Opened { entry, greeting: told.unwrap_or_default(), attached, stopping })
        };
        let served = enter::serve(stream, greeting).await;
        tracing::debug!(workspace = %workspace, "an entry ended: {served:?}");
    }
}

#[async_trait]
impl api::GitKeys for Outside {
    async fn public_key(&self, user: &UserName) -> anyhow::Result<String> {
        let (data_dir, user) = (self.tools.data_dir.clone(), user.clone());
        let key = tokio::task::spawn_blocking(move || keys::git_key(&data_dir, &user)).await??;
        Ok(key.public)
    }
}

#[async_trait]
impl api::Accounts for Outside {
    async fn account(&self, uid: u32) -> anyhow::Result<Option<api::HostAccount>> {
        let account = self.accounts.of_uid(uid, self.clock.now()).await?;
        Ok(account.map(|account| api::HostAccount { name: account.name, groups: account.groups }))
    }
}

#[async_trait]
impl api::Homes for Outside {
    async fn list(&self, engine: &EngineView) -> anyhow::Result<Vec<api::KnownHome>> {
        let (recorded, trash) = (self.tools.store.workspaces().await?, self.tools.store.trash().await?);
        let there = match engine {
            EngineView::Here { .. } => {
                let asked = self.tools.engine.volumes(self.tools.instance.as_str());
                tokio::time::timeout(PATIENCE, asked).await.ok().and_then(Result::ok)
            }
            EngineView::Unknown | EngineView::Away { .. } => None,
        };
        Ok(homes::known(&self.tools.instance, recorded, trash, there))
    }
}
