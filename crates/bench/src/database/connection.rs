//! A connection of the bench.

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
    /// Makes `scratch` anew, empty and with the schema, on the server that `server` leads to.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement or a migration fails.
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

    /// Connects to a database as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be reached.
    pub(crate) async fn connect(options: &PgConnectOptions) -> Result<Self, StoreError> {
        Ok(Self { connection: PgConnection::connect_with(options).await? })
    }

    /// Lets nothing be left to do that filling has made: statistics, hint bits, dirty pages.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    pub(crate) async fn settle(&mut self) -> Result<(), StoreError> {
        self.connection.execute("VACUUM (FREEZE, ANALYZE)").await?;
        self.connection.execute("CHECKPOINT").await?;
        Ok(())
    }
}
