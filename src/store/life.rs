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

use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::error::{Cause, StoreError};

/// A life of the database as this process counts them: two connections of one number speak of the same past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Life {
    /// How many this process has seen before it.
    number: u32,
    /// What the database calls it.
    id: i64,
}

impl Life {
    /// What the database calls it, for whoever remembers it for longer than a process lives.
    #[must_use]
    pub fn id(self) -> i64 {
        self.id
    }
}

/// What a connection says of the life that it speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    life: i64,
    /// How far the log was written, and how far it was durable.
    written: i64,
    durable: i64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    life: Life,
    /// The furthest position of the log of which it is known that it was durable.
    durable: i64,
}

/// The lives that this process has seen.
#[derive(Debug)]
pub(super) struct Lives {
    known: Mutex<Option<Known>>,
    present: watch::Sender<Life>,
}

impl Default for Lives {
    fn default() -> Self {
        Self { known: Mutex::default(), present: watch::Sender::new(Life::default()) }
    }
}

impl Lives {
    /// The life that was seen last.
    pub(super) fn present(&self) -> Life {
        *self.present.borrow()
    }

    /// Told of each change.
    pub(super) fn follow(&self) -> watch::Receiver<Life> {
        self.present.subscribe()
    }

    /// Compares what a connection says with what is known; `None` where it says the same as before although the log is
    /// shorter than it was: then a new life has to be begun.
    fn meet(&self, sign: Sign) -> Option<Life> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match &mut *known {
            Some(same) if same.life.id == sign.life => {
                if sign.written < same.durable {
                    return None;
                }
                same.durable = same.durable.max(sign.durable);
                return Some(same.life);
            }
            Some(other) => other.life.number + 1,
            None => 1,
        };
        if number > 1 {
            tracing::warn!("the database changed its past; forgetting what was remembered of it");
        }
        let life = Life { number, id: sign.life };
        *known = Some(Known { life, durable: sign.durable });
        self.present.send_replace(life);
        Some(life)
    }
}

/// Asks which life `db` speaks to; begins one where the database has begun another without knowing it.
///
/// # Errors
///
/// [`StoreError`] when a statement fails, or when tables are missing.
pub(super) async fn ask(db: &mut PgConnection, lives: &Lives) -> Result<Life, StoreError> {
    let sign = match read(db).await? {
        Some(sign) => sign,
        None => begin(db, None).await?,
    };
    if let Some(life) = lives.meet(sign) {
        return Ok(life);
    }
    let sign = begin(db, Some(sign.life)).await?;
    lives.meet(sign).ok_or_else(|| Cause::LifeChanged.into())
}

/// What the row says, if it is of the life that the database is in.
async fn read(db: &mut PgConnection) -> Result<Option<Sign>, StoreError> {
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
    Ok(row.map(|row| Sign { life: row.life, written: row.written, durable: row.durable }))
}

/// Begins a life, unless another process has done so: the row says another one than `unless_not` then.
async fn begin(db: &mut PgConnection, unless_not: Option<i64>) -> Result<Sign, StoreError> {
    sqlx::raw_sql("BEGIN").execute(&mut *db).await?;
    let begun = begin_within(db, unless_not).await;
    let end = if begun.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::raw_sql(end).execute(&mut *db).await?;
    begun
}

async fn begin_within(db: &mut PgConnection, unless_not: Option<i64>) -> Result<Sign, StoreError> {
    // Constraints are what a restored dump gets last.
    let is_whole = sqlx::query_scalar!(
        r#"SELECT count(*) >= 2 AS "is_whole!" FROM pg_constraint
            WHERE conname IN ('device_instance_id_fkey', 'database_life_pkey')"#,
    )
    .fetch_one(&mut *db)
    .await?;
    if !is_whole {
        return Err(Cause::Incomplete.into());
    }
    sqlx::query!("LOCK TABLE database_life, change_log, change IN EXCLUSIVE MODE").execute(&mut *db).await?;
    if let Some(sign) = read(&mut *db).await?
        && unless_not != Some(sign.life)
    {
        return Ok(sign);
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
    sqlx::query!(
        "UPDATE change_log SET forgotten = 0, life = now.life
           FROM (SELECT hashtextextended(concat_ws('.', c.system_identifier, d.oid,
                            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)), 0) AS life
                   FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()) now",
    )
    .execute(&mut *db)
    .await?;
    read(db).await?.ok_or_else(|| Cause::LifeChanged.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_life_and_a_log_that_became_shorter_are_told_apart_from_the_same() {
        let lives = Lives::default();
        let sign = |life, written, durable| Sign { life, written, durable };
        let (first, second) = (Life { number: 1, id: 7 }, Life { number: 2, id: 3 });
        assert_eq!(lives.meet(sign(7, 100, 90)), Some(first));
        assert_eq!(
            lives.meet(sign(7, 95, 80)),
            Some(first),
            "what was written and not durable may be lost in a crash"
        );
        assert_eq!(lives.meet(sign(7, 89, 89)), None, "what was durable is gone");
        assert_eq!(lives.meet(sign(3, 50, 50)), Some(second));
        assert_eq!((lives.present(), lives.meet(sign(3, 60, 50))), (second, Some(second)));
        assert!(second > first, "by their order, whatever they are called");
    }
}
