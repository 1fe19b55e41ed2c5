//! The private Postgres: the installed server programs, run as a child of ours on a data directory of ours.
//!
//! For whoever names no `--database-url`. It is a whole, ordinary Postgres with full durability: the same SQL, the same
//! migrations. It listens on no network, only on a Unix socket in a directory that is closed to other users.
//!
//! ```text
//! start ── lock ── find programs ── initdb, once ── stop an orphan ── launch ──► ready
//!                                                                    ▲            │ dies, or loses its socket
//!                                                                    └────────────┘ at once, then ever later
//! stop  ── fast shutdown ── by force after 30 s
//! ```
//!
//! When our process is killed, Postgres lives on and nothing is lost; the next start stops that orphan and
//! starts a child of its own, so there is one way only in which a server runs. Not for databases of others, and
//! not for more than one process: those share one by `--database-url`.

mod account;
mod binaries;
mod cluster;
mod error;
mod layout;
mod orphans;
mod postmaster;
mod supervise;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use cluster::Cluster;
pub use error::PrivateError;
use layout::{Layout, Lock};

/// The user and the database in the cluster.
const USER: &str = "lifeguard";

/// Postgres's code for a database that does not exist. Source: its manual, appendix A.
const NO_SUCH_DATABASE: &str = "3D000";

/// What an acknowledged commit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// It survives the machine's power.
    #[default]
    Full,
    /// It survives the server's process only; for tests, which throw their data away.
    Fast,
}

/// How to run the private Postgres.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of everything that it keeps; made if need be.
    pub data_dir: PathBuf,
    /// The directory of `initdb` and `postgres`; where they are usually installed when `None`.
    pub bin_dir: Option<PathBuf>,
    /// What an acknowledged commit is worth.
    pub durability: Durability,
    /// Further settings, names and values, which go before ours.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// Full durability in `data_dir`, with the programs that are installed.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bin_dir: None,
            durability: Durability::default(),
            settings: Vec::new(),
        }
    }
}

/// A Postgres that runs for this process and is restarted when it dies.
///
/// Dropped without [`stop`](Self::stop), it is told to stop, but nobody waits for it.
#[derive(Debug)]
pub struct PrivatePostgres {
    // Before the lock, so that the server is told to stop before another process may have the directory.
    tasks: JoinSet<Result<(), PrivateError>>,
    stop: CancellationToken,
    cluster: Arc<Cluster>,
    _lock: Lock,
}

impl PrivatePostgres {
    /// Starts Postgres, on a new cluster if there is none, and returns once it accepts connections to the database
    /// `lifeguard`.
    ///
    /// Must be called within a tokio runtime, which must then live as long as the server is to be watched over.
    ///
    /// # Errors
    ///
    /// [`PrivateError`], whose every variant says what it left; no server of ours runs then.
    pub async fn start(options: Options) -> Result<Self, PrivateError> {
        let layout = Layout::make(&options.data_dir)?;
        let lock = layout.lock()?;
        let cluster = Arc::new(Cluster::prepare(layout, options).await?);
        let postmaster = supervise::first(&cluster).await?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(supervise::run(Arc::clone(&cluster), postmaster, stop.clone()));
        let postgres = Self { tasks, stop, cluster, _lock: lock };
        if let Err(error) = postgres.make_database().await {
            postgres.stop().await?;
            return Err(error);
        }
        Ok(postgres)
    }

    /// How to connect to the database `lifeguard`.
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

    /// Stops Postgres in order, and by force when it takes longer than 30 s. Open connections are closed; what was
    /// not committed is undone.
    ///
    /// # Errors
    ///
    /// [`PrivateError::Forced`] when force was needed, [`PrivateError::Supervisor`] and [`PrivateError::File`] when it
    /// is not known how it ended. Whatever was committed is kept in each case.
    pub async fn stop(mut self) -> Result<(), PrivateError> {
        self.stop.cancel();
        let ended = self.tasks.join_next().await.unwrap_or(Ok(Ok(())));
        self.cluster.layout.remove_short_socket_dir();
        ended?
    }

    /// Makes the database `lifeguard` if it does not exist.
    async fn make_database(&self) -> Result<(), PrivateError> {
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
