//! Opening the database at a start.

use super::connect_options::ConnectOptions;
use super::connections::{ConnectionBudget, warn_of_scarcity};
use super::migrations::migrate;
use super::startup::StartupWait;
use super::store::Store;
use crate::store::error::StoreError;

impl Store {
    /// Connects, and brings the schema up to date; several processes may do so at once. Where the database cannot serve yet
    /// it is waited for, and the log says so.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database refuses us, is too old, or refuses a migration.
    pub async fn open(options: impl Into<ConnectOptions>) -> Result<Self, StoreError> {
        Self::open_with(options, ConnectionBudget::default()).await
    }

    /// The same with so many connections.
    ///
    /// # Errors
    ///
    /// As [`summaries`](Self::summaries).
    pub async fn open_with(
        options: impl Into<ConnectOptions>,
        connections: ConnectionBudget,
    ) -> Result<Self, StoreError> {
        let store = Self::new(options.into(), connections);
        let mut waiting = StartupWait::default();
        while let Err(error) = store.prepare().await {
            waiting.wait(error).await?;
        }
        store.keep_others().await;
        Ok(store)
    }

    /// Makes the schema, and makes sure that the database is one that we can work with.
    async fn prepare(&self) -> Result<(), StoreError> {
        self.opener.verify_sessions().await?;
        let mut db = self.opener.open_bare().await?;
        migrate(&mut db).await?;
        warn_of_scarcity(&mut db, self.connections).await?;
        drop(db);
        self.check().await
    }
}
