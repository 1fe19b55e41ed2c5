//! What Postgres remembers: the only SQL there is, one file a table.
//!
//! The store never decides. Writers take a [`Tx`], so that what belongs together is committed together; readers take
//! any connection. Times and names are bound, never made by the database, with one exception: a worker's lease runs on
//! the database's clock, the only one that all processes share.

pub mod actions;
pub mod bench;
pub mod changes;
pub mod definitions;
pub mod devices;
pub mod groups;
pub mod history;
pub mod images;
pub mod instances;
pub mod lists;
pub mod partitions;
pub mod private;
mod sparse;
pub mod stays;
pub mod workers;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Postgres, Transaction};

use changes::Origin;

/// How to reach a database: what a URL says, or the private Postgres.
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;

/// The channel on which processes tell each other that there is something to do.
const CHANNEL: &str = "lifeguard";

/// What a transaction may take, so that a process that hangs in the middle of one holds up nobody for long; and that
/// no statement is compiled to machine code, which takes longer than any of them runs.
const LIMITS: [(&str, &str); 5] = [
    // Whatever the server or the role says: what is answered is durable.
    ("synchronous_commit", "on"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "20s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("jit", "off"),
];

/// How long it may take until a connection can be had.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The schema, as dated files that are applied at start.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// A fault of the store. Nothing was committed, except as [`StoreError::Unavailable`] says.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached now; trying again later helps. Where it was lost during a commit, the
    /// transaction may have become durable: whoever tries again must be safe to repeat.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// Another transaction took what this one wanted; trying again helps.
    #[error("another transaction came first")]
    Conflict(#[source] Arc<sqlx::Error>),
    /// Somebody keeps a row locked for longer than we wait; trying again later helps.
    #[error("a row is kept locked by somebody")]
    Locked(#[source] Arc<sqlx::Error>),
    /// A row breaks the named constraint.
    #[error("the constraint {name} forbids it")]
    Constraint {
        /// The constraint's name in the schema.
        name: String,
        /// What the database said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A statement failed for another reason: a fault of ours.
    #[error("a statement failed")]
    Statement(#[source] Arc<sqlx::Error>),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
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
        let error = Arc::new(error);
        let Some(database) = error.as_database_error() else {
            return if lost { Self::Unavailable(error) } else { Self::Statement(error) };
        };
        let code = database.code().unwrap_or_default();
        let constraint = database.constraint().map(str::to_owned);
        match code.as_ref() {
            "40001" | "40P01" => Self::Conflict(error),
            "55P03" => Self::Locked(error),
            code if is_passing(code) => Self::Unavailable(error),
            _ => match constraint {
                Some(name) => Self::Constraint { name, source: error },
                None => Self::Statement(error),
            },
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(Arc::new(error))
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
        || matches!(code, "25006" | "55000" | "25P03" | "57014")
}

impl StoreError {
    /// Others rewrote a row again and again before we could.
    #[must_use]
    pub fn overtaken() -> Self {
        Self::Conflict(Arc::new(sqlx::Error::RowNotFound))
    }

    /// The database does not answer.
    #[must_use]
    pub fn silent() -> Self {
        Self::Unavailable(Arc::new(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }

    /// A row holds what cannot be read.
    fn unreadable(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Statement(Arc::new(sqlx::Error::Decode(what.into())))
    }

    /// Whether the named constraint forbids what was tried.
    #[must_use]
    pub fn is_constraint(&self, wanted: &str) -> bool {
        matches!(self, Self::Constraint { name, .. } if name == wanted)
    }

    /// Whether trying the same again can help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_) | Self::Locked(_))
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

/// A connection of its own, for who writes all the time.
pub type Connection = PgConnection;

/// How a connection that writes groups plans: always the same way, which is to take the rows in the order in which the
/// group has them. That is the order of locks that all processes keep to; and a plan made anew for each group would cost
/// more than the group.
const GROUP_PLANS: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    // A row that somebody keeps locked is left out before long.
    ("lock_timeout", "200ms"),
];
/// One moment of the database, for reading: all statements see what was committed then.
#[derive(Debug)]
pub struct Snapshot(Transaction<'static, Postgres>);

impl Deref for Snapshot {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Snapshot {
    /// Lets each of its statements, and each pause between them, take as long as `most`: for whoever reads all there is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn take_time(&mut self, most: Duration) -> Result<(), StoreError> {
        let ms = most.as_millis().max(1).to_string();
        sqlx::query!(
            "SELECT set_config('statement_timeout', $1, true) AS statements,
                    set_config('idle_in_transaction_session_timeout', $1, true) AS pauses",
            ms,
        )
        .fetch_one(&mut *self.0)
        .await?;
        Ok(())
    }
}

/// How a snapshot begins.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Its statements are planned for what is asked: a plan that is to fit each filter fits none.
const SNAPSHOT_PLANS: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

/// The database.
///
/// Writers and readers have connections of their own: where commits wait, for a disk that stalls, reading goes on. So have
/// snapshots.
#[derive(Debug, Clone)]
pub struct Store {
    writers: PgPool,
    readers: PgPool,
    snapshots: PgPool,
    options: PgConnectOptions,
}

impl Store {
    /// The oldest PostgreSQL that the statements are written for.
    pub const OLDEST: i32 = 14;
    /// How many transactions may be open at once.
    pub const WRITERS: u32 = 10;
    /// How many may read at once, of which one listens to hints.
    pub const READERS: u32 = 6;
    /// How many snapshots there may be at once: a list lasts as long as its client takes to read it, a minute at most, and those who
    /// only want a word must not wait for that.
    pub const SNAPSHOTS: u32 = 4;

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
        let limited = options.clone().options(LIMITS);
        let pool = |most| PgPoolOptions::new().max_connections(most).acquire_timeout(LONGEST_WAIT);
        let writers = pool(Self::WRITERS).connect_with(limited.clone()).await?;
        let readers = pool(Self::READERS).connect_with(limited.clone()).await?;
        // A list's statement lasts as long as its client takes, which the log would tell as the database's slowness. For that,
        // nothing is told of the other snapshots' statements either.
        let lasting = limited.options(SNAPSHOT_PLANS).disable_statement_logging();
        let snapshots = pool(Self::SNAPSHOTS).connect_with(lasting).await?;
        let store = Self { writers, readers, snapshots, options };
        let mut tx = store.begin().await?;
        changes::adopt(&mut tx).await?;
        tx.commit().await?;
        Ok(store)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(self.writers.begin().await?))
    }

    /// Makes a connection for writing groups, which belongs to whoever asks for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect(&self) -> Result<Connection, StoreError> {
        let options = self.options.clone().options(LIMITS).options(GROUP_PLANS);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Makes a connection for renewing a lease, which must not wait for a slow disk: what is committed by it says that a
    /// process lives, and after a crash of the database none does.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect_for_lease(&self) -> Result<Connection, StoreError> {
        let options = self.options.clone().options(LIMITS).options([("synchronous_commit", "off")]);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Hints to all other processes than `origin` that there is something to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn hint(&self, origin: Origin) -> Result<(), StoreError> {
        let mut db = self.reader().await?;
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, origin.0.to_string()).execute(&mut *db).await?;
        Ok(())
    }

    /// Takes a connection for reading. Nobody may hold two, or take a snapshot meanwhile: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn reader(&self) -> Result<sqlx::pool::PoolConnection<Postgres>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Takes a connection for reading several times in one and the same moment. Nobody may hold two: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be had.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot(self.snapshots.begin_with(SNAPSHOT).await?))
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        ping(&mut *self.reader().await?).await
    }

    /// Listens to the hints of all processes on this database.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no connection can be had.
    pub async fn listen(&self) -> Result<Hints, StoreError> {
        let mut listener = PgListener::connect_with(&self.readers).await?;
        listener.listen(CHANNEL).await?;
        Ok(Hints { listener })
    }

    /// Gives all connections back.
    pub async fn close(&self) {
        let closed =
            async { tokio::join!(self.writers.close(), self.readers.close(), self.snapshots.close()) };
        // A database that does not answer keeps its connections: nobody waits for that.
        #[expect(clippy::disallowed_methods, reason = "this is about connections, not about the farm")]
        let _ = tokio::time::timeout(LONGEST_WAIT, closed).await;
    }
}

/// Asks over `db` for a sign of life.
///
/// # Errors
///
/// [`StoreError`] when there is none.
pub async fn ping(db: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query_scalar!("SELECT 1").fetch_one(db).await?;
    Ok(())
}

/// Hints that something has been written that somebody may want to act on. A hint may be lost with its connection: it
/// only spares the waiting, the work itself is in rows.
#[derive(Debug)]
pub struct Hints {
    listener: PgListener,
}

impl Hints {
    /// Waits for the next hint of another process than `origin`, or for the connection to have been lost and made anew.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the connection was lost and cannot be made anew.
    pub async fn next(&mut self, origin: Origin) -> Result<(), StoreError> {
        let own = origin.0.to_string();
        while self.listener.try_recv().await?.is_some_and(|hint| hint.payload() == own) {}
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
