//! The connection for checks of the database.

use std::sync::Arc;

use sqlx::Connection as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connect::is_writable;
use super::health::{ANSWER_TIMEOUT, DatabaseHealth};
use super::life;
use super::opener::ConnectionOpener;
use super::purpose::ConnectionPurpose;
use super::session::DatabaseSession;
use super::timeouts::within;
use crate::store::error::{StoreError, UnavailableCause};

/// Checks whether the database answers.
#[derive(Debug)]
pub(super) struct HealthProbe {
    opener: Arc<ConnectionOpener>,
    health: Arc<DatabaseHealth>,
    last: Mutex<LastProbe>,
}

/// The connection and time of the last check.
#[derive(Debug, Default)]
struct LastProbe {
    session: Option<DatabaseSession>,
    /// When the last successful check began.
    begun_at: Option<Instant>,
}

impl HealthProbe {
    /// Creates a probe without a connection.
    pub(super) fn new(opener: Arc<ConnectionOpener>, health: Arc<DatabaseHealth>) -> Self {
        Self { opener, health, last: Mutex::default() }
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        if let Some(session) = self.last.lock().await.session.take() {
            let _ = session.db.close().await;
        }
    }

    /// Checks whether the database answers, is writable, and which life it is in.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let requested_at = Instant::now();
        // One at a time.
        let mut last = self.last.lock().await;
        if last.begun_at.is_some_and(|begun_at| begun_at >= requested_at) {
            // Another check began after this one was requested.
            return Ok(());
        }
        let begun_at = Instant::now();
        // Taken out during the check, so that a connection that does not answer is not used again.
        let session = last.session.take();
        let checked = match session.filter(|session| session.opened_at >= self.health.last_outage_at()) {
            Some(session) => Some(self.check_session(session).await),
            None => None,
        };
        let session = match checked {
            Some(Ok(session)) => session,
            Some(Err(error)) if is_of_database(&error) => return Err(error),
            // If only that connection was lost, for example terminated by an operator, another one answers.
            Some(Err(_)) | None => self.opener.open(ConnectionPurpose::Ordinary).await?,
        };
        *last = LastProbe { session: Some(session), begun_at: Some(begun_at) };
        Ok(())
    }

    async fn check_session(&self, mut session: DatabaseSession) -> Result<DatabaseSession, StoreError> {
        if !within(ANSWER_TIMEOUT, is_writable(&mut session)).await? {
            return Err(UnavailableCause::ReadOnly.into());
        }
        // Beginning a life may take longer than the timeout.
        session.life = life::check_life(&mut session.db, &self.opener.lives, ANSWER_TIMEOUT).await?;
        Ok(session)
    }
}

/// Whether an error concerns the database as a whole, and not only the connection.
fn is_of_database(error: &StoreError) -> bool {
    let is_of_database = |cause: &UnavailableCause| {
        matches!(cause.code(), "silent" | "read_only" | "in_recovery" | "incomplete")
    };
    error.cause().is_some_and(|cause| is_of_database(cause))
}
