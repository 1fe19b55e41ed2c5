//! Transactions, and snapshots for reading.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::life::DatabaseLife;
use super::pooled::PooledConnection;
use crate::store::error::StoreError;

/// What statements run on.
pub type DbConnection = PgConnection;

/// A transaction: what is written through it becomes durable together, or not at all.
#[derive(Debug)]
pub struct Tx(pub(super) PooledConnection);

impl Tx {
    /// Makes what was written durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it is not, or when [nobody can say](StoreError::Unavailable).
    pub async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await
    }

    /// Which life of the database it belongs to.
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

/// One moment of the database, for reading: all statements see what was committed then.
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
    /// Which life of the database it is of.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.0.life()
    }

    /// Lets each of its statements, and each pause between them, take as long as `most`: for whoever reads all there is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn take_time(&mut self, most: Duration) -> Result<(), StoreError> {
        let ms = most.as_millis().max(1).to_string();
        sqlx::query!(
            "SELECT set_config('statement_timeout', $1, true) AS statements,
                    set_config('idle_in_transaction_session_timeout', $1, true) AS pauses",
            ms,
        )
        .fetch_one(&mut *self.0)
        .await?;
        Ok(())
    }
}

/// How a snapshot begins.
pub(super) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
