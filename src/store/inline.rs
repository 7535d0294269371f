//! A database without a thread, for simulations: each transaction is made in the caller's own turn, so that two runs are
//! the same, and hearthd can be ended before and after any of them while the database lives on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rusqlite::{Transaction, TransactionBehavior};
use tokio::sync::mpsc;

use super::{Store, StoreError, open};

/// Waits until a call may go on, told whether it was made already; for ever where the caller has ended.
pub(crate) type Gate = Arc<dyn Fn(bool) -> BoxFuture<'static, ()> + Send + Sync>;

/// A database that outlives those who use it.
#[derive(Clone)]
pub(crate) struct Database(Arc<Mutex<open::Opened>>);

#[derive(Clone)]
pub(super) struct Inline {
    database: Database,
    gate: Gate,
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inline")
    }
}

impl Database {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(open::in_memory().expect("memory is there"))))
    }

    /// Has writes fail, as those on a full disk do, or not any more.
    pub(crate) fn refuse_writes(&self, refuse: bool) {
        let opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opened.connection.pragma_update(None, "query_only", refuse).expect("a pragma");
    }

    /// Returns it as one hearthd holds it.
    pub(crate) fn open(&self, gate: Gate) -> Store {
        let inline = Some(Inline { database: self.clone(), gate });
        Store { jobs: mpsc::channel(1).0, path: Path::new(":memory:").into(), inline }
    }
}

impl Inline {
    pub(super) async fn transact<T, F>(&self, behavior: TransactionBehavior, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    {
        (self.gate)(false).await;
        let result = {
            let mut opened = self.database.0.lock().unwrap_or_else(PoisonError::into_inner);
            opened.connection.transaction_with_behavior(behavior).map_err(StoreError::from).and_then(|tx| {
                let value = work(&tx)?;
                tx.commit()?;
                Ok(value)
            })
        };
        (self.gate)(true).await;
        result
    }
}
