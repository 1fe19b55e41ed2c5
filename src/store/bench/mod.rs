//! What `lifeguard bench` does to its databases and asks of them. For nobody else.
//!
//! Over a connection of its own without the limits of [`Store`]: filling a million boards takes longer
//! than any transaction of the engine may.

mod readings;
mod wal;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};

use super::{Store, StoreError};

pub use readings::{Durability, Fired, Sizes};
pub use wal::{WalBegin, WalUse};

/// The equal transaction as scripts for pgbench: what they are called, and their text.
pub const PGBENCH_SCRIPTS: [(&str, &str); 3] = [
    ("select-update-insert", include_str!("select-update-insert.sql")),
    ("update-insert", include_str!("update-insert.sql")),
    ("one-statement", include_str!("one-statement.sql")),
];

/// A database that is made for a figure and thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scratch {
    /// The figure's own.
    One,
    /// Another beside it.
    Two,
    /// A third beside them.
    Three,
    /// The one that pgbench works on.
    Pgbench,
}

impl Scratch {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "bench_one",
            Self::Two => "bench_two",
            Self::Three => "bench_three",
            Self::Pgbench => "bench_pgbench",
        }
    }

    fn statements(self) -> (&'static str, &'static str) {
        match self {
            Self::One => ("DROP DATABASE IF EXISTS bench_one WITH (FORCE)", "CREATE DATABASE bench_one"),
            Self::Two => ("DROP DATABASE IF EXISTS bench_two WITH (FORCE)", "CREATE DATABASE bench_two"),
            Self::Three => {
                ("DROP DATABASE IF EXISTS bench_three WITH (FORCE)", "CREATE DATABASE bench_three")
            }
            Self::Pgbench => {
                ("DROP DATABASE IF EXISTS bench_pgbench WITH (FORCE)", "CREATE DATABASE bench_pgbench")
            }
        }
    }
}

/// Boards that are put into a database at once, as if they had been there for long.
#[derive(Debug, Clone, Default)]
pub struct Boards<'a> {
    /// The number of the first; the others follow. Board 12 is named `b0000012`.
    pub first: i64,
    /// How many.
    pub count: i64,
    /// In which state.
    pub state: &'a str,
    /// When the first falls due, and how many do each second from then on; `None` where they have no deadline.
    pub due: Option<(DateTime<Utc>, f64)>,
    /// Whether they fall due at full seconds, as in a state that keeps its actions.
    pub at_full_seconds: bool,
    /// The action that their state asked for and that nobody has begun.
    pub action: Option<&'a str>,
    /// The port at which they answer polls, each at a loopback address of its own: board 12 at 127.1.0.12.
    pub poll_port: Option<u16>,
    /// Since when they are there.
    pub at: DateTime<Utc>,
}

/// A connection to a database of the bench.
#[derive(Debug)]
pub struct BenchDatabase {
    connection: PgConnection,
}

impl BenchDatabase {
    /// Makes `scratch` anew, empty and with the schema, on the server that `server` leads to.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement or a migration fails.
    pub async fn make(server: &PgConnectOptions, scratch: Scratch) -> Result<Self, StoreError> {
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
    pub async fn connect(options: &PgConnectOptions) -> Result<Self, StoreError> {
        Ok(Self { connection: PgConnection::connect_with(options).await? })
    }

    /// Puts boards in, by sets.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails; nothing was written.
    pub async fn fill(&mut self, boards: &Boards<'_>) -> Result<(), StoreError> {
        let Boards { first, count, state, due, at_full_seconds, action, poll_port, at } = boards;
        let mut tx = self.connection.begin().await?;
        // Row by row, the reference from device to instance takes most of the time, and it holds by the way we write.
        tx.execute("SET LOCAL session_replication_role = replica").await?;
        sqlx::query!(
            "WITH new AS (
                 INSERT INTO instance (machine, name, state, visit, entered_at, deadline_at, counters, data)
                 SELECT 'board', 'b' || lpad(n::text, 7, '0'), $3, 1, $4,
                        CASE WHEN $8 THEN date_trunc('second', due_at) ELSE due_at END, '{}', '{}'
                   FROM generate_series($1::bigint, $1 + $2::bigint - 1) AS n,
                        LATERAL (SELECT $5::timestamptz + make_interval(secs => (n - $1) / $6::float8)) AS d (due_at)
                 RETURNING instance_id, name, substr(name, 2)::bigint AS n
             ),
             asked AS (
                 INSERT INTO action (instance_id, visit, seq, action, settings, status, asked_at)
                 SELECT instance_id, 1, 1, $9, '{}', 'WAITING', $4 FROM new WHERE $9::text IS NOT NULL
             )
             INSERT INTO device (instance_id, fqdn, mac, poll_url, answered_url, hardware, environment, comments,
                                 registered_at)
             SELECT instance_id, name || '.lab', regexp_replace(lpad(to_hex(n), 12, '0'), '(..)(?!$)', '\\1:', 'g'),
                    url, url, 'bench', '', '', $4
               FROM new,
                    LATERAL (SELECT 'tcp://127.' || 1 + n / 65536 || '.' || n / 256 % 256 || '.' || n % 256
                                    || ':' || $7::int) AS polled (url)",
            first,
            count,
            *state,
            at,
            due.map(|(first_at, _)| first_at),
            due.map_or(1.0, |(_, per_second)| per_second),
            poll_port.map(i32::from),
            at_full_seconds,
            *action,
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Lets nothing be left to do that filling has made: statistics, hint bits, dirty pages.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        self.connection.execute("VACUUM (FREEZE, ANALYZE)").await?;
        self.connection.execute("CHECKPOINT").await?;
        Ok(())
    }
}
