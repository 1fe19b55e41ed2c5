//! A connection lent by a pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::postgres::PgConnection;
use tokio::sync::OwnedSemaphorePermit;

use super::connect::is_writable;
use super::life::DatabaseLife;
use super::pool_members::{PING_TIMEOUT, PoolMembers};
use super::session::DatabaseSession;
use super::timeouts::within;
use crate::store::error::StoreError;

/// A connection lent by a pool; dropping it returns it.
#[derive(Debug)]
pub struct PooledConnection {
    pub(super) session: Option<DatabaseSession>,
    /// Its permit: the pool is limited.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) pool: Arc<PoolMembers>,
    pub(super) is_in_transaction: bool,
    /// The number of outages when it was acquired.
    pub(super) outages: u64,
}

impl PooledConnection {
    /// Returns the life of the database that it is connected to.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.session.as_ref().map(|session| session.life).unwrap_or_default()
    }

    /// Whether it may still be used: it belongs to the present life, and was opened after the last outage began.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.session.as_ref().is_some_and(|session| self.pool.is_good(session))
    }

    /// Returns the number of outages of the database when it was acquired.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages
    }

    /// Drops it without returning it: it did not answer.
    pub fn discard(mut self) {
        self.session = None;
    }

    pub(super) async fn begin(mut self, statement: &'static str) -> Result<Self, StoreError> {
        self.is_in_transaction = true;
        sqlx::raw_sql(statement).execute(&mut *self).await?;
        Ok(self)
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let committed = sqlx::raw_sql("COMMIT").execute(&mut *self).await;
        self.is_in_transaction = committed.is_err();
        committed.map_err(StoreError::from).inspect_err(|error| self.pool.health.note_failed_write(error))?;
        Ok(())
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "it is only taken by `drop` and `discard`")]
    fn deref(&self) -> &PgConnection {
        &self.session.as_ref().expect("a lent connection").db
    }
}

impl DerefMut for PooledConnection {
    #[expect(clippy::expect_used, reason = "it is only taken by `drop` and `discard`")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.session.as_mut().expect("a lent connection").db
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let (Some(mut session), permit) = (self.session.take(), self.permit.take()) else { return };
        let pool = Arc::clone(&self.pool);
        if pool.permits.is_closed() || !pool.is_good(&session) {
            return;
        }
        if !self.is_in_transaction {
            pool.put_back(session);
            return;
        }
        // Rolled back now, so that locks are released, and in the background: the task ends by itself, within the timeout.
        let roll_back = async move {
            let is_writable = within(PING_TIMEOUT, async {
                sqlx::raw_sql("ROLLBACK").execute(&mut session.db).await?;
                // The transaction may have failed because the server became a standby.
                is_writable(&mut session.db).await
            });
            if is_writable.await.unwrap_or(false) {
                pool.put_back(session);
            }
            drop(permit);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(roll_back);
        }
    }
}
