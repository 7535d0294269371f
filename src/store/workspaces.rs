//! Workspaces with their container and their home.

use rusqlite::{OptionalExtension, Row, Transaction, named_params, params};

use super::row::{At, Word};
use super::{ContainerRecord, HomeRecord, Power, Store, StoreError, WorkspaceRecord};
use crate::model::{BuildNumber, Moment, OrgName, WorkspaceId};

const SELECT: &str = "
    SELECT w.*, c.id AS container, c.build, c.image_id, c.username, c.uid, c.gid, c.token_hash, c.spec,
           c.started_at, c.door, c.injected,
           h.volume, h.uid AS home_uid, h.gid AS home_gid
    FROM workspace w LEFT JOIN container c ON c.workspace = w.number LEFT JOIN home h ON h.workspace = w.number";

impl Store {
    /// Returns every workspace ever declared, in the order of their names.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&format!("{SELECT} ORDER BY w.user, w.name"))?;
            let records = statement.query_map([], record)?.collect::<Result<_, _>>()?;
            Ok(records)
        })
        .await
    }

    /// Records a workspace that the files declare. One that was removed comes back with its number and its home, as
    /// newly declared (rule L10); one that is there already stays as it is.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn declare(
        &self,
        id: &WorkspaceId,
        org: &OrgName,
        power: Power,
        now: Moment,
    ) -> Result<WorkspaceRecord, StoreError> {
        let (id, org) = (id.clone(), org.clone());
        self.write(move |tx| {
            let (on, why) = power_columns(power);
            tx.prepare_cached(
                "INSERT INTO workspace (user, name, org, power, off_why, power_since)
                 VALUES (:user, :name, :org, :power, :why, :now)
                 ON CONFLICT (user, name) DO UPDATE
                 SET org = :org, removed_at = NULL, power = :power, off_why = :why, power_since = :now
                 WHERE removed_at IS NOT NULL",
            )?
            .execute(named_params! {
                ":user": Word(&id.user), ":name": Word(&id.name), ":org": Word(&org),
                ":power": on, ":why": why, ":now": At(now),
            })?;
            let mut statement = tx.prepare_cached(&format!("{SELECT} WHERE w.user = ?1 AND w.name = ?2"))?;
            Ok(statement.query_row(params![Word(&id.user), Word(&id.name)], record)?)
        })
        .await
    }

    /// Records the org that a workspace is declared in.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn set_org(&self, id: &WorkspaceId, org: &OrgName) -> Result<(), StoreError> {
        let org = org.clone();
        self.change(id, move |tx, number| {
            tx.execute("UPDATE workspace SET org = ?2 WHERE number = ?1", params![number, Word(&org)])
        })
        .await
    }

    /// Records since when no file declares the workspace: what is known of its schedule is forgotten.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn mark_removed(&self, id: &WorkspaceId, removed_at: Option<Moment>) -> Result<(), StoreError> {
        self.change(id, move |tx, number| {
            if removed_at.is_some() {
                tx.execute("DELETE FROM schedule WHERE workspace = ?1", [number])?;
            }
            let sql = "UPDATE workspace SET removed_at = ?2 WHERE number = ?1";
            tx.execute(sql, params![number, removed_at.map(At)])
        })
        .await
    }

    /// Records whether the workspace should be up; asking for what is so already changes nothing, `power_since` included.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn set_power(&self, id: &WorkspaceId, power: Power, now: Moment) -> Result<(), StoreError> {
        self.change(id, move |tx, number| {
            let (on, why) = power_columns(power);
            tx.execute(
                "UPDATE workspace SET power = ?2, off_why = ?3, power_since = ?4
                 WHERE number = ?1 AND (power, off_why) IS NOT (?2, ?3)",
                params![number, on, why, At(now)],
            )
        })
        .await
    }

    /// Records the container that is the workspace's own, or that it has none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn set_container(&self, id: &WorkspaceId, container: Option<ContainerRecord>) -> Result<(), StoreError> {
        self.change(id, move |tx, number| {
            let Some(c) = container else {
                return tx.execute("DELETE FROM container WHERE workspace = ?1", [number]);
            };
            tx.execute(
                "INSERT INTO container
                 (workspace, id, build, image_id, username, uid, gid, token_hash, spec, started_at, door, injected)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (workspace) DO UPDATE
                 SET (id, build, image_id, username, uid, gid, token_hash, spec, started_at, door, injected)
                     = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    number,
                    c.id,
                    c.build.0,
                    c.image_id,
                    c.username,
                    c.uid,
                    c.gid,
                    c.token_hash,
                    c.spec,
                    c.started_at.map(At),
                    c.door.map(u64::cast_signed),
                    c.injected,
                ],
            )
        })
        .await
    }

    /// Records the workspace's current home, or that it has none.
    ///
    /// # Errors
    /// As [`StoreError`] says; a volume that is another workspace's home is refused (rule L1).
    pub async fn set_home(&self, id: &WorkspaceId, home: Option<HomeRecord>) -> Result<(), StoreError> {
        self.change(id, move |tx, number| {
            let Some(HomeRecord { volume, owner }) = home else {
                return tx.execute("DELETE FROM home WHERE workspace = ?1", [number]);
            };
            tx.execute(
                "INSERT INTO home (workspace, volume, uid, gid) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (workspace) DO UPDATE SET (volume, uid, gid) = (?2, ?3, ?4)",
                params![number, volume, owner.map(|o| o.0), owner.map(|o| o.1)],
            )
        })
        .await
    }

    /// Has the numbers of workspaces that are declared from here on lie above `number`, which something has already.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn number_above(&self, number: u64) -> Result<(), StoreError> {
        let number = number.cast_signed();
        let last = self.read(|tx| {
            let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'workspace'";
            Ok(tx.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        });
        if last.await? >= number {
            return Ok(());
        }
        self.write(move |tx| {
            let sql = "INSERT INTO sqlite_sequence (name, seq) SELECT 'workspace', 0
                       WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'workspace')";
            tx.execute(sql, [])?;
            tx.execute("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'workspace'", [number])?;
            Ok(())
        })
        .await
    }

    async fn change<F>(&self, id: &WorkspaceId, work: F) -> Result<(), StoreError>
    where
        F: FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<usize> + Send + 'static,
    {
        let id = id.clone();
        self.write(move |tx| {
            let number = number(tx, &id)?;
            work(tx, number)?;
            Ok(())
        })
        .await
    }
}

/// Returns the number under which a workspace's rows stand.
pub(super) fn number(tx: &Transaction<'_>, id: &WorkspaceId) -> Result<i64, StoreError> {
    tx.prepare_cached("SELECT number FROM workspace WHERE user = ?1 AND name = ?2")?
        .query_row(params![Word(&id.user), Word(&id.name)], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::NoSuchWorkspace(id.clone()))
}

fn power_columns(power: Power) -> (&'static str, Option<Word<crate::model::OffReason>>) {
    match power {
        Power::On => ("on", None),
        Power::Off { why } => ("off", Some(Word(why))),
    }
}

/// Returns the id that a row's `user` and `name` say.
pub(super) fn id(row: &Row<'_>) -> rusqlite::Result<WorkspaceId> {
    let (Word(user), Word(name)) = (row.get("user")?, row.get("name")?);
    Ok(WorkspaceId { user, name })
}

fn record(row: &Row<'_>) -> rusqlite::Result<WorkspaceRecord> {
    let (Word(org), At(power_since)) = (row.get("org")?, row.get("power_since")?);
    let why: Option<Word<_>> = row.get("off_why")?;
    let removed_at: Option<At> = row.get("removed_at")?;
    Ok(WorkspaceRecord {
        number: row.get::<_, i64>("number")?.cast_unsigned(),
        id: id(row)?,
        org,
        removed_at: removed_at.map(|At(moment)| moment),
        power: why.map_or(Power::On, |Word(why)| Power::Off { why }),
        power_since,
        container: container(row)?,
        home: home(row)?,
    })
}

fn container(row: &Row<'_>) -> rusqlite::Result<Option<ContainerRecord>> {
    let Some(id) = row.get("container")? else { return Ok(None) };
    Ok(Some(ContainerRecord {
        id,
        build: BuildNumber(row.get("build")?),
        image_id: row.get("image_id")?,
        username: row.get("username")?,
        uid: row.get("uid")?,
        gid: row.get("gid")?,
        token_hash: row.get("token_hash")?,
        spec: row.get("spec")?,
        started_at: row.get::<_, Option<At>>("started_at")?.map(|At(at)| at),
        door: row.get::<_, Option<i64>>("door")?.map(i64::cast_unsigned),
        injected: row.get("injected")?,
    }))
}

fn home(row: &Row<'_>) -> rusqlite::Result<Option<HomeRecord>> {
    let Some(volume) = row.get("volume")? else { return Ok(None) };
    let owner: (Option<u32>, Option<u32>) = (row.get("home_uid")?, row.get("home_gid")?);
    Ok(Some(HomeRecord { volume, owner: owner.0.zip(owner.1) }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::OffReason;

    const STOPPED: Power = Power::Off { why: OffReason::Stopped };

    fn at(second: i64) -> Moment {
        Moment::from_second(second).unwrap()
    }

    async fn declare(store: &Store, id: &str, power: Power, now: i64) -> WorkspaceRecord {
        store.declare(&id.parse().unwrap(), &"acme".parse().unwrap(), power, at(now)).await.unwrap()
    }

    pub(in crate::store) fn container(id: &str) -> ContainerRecord {
        ContainerRecord {
            id: id.into(),
            build: BuildNumber(3),
            image_id: "sha256:aa".into(),
            username: "coder".into(),
            uid: 1000,
            gid: u32::MAX - 1,
            token_hash: "bb".into(),
            spec: "{}".into(),
            started_at: Some(at(7)),
            door: Some(3),
            injected: Some("cc".into()),
        }
    }

    #[tokio::test]
    async fn l11_numbers_begin_above_what_is_there_already() {
        let store = Store::in_memory().unwrap();
        store.number_above(41).await.unwrap();
        assert_eq!(declare(&store, "alice/main", Power::On, 10).await.number, 42);
        store.number_above(7).await.unwrap();
        assert_eq!(declare(&store, "bob/main", Power::On, 10).await.number, 43);
    }

    #[tokio::test]
    async fn a_workspace_comes_back_as_recorded() {
        let store = Store::in_memory().unwrap();
        let mut expected = declare(&store, "alice/main", Power::On, 10).await;
        let id = expected.id.clone();
        assert_eq!((expected.number, expected.power, expected.power_since), (1, Power::On, at(10)));
        for (container, home) in [
            (Some(container("a")), Some(HomeRecord { volume: "v".into(), owner: None })),
            (Some(container("b")), Some(HomeRecord { volume: "v-2".into(), owner: Some((1000, 1001)) })),
            (None, None),
        ] {
            store.set_container(&id, container.clone()).await.unwrap();
            store.set_home(&id, home.clone()).await.unwrap();
            (expected.container, expected.home) = (container, home);
            assert_eq!(store.workspaces().await.unwrap(), [expected.clone()]);
        }
        store.set_org(&id, &"umbrella".parse().unwrap()).await.unwrap();
        store.mark_removed(&id, Some(at(20))).await.unwrap();
        (expected.org, expected.removed_at) = ("umbrella".parse().unwrap(), Some(at(20)));
        assert_eq!(store.workspaces().await.unwrap(), [expected]);
        let unknown = store.set_container(&"bob/main".parse().unwrap(), None).await.unwrap_err();
        assert_eq!(unknown.to_string(), "nothing is recorded of workspace `bob/main`");
    }

    #[tokio::test]
    async fn l13_asking_for_the_same_power_again_changes_nothing() {
        let store = Store::in_memory().unwrap();
        let id = declare(&store, "alice/main", Power::On, 10).await.id;
        for (power, now, since) in [
            (Power::On, 11, 10),
            (STOPPED, 12, 12),
            (STOPPED, 13, 12),
            (Power::Off { why: OffReason::AutoOff }, 14, 14),
            (Power::On, 15, 15),
        ] {
            store.set_power(&id, power, at(now)).await.unwrap();
            let record = store.workspaces().await.unwrap().remove(0);
            assert_eq!((record.power, record.power_since), (power, at(since)));
        }
    }

    #[tokio::test]
    async fn l10_declared_again_it_comes_back_as_new_with_its_number_and_its_home() {
        let store = Store::in_memory().unwrap();
        let first = declare(&store, "alice/main", STOPPED, 10).await;
        assert_eq!(declare(&store, "alice/main", Power::On, 11).await, first);
        let home = Some(HomeRecord { volume: "v".into(), owner: None });
        store.set_home(&first.id, home.clone()).await.unwrap();
        store.mark_removed(&first.id, Some(at(20))).await.unwrap();
        let again = declare(&store, "alice/main", Power::On, 30).await;
        assert_eq!(again, WorkspaceRecord { power: Power::On, power_since: at(30), home, ..first });
    }

    #[tokio::test]
    async fn a_number_is_never_used_twice() {
        let store = Store::in_memory().unwrap();
        declare(&store, "alice/main", Power::On, 10).await;
        let bob = declare(&store, "bob/main", Power::On, 10).await.number;
        store.write(|tx| Ok(tx.execute("DELETE FROM workspace WHERE user = 'bob'", [])?)).await.unwrap();
        assert_eq!(declare(&store, "carol/main", Power::On, 10).await.number, bob + 1);
    }

    #[tokio::test]
    async fn l1_two_workspaces_never_share_a_home() {
        let store = Store::in_memory().unwrap();
        let home = Some(HomeRecord { volume: "v".into(), owner: None });
        store.set_home(&declare(&store, "alice/main", Power::On, 1).await.id, home.clone()).await.unwrap();
        assert!(store.set_home(&declare(&store, "bob/main", Power::On, 1).await.id, home).await.is_err());
    }

    #[tokio::test]
    async fn a_thousand_workspaces_load_quickly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/state.db");
        let store = Store::open(&path).unwrap();
        store
            .write(|tx| {
                tx.execute_batch(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                     INSERT INTO workspace SELECT i, 'user-' || i, 'main', 'acme', NULL, 'on', NULL,
                                                  '2026-01-02T03:04:05.000000000Z' FROM n;
                     INSERT INTO container SELECT number, number, 3, 'sha256:aa', 'coder', 1000, 1000, 'bb', '{}', NULL, NULL,
                                                  NULL
                                           FROM workspace;
                     INSERT INTO home SELECT number, user || '.home', 1000, 1000 FROM workspace;",
                )?;
                Ok(())
            })
            .await
            .unwrap();
        store.close().await;
        let begun = tokio::time::Instant::now();
        let store = Store::open(&path).unwrap();
        assert_eq!(store.workspaces().await.unwrap().len(), 1000);
        // Some 30 ms in a debug build on a slow machine; a query per workspace would be far beyond this.
        assert!(begun.elapsed().as_millis() < 500, "{:?}", begun.elapsed());
    }
}
