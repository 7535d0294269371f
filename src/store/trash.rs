//! Homes in the trash (rule L10). A home is a workspace's current one or lies in the trash, never both.

use rusqlite::{Row, params};

use super::row::At;
use super::workspaces::{id, number};
use super::{Store, StoreError};
use crate::model::{Moment, Requester};
use crate::trash::Trashed;

impl Store {
    /// Returns every home in the trash.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn trash(&self) -> Result<Vec<Trashed>, StoreError> {
        self.read(|tx| {
            let sql = "SELECT t.*, w.user, w.name FROM trash t JOIN workspace w ON w.number = t.workspace
                       ORDER BY t.volume";
            Ok(tx.prepare_cached(sql)?.query_map([], trashed)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Moves a home to the trash: it is its workspace's current one no more, and a container that had it is forgotten,
    /// so that it is not found again on it. One that lies there already gets the new dates.
    ///
    /// # Errors
    /// As [`StoreError`] says; the current home of another workspace is refused.
    pub async fn trash_home(&self, home: &Trashed) -> Result<(), StoreError> {
        let home = home.clone();
        self.write(move |tx| {
            let number = number(tx, &home.workspace)?;
            let sql = "DELETE FROM home WHERE workspace = ?1 AND volume = ?2";
            if tx.execute(sql, params![number, home.volume])? > 0 {
                tx.execute("DELETE FROM container WHERE workspace = ?1", [number])?;
            }
            tx.execute(
                "REPLACE INTO trash (volume, workspace, uid, gid, trashed_at, until, who, mounted_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    home.volume,
                    number,
                    home.owner.map(|owner| owner.0),
                    home.owner.map(|owner| owner.1),
                    At(home.trashed_at),
                    At(home.until),
                    home.by.0,
                    home.mounted_at.map(At),
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Makes a home in the trash its workspace's current one again.
    ///
    /// # Errors
    /// As [`StoreError`] says; where the workspace has a home by then, nothing changes.
    pub async fn restore_home(&self, volume: &str) -> Result<(), StoreError> {
        let volume = volume.to_owned();
        self.write(move |tx| {
            let home = tx.query_row("SELECT workspace, uid, gid FROM trash WHERE volume = ?1", [&volume], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<u32>>(1)?, row.get::<_, Option<u32>>(2)?))
            })?;
            tx.execute("DELETE FROM trash WHERE volume = ?1", [&volume])?;
            tx.execute(
                "INSERT INTO home (workspace, volume, uid, gid) VALUES (?1, ?2, ?3, ?4)",
                params![home.0, volume, home.1, home.2],
            )?;
            Ok(())
        })
        .await
    }

    /// Records that a home in the trash was mounted, or may have been.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn trashed_home_mounted(&self, volume: &str, at: Moment) -> Result<(), StoreError> {
        let volume = volume.to_owned();
        self.write(move |tx| {
            tx.execute("UPDATE trash SET mounted_at = ?2 WHERE volume = ?1", params![volume, At(at)])?;
            Ok(())
        })
        .await
    }

    /// Forgets a home whose volume is gone.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn forget_trashed_home(&self, volume: &str) -> Result<(), StoreError> {
        let volume = volume.to_owned();
        self.write(move |tx| {
            tx.execute("DELETE FROM trash WHERE volume = ?1", [volume])?;
            Ok(())
        })
        .await
    }
}

fn trashed(row: &Row<'_>) -> rusqlite::Result<Trashed> {
    let (At(trashed_at), At(until)) = (row.get("trashed_at")?, row.get("until")?);
    let owner: (Option<u32>, Option<u32>) = (row.get("uid")?, row.get("gid")?);
    let mounted_at: Option<At> = row.get("mounted_at")?;
    Ok(Trashed {
        volume: row.get("volume")?,
        workspace: id(row)?,
        owner: owner.0.zip(owner.1),
        trashed_at,
        until,
        by: Requester(row.get("who")?),
        mounted_at: mounted_at.map(|At(at)| at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::workspaces::tests::container;
    use crate::store::{HomeRecord, Power};

    fn at(second: i64) -> Moment {
        Moment::from_second(second).unwrap()
    }

    fn home(volume: &str) -> HomeRecord {
        HomeRecord { volume: volume.into(), owner: Some((1000, 1000)) }
    }

    fn trashed(volume: &str, workspace: &str) -> Trashed {
        Trashed {
            volume: volume.into(),
            workspace: workspace.parse().unwrap(),
            owner: Some((1000, 1000)),
            trashed_at: at(10),
            until: at(20),
            by: Requester("alice".into()),
            mounted_at: None,
        }
    }

    async fn store() -> Store {
        let store = Store::in_memory().unwrap();
        for id in ["alice/main", "bob/main"] {
            store.declare(&id.parse().unwrap(), &"acme".parse().unwrap(), Power::On, at(0)).await.unwrap();
        }
        store.set_home(&"alice/main".parse().unwrap(), Some(home("a.home"))).await.unwrap();
        store
    }

    async fn current(store: &Store) -> Option<HomeRecord> {
        store.workspaces().await.unwrap().remove(0).home
    }

    #[tokio::test]
    async fn l10_a_home_goes_to_the_trash_and_comes_back_as_it_was() {
        let store = store().await;
        store.trash_home(&trashed("a.home", "alice/main")).await.unwrap();
        assert_eq!(
            (current(&store).await, store.trash().await.unwrap()),
            (None, vec![trashed("a.home", "alice/main")])
        );
        store.trashed_home_mounted("a.home", at(15)).await.unwrap();
        assert_eq!(store.trash().await.unwrap()[0].mounted_at, Some(at(15)));
        store.restore_home("a.home").await.unwrap();
        assert_eq!((current(&store).await, store.trash().await.unwrap()), (Some(home("a.home")), vec![]));
    }

    #[tokio::test]
    async fn l1_a_home_is_somebodys_or_in_the_trash_and_never_both() {
        let (store, alice) = (store().await, "alice/main".parse().unwrap());
        store.trash_home(&trashed("a.home", "bob/main")).await.unwrap_err();
        assert_eq!(current(&store).await, Some(home("a.home")), "bob cannot delete alice's");
        store.trash_home(&trashed("a.home", "alice/main")).await.unwrap();
        store.set_home(&alice, Some(home("a.home"))).await.unwrap_err();
        store.set_home(&alice, Some(home("a.home-2"))).await.unwrap();
        store.set_home(&alice, Some(home("a.home"))).await.unwrap_err();
        store.restore_home("a.home").await.unwrap_err();
        let state = (current(&store).await, store.trash().await.unwrap().len());
        assert_eq!(state, (Some(home("a.home-2")), 1), "a restore that fails changes nothing");
    }

    /// A container that is found again later is not to run on it.
    #[tokio::test]
    async fn l10_the_container_of_a_home_that_goes_to_the_trash_is_forgotten_with_it() {
        let (store, alice) = (store().await, "alice/main".parse().unwrap());
        store.set_container(&alice, Some(container("c"))).await.unwrap();
        let recorded = async || store.workspaces().await.unwrap().remove(0).container;
        let old = Trashed { volume: "a.home-0".into(), ..trashed("a.home", "alice/main") };
        store.trash_home(&old).await.unwrap();
        assert!(recorded().await.is_some(), "it has another home");
        store.trash_home(&trashed("a.home", "alice/main")).await.unwrap();
        assert_eq!(recorded().await, None);
    }

    #[tokio::test]
    async fn what_is_gone_is_forgotten() {
        let store = store().await;
        store.trash_home(&trashed("a.home", "alice/main")).await.unwrap();
        store.forget_trashed_home("a.home").await.unwrap();
        assert_eq!(store.trash().await.unwrap(), vec![]);
        store.restore_home("a.home").await.unwrap_err();
    }
}
