//! The connection by which it is asked whether the database serves.

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

/// Asks the database for a sign of life.
#[derive(Debug)]
pub(super) struct HealthProbe {
    opener: Arc<ConnectionOpener>,
    health: Arc<DatabaseHealth>,
    last: Mutex<LastProbe>,
}

/// What is left of the last time.
#[derive(Debug, Default)]
struct LastProbe {
    session: Option<DatabaseSession>,
    /// When it was asked what it answered last.
    asked_at: Option<Instant>,
}

impl HealthProbe {
    /// Nothing was asked yet.
    pub(super) fn new(opener: Arc<ConnectionOpener>, health: Arc<DatabaseHealth>) -> Self {
        Self { opener, health, last: Mutex::default() }
    }

    /// Gives the connection back.
    pub(super) async fn close(&self) {
        if let Some(session) = self.last.lock().await.session.take() {
            let _ = session.db.close().await;
        }
    }

    /// Asks for a sign of life.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let wanted_at = Instant::now();
        // One at a time.
        let mut last = self.last.lock().await;
        if last.asked_at.is_some_and(|asked_at| asked_at >= wanted_at) {
            // Others asked while this one waited for its turn.
            return Ok(());
        }
        let asked_at = Instant::now();
        // It is taken out while it is asked, so that one that does not answer is not used again.
        let kept = last.session.take();
        let asked = match kept.filter(|session| session.opened_at >= self.health.last_outage_at()) {
            Some(session) => Some(self.ask(session).await),
            None => None,
        };
        let session = match asked {
            Some(Ok(session)) => session,
            Some(Err(error)) if is_of_database(&error) => return Err(error),
            // Where only that connection was lost, as by an operator's hand, another one answers.
            Some(Err(_)) | None => self.opener.open(ConnectionPurpose::Ordinary).await?,
        };
        *last = LastProbe { session: Some(session), asked_at: Some(asked_at) };
        Ok(())
    }

    async fn ask(&self, mut session: DatabaseSession) -> Result<DatabaseSession, StoreError> {
        if !within(ANSWER_TIMEOUT, is_writable(&mut session)).await? {
            return Err(UnavailableCause::ReadOnly.into());
        }
        // To begin a life may take longer than an answer.
        session.life = life::check_life(&mut session.db, &self.opener.lives, ANSWER_TIMEOUT).await?;
        Ok(session)
    }
}

/// Whether an error speaks of the database as a whole, and not only of the connection over which it came.
fn is_of_database(error: &StoreError) -> bool {
    let is_so = |cause: &UnavailableCause| {
        matches!(cause.code(), "silent" | "read_only" | "in_recovery" | "incomplete")
    };
    error.cause().is_some_and(|cause| is_so(cause))
}
