//! The life of the database: what tells that it went back to an earlier state, or that another took its place.
//!
//! A restored dump, a promoted standby that lagged, a recovery to a point in time: afterwards numbers of transactions,
//! instances, actions and workers are given out again, and what was remembered of the life before is wrong. Each new
//! connection therefore asks which life it speaks to, and so does the [pulse](super::health) each second.
//!
//! A rollback of the cluster's files to an earlier state, without a recovery that Postgres knows of, shows only to a process
//! that has seen a later position of the log; where no server runs meanwhile, nothing shows it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::timeouts::within;
use crate::store::error::{StoreError, UnavailableCause};

/// How long it may take to begin a life, or to bring a restored schema up to date.
pub(super) const REPAIR_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a connection is asked which life it speaks to: once it begins one, once another process does so.
const MAX_LIFE_CHECKS: usize = 4;

/// A life of the database as this process counts them: two connections of one number speak of the same past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DatabaseLife {
    /// How many this process has seen before it.
    number: u32,
    /// What the database calls it.
    id: i64,
}

impl DatabaseLife {
    /// The life that is seen as the `number`th.
    #[cfg(test)]
    pub(crate) fn nth(number: u32) -> Self {
        Self { number, id: number.into() }
    }

    /// What the database calls it, for whoever remembers it for longer than a process lives.
    #[must_use]
    pub fn id(self) -> i64 {
        self.id
    }

    /// Whether the database is in this life, by what it says now. Within a transaction it stays so to its end: a table that
    /// was read cannot be restored meanwhile.
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

/// What a connection says of the life that it speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LifeReading {
    life: i64,
    /// How far the log was written, and how far it was durable.
    written: i64,
    durable: i64,
}

#[derive(Debug, Clone, Copy)]
struct KnownLife {
    life: DatabaseLife,
    /// The furthest position of the log of which it is known that it was durable.
    durable: i64,
}

/// What an answer of a connection says, compared with what was known when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LifeComparison {
    /// It is the present life.
    Present(DatabaseLife),
    /// The log is shorter than it was although the life is the same: a new one has to be begun.
    Shorter,
    /// Another connection saw a change of life since this one was asked: which of the two is later cannot be told.
    Outdated,
}

/// The lives that this process has seen.
#[derive(Debug)]
pub(super) struct DatabaseLives {
    known: Mutex<Option<KnownLife>>,
    present: watch::Sender<DatabaseLife>,
    /// Held by whoever begins a life or makes the schema: one at a time, as each would wait for the same locks.
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
    /// The life that was seen last.
    pub(super) fn present(&self) -> DatabaseLife {
        *self.present.borrow()
    }

    /// Told of each change.
    pub(super) fn follow(&self) -> watch::Receiver<DatabaseLife> {
        self.present.subscribe()
    }

    /// What is known now: taken before a connection is asked, as answers may be met in another order than they were given.
    fn floor(&self) -> Option<KnownLife> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares what a connection says with what was known before it was asked.
    fn compare(&self, floor: Option<KnownLife>, sign: LifeReading) -> LifeComparison {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = &mut *known
            && same.life.id == sign.life
        {
            if floor.is_some_and(|floor| floor.life == same.life && sign.written < floor.durable) {
                return LifeComparison::Shorter;
            }
            same.durable = same.durable.max(sign.durable);
            return LifeComparison::Present(same.life);
        }
        if floor.map(|floor| floor.life) != known.map(|known| known.life) {
            return LifeComparison::Outdated;
        }
        let number = known.map_or(1, |known| known.life.number + 1);
        if number > 1 {
            tracing::warn!(
                "database went back to an earlier state or was replaced: caches, leases and cursors dropped"
            );
        }
        let life = DatabaseLife { number, id: sign.life };
        *known = Some(KnownLife { life, durable: sign.durable });
        self.present.send_replace(life);
        LifeComparison::Present(life)
    }
}

/// Asks which life `db` speaks to, which may take `limit`; begins one where the database has begun another without
/// knowing it.
///
/// # Errors
///
/// [`StoreError`] when a statement fails, or when tables are missing; [`UnavailableCause::LifeChanged`] where the life changes again
/// and again.
pub(super) async fn check_life(
    db: &mut PgConnection,
    lives: &DatabaseLives,
    limit: Duration,
) -> Result<DatabaseLife, StoreError> {
    for _ in 0..MAX_LIFE_CHECKS {
        let floor = lives.floor();
        let Some(sign) = within(limit, read_life(db)).await? else {
            begin_life(db, lives, None).await?;
            continue;
        };
        match lives.compare(floor, sign) {
            LifeComparison::Present(life) => return Ok(life),
            LifeComparison::Shorter => begin_life(db, lives, Some(sign.life)).await?,
            LifeComparison::Outdated => {}
        }
    }
    Err(UnavailableCause::LifeChanged.into())
}

/// What the row says, if it is of the life that the database is in.
async fn read_life(db: &mut PgConnection) -> Result<Option<LifeReading>, StoreError> {
    let row = sqlx::query!(
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
    Ok(row.map(|row| LifeReading { life: row.life, written: row.written, durable: row.durable }))
}

/// Begins a life, unless another process has done so: the row says another one than `unless_not` then.
///
/// Others may keep the tables locked, and the log of changes may be long: this takes longer than a connection may.
async fn begin_life(
    db: &mut PgConnection,
    lives: &DatabaseLives,
    unless_not: Option<i64>,
) -> Result<(), StoreError> {
    let _alone = lives.repairing.lock().await;
    within(REPAIR_TIMEOUT, async {
        // The statements' limits are those of the session again when the transaction ends.
        let limit_ms = REPAIR_TIMEOUT.as_millis();
        let begun =
            format!("BEGIN; SET LOCAL lock_timeout = {limit_ms}; SET LOCAL statement_timeout = {limit_ms}");
        sqlx::raw_sql(AssertSqlSafe(begun)).execute(&mut *db).await?;
        let begun = begin_within(db, unless_not).await;
        let end = if begun.is_ok() { "COMMIT" } else { "ROLLBACK" };
        sqlx::raw_sql(end).execute(&mut *db).await?;
        begun
    })
    .await
}

async fn begin_within(db: &mut PgConnection, unless_not: Option<i64>) -> Result<(), StoreError> {
    // Constraints are what a restored dump gets last.
    let is_whole = sqlx::query_scalar!(
        r#"SELECT count(*) >= 2 AS "is_whole!" FROM pg_constraint
            WHERE conname IN ('device_instance_id_fkey', 'database_life_pkey')"#,
    )
    .fetch_one(&mut *db)
    .await?;
    if !is_whole {
        return Err(UnavailableCause::Incomplete.into());
    }
    sqlx::query!("LOCK TABLE database_life, change_log, change IN EXCLUSIVE MODE").execute(&mut *db).await?;
    if let Some(sign) = read_life(&mut *db).await?
        && unless_not != Some(sign.life)
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
    // The log of changes begins anew, as its transactions' numbers may. `change_log.life` is for servers of version 0.1.
    sqlx::query!("DELETE FROM change").execute(&mut *db).await?;
    sqlx::query!("DELETE FROM rearmed").execute(&mut *db).await?;
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

    const fn sign(life: i64, written: i64, durable: i64) -> LifeReading {
        LifeReading { life, written, durable }
    }

    #[test]
    fn another_life_and_a_log_that_became_shorter_are_told_apart_from_the_same() {
        let lives = DatabaseLives::default();
        let compare = |sign| lives.compare(lives.floor(), sign);
        let (first, second) = (DatabaseLife { number: 1, id: 7 }, DatabaseLife { number: 2, id: 3 });
        assert_eq!(compare(sign(7, 100, 90)), LifeComparison::Present(first));
        assert_eq!(
            compare(sign(7, 95, 80)),
            LifeComparison::Present(first),
            "what was written and not durable may be lost in a crash"
        );
        assert_eq!(compare(sign(7, 89, 89)), LifeComparison::Shorter, "what was durable is gone");
        assert_eq!(compare(sign(3, 50, 50)), LifeComparison::Present(second));
        assert_eq!((lives.present(), compare(sign(3, 60, 50))), (second, LifeComparison::Present(second)));
        assert!(second > first, "by their order, whatever they are called");
    }

    #[test]
    fn an_answer_that_is_met_after_a_later_one_is_no_sign_of_another_life() {
        let lives = DatabaseLives::default();
        let before_all = lives.floor();
        lives.compare(before_all, sign(7, 90, 90));
        let floor = lives.floor();
        // The pulse was asked later, and its answer came first.
        lives.compare(lives.floor(), sign(7, 200, 200));
        assert_eq!(
            lives.compare(floor, sign(7, 100, 100)),
            LifeComparison::Present(DatabaseLife { number: 1, id: 7 })
        );
        assert_eq!(
            lives.compare(lives.floor(), sign(7, 199, 199)),
            LifeComparison::Shorter,
            "a late answer lowers nothing"
        );
        // Nor does an answer from before a life began bring the one before back.
        let second = LifeComparison::Present(DatabaseLife { number: 2, id: 3 });
        assert_eq!(lives.compare(lives.floor(), sign(3, 210, 210)), second);
        for late in [floor, before_all] {
            assert_eq!(lives.compare(late, sign(7, 205, 205)), LifeComparison::Outdated);
            assert_eq!(lives.compare(late, sign(3, 205, 205)), second);
        }
        assert_eq!(lives.present().id(), 3);
        // A database that fails back to the server that it came from is in its first life once more.
        assert_eq!(
            lives.compare(lives.floor(), sign(7, 300, 300)),
            LifeComparison::Present(DatabaseLife { number: 3, id: 7 })
        );
    }
}
