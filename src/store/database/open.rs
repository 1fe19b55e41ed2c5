//! Opening the database at startup.

use super::connect_options::ConnectOptions;
use super::connections::{ConnectionBudget, warn_of_scarcity};
use super::migrations::migrate;
use super::startup::StartupWait;
use super::store::Store;
use crate::store::error::StoreError;

impl Store {
    /// Connects, waiting for the database if necessary, and migrates the schema.
    ///
    /// Several processes may do so at once. Waiting is logged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database rejects the login, is too old, or a migration fails.
    pub async fn open(options: impl Into<ConnectOptions>) -> Result<Self, StoreError> {
        Self::open_with(options, ConnectionBudget::default()).await
    }

    /// Opens the database like [`open`](Self::open), with this number of connections.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
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

    /// Verifies the database and migrates the schema.
    async fn prepare(&self) -> Result<(), StoreError> {
        self.opener.verify_sessions().await?;
        let mut db = self.opener.open_bare().await?;
        migrate(&mut db).await?;
        warn_of_scarcity(&mut db, self.connections).await?;
        drop(db);
        self.check().await
    }
}
