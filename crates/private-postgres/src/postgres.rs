//! A PostgreSQL server of this process.

use std::path::Path;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::error::PrivatePostgresError;
use crate::layout::{self, DataDirLayout, DataDirLock};
use crate::options::{PrivatePostgresOptions, USER};
use crate::supervise;

/// PostgreSQL's error code for a database that does not exist. Source: its manual, appendix A.
const NO_SUCH_DATABASE: &str = "3D000";

/// A PostgreSQL server of this process, restarted when it exits.
///
/// Dropping it without [`stop`](Self::stop) tells the server to stop without waiting for it.
#[derive(Debug)]
pub struct PrivatePostgres {
    // Dropped before the lock, so that the server is told to stop before another process can lock the directory.
    tasks: JoinSet<Result<(), PrivatePostgresError>>,
    stop: CancellationToken,
    cluster: Arc<Cluster>,
    _lock: DataDirLock,
}

impl PrivatePostgres {
    /// Starts PostgreSQL, creating the cluster if there is none; returns once it accepts connections to the database
    /// `lifeguard`.
    ///
    /// Must be called within a Tokio runtime, which supervises the server.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError`]; no server runs then.
    pub async fn start(options: PrivatePostgresOptions) -> Result<Self, PrivatePostgresError> {
        let layout = DataDirLayout::make(&options.data_dir)?;
        let lock = layout.lock()?;
        let cluster = Arc::new(Cluster::prepare(layout, options).await?);
        let postmaster = supervise::start_first(&cluster).await?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(supervise::run(Arc::clone(&cluster), postmaster, stop.clone()));
        let postgres = Self { tasks, stop, cluster, _lock: lock };
        if let Err(error) = postgres.create_database().await {
            postgres.stop().await?;
            return Err(error);
        }
        Ok(postgres)
    }

    /// Returns how to connect to the database `lifeguard`.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.cluster.socket_dir)
            .port(layout::PORT)
            .username(USER)
            .database(USER)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The directory of the server's programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        self.cluster.bin_dir()
    }

    /// Stops PostgreSQL with a fast shutdown, and kills it if that takes longer than 30 s. Open connections are closed;
    /// uncommitted transactions are rolled back.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::StopTimeout`] when it was killed; [`PrivatePostgresError::Supervisor`] and
    /// [`PrivatePostgresError::File`] when it is unknown how it exited. Committed data is kept in each case.
    pub async fn stop(mut self) -> Result<(), PrivatePostgresError> {
        self.stop.cancel();
        let ended = self.tasks.join_next().await.unwrap_or(Ok(Ok(())));
        self.cluster.layout.remove_short_socket_dir();
        ended?
    }

    /// Creates the database `lifeguard` if it does not exist.
    async fn create_database(&self) -> Result<(), PrivatePostgresError> {
        let options = self.connect_options();
        match PgConnection::connect_with(&options).await {
            Ok(connection) => return Ok(connection.close().await?),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_DATABASE) => {}
            Err(error) => return Err(error.into()),
        }
        let mut connection = PgConnection::connect_with(&options.database("postgres")).await?;
        sqlx::raw_sql("CREATE DATABASE lifeguard").execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}
