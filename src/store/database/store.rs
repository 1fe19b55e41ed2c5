//! The database as a server uses it: connections by purpose.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connect_options::ConnectOptions;
use super::connections::{BATCH_CONNECTIONS, ConnectionBudget};
use super::health::DatabaseHealth;
use super::life::DatabaseLife;
use super::opener::ConnectionOpener;
use super::pool::{ACQUIRE_TIMEOUT, ConnectionPool};
use super::pooled::PooledConnection;
use super::probe::HealthProbe;
use super::purpose::ConnectionPurpose;
use super::session::DatabaseSession;
use super::timeouts::within;
use super::transaction::{BEGIN_SNAPSHOT, Snapshot, Tx};
use crate::store::error::StoreError;

/// The database.
///
/// Batches, transactions, reads and snapshots have separate pools: when commits wait for a stalled disk, reads go on.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) opener: Arc<ConnectionOpener>,
    pub(super) health: Arc<DatabaseHealth>,
    /// For batches; these connections are opened first.
    pub(super) batch_writers: ConnectionPool,
    pub(super) writers: ConnectionPool,
    pub(super) readers: ConnectionPool,
    pub(super) snapshots: ConnectionPool,
    pub(super) probe: Arc<HealthProbe>,
    pub(super) connections: ConnectionBudget,
}

impl Store {
    /// The time limit for one statement; longer than the `statement_timeout` of sessions.
    pub const MAX_STATEMENT_TIME: Duration = Duration::from_secs(25);

    /// Creates a store without opening a connection.
    pub(super) fn new(options: ConnectOptions, connections: ConnectionBudget) -> Self {
        let opener = Arc::new(ConnectionOpener::new(options));
        let health = Arc::<DatabaseHealth>::default();
        let pool = |purpose, min, max| {
            ConnectionPool::new(Arc::clone(&opener), Arc::clone(&health), purpose, min, max)
        };
        Self {
            batch_writers: pool(ConnectionPurpose::Batch, BATCH_CONNECTIONS, BATCH_CONNECTIONS),
            writers: pool(ConnectionPurpose::Ordinary, 0, connections.writers),
            readers: pool(ConnectionPurpose::Ordinary, 1, connections.readers),
            snapshots: pool(ConnectionPurpose::Snapshot, 0, connections.snapshots),
            probe: Arc::new(HealthProbe::new(Arc::clone(&opener), Arc::clone(&health))),
            opener,
            health,
            connections,
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection is available.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(self.writers.acquire().await?.begin("BEGIN").await?))
    }

    /// Acquires a connection for writing batches: there is one for each lane.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be opened.
    pub async fn connect(&self) -> Result<PooledConnection, StoreError> {
        self.batch_writers.acquire().await
    }

    /// Opens a connection for renewing a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be opened.
    pub async fn connect_for_lease(&self) -> Result<DatabaseSession, StoreError> {
        self.opener.open(ConnectionPurpose::Lease).await
    }

    /// Acquires a connection for reading. A task must not hold two, or one together with a snapshot: they are
    /// few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection is available.
    pub async fn reader(&self) -> Result<PooledConnection, StoreError> {
        self.readers.acquire().await
    }

    /// Begins a snapshot, for several reads of one moment. A task must not hold two: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection is available.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot(self.snapshots.acquire().await?.begin(BEGIN_SNAPSHOT).await?))
    }

    /// Returns the number of connections, by pool.
    #[must_use]
    pub fn connections(&self) -> ConnectionBudget {
        self.connections
    }

    /// Returns the life of the database that was seen last.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.opener.lives.present()
    }

    /// Subscribes to changes of the database's life.
    #[must_use]
    pub fn follow_life(&self) -> watch::Receiver<DatabaseLife> {
        self.opener.lives.follow()
    }

    /// Closes all connections.
    pub async fn close(&self) {
        let closed = async {
            tokio::join!(
                self.batch_writers.close(),
                self.writers.close(),
                self.readers.close(),
                self.snapshots.close(),
                self.probe.close()
            )
        };
        // Not longer than the timeout, if the database does not answer.
        let closed = Box::pin(async {
            closed.await;
            Ok(())
        });
        let _ = within(ACQUIRE_TIMEOUT, closed).await;
    }
}
