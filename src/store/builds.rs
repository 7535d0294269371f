//! The builds of each workspace: the last twenty (rule L2).

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::row::Json;
use super::workspaces::{id, number};
use super::{Store, StoreError};
use crate::model::{BuildNumber, BuildReason, BuildRecord, Moment, Requester, WorkspaceId};

/// How many builds of a workspace are kept.
pub const BUILDS_KEPT: u32 = 20;

impl Store {
    /// Records a new build, queued, under the next number, and forgets the oldest beyond [`BUILDS_KEPT`].
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn begin_build(
        &self,
        workspace: &WorkspaceId,
        reason: BuildReason,
        requester: &Requester,
        image: &str,
        now: Moment,
    ) -> Result<BuildNumber, StoreError> {
        let workspace = workspace.clone();
        let mut record = BuildRecord {
            number: BuildNumber(0),
            reason,
            requester: requester.clone(),
            queued_at: now,
            started_at: None,
            ended_at: None,
            stage: None,
            stages: Vec::new(),
            result: None,
            failure: None,
            warnings: Vec::new(),
            image: image.to_owned(),
            image_digest: None,
        };
        self.write(move |tx| {
            let workspace = number(tx, &workspace)?;
            // A container that was taken over may be of a build that an older database does not know.
            let sql = "SELECT max(ifnull((SELECT max(number) FROM build WHERE workspace = ?1), 0),
                                  ifnull((SELECT build FROM container WHERE workspace = ?1), 0))";
            record.number = BuildNumber(tx.prepare_cached(sql)?.query_row([workspace], |row| row.get(0))?).next();
            tx.prepare_cached("INSERT INTO build (workspace, number, record) VALUES (?1, ?2, ?3)")?
                .execute(params![workspace, record.number.0, Json(&record)])?;
            tx.prepare_cached("DELETE FROM build WHERE workspace = ?1 AND number + ?2 <= ?3 AND result IS NOT NULL")?
                .execute(params![workspace, BUILDS_KEPT, record.number.0])?;
            Ok(record.number)
        })
        .await
    }

    /// Replaces what is recorded of a build.
    ///
    /// # Errors
    /// As [`StoreError`] says; [`StoreError::NoSuchBuild`] for one that was not begun or is forgotten.
    pub async fn update_build(&self, workspace: &WorkspaceId, build: &BuildRecord) -> Result<(), StoreError> {
        let (workspace, build) = (workspace.clone(), build.clone());
        self.write(move |tx| {
            let changed = tx
                .prepare_cached("UPDATE build SET record = ?3 WHERE workspace = ?1 AND number = ?2")?
                .execute(params![number(tx, &workspace)?, build.number.0, Json(&build)])?;
            if changed == 0 {
                return Err(StoreError::NoSuchBuild { workspace, number: build.number });
            }
            Ok(())
        })
        .await
    }

    /// Returns the workspace's builds, the latest first.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn builds(&self, workspace: &WorkspaceId, limit: u32) -> Result<Vec<BuildRecord>, StoreError> {
        let workspace = workspace.clone();
        self.read(move |tx| {
            let sql = "SELECT record FROM build WHERE workspace = ?1 ORDER BY number DESC LIMIT ?2";
            let mut statement = tx.prepare_cached(sql)?;
            let rows = statement.query_map(params![number(tx, &workspace)?, limit], |row| row.get(0))?;
            rows.map(|row| Ok(row.map(|Json(record)| record)?)).collect()
        })
        .await
    }

    /// Returns one build.
    ///
    /// # Errors
    /// As [`StoreError`] says; [`StoreError::NoSuchBuild`] for one that was not begun or is forgotten.
    pub async fn build(&self, workspace: &WorkspaceId, build: BuildNumber) -> Result<BuildRecord, StoreError> {
        let workspace = workspace.clone();
        self.read(move |tx| {
            tx.prepare_cached("SELECT record FROM build WHERE workspace = ?1 AND number = ?2")?
                .query_row(params![number(tx, &workspace)?, build.0], |row| row.get(0))
                .optional()?
                .map(|Json(record)| record)
                .ok_or(StoreError::NoSuchBuild { workspace, number: build })
        })
        .await
    }

    /// Returns the workspace's latest build.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn last_build(&self, workspace: &WorkspaceId) -> Result<Option<BuildRecord>, StoreError> {
        Ok(self.builds(workspace, 1).await?.pop())
    }

    /// Returns the latest build of every workspace that has one.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn last_builds(&self) -> Result<BTreeMap<WorkspaceId, BuildRecord>, StoreError> {
        self.joined(
            "SELECT user, name, record, max(b.number) FROM build b JOIN workspace w ON w.number = b.workspace
                     GROUP BY b.workspace",
        )
        .await
        .map(BTreeMap::from_iter)
    }

    /// Returns every build that is queued or was running, the longest queued first.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn unfinished_builds(&self) -> Result<Vec<(WorkspaceId, BuildRecord)>, StoreError> {
        let sql = "SELECT user, name, record FROM build b JOIN workspace w ON w.number = b.workspace
                   WHERE result IS NULL";
        let mut builds = self.joined(sql).await?;
        builds.sort_by_key(|(_, build)| build.queued_at);
        Ok(builds)
    }

    async fn joined(&self, sql: &'static str) -> Result<Vec<(WorkspaceId, BuildRecord)>, StoreError> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| {
                let Json(record) = row.get("record")?;
                Ok((id(row)?, record))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuildResult, Stage, StageTiming};
    use crate::store::Power;
    use crate::store::workspaces::tests::container;

    async fn begin(store: &Store, id: &str, at: i64) -> BuildNumber {
        let (id, now) = (id.parse().unwrap(), Moment::from_second(at).unwrap());
        store.declare(&id, &"acme".parse().unwrap(), Power::On, now).await.unwrap();
        store.begin_build(&id, BuildReason::AutoStart, &Requester::hearthd(), "debian", now).await.unwrap()
    }

    #[tokio::test]
    async fn l2_the_last_twenty_are_kept_and_numbers_go_on() {
        let store = Store::in_memory().unwrap();
        let id = "alice/main".parse().unwrap();
        for n in 1..=30 {
            assert_eq!(begin(&store, "alice/main", n).await.0, n as u32);
            let mut build = store.last_build(&id).await.unwrap().unwrap();
            build.result = Some(BuildResult::Failed).filter(|_| n != 3);
            store.update_build(&id, &build).await.unwrap();
        }
        let mut numbers: Vec<_> = store.builds(&id, 100).await.unwrap().iter().map(|build| build.number.0).collect();
        assert_eq!(numbers.pop(), Some(3), "an unfinished one is never forgotten");
        assert_eq!(numbers, (11..=30).rev().collect::<Vec<_>>());
        assert_eq!(store.builds(&id, 2).await.unwrap().len(), 2);
        assert_eq!(begin(&store, "bob/main", 1).await.0, 1);
        // One that was taken over, of a build that this database does not know.
        store.set_container(&"bob/main".parse().unwrap(), Some(container("c"))).await.unwrap();
        assert_eq!(begin(&store, "bob/main", 2).await.0, container("c").build.0 + 1);
        let gone = store.build(&id, BuildNumber(10)).await.unwrap_err();
        assert!(matches!(gone, StoreError::NoSuchBuild { .. }), "{gone}");
    }

    #[tokio::test]
    async fn l11_unfinished_builds_are_found_in_the_order_of_the_queue() {
        let store = Store::in_memory().unwrap();
        for (id, at) in [("alice/main", 30), ("bob/main", 10), ("carol/main", 20), ("dave/main", 5)] {
            begin(&store, id, at).await;
        }
        let dave = "dave/main".parse().unwrap();
        let mut build = store.last_build(&dave).await.unwrap().unwrap();
        build.stage = Some(Stage::Pull);
        build.stages = vec![StageTiming { stage: Stage::Pull, started_at: build.queued_at, took: None }];
        build.result = Some(BuildResult::Cancelled);
        store.update_build(&dave, &build).await.unwrap();
        assert_eq!(store.last_build(&dave).await.unwrap(), Some(build));
        let unfinished = store.unfinished_builds().await.unwrap();
        let ids: Vec<_> = unfinished.iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(ids, ["bob/main", "carol/main", "alice/main"]);
        assert_eq!(store.last_builds().await.unwrap().len(), 4);
    }
}
