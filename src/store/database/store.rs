//! The database as a server uses it: connections by what they are for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connect_options::ConnectOptions;
use super::connections::{Connections, GROUPS};
use super::health::Health;
use super::life::Life;
use super::opener::Opener;
use super::pool::{ACQUIRE_TIMEOUT, Pool};
use super::pooled::Pooled;
use super::pulse::Pulse;
use super::purpose::Purpose;
use super::session::Session;
use super::timeouts::within;
use super::transaction::{BEGIN_SNAPSHOT, Snapshot, Tx};
use crate::store::error::StoreError;

/// The database.
///
/// Writers and readers have connections of their own: where commits wait, for a disk that stalls, reading goes on. So have
/// snapshots, and those who write groups.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) opener: Arc<Opener>,
    pub(super) health: Arc<Health>,
    /// For those who write groups; they are there before anything else.
    pub(super) groups: Pool,
    pub(super) writers: Pool,
    pub(super) readers: Pool,
    pub(super) snapshots: Pool,
    pub(super) pulse: Arc<Pulse>,
    pub(super) connections: Connections,
}

impl Store {
    /// How long the database may take for one statement: longer than it lets statements take by itself.
    pub const LONGEST: Duration = Duration::from_secs(25);

    /// The store of a database that was not looked at yet: no connection is made.
    pub(super) fn new(options: ConnectOptions, connections: Connections) -> Self {
        let opener = Arc::new(Opener::new(options));
        let health = Arc::<Health>::default();
        let pool =
            |purpose, least, most| Pool::new(Arc::clone(&opener), Arc::clone(&health), purpose, least, most);
        Self {
            groups: pool(Purpose::Group, GROUPS, GROUPS),
            writers: pool(Purpose::Ordinary, 0, connections.writers),
            readers: pool(Purpose::Ordinary, 1, connections.readers),
            snapshots: pool(Purpose::Snapshot, 0, connections.snapshots),
            pulse: Arc::new(Pulse::new(Arc::clone(&opener), Arc::clone(&health))),
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
    pub async fn connect(&self) -> Result<Pooled, StoreError> {
        self.groups.acquire().await
    }

    /// Makes a connection for renewing a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect_for_lease(&self) -> Result<Session, StoreError> {
        self.opener.open(Purpose::Lease).await
    }

    /// Takes a connection for reading. Nobody may hold two, or take a snapshot meanwhile: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn reader(&self) -> Result<Pooled, StoreError> {
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
    pub fn connections(&self) -> Connections {
        self.connections
    }

    /// Which life of the database was seen last.
    #[must_use]
    pub fn life(&self) -> Life {
        self.opener.lives.present()
    }

    /// Told whenever the database turns out to be in another life.
    #[must_use]
    pub fn follow_life(&self) -> watch::Receiver<Life> {
        self.opener.lives.follow()
    }

    /// Gives all connections back.
    pub async fn close(&self) {
        let closed = async {
            tokio::join!(
                self.groups.close(),
                self.writers.close(),
                self.readers.close(),
                self.snapshots.close(),
                self.pulse.close()
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
