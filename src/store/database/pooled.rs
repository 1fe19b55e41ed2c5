//! A connection of a pool on loan.

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

/// A connection on loan; it goes back when this is dropped.
#[derive(Debug)]
pub struct PooledConnection {
    pub(super) session: Option<DatabaseSession>,
    /// Its permit: there are only so many.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) pool: Arc<PoolMembers>,
    pub(super) is_in_transaction: bool,
    /// How many outages there had been when it was taken.
    pub(super) outages: u64,
}

impl PooledConnection {
    /// Which life of the database it speaks to.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.session.as_ref().map(|session| session.life).unwrap_or_default()
    }

    /// Whether it may be used on: it is of the database's present life, and the database was not away since it was made.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.session.as_ref().is_some_and(|session| self.pool.is_good(session))
    }

    /// How many outages of the database there had been when it was taken.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages
    }

    /// Throws it away: it did not answer.
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

    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref(&self) -> &PgConnection {
        &self.session.as_ref().expect("a connection on loan").db
    }
}

impl DerefMut for PooledConnection {
    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.session.as_mut().expect("a connection on loan").db
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
        // Locks are to be given up now, and not when somebody needs the connection again. Nobody waits for it: it ends by
        // itself, soon.
        let roll_back = async move {
            let is_writable = within(PING_TIMEOUT, async {
                sqlx::raw_sql("ROLLBACK").execute(&mut session.db).await?;
                // Whatever it was that failed: a server that has become a standby shows here.
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
