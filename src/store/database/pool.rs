//! A few connections of one purpose, shared by many.
//!
//! A connection is kept only as long as it is of the database's present life and answers; one that is doubtful is thrown
//! away, and the next one is made by the [`ConnectionOpener`], which verifies it. The pool keeps its least number of connections also
//! while nobody needs them: they are there when others have taken all that the database has to give.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::health::DatabaseHealth;
use super::opener::ConnectionOpener;
use super::pool_members::{IdleConnection, PoolMembers, UNCHECKED_USE_FOR};
use super::pooled::PooledConnection;
use super::purpose::ConnectionPurpose;
use super::timeouts::{in_time, pause};
use crate::store::error::{StoreError, UnavailableCause};

/// How long it may take until a connection can be had.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a connection beyond the least number is kept without being used.
const MAX_IDLE_TIME: Duration = Duration::from_mins(5);

/// A pool; clones are of the same.
#[derive(Debug, Clone)]
pub(super) struct ConnectionPool(Arc<PoolMembers>);

impl ConnectionPool {
    pub(super) fn new(
        opener: Arc<ConnectionOpener>,
        health: Arc<DatabaseHealth>,
        purpose: ConnectionPurpose,
        least: u32,
        most: u32,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(most as usize));
        let idle = Mutex::default();
        let returned = Notify::new();
        let least = least.min(most) as usize;

        Self(Arc::new(PoolMembers { opener, health, purpose, least, idle, permits, returned, most }))
    }

    /// Takes a connection that answers, or makes one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be had.
    pub(super) async fn acquire(&self) -> Result<PooledConnection, StoreError> {
        let mut refused = None;
        match in_time(ACQUIRE_TIMEOUT, self.take(&mut refused)).await {
            Some(taken) => taken,
            // The database has no more to give, and none of ours became free.
            None if refused.is_some() => {
                refused.map_or_else(|| Err(UnavailableCause::Busy(ACQUIRE_TIMEOUT).into()), Err)
            }
            // Unless the database is silent it is we who are too many.
            None if self.0.permits.available_permits() == 0 => {
                Err(UnavailableCause::Busy(ACQUIRE_TIMEOUT).into())
            }
            None => Err(UnavailableCause::Silent(ACQUIRE_TIMEOUT).into()),
        }
    }

    /// The same without a limit; `refused` says that the database has no more connections to give while that is so.
    async fn take(&self, refused: &mut Option<StoreError>) -> Result<PooledConnection, StoreError> {
        let closed = |_| StoreError::from(UnavailableCause::Database(sqlx::Error::PoolClosed));
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(closed)?;
        let lend = |session| PooledConnection {
            session: Some(session),
            permit: Some(permit),
            pool: Arc::clone(&self.0),
            is_in_transaction: false,
            outages: self.0.health.outages(),
        };
        loop {
            while let Some(idle) = self.0.pop() {
                if let Some(session) = self.0.revive(idle, self.0.unchecked_use_for()).await {
                    return Ok(lend(session));
                }
            }
            if let Some(cause) = self.0.health.outage() {
                // Known already, and asked for again by the pulse.
                return Err(StoreError::Unavailable(cause));
            }
            match self.0.opener.open(self.0.purpose).await {
                Ok(session) => return Ok(lend(session)),
                // The database gives us no more; one of those that we have may become free.
                Err(error) if is_exhausted(&error) && self.0.has_lent() => {
                    *refused = Some(error);
                    tokio::select! {
                        () = self.0.returned.notified() => {}
                        () = pause(UNCHECKED_USE_FOR) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sees to it that the least number of connections is there and answers, and that no more are kept than are used.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when one cannot be made.
    pub(super) async fn keep(&self) -> Result<(), StoreError> {
        let shared = &self.0;
        // Each with a permit, so that there are never more connections than there may be; where all are in use, they are there.
        while let Ok(_permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            let doubtful = {
                let mut idle = shared.lock();
                let doubtful =
                    idle.iter().position(|idle| idle.asked_at.elapsed() >= shared.check_interval());
                doubtful.map(|doubtful| idle.remove(doubtful))
            };
            match doubtful {
                Some(idle) if shared.size() > shared.least && idle.used_at.elapsed() > MAX_IDLE_TIME => {
                    drop(idle)
                }
                Some(idle)
                    if shared.is_good(&idle.session)
                        && shared.opener.is_past_lifetime(&idle.session)
                        && shared.size() <= shared.least =>
                {
                    shared.replace(idle).await;
                }
                Some(idle) => {
                    let used_at = idle.used_at;
                    if let Some(session) = shared.revive(idle, Duration::ZERO).await {
                        shared
                            .lock()
                            .insert(0, IdleConnection { session, used_at, asked_at: Instant::now() });
                    }
                }
                // This permit is no connection.
                None if shared.size() > shared.least => return Ok(()),
                None => {
                    let session = shared.opener.open(shared.purpose).await?;
                    shared.put_back(session);
                }
            }
        }
        Ok(())
    }

    /// Takes nothing more, and gives the connections back.
    pub(super) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.lock());
        futures_util::future::join_all(idle.into_iter().map(|idle| idle.session.db.close())).await;
    }
}

/// Whether the database has no more connections to give.
fn is_exhausted(error: &StoreError) -> bool {
    error.cause().is_some_and(|cause| cause.code() == "too_many_connections")
}
