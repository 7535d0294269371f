//! The audit log (rule X1): bounded in rows and in the length of each text, because some of it comes from inside.

use rusqlite::{Row, named_params, params};

use super::row::{At, Word};
use super::{AuditEntry, Store, StoreError};
use crate::model::{Moment, WorkspaceId};

/// How many entries are kept.
const ENTRIES_KEPT: i64 = 100_000;

/// And of one person: nobody washes away what others did.
const ENTRIES_OF_ONE: i64 = 20_000;

/// How often the entries of one person are counted.
const COUNTED_EVERY: i64 = 256;

/// How many bytes of one text are kept.
const TEXT_KEPT: usize = 4096;

/// Which entries of the audit log are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    pub since: Option<Moment>,
    pub workspace: Option<WorkspaceId>,
    /// Those with a lower number.
    pub before: Option<i64>,
    /// At most so many, the latest ones.
    pub limit: u32,
}

impl Store {
    /// Adds an entry, and forgets the oldest beyond what is kept.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(move |tx| {
            let who = cut(entry.who.0);
            tx.prepare_cached(
                "INSERT INTO audit (at, who, source, what, workspace, before, after, result)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                At(entry.at),
                who,
                cut(entry.from),
                cut(entry.what),
                entry.workspace.map(Word),
                entry.before.map(cut),
                entry.after.map(cut),
                cut(entry.result),
            ])?;
            let number = tx.last_insert_rowid();
            tx.prepare_cached("DELETE FROM audit WHERE number <= ?1")?.execute([number - ENTRIES_KEPT])?;
            if number % COUNTED_EVERY == 0 {
                tx.prepare_cached(
                    "DELETE FROM audit WHERE who = ?1 AND number <=
                     (SELECT number FROM audit WHERE who = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                )?
                .execute(params![who, ENTRIES_OF_ONE])?;
            }
            Ok(())
        })
        .await
    }

    /// Returns the latest entries that the filter lets through with their numbers, in the order in which they were made.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn audit_log(&self, filter: AuditFilter) -> Result<Vec<(i64, AuditEntry)>, StoreError> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT * FROM (SELECT * FROM audit
                                WHERE (:since IS NULL OR at >= :since)
                                  AND (:workspace IS NULL OR workspace = :workspace)
                                  AND (:before IS NULL OR number < :before)
                                ORDER BY number DESC LIMIT :limit)
                 ORDER BY number",
            )?;
            let entries = statement
                .query_map(
                    named_params! {
                        ":since": filter.since.map(At),
                        ":workspace": filter.workspace.map(Word),
                        ":before": filter.before,
                        ":limit": filter.limit,
                    },
                    entry,
                )?
                .collect::<Result<_, _>>()?;
            Ok(entries)
        })
        .await
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(i64, AuditEntry)> {
    let (At(at), Word(who)) = (row.get("at")?, row.get("who")?);
    let workspace: Option<Word<WorkspaceId>> = row.get("workspace")?;
    let entry = AuditEntry {
        at,
        who,
        from: row.get("source")?,
        what: row.get("what")?,
        workspace: workspace.map(|Word(id)| id),
        before: row.get("before")?,
        after: row.get("after")?,
        result: row.get("result")?,
    };
    Ok((row.get("number")?, entry))
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_KEPT {
        text.truncate(text.floor_char_boundary(TEXT_KEPT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Requester;

    fn entry(second: i64, workspace: Option<&str>) -> AuditEntry {
        AuditEntry {
            at: Moment::from_second(second).unwrap(),
            who: Requester("alice".into()),
            from: "host".into(),
            what: "stop".into(),
            workspace: workspace.map(|id| id.parse().unwrap()),
            before: Some("running".into()),
            after: None,
            result: "ok".into(),
        }
    }

    fn all() -> AuditFilter {
        AuditFilter { since: None, workspace: None, before: None, limit: 1000 }
    }

    #[tokio::test]
    async fn x1_entries_come_back_as_given_and_filtered() {
        let store = Store::in_memory().unwrap();
        let given = [entry(10, Some("alice/main")), entry(20, None), entry(30, Some("bob/main"))];
        for entry in &given {
            store.audit(entry.clone()).await.unwrap();
        }
        let log = async |filter| -> Vec<_> {
            let (numbers, entries): (Vec<_>, Vec<_>) = store.audit_log(filter).await.unwrap().into_iter().unzip();
            assert!(numbers.is_sorted());
            entries
        };
        assert_eq!(log(all()).await, given);
        assert_eq!(log(AuditFilter { since: Some(given[1].at), ..all() }).await, given[1..]);
        let bobs = AuditFilter { workspace: Some("bob/main".parse().unwrap()), ..all() };
        assert_eq!(log(bobs).await, given[2..]);
        assert_eq!(log(AuditFilter { limit: 1, ..all() }).await, given[2..]);
        let last = store.audit_log(AuditFilter { limit: 1, ..all() }).await.unwrap()[0].0;
        assert_eq!(log(AuditFilter { before: Some(last), limit: 1, ..all() }).await, given[1..2]);
    }

    #[tokio::test]
    async fn x4_one_person_washes_nobody_elses_entries_away() {
        let store = Store::in_memory().unwrap();
        store.audit(entry(10, None)).await.unwrap();
        store
            .write(|tx| {
                tx.execute(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                     INSERT INTO audit (at, who, source, what, result)
                     SELECT '2026-01-01T00:00:00.000000000Z', 'eve', 'host', 'set', 'ok' FROM n",
                    [ENTRIES_OF_ONE],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        for second in 0..2 * COUNTED_EVERY {
            store.audit(AuditEntry { who: Requester("eve".into()), ..entry(second, None) }).await.unwrap();
        }
        let count = |sql: &'static str| store.read(move |tx| Ok(tx.query_row(sql, [], |r| r.get::<_, i64>(0))?));
        let eves = count("SELECT count(*) FROM audit WHERE who = 'eve'").await.unwrap();
        assert!((ENTRIES_OF_ONE..=ENTRIES_OF_ONE + COUNTED_EVERY).contains(&eves), "{eves}");
        assert_eq!(count("SELECT count(*) FROM audit WHERE who = 'alice'").await.unwrap(), 1);
    }

    #[tokio::test]
    async fn x4_the_log_is_bounded_in_rows_and_in_the_length_of_a_text() {
        let store = Store::in_memory().unwrap();
        store
            .write(|tx| {
                tx.execute(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                     INSERT INTO audit (at, who, source, what, result)
                     SELECT '2026-01-01T00:00:00.000000000Z', 'eve', 'host', 'set', 'ok' FROM n",
                    [ENTRIES_KEPT],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        store.audit(AuditEntry { result: "é".repeat(TEXT_KEPT), ..entry(10, None) }).await.unwrap();
        let (rows, first): (i64, i64) = store
            .read(|tx| Ok(tx.query_row("SELECT count(*), min(number) FROM audit", [], |r| Ok((r.get(0)?, r.get(1)?)))?))
            .await
            .unwrap();
        assert_eq!((rows, first), (ENTRIES_KEPT, 2));
        let (_, last) = store.audit_log(AuditFilter { limit: 1, ..all() }).await.unwrap().remove(0);
        assert!(last.result.len() <= TEXT_KEPT + 3 && last.result.ends_with("é…"), "{}", last.result.len());
    }
}
