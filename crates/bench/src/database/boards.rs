//! Seeding of many boards.

use chrono::{DateTime, Utc};
use lifeguard::store::StoreError;
use sqlx::{Connection, Executor};

use super::connection::BenchDatabase;

/// Boards to insert at once, as if they had existed for long.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeededBoards<'a> {
    /// Number of the first board; the others follow. Board 12 is named `b0000012`.
    pub(crate) first: i64,
    /// Number of boards.
    pub(crate) count: i64,
    /// Their state.
    pub(crate) state: &'a str,
    /// The first deadline, and the number of deadlines per second from then on; `None` for no deadlines.
    pub(crate) due: Option<(DateTime<Utc>, f64)>,
    /// Whether deadlines are at full seconds, as in a state that keeps its actions.
    pub(crate) at_full_seconds: bool,
    /// A waiting action of each board.
    pub(crate) action: Option<&'a str>,
    /// The port at which they answer polls, each at its own loopback address: board 12 at 127.1.0.12.
    pub(crate) poll_port: Option<u16>,
    /// Time of their creation.
    pub(crate) at: DateTime<Utc>,
}

impl BenchDatabase {
    /// Inserts boards, set-based.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a statement fails; nothing was written.
    pub(crate) async fn fill(&mut self, boards: &SeededBoards<'_>) -> Result<(), StoreError> {
        let SeededBoards { first, count, state, due, at_full_seconds, action, poll_port, at } = boards;
        let mut tx = self.connection.begin().await?;
        // Checking the foreign key from device to instance row by row takes most of the time, and it holds by construction.
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
}
