//! The database as a server uses it: connections by what they are for.

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
/// Writers and readers have connections of their own: where commits wait, for a disk that stalls, reading goes on. So have
/// snapshots, and those who write groups.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) opener: Arc<ConnectionOpener>,
    pub(super) health: Arc<DatabaseHealth>,
    /// For those who write groups; they are there before anything else.
    pub(super) batch_writers: ConnectionPool,
    pub(super) writers: ConnectionPool,
    pub(super) readers: ConnectionPool,
    pub(super) snapshots: ConnectionPool,
    pub(super) probe: Arc<HealthProbe>,
    pub(super) connections: ConnectionBudget,
}

impl Store {
    /// How long the database may take for one statement: longer than it lets statements take by itself.
    pub const MAX_STATEMENT_TIME: Duration = Duration::from_secs(25);

    /// The store of a database that was not looked at yet: no connection is made.
    pub(super) fn new(options: ConnectOptions, connections: ConnectionBudget) -> Self {
        let opener = Arc::new(ConnectionOpener::new(options));
        let health = Arc::<DatabaseHealth>::default();
        let pool = |purpose, least, most| {
            ConnectionPool::new(Arc::clone(&opener), Arc::clone(&health), purpose, least, most)
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
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(self.writers.acquire().await?.begin("BEGIN").await?))
    }

    /// Takes a connection for writing groups: there is one for each lane.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect(&self) -> Result<PooledConnection, StoreError> {
        self.batch_writers.acquire().await
    }

    /// Makes a connection for renewing a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect_for_lease(&self) -> Result<DatabaseSession, StoreError> {
        self.opener.open(ConnectionPurpose::Lease).await
    }

    /// Takes a connection for reading. Nobody may hold two, or take a snapshot meanwhile: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn reader(&self) -> Result<PooledConnection, StoreError> {
        self.readers.acquire().await
    }

    /// Takes a connection for reading several times in one and the same moment. Nobody may hold two: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be had.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot(self.snapshots.acquire().await?.begin(BEGIN_SNAPSHOT).await?))
    }

    /// How many connections there may be.
    #[must_use]
    pub fn connections(&self) -> ConnectionBudget {
        self.connections
    }

    /// Which life of the database was seen last.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.opener.lives.present()
    }

    /// Told whenever the database turns out to be in another life.
    #[must_use]
    pub fn follow_life(&self) -> watch::Receiver<DatabaseLife> {
        self.opener.lives.follow()
    }

    /// Gives all connections back.
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
        // A database that does not answer keeps its connections: nobody waits for that.
        let closed = Box::pin(async {
            closed.await;
            Ok(())
        });
        let _ = within(ACQUIRE_TIMEOUT, closed).await;
    }
}
