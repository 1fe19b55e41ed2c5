//! Checks of the database, and work that ends when it becomes unavailable.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::health::{self, HealthPart};
use super::store::Store;
use super::timeouts::{in_time, pause, within};
use crate::formatting::with_causes;
use crate::store::error::{StoreError, UnavailableCause};

impl Store {
    /// Checks what events need: a writable database that answers, and connections for batches.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with the cause.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check_database().await?;
        self.check_writing().await;
        self.health.fault().map_or(Ok(()), |cause| Err(StoreError::Unavailable(cause)))
    }

    /// Checks like [`check`](Self::check), but answers at once during an outage, in which [`watch`](Self::watch) repeats the
    /// check anyway.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with the cause.
    pub async fn ready(&self) -> Result<(), StoreError> {
        if let Some(cause) = self.health.outage() {
            return Err(StoreError::Unavailable(cause));
        }
        tokio::select! {
            biased;
            checked = self.check() => checked,
            error = self.lost() => Err(error),
        }
    }

    /// Repeats the checks forever; opening connections does not delay the check of the database.
    pub async fn watch(&self) {
        let check = async {
            loop {
                let is_available = self.check_database().await.is_ok();
                pause(if is_available { health::CHECK_INTERVAL } else { health::OUTAGE_CHECK_INTERVAL })
                    .await;
            }
        };
        let keep = async {
            loop {
                if self.health.outage().is_none() {
                    self.check_writing().await;
                    self.keep_others().await;
                }
                let is_healthy = self.health.fault().is_none();
                pause(if is_healthy { health::CHECK_INTERVAL } else { health::OUTAGE_CHECK_INTERVAL }).await;
            }
        };
        tokio::select! {
            () = check => {}
            () = keep => {}
        }
    }

    /// Checks whether the database is available.
    async fn check_database(&self) -> Result<(), StoreError> {
        let mut check = pin!(self.probe.check());
        let answered = if let Some(answered) = in_time(health::CHECK_TIMEOUT, check.as_mut()).await {
            answered
        } else {
            // Other hosts are still being tried, or a new life is being started: requests must not wait for
            // that.
            self.health
                .note(HealthPart::Database, Err(Arc::new(UnavailableCause::Silent(health::CHECK_TIMEOUT))));
            check.await
        };
        self.health.note(HealthPart::Database, answered.as_ref().copied().map_err(cause_of));
        answered
    }

    /// Checks the connections for batches and, after a write has failed, whether writes succeed again.
    async fn check_writing(&self) {
        let had_fault = self.health.has_writing_fault();
        let checked = match self.batch_writers.keep().await {
            Ok(()) if had_fault => self.try_writing().await,
            // No write was tried, so a fault that was noted meanwhile is kept.
            Ok(()) => return,
            Err(error) => Err(error),
        };
        self.health.note(HealthPart::Writing, checked.as_ref().copied().map_err(cause_of));
    }

    /// Maintains the connections that events do not need.
    pub(super) async fn keep_others(&self) {
        for pool in [&self.readers, &self.writers, &self.snapshots] {
            if let Err(error) = pool.keep().await {
                tracing::debug!(error = %with_causes(&error), "cannot open connection");
            }
        }
    }

    /// Notes whether a write succeeded: with a full disk, reads still work.
    pub fn note_writing(&self, written: Result<(), &StoreError>) {
        match written {
            Ok(()) => {
                if self.health.has_writing_fault() {
                    self.health.note(HealthPart::Writing, Ok(()));
                }
            }
            Err(error) => self.health.note_failed_write(error),
        }
    }

    /// Writes rows like those of an event, enough to need a new page, and rolls back.
    ///
    /// The log of changes reuses free pages; history only grows.
    async fn try_writing(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "INSERT INTO change (xact, instances, visits, deadlines)
             SELECT pg_current_xact_id()::text::bigint, array_agg(n * 7919), array_agg(n * 104729), '{}'
               FROM generate_series(1::bigint, 400) n",
        )
        .execute(&mut *tx)
        .await?;
        // Each row is small enough to stay in the table itself, and incompressible.
        sqlx::query!(
            "INSERT INTO history (at, kind, from_state, to_state, instance_id, visit, reason)
             SELECT now(), 'note', 'none', NULL, 0, 0,
                    (SELECT string_agg(md5(m::text || random()::text), '') FROM generate_series(1, 50) m)
               FROM generate_series(1, 8) n",
        )
        .execute(&mut *tx)
        .await?;
        Ok(())
    }

    /// Waits until the database becomes unavailable, and returns why.
    pub async fn lost(&self) -> StoreError {
        StoreError::Unavailable(self.health.lost().await)
    }

    /// Aborts work that takes longer than `limit`, or when the database becomes unavailable.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] then; otherwise the error of the work.
    pub async fn within<T, E: From<StoreError>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            done = in_time(limit, work) => {
                done.unwrap_or_else(|| Err(StoreError::from(UnavailableCause::Silent(limit)).into()))
            }
            error = self.lost() => Err(error.into()),
        }
    }

    /// Aborts work on a connection like [`within`](Self::within), also for an outage that began after the connection was
    /// acquired, when there had been `outages` outages.
    ///
    /// # Errors
    ///
    /// As [`within`](Self::within).
    pub async fn within_on<T>(
        &self,
        outages: u64,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            done = within(limit, work) => done,
            cause = self.health.lost_since(outages) => Err(StoreError::Unavailable(cause)),
        }
    }
}

fn cause_of(error: &StoreError) -> Arc<UnavailableCause> {
    match error.cause() {
        Some(cause) => Arc::clone(cause),
        // Other errors are those of the schema or of a statement.
        None => Arc::new(UnavailableCause::Database(sqlx::Error::Protocol(error.to_string()))),
    }
}
