//! What is remembered of use: ledgers, schedules, holds, who is away, and when containers ended by themselves. JSON whose
//! meaning is `activity`'s, `schedule`'s and the loop's; the store only keeps it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rusqlite::{OptionalExtension, Transaction, params};

use super::row::Word;
use super::workspaces::{id, number};
use super::{Store, StoreError};
use crate::model::{UserName, WorkspaceId};

/// By workspace, the JSON that is kept of it.
pub type Kept = BTreeMap<WorkspaceId, String>;

/// A hold as it is kept: its number, and what it is.
pub type KeptHold = (u64, WorkspaceId, String);

impl Store {
    /// Returns the ledgers of all workspaces.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn ledgers(&self) -> Result<Kept, StoreError> {
        self.read(|tx| {
            kept(tx, "SELECT w.user, w.name, a.ledger FROM activity a JOIN workspace w ON w.number = a.workspace")
        })
        .await
    }

    /// Replaces some ledgers, all in one commit; those of workspaces that are not recorded are left out.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn keep_ledgers(&self, ledgers: Kept) -> Result<(), StoreError> {
        self.keep("REPLACE INTO activity SELECT number, ?3 FROM workspace WHERE user = ?1 AND name = ?2", ledgers).await
    }

    /// Returns what is known of the schedules of workspaces; none of one that was removed: declared again it is new, and
    /// nothing is made up (rule S2).
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn schedules(&self) -> Result<Kept, StoreError> {
        self.read(|tx| {
            // An earlier version left those of removed ones.
            let sql = "SELECT w.user, w.name, s.known FROM schedule s JOIN workspace w ON w.number = s.workspace
                       WHERE w.removed_at IS NULL";
            kept(tx, sql)
        })
        .await
    }

    /// Replaces some, as [`keep_ledgers`](Self::keep_ledgers) does; those of removed ones are left out.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn keep_schedules(&self, schedules: Kept) -> Result<(), StoreError> {
        let sql = "REPLACE INTO schedule SELECT number, ?3 FROM workspace
                   WHERE user = ?1 AND name = ?2 AND removed_at IS NULL";
        self.keep(sql, schedules).await
    }

    /// Returns when containers ended without being asked.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn ends(&self) -> Result<Kept, StoreError> {
        self.read(|tx| {
            kept(tx, "SELECT w.user, w.name, e.ends FROM ended e JOIN workspace w ON w.number = e.workspace")
        })
        .await
    }

    /// Replaces some, as [`keep_ledgers`](Self::keep_ledgers) does.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn keep_ends(&self, ends: Kept) -> Result<(), StoreError> {
        self.keep("REPLACE INTO ended SELECT number, ?3 FROM workspace WHERE user = ?1 AND name = ?2", ends).await
    }

    async fn keep(&self, sql: &'static str, kept: Kept) -> Result<(), StoreError> {
        if kept.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            let mut statement = tx.prepare_cached(sql)?;
            for (id, json) in kept {
                statement.execute(params![Word(&id.user), Word(&id.name), json])?;
            }
            Ok(())
        })
        .await
    }

    /// Returns all holds, oldest first.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn holds(&self) -> Result<Vec<KeptHold>, StoreError> {
        self.read(|tx| {
            let sql = "SELECT h.number, w.user, w.name, h.hold FROM hold h JOIN workspace w ON w.number = h.workspace
                       ORDER BY h.number";
            let mut statement = tx.prepare_cached(sql)?;
            let hold = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), id(row)?, row.get(3)?));
            Ok(statement.query_map([], hold)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Adds a hold and returns its number.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn add_hold(&self, workspace: &WorkspaceId, json: String) -> Result<u64, StoreError> {
        let workspace = workspace.clone();
        self.write(move |tx| {
            let number = number(tx, &workspace)?;
            tx.execute("INSERT INTO hold (workspace, hold) VALUES (?1, ?2)", params![number, json])?;
            Ok(tx.last_insert_rowid().cast_unsigned())
        })
        .await
    }

    /// Replaces a hold; nothing where there is none of the number.
    ///
    /// # Errors
    /// As [`StoreError`] says; text that is not JSON is refused.
    pub async fn update_hold(&self, number: u64, json: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("UPDATE hold SET hold = ?2 WHERE number = ?1", params![number.cast_signed(), json])?;
            Ok(())
        })
        .await
    }

    /// Removes holds.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn remove_holds(&self, numbers: Vec<u64>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let mut statement = tx.prepare_cached("DELETE FROM hold WHERE number = ?1")?;
            for number in numbers {
                statement.execute([number.cast_signed()])?;
            }
            Ok(())
        })
        .await
    }

    /// Returns who is away, and on which day they are back.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn away(&self) -> Result<BTreeMap<UserName, Date>, StoreError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT user, until FROM away")?;
            let row = |row: &rusqlite::Row<'_>| {
                let (Word(user), Word(until)) = (row.get(0)?, row.get(1)?);
                Ok((user, until))
            };
            Ok(statement.query_map([], row)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Records that a user is away, or back.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn set_away(&self, user: &UserName, until: Option<Date>) -> Result<(), StoreError> {
        let user = user.clone();
        self.write(move |tx| {
            match until {
                Some(until) => tx.execute("REPLACE INTO away VALUES (?1, ?2)", params![Word(&user), Word(until)])?,
                None => tx.execute("DELETE FROM away WHERE user = ?1", params![Word(&user)])?,
            };
            Ok(())
        })
        .await
    }

    /// Returns when a user is back, where they are away.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn away_until(&self, user: &UserName) -> Result<Option<Date>, StoreError> {
        let user = user.clone();
        self.read(move |tx| {
            let sql = "SELECT until FROM away WHERE user = ?1";
            let until: Option<Word<Date>> = tx.query_row(sql, params![Word(&user)], |row| row.get(0)).optional()?;
            Ok(until.map(|Word(until)| until))
        })
        .await
    }
}

fn kept(tx: &Transaction<'_>, sql: &str) -> Result<Kept, StoreError> {
    let mut statement = tx.prepare_cached(sql)?;
    Ok(statement.query_map([], |row| Ok((id(row)?, row.get(2)?)))?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::model::{Moment, Power};

    async fn store() -> (Store, WorkspaceId, WorkspaceId) {
        let store = Store::in_memory().unwrap();
        let ids: [WorkspaceId; 2] = ["alice/main".parse().unwrap(), "bob/main".parse().unwrap()];
        for id in &ids {
            let now = Moment::from_second(10).unwrap();
            store.declare(id, &"acme".parse().unwrap(), Power::On, now).await.unwrap();
        }
        let [alice, bob] = ids;
        (store, alice, bob)
    }

    #[tokio::test]
    async fn p8_ledgers_and_schedules_are_kept_apart_and_replaced() {
        let (store, alice, bob) = store().await;
        let unknown: WorkspaceId = "carol/main".parse().unwrap();
        let some = |pairs: &[(&WorkspaceId, &str)]| -> Kept {
            pairs.iter().map(|(id, json)| ((*id).clone(), (*json).to_owned())).collect()
        };
        store.keep_ledgers(some(&[(&alice, "1"), (&bob, "2"), (&unknown, "3")])).await.unwrap();
        store.keep_ledgers(some(&[(&bob, r#"{"a":4}"#)])).await.unwrap();
        store.keep_schedules(some(&[(&alice, "5")])).await.unwrap();
        store.keep_ends(some(&[(&bob, "[7]")])).await.unwrap();
        assert_eq!(store.ends().await.unwrap(), some(&[(&bob, "[7]")]));
        assert_eq!(store.ledgers().await.unwrap(), some(&[(&alice, "1"), (&bob, r#"{"a":4}"#)]));
        assert_eq!(store.schedules().await.unwrap(), some(&[(&alice, "5")]));
        assert!(store.keep_ledgers(some(&[(&alice, "6"), (&bob, "no json")])).await.is_err());
        assert_eq!(store.ledgers().await.unwrap()[&alice], "1", "all or nothing");
        store.keep_ledgers(Kept::new()).await.unwrap();
    }

    #[tokio::test]
    async fn s2_the_schedule_of_one_that_was_removed_is_not_taken_up() {
        let (store, alice, bob) = store().await;
        let both = Kept::from([(alice.clone(), "5".to_owned()), (bob.clone(), "6".to_owned())]);
        store.keep_schedules(both.clone()).await.unwrap();
        store.mark_removed(&bob, Some(Moment::UNIX_EPOCH)).await.unwrap();
        store.keep_schedules(both).await.unwrap();
        assert_eq!(store.schedules().await.unwrap(), Kept::from([(alice.clone(), "5".to_owned())]));
        store.declare(&bob, &"acme".parse().unwrap(), Power::On, Moment::UNIX_EPOCH).await.unwrap();
        assert_eq!(store.schedules().await.unwrap(), Kept::from([(alice, "5".to_owned())]), "declared again");
    }

    #[tokio::test]
    async fn p5_holds_have_numbers_that_are_never_used_twice() {
        let (store, alice, bob) = store().await;
        assert_eq!(store.add_hold(&alice, "1".into()).await.unwrap(), 1);
        assert_eq!(store.add_hold(&bob, "2".into()).await.unwrap(), 2);
        store.update_hold(2, "3".into()).await.unwrap();
        store.update_hold(9, "4".into()).await.unwrap();
        assert_eq!(store.holds().await.unwrap(), [(1, alice.clone(), "1".into()), (2, bob, "3".into())]);
        store.remove_holds(vec![1, 2, 7]).await.unwrap();
        assert_eq!(store.holds().await.unwrap(), []);
        assert_eq!(store.add_hold(&alice, "5".into()).await.unwrap(), 3);
        assert!(store.add_hold(&"carol/main".parse().unwrap(), "6".into()).await.is_err());
    }

    #[tokio::test]
    async fn s4_who_is_away_comes_back() {
        let (store, alice, _) = store().await;
        let user = alice.user;
        assert_eq!(store.away_until(&user).await.unwrap(), None);
        for until in [date(2027, 1, 7), date(2027, 2, 1)] {
            store.set_away(&user, Some(until)).await.unwrap();
            assert_eq!(store.away_until(&user).await.unwrap(), Some(until));
            assert_eq!(store.away().await.unwrap(), BTreeMap::from([(user.clone(), until)]));
        }
        store.set_away(&user, None).await.unwrap();
        assert_eq!(store.away().await.unwrap(), BTreeMap::new());
    }
}
