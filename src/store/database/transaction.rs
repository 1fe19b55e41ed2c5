//! Transactions and snapshots.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::life::DatabaseLife;
use super::pooled::PooledConnection;
use crate::store::error::StoreError;

/// The connection that statements run on.
pub type DbConnection = PgConnection;

/// A transaction: its writes become durable together, or not at all.
#[derive(Debug)]
pub struct Tx(pub(super) PooledConnection);

impl Tx {
    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it is not durable; after [`StoreError::Unavailable`] it may be.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await
    }

    /// Returns the life of the database that it belongs to.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.0.life()
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// A read-only snapshot: all statements see what was committed at one moment.
#[derive(Debug)]
pub struct Snapshot(pub(super) PooledConnection);

impl Deref for Snapshot {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Snapshot {
    /// Returns the life of the database that it belongs to.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.0.life()
    }

    /// Sets the time limit of each statement, and of each pause between statements, for long reads.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn take_time(&mut self, limit: Duration) -> Result<(), StoreError> {
        let ms = limit.as_millis().max(1).to_string();
        sqlx::query!(
            "SELECT set_config('statement_timeout', $1, true) AS statements,
                    set_config('idle_in_transaction_session_timeout', $1, true) AS pauses",
            ms,
        )
        .fetch_one(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Reads rows in the order of an index where there is one, for lists that are sent on while they are read: sorted, the
    /// first row would come after the last one was read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn avoid_sorting(&mut self) -> Result<(), StoreError> {
        sqlx::query!("SET LOCAL enable_sort = off").execute(&mut *self.0).await?;
        Ok(())
    }
}

/// The statement that begins a snapshot.
pub(super) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
