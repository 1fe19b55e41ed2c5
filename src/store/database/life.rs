//! The life of the database: detects that it went back to an earlier state, or was replaced by another.
//!
//! After a restored dump, the promotion of a lagging standby, or a recovery to a point in time, IDs of transactions, instances,
//! actions and workers are assigned again, and caches of the earlier life are wrong. So each new connection reads which life
//! it is connected to, and the [health check](super::health) does so each second.
//!
//! A rollback of the cluster's files without a recovery in Postgres is noticed only by a process that has seen a later WAL
//! position; if no server runs in the meantime, it is not noticed.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::timeouts::within;
use crate::store::error::{StoreError, UnavailableCause};

/// The time limit for beginning a life, or for migrating a restored schema.
pub(super) const REPAIR_TIMEOUT: Duration = Duration::from_mins(1);
/// The maximum number of reads of a connection's life: it may have to begin one, or another process may do so.
const MAX_LIFE_CHECKS: usize = 4;

/// A life of the database: connections with the same life share one past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DatabaseLife {
    /// Its number in the order in which this process saw lives.
    number: u32,
    /// Its ID in the database.
    id: i64,
}

impl DatabaseLife {
    /// The life that was seen as the `number`th.
    #[cfg(test)]
    pub(crate) fn nth(number: u32) -> Self {
        Self { number, id: number.into() }
    }

    /// Returns its ID in the database, for references that outlive a process.
    #[must_use]
    pub fn id(self) -> i64 {
        self.id
    }

    /// Whether the database is in this life now.
    ///
    /// Within a transaction this stays true until its end: a table that was read cannot be restored meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn is_present(self, db: &mut PgConnection) -> Result<bool, StoreError> {
        let present =
            sqlx::query_scalar!(r#"SELECT life AS "life!" FROM present_life"#).fetch_optional(db).await?;
        Ok(present == Some(self.id))
    }
}

/// A connection's reading of the life that it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LifeReading {
    life: i64,
    /// The WAL positions up to which it was written, and durable.
    written: i64,
    durable: i64,
}

/// A WAL position as PostgreSQL writes it: `0/16B3748`.
struct WalPosition(i64);

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

#[derive(Debug, Clone, Copy)]
struct KnownLife {
    life: DatabaseLife,
    /// The furthest WAL position known to have been durable.
    durable: i64,
}

/// The comparison of a reading with what was known before it was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LifeComparison {
    /// The reading is of the present life.
    Present(DatabaseLife),
    /// The WAL is shorter than it was although the life is the same: a new life has to be begun.
    Shorter,
    /// Another connection saw a change of life meanwhile: which of the two readings is later is unknown.
    Outdated,
}

/// The lives seen by this process.
#[derive(Debug)]
pub(super) struct DatabaseLives {
    known: Mutex<Option<KnownLife>>,
    present: watch::Sender<DatabaseLife>,
    /// Held while a life is begun or the schema is migrated: one at a time, as all need the same locks.
    pub(super) repairing: tokio::sync::Mutex<()>,
}

impl Default for DatabaseLives {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            present: watch::Sender::new(DatabaseLife::default()),
            repairing: tokio::sync::Mutex::default(),
        }
    }
}

impl DatabaseLives {
    /// Returns the life that was seen last.
    pub(super) fn present(&self) -> DatabaseLife {
        *self.present.borrow()
    }

    /// Subscribes to changes of the life.
    pub(super) fn follow(&self) -> watch::Receiver<DatabaseLife> {
        self.present.subscribe()
    }

    /// Returns what is known now; read before a reading is requested, as answers may arrive out of order.
    fn known(&self) -> Option<KnownLife> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a reading with what was known before it was requested.
    fn compare(&self, known_before: Option<KnownLife>, reading: LifeReading) -> LifeComparison {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = &mut *known
            && same.life.id == reading.life
        {
            if known_before.is_some_and(|before| before.life == same.life && reading.written < before.durable)
            {
                return LifeComparison::Shorter;
            }
            same.durable = same.durable.max(reading.durable);
            return LifeComparison::Present(same.life);
        }
        if known_before.map(|before| before.life) != known.map(|known| known.life) {
            return LifeComparison::Outdated;
        }
        let number = known.map_or(1, |known| known.life.number + 1);
        if number > 1 {
            tracing::error!(
                found = %WalPosition(reading.written),
                known = known.map(|known| tracing::field::display(WalPosition(known.durable))),
                "database went back to an earlier state or was replaced: caches, leases and cursors dropped"
            );
        }
        let life = DatabaseLife { number, id: reading.life };
        *known = Some(KnownLife { life, durable: reading.durable });
        self.present.send_replace(life);
        LifeComparison::Present(life)
    }
}

/// Reads which life `db` is connected to, within `limit`; begins a new one if the database has silently changed its past.
///
/// # Errors
///
/// [`StoreError`] when a statement fails, or when tables are missing; [`UnavailableCause::LifeChanged`] when the life
/// keeps changing.
pub(super) async fn check_life(
    db: &mut PgConnection,
    lives: &DatabaseLives,
    limit: Duration,
) -> Result<DatabaseLife, StoreError> {
    for _ in 0..MAX_LIFE_CHECKS {
        let known_before = lives.known();
        let Some(reading) = within(limit, read_life(db)).await? else {
            begin_life(db, lives, None).await?;
            continue;
        };
        match lives.compare(known_before, reading) {
            LifeComparison::Present(life) => return Ok(life),
            LifeComparison::Shorter => begin_life(db, lives, Some(reading.life)).await?,
            LifeComparison::Outdated => {}
        }
    }
    Err(UnavailableCause::LifeChanged.into())
}

/// Reads the row, if it belongs to the life that the database is in.
async fn read_life(db: &mut PgConnection) -> Result<Option<LifeReading>, StoreError> {
    let reading = sqlx::query_as!(
        LifeReading,
        r#"SELECT l.life,
                  pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS "written!",
                  pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint AS "durable!"
             FROM database_life l, pg_control_system() c, pg_database d
            WHERE d.datname = current_database()
              AND l.fingerprint = concat_ws('.', c.system_identifier, d.oid, l.tableoid::bigint,
                                            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))
              AND l.xmin::text::bigint = (l.written_by & 4294967295)"#,
    )
    .fetch_optional(db)
    .await?;
    Ok(reading)
}

/// Begins a life, unless another process has done so, in which case the row's life differs from `shortened`.
///
/// The tables may be locked and the log of changes may be long, so this may take longer than opening a connection.
async fn begin_life(
    db: &mut PgConnection,
    lives: &DatabaseLives,
    shortened: Option<i64>,
) -> Result<(), StoreError> {
    let _alone = lives.repairing.lock().await;
    within(REPAIR_TIMEOUT, async {
        // `SET LOCAL`: the limits of the session apply again when the transaction ends.
        let limit_ms = REPAIR_TIMEOUT.as_millis();
        let begun =
            format!("BEGIN; SET LOCAL lock_timeout = {limit_ms}; SET LOCAL statement_timeout = {limit_ms}");
        sqlx::raw_sql(AssertSqlSafe(begun)).execute(&mut *db).await?;
        let begun = begin_within(db, shortened).await;
        let end = if begun.is_ok() { "COMMIT" } else { "ROLLBACK" };
        sqlx::raw_sql(end).execute(&mut *db).await?;
        begun
    })
    .await
}

async fn begin_within(db: &mut PgConnection, shortened: Option<i64>) -> Result<(), StoreError> {
    // A dump restores constraints last.
    let is_complete = sqlx::query_scalar!(
        r#"SELECT count(*) >= 2 AS "is_complete!" FROM pg_constraint
            WHERE conname IN ('device_instance_id_fkey', 'database_life_pkey')"#,
    )
    .fetch_one(&mut *db)
    .await?;
    if !is_complete {
        return Err(UnavailableCause::Incomplete.into());
    }
    sqlx::query!("LOCK TABLE database_life, change_log, change IN EXCLUSIVE MODE").execute(&mut *db).await?;
    if let Some(reading) = read_life(&mut *db).await?
        && shortened != Some(reading.life)
    {
        return Ok(());
    }
    let drawn = RandomState::new().hash_one(std::process::id()).cast_signed();
    sqlx::query!(
        "INSERT INTO database_life (life, fingerprint, written_by)
         SELECT $1, concat_ws('.', c.system_identifier, d.oid, 'database_life'::regclass::oid::bigint,
                              substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)),
                pg_current_xact_id()::text::bigint
           FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()
         ON CONFLICT (is_only) DO UPDATE
            SET life = excluded.life, fingerprint = excluded.fingerprint, written_by = excluded.written_by",
        drawn,
    )
    .execute(&mut *db)
    .await?;
    // The logs are emptied, as transaction IDs may start again. `change_log.life` is for servers of version 0.1.
    sqlx::query!("DELETE FROM change").execute(&mut *db).await?;
    sqlx::query!("DELETE FROM deadline_change").execute(&mut *db).await?;
    sqlx::query!(
        "UPDATE change_log SET forgotten = 0, life = now.life
           FROM (SELECT hashtextextended(concat_ws('.', c.system_identifier, d.oid,
                            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)), 0) AS life
                   FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()) now",
    )
    .execute(&mut *db)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reading(life: i64, written: i64, durable: i64) -> LifeReading {
        LifeReading { life, written, durable }
    }

    #[test]
    fn another_life_and_a_shorter_wal_are_distinguished_from_the_same_life() {
        let lives = DatabaseLives::default();
        let compare = |reading| lives.compare(lives.known(), reading);
        let (first, second) = (DatabaseLife { number: 1, id: 7 }, DatabaseLife { number: 2, id: 3 });
        assert_eq!(compare(reading(7, 100, 90)), LifeComparison::Present(first));
        assert_eq!(
            compare(reading(7, 95, 80)),
            LifeComparison::Present(first),
            "what was written but not durable may be lost in a crash"
        );
        assert_eq!(compare(reading(7, 89, 89)), LifeComparison::Shorter, "what was durable is gone");
        assert_eq!(compare(reading(3, 50, 50)), LifeComparison::Present(second));
        assert_eq!((lives.present(), compare(reading(3, 60, 50))), (second, LifeComparison::Present(second)));
        assert!(second > first, "by their order, whatever they are called");
    }

    #[test]
    fn an_answer_that_arrives_after_a_later_one_does_not_mean_another_life() {
        let lives = DatabaseLives::default();
        let before_all = lives.known();
        lives.compare(before_all, reading(7, 90, 90));
        let known_before = lives.known();
        // The health check was started later, and its answer came first.
        lives.compare(lives.known(), reading(7, 200, 200));
        assert_eq!(
            lives.compare(known_before, reading(7, 100, 100)),
            LifeComparison::Present(DatabaseLife { number: 1, id: 7 })
        );
        assert_eq!(
            lives.compare(lives.known(), reading(7, 199, 199)),
            LifeComparison::Shorter,
            "a late answer does not lower what is known"
        );
        // An answer from before a life began does not restore the earlier life either.
        let second = LifeComparison::Present(DatabaseLife { number: 2, id: 3 });
        assert_eq!(lives.compare(lives.known(), reading(3, 210, 210)), second);
        for late in [known_before, before_all] {
            assert_eq!(lives.compare(late, reading(7, 205, 205)), LifeComparison::Outdated);
            assert_eq!(lives.compare(late, reading(3, 205, 205)), second);
        }
        assert_eq!(lives.present().id(), 3);
        // A database that fails back to its first server is in the first life again.
        assert_eq!(
            lives.compare(lives.known(), reading(7, 300, 300)),
            LifeComparison::Present(DatabaseLife { number: 3, id: 7 })
        );
    }
}
