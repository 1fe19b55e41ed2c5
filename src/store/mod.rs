//! What Postgres remembers: the only SQL there is, one file a table.
//!
//! The store never decides. Writers take a [`Tx`], so that what belongs together is committed together; readers take
//! any connection. Times and names are bound, never made by the database, with one exception: a worker's lease runs on
//! the database's clock, the only one that all processes share.

pub mod actions;
pub mod bench;
pub mod definitions;
pub mod devices;
pub mod history;
pub mod images;
pub mod instances;
pub mod private;
pub mod workers;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres, Transaction};

/// How to reach a database: what a URL says, or the private Postgres.
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;

/// The channel on which processes tell each other that there is something to do.
const CHANNEL: &str = "lifeguard";

/// What a transaction may take, so that a process that hangs in the middle of one holds up nobody for long.
const LIMITS: [(&str, &str); 3] =
    [("lock_timeout", "2s"), ("statement_timeout", "20s"), ("idle_in_transaction_session_timeout", "10s")];

/// The schema, as dated files that are applied at start.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// A fault of the store. Nothing was committed, except as [`StoreError::Unavailable`] says.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached now; trying again later helps. Where it was lost during a commit, the
    /// transaction may have become durable: whoever tries again must be safe to repeat.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// Another transaction took what this one wanted; trying again helps.
    #[error("another transaction came first")]
    Conflict(#[source] sqlx::Error),
    /// A row breaks the named constraint.
    #[error("the constraint {name} forbids it")]
    Constraint {
        /// The constraint's name in the schema.
        name: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A statement failed for another reason: a fault of ours.
    #[error("a statement failed")]
    Statement(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database is older than what the statements are written for.
    #[error("the database is PostgreSQL {found}; Lifeguard needs {needed} or newer")]
    TooOld {
        /// The server's major version.
        found: i32,
        /// The oldest that will do.
        needed: i32,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let lost = matches!(error, E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_));
        let Some(database) = error.as_database_error() else {
            return if lost { Self::Unavailable(error) } else { Self::Statement(error) };
        };
        let code = database.code().unwrap_or_default();
        match code.as_ref() {
            "40001" | "40P01" => Self::Conflict(error),
            code if is_passing(code) => Self::Unavailable(error),
            _ => match database.constraint().map(str::to_owned) {
                Some(name) => Self::Constraint { name, source: error },
                None => Self::Statement(error),
            },
        }
    }
}

/// Whether a code speaks of a server that cannot serve now, and not of the statement.
///
/// Source: PostgreSQL 15 manual, appendix A.
fn is_passing(code: &str) -> bool {
    // Connections; resources: memory, disk, connections; operators: shutdown, crash, start.
    let classes = ["08", "53", "57P"];
    // A standby that serves reads only, as after a fail-over; a database that lets nobody in; a limit of ours passed.
    classes.iter().any(|class| code.starts_with(class))
        || matches!(code, "25006" | "55000" | "55P03" | "25P03" | "57014")
}

impl StoreError {
    /// Whether the named constraint forbids what was tried.
    #[must_use]
    pub fn is_constraint(&self, wanted: &str) -> bool {
        matches!(self, Self::Constraint { name, .. } if name == wanted)
    }

    /// Whether trying the same again can help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}

/// A transaction: what is written through it becomes durable together, or not at all.
#[derive(Debug)]
pub struct Tx(Transaction<'static, Postgres>);

impl Tx {
    /// Makes what was written durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it is not, or when [nobody can say](StoreError::Unavailable).
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// The oldest PostgreSQL that the statements are written for.
    pub const OLDEST: i32 = 14;

    /// Connects, and brings the schema up to date; several processes may do so at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database cannot be reached, is too old, or refuses a migration.
    pub async fn open(options: PgConnectOptions) -> Result<Self, StoreError> {
        let options = options.application_name("lifeguard");
        let mut connection = PgConnection::connect_with(&options).await?;
        let version =
            sqlx::query_scalar!(r#"SELECT current_setting('server_version_num')::int / 10000 AS "version!""#)
                .fetch_one(&mut connection)
                .await?;
        if version < Self::OLDEST {
            return Err(StoreError::TooOld { found: version, needed: Self::OLDEST });
        }
        MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options.options(LIMITS))
            .await?;
        Ok(Self { pool })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(self.pool.begin().await?))
    }

    /// Takes a connection for reading.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn reader(&self) -> Result<sqlx::pool::PoolConnection<Postgres>, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!("SELECT 1").fetch_one(&mut *self.reader().await?).await?;
        Ok(())
    }

    /// Listens to the hints of all processes on this database.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no connection can be had.
    pub async fn listen(&self) -> Result<Hints, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Hints { listener })
    }

    /// Gives all connections back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Hints that something has been written that somebody may want to act on. A hint may be lost with its connection: it
/// only spares the waiting, the work itself is in rows.
#[derive(Debug)]
pub struct Hints {
    listener: PgListener,
}

impl Hints {
    /// Waits for the next hint, or for the connection to have been lost and made anew.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the connection was lost and cannot be made anew.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.listener.try_recv().await?;
        Ok(())
    }
}

/// Hints to all processes, when `tx` commits, that there is something to do.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn hint(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_notify($1, '')", CHANNEL).execute(tx).await?;
    Ok(())
}
