//! Database connections of the bench.

use lifeguard::store::{Store, StoreError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};

use super::scratch::ScratchDatabase;

/// A connection to a database of the bench.
#[derive(Debug)]
pub(crate) struct BenchDatabase {
    pub(super) connection: PgConnection,
}

impl BenchDatabase {
    /// Creates `scratch` with an empty schema on `server`, replacing an earlier one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a statement or a migration fails.
    pub(crate) async fn make(
        server: &PgConnectOptions,
        scratch: ScratchDatabase,
    ) -> Result<Self, StoreError> {
        let (drop, create) = scratch.statements();
        let mut connection = PgConnection::connect_with(server).await?;
        connection.execute(drop).await?;
        connection.execute(create).await?;
        connection.close().await?;
        let options = server.clone().database(scratch.name());
        Store::open(options.clone()).await?.close().await;
        Self::connect(&options).await
    }

    /// Connects to an existing database.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be reached.
    pub(crate) async fn connect(options: &PgConnectOptions) -> Result<Self, StoreError> {
        Ok(Self { connection: PgConnection::connect_with(options).await? })
    }

    /// Completes the background work that seeding leaves: statistics, hint bits, dirty pages.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a statement fails.
    pub(crate) async fn settle(&mut self) -> Result<(), StoreError> {
        self.connection.execute("VACUUM (FREEZE, ANALYZE)").await?;
        self.connection.execute("CHECKPOINT").await?;
        Ok(())
    }
}
