//! Hints between processes that work was written.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};

use super::pool::ACQUIRE_TIMEOUT;
use super::store::Store;
use super::timeouts::{pause, within};
use crate::store::changes::ChangeOrigin;
use crate::store::error::{StoreError, UnavailableCause};

/// The notification channel of hints.
const NOTIFY_CHANNEL: &str = "lifeguard";

/// How long a listener waits for a hint before it checks its connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);

impl Store {
    /// Notifies all processes other than `origin` that work was written.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn hint(&self, origin: ChangeOrigin) -> Result<(), StoreError> {
        let mut db = self.reader().await?;
        sqlx::query!("SELECT pg_notify($1, $2)", NOTIFY_CHANNEL, origin.0.to_string())
            .execute(&mut *db)
            .await?;
        Ok(())
    }

    /// Listens to the hints of all processes on this database.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no connection can be opened.
    pub async fn listen(&self) -> Result<HintListener, StoreError> {
        let host = self.opener.writable_host().await?;
        // The listener opens its own connection, from a pool of one.
        let pool =
            PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT).max_lifetime(None);
        within(ACQUIRE_TIMEOUT, async {
            let mut listener = PgListener::connect_with(&pool.connect_lazy_with(host)).await?;
            listener.eager_reconnect(false);
            listener.listen(NOTIFY_CHANNEL).await?;
            Ok(HintListener { listener })
        })
        .await
    }
}

/// A listener for hints that work was written.
///
/// A hint may be lost with its connection: hints only shorten waiting, the work itself is in tables.
#[derive(Debug)]
pub struct HintListener {
    listener: PgListener,
}

impl HintListener {
    /// Waits for the next hint of a process other than `origin`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the connection was lost.
    pub async fn next(&mut self, origin: ChangeOrigin) -> Result<(), StoreError> {
        let own = origin.0.to_string();
        loop {
            let hint = tokio::select! {
                hint = self.listener.try_recv() => Some(hint?),
                () = pause(PING_INTERVAL) => None,
            };
            match hint {
                Some(Some(hint)) if hint.payload() == own => {}
                Some(Some(_)) => return Ok(()),
                Some(None) => return Err(UnavailableCause::Database(sqlx::Error::WorkerCrashed).into()),
                None => {
                    let ping = async {
                        sqlx::query_scalar!(r#"SELECT 1 AS "ping!""#).fetch_one(&mut self.listener).await?;
                        Ok(())
                    };
                    within(ACQUIRE_TIMEOUT, ping).await?;
                }
            }
        }
    }
}

/// Notifies all processes when `tx` commits.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn hint(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_notify($1, '')", NOTIFY_CHANNEL).execute(tx).await?;
    Ok(())
}
