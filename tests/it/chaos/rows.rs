//! The content of the database, read by plain SQL.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::types::Json;
use sqlx::{Executor, Row as _};

/// A row of `history`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredEntry {
    pub(super) id: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) kind: String,
    pub(super) event: Option<String>,
    pub(super) spoken_visit: Option<i64>,
    pub(super) args: Value,
    pub(super) outcome: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) visit: i64,
}

impl StoredEntry {
    /// An argument of type text.
    pub(super) fn argument(&self, name: &str) -> Option<&str> {
        self.args.get(name)?.as_str()
    }

    /// The mark of its message, if it has one.
    pub(super) fn mark(&self) -> Option<&str> {
        self.argument(if self.kind == "force" { "reason" } else { "mark" })
    }
}

impl fmt::Display for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, at, kind, event, spoken_visit, args, outcome, from, to, visit } = self;
        let at = at.format("%T%.6f");
        write!(f, "{id} {at} {kind} {} {args}", event.as_deref().unwrap_or_default())?;
        if let Some(spoken) = spoken_visit {
            write!(f, " of visit {spoken}")?;
        }
        write!(f, ": {outcome} {from} → {to}, visit {visit}")
    }
}

/// A row of `instance`, without columns that the lifecycle does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinalInstance {
    pub(super) state: String,
    pub(super) visit: i64,
    pub(super) deadline_at: Option<DateTime<Utc>>,
    /// Counters other than zero.
    pub(super) counters: BTreeMap<String, i64>,
    /// The mark of the last hit.
    pub(super) last: Option<String>,
}

/// The rows of a board.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredBoard {
    /// In the order of their IDs.
    pub(super) history: Vec<StoredEntry>,
    pub(super) instance: FinalInstance,
}

/// Reads the rows of `boards` in one snapshot.
pub(super) async fn read(pool: &PgPool, boards: &[String]) -> BTreeMap<String, StoredBoard> {
    let mut tx = pool.begin().await.unwrap();
    tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.unwrap();
    let instances = sqlx::query(
        "SELECT instance_id, name, state, visit, deadline_at, counters, data->>'last' AS last
           FROM instance WHERE machine = 'board' AND name = ANY($1)",
    );
    let instances = instances.bind(boards).fetch_all(&mut *tx).await.unwrap();
    let mut written = BTreeMap::new();
    for row in instances {
        // Redundant columns are NULL; see the migration.
        let history = sqlx::query(
            "SELECT history_id, at, kind, event, args, coalesce(outcome, 'moved') AS outcome, from_state,
                    coalesce(to_state, from_state) AS to_state, visit,
                    CASE WHEN kind IN ('began', 'deadline')
                         THEN coalesce(spoken_visit, visit - (outcome IS NULL)::int) ELSE spoken_visit END
                    AS spoken_visit
               FROM history WHERE instance_id = $1 ORDER BY history_id",
        );
        let history = history.bind(row.get::<i64, _>("instance_id")).fetch_all(&mut *tx).await.unwrap();
        let history = history.iter().map(entry).collect();
        written.insert(row.get("name"), StoredBoard { history, instance: instance(&row) });
    }
    written
}

fn entry(row: &PgRow) -> StoredEntry {
    StoredEntry {
        id: row.get("history_id"),
        at: row.get("at"),
        kind: row.get("kind"),
        event: row.get("event"),
        spoken_visit: row.get("spoken_visit"),
        args: row.get::<Option<Json<Value>>, _>("args").map_or(Value::Null, |args| args.0),
        outcome: row.get("outcome"),
        from: row.get("from_state"),
        to: row.get("to_state"),
        visit: row.get("visit"),
    }
}

fn instance(row: &PgRow) -> FinalInstance {
    let Json(mut counters): Json<BTreeMap<String, i64>> = row.get("counters");
    counters.retain(|_, count| *count != 0);
    FinalInstance {
        state: row.get("state"),
        visit: row.get("visit"),
        deadline_at: row.get("deadline_at"),
        counters,
        last: row.get("last"),
    }
}

/// Whether the message with this mark is visible to others; `None` if the database is unavailable.
pub(super) async fn is_seen(pool: &PgPool, board: &str, mark: &str) -> Option<bool> {
    let seen = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM history JOIN instance USING (instance_id)
                         WHERE machine = 'board' AND name = $1 AND $2 IN (args->>'mark', args->>'reason'))",
    );
    seen.bind(board).bind(mark).fetch_one(pool).await.ok()
}

/// Whether no board is in a state that ends by itself; false if the database is unavailable.
pub(super) async fn are_at_rest(pool: &PgPool, boards: &[String]) -> bool {
    let moving = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM instance
          WHERE machine = 'board' AND name = ANY($1) AND state IN ('Hurried', 'Clearing')",
    );
    moving.bind(boards).fetch_one(pool).await.is_ok_and(|moving| moving == 0)
}
