//! Whether the database serves: checks of it, and work that ends when it is lost.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::health::{self, HealthPart};
use super::store::Store;
use super::timeouts::{in_time, pause, within};
use crate::store::error::{StoreError, UnavailableCause};

impl Store {
    /// Asks for what an event needs: a database that answers and can be written to, and connections to write by.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with what is missing.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check_database().await?;
        self.check_writing().await;
        self.health.fault().map_or(Ok(()), |cause| Err(StoreError::Unavailable(cause)))
    }

    /// The same, where the answer is not known already: while the database is away it is asked again and again
    /// [anyway](Self::watch).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with what is missing.
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

    /// Checks again and again; making connections delays no look at the database.
    pub async fn watch(&self) {
        let check = async {
            loop {
                let is_there = self.check_database().await.is_ok();
                pause(if is_there { health::CHECK_INTERVAL } else { health::OUTAGE_CHECK_INTERVAL }).await;
            }
        };
        let keep = async {
            loop {
                if self.health.outage().is_none() {
                    self.check_writing().await;
                    self.keep_others().await;
                }
                let is_in_order = self.health.fault().is_none();
                pause(if is_in_order { health::CHECK_INTERVAL } else { health::OUTAGE_CHECK_INTERVAL }).await;
            }
        };
        tokio::select! {
            () = check => {}
            () = keep => {}
        }
    }

    /// Looks whether the database is there.
    async fn check_database(&self) -> Result<(), StoreError> {
        let mut beat = pin!(self.probe.check());
        let answered = if let Some(answered) = in_time(health::CHECK_TIMEOUT, beat.as_mut()).await {
            answered
        } else {
            // Several hosts are still to be tried, or a life is being begun: meanwhile nobody is to wait for it.
            self.health
                .note(HealthPart::Database, Err(Arc::new(UnavailableCause::Silent(health::CHECK_TIMEOUT))));
            beat.await
        };
        self.health.note(HealthPart::Database, answered.as_ref().copied().map_err(cause_of));
        answered
    }

    /// Looks whether there are connections to write events by, and whether what failed to be written can be written again.
    async fn check_writing(&self) {
        let had_fault = self.health.has_writing_fault();
        let checked = match self.batch_writers.keep().await {
            Ok(()) if had_fault => self.try_writing().await,
            // Nothing was tried: whatever is found meanwhile stands.
            Ok(()) => return,
            Err(error) => Err(error),
        };
        self.health.note(HealthPart::Writing, checked.as_ref().copied().map_err(cause_of));
    }

    /// Keeps the connections that no event needs.
    pub(super) async fn keep_others(&self) {
        for pool in [&self.readers, &self.writers, &self.snapshots] {
            if let Err(error) = pool.keep().await {
                tracing::debug!(error = &error as &dyn Error, "connection cannot be made");
            }
        }
    }

    /// Notes whether writing worked: a disk that is full leaves reading as it is.
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

    /// Writes what an event writes, as much of it as needs a new page, and takes it back. Of the log of changes old pages
    /// become free again; history only grows.
    async fn try_writing(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "INSERT INTO change (xact, instances, visits, deadlines)
             SELECT pg_current_xact_id()::text::bigint, array_agg(n * 7919), array_agg(n * 104729), '{}'
               FROM generate_series(1::bigint, 400) n",
        )
        .execute(&mut *tx)
        .await?;
        // Each so small that it stays in the table itself, and of what cannot be made smaller.
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

    /// Waits until the database is found to be away, and says why.
    pub async fn lost(&self) -> StoreError {
        StoreError::Unavailable(self.health.lost().await)
    }

    /// Gives up on work when it takes longer than `limit`, or when the database is found to be away.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] then; otherwise that of the work.
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

    /// The same for work on a connection that was taken when there had been so many `outages`: one that began since counts.
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
        // What else may fail here is the schema's or a statement's.
        None => Arc::new(UnavailableCause::Database(sqlx::Error::Protocol(error.to_string()))),
    }
}
