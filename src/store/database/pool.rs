//! A pool of connections for one purpose.
//!
//! A connection is reused only if it belongs to the present life of the database and answers. Otherwise it is dropped, and
//! the [`ConnectionOpener`] opens and verifies another one. The pool keeps its minimum of connections also while they are not
//! used, so that they are available when the database has no more to give.

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

/// The time limit for acquiring a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long an unused connection above the minimum is kept.
const MAX_IDLE_TIME: Duration = Duration::from_mins(5);

/// A pool; clones share its connections.
#[derive(Debug, Clone)]
pub(super) struct ConnectionPool(Arc<PoolMembers>);

impl ConnectionPool {
    pub(super) fn new(
        opener: Arc<ConnectionOpener>,
        health: Arc<DatabaseHealth>,
        purpose: ConnectionPurpose,
        min: u32,
        max: u32,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(max as usize));
        let idle = Mutex::default();
        let returned = Notify::new();
        let min = min.min(max) as usize;

        Self(Arc::new(PoolMembers { opener, health, purpose, min, idle, permits, returned, max }))
    }

    /// Acquires an idle connection that answers, or opens one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none is available.
    pub(super) async fn acquire(&self) -> Result<PooledConnection, StoreError> {
        let mut refused = None;
        match in_time(ACQUIRE_TIMEOUT, self.take(&mut refused)).await {
            Some(taken) => taken,
            // The database has no more connections, and none of the pool became free.
            None if refused.is_some() => {
                refused.map_or_else(|| Err(UnavailableCause::Busy(ACQUIRE_TIMEOUT).into()), Err)
            }
            // All connections are in use, and the database is not silent.
            None if self.0.permits.available_permits() == 0 => {
                Err(UnavailableCause::Busy(ACQUIRE_TIMEOUT).into())
            }
            None => Err(UnavailableCause::Silent(ACQUIRE_TIMEOUT).into()),
        }
    }

    /// Acquires a connection without a time limit; `refused` is set while the database has no more connections.
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
                // The health check notices when the outage ends.
                return Err(StoreError::Unavailable(cause));
            }
            match self.0.opener.open(self.0.purpose).await {
                Ok(session) => return Ok(lend(session)),
                // The database has no more connections; one of the pool may become free.
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

    /// Opens connections up to the minimum, checks idle ones, and closes those above the minimum that are not used.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when one cannot be opened.
    pub(super) async fn keep(&self) -> Result<(), StoreError> {
        let shared = &self.0;
        // Each step holds a permit, so that the maximum is never exceeded. Without a free permit, all connections are in use.
        while let Ok(_permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            let unchecked = {
                let mut idle = shared.lock();
                let position =
                    idle.iter().position(|idle| idle.checked_at.elapsed() >= shared.check_interval());
                position.map(|position| idle.remove(position))
            };
            match unchecked {
                Some(idle) if shared.size() > shared.min && idle.used_at.elapsed() > MAX_IDLE_TIME => {
                    drop(idle);
                }
                Some(idle)
                    if shared.is_good(&idle.session)
                        && shared.opener.is_past_lifetime(&idle.session)
                        && shared.size() <= shared.min =>
                {
                    shared.replace(idle).await;
                }
                Some(idle) => {
                    let used_at = idle.used_at;
                    if let Some(session) = shared.revive(idle, Duration::ZERO).await {
                        shared
                            .lock()
                            .insert(0, IdleConnection { session, used_at, checked_at: Instant::now() });
                    }
                }
                // The permit that is held here is counted as a connection.
                None if shared.size() > shared.min => return Ok(()),
                None => {
                    let session = shared.opener.open(shared.purpose).await?;
                    shared.put_back(session);
                }
            }
        }
        Ok(())
    }

    /// Closes the pool and its idle connections.
    pub(super) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.lock());
        futures_util::future::join_all(idle.into_iter().map(|idle| idle.session.db.close())).await;
    }
}

/// Whether the database has no more connections.
fn is_exhausted(error: &StoreError) -> bool {
    error.cause().is_some_and(|cause| cause.code() == "too_many_connections")
}
