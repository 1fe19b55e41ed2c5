//! Reads the log of changes on, for the feed.

use std::error::Error;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::feed::{FeedFollower, FeedUpdate};
use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use crate::clock::sleep_real_time;
use crate::store::changes::{self, ChangeCursor, LoggedChange};
use crate::store::deadline_changes::{self, DeadlineChangeCursor};
use crate::store::{DatabaseLife, Store, StoreError};

/// How long the feed waits for a hint, in real time: hints may be lost.
const HINT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the feed rests after news, in real time, so that under load it reads many transactions at a time.
const PAUSE_AFTER_UPDATE: Duration = Duration::from_millis(5);
/// How many rows of the log are worth reading; who lags by more reads anew.
const MAX_ROWS_READ: u16 = 10_000;
/// How many rows of the log are kept for those who come back.
const MAX_LOG_ROWS: u32 = 100_000;
/// How often the rest is forgotten, in real time.
const TRIM_INTERVAL: Duration = Duration::from_mins(1);

impl Engine {
    /// Follows what changes from now on, in this and in other processes.
    #[must_use]
    pub fn follow(&self) -> FeedFollower {
        self.inner.feed.follow()
    }
}

/// Reads the log on until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let feed = &engine.inner.feed;
    let follow = async {
        let mut cursor = feed.start_cursor().clone();
        let mut life = engine.store().follow_life();
        let mut is_well = true;
        // Deadlines are read after this begins to be followed.
        let mut silent = None;
        loop {
            let read = async {
                read_rearmed(&engine, &mut silent).await?;
                read(engine.store(), &mut cursor).await
            };
            match engine.store().within(Store::MAX_STATEMENT_TIME, read).await {
                Ok(news) => {
                    is_well = true;
                    if let Some(news) = news {
                        feed.publish(news);
                        sleep_real_time(PAUSE_AFTER_UPDATE).await;
                    }
                    tokio::select! {
                        () = feed.wait() => {}
                        // The sender lives as long as the store.
                        // This has read the present life perhaps while others were still in the one before: they read
                        // anew now.
                        Ok(()) = life.changed() => feed.publish(FeedUpdate::Reset),
                        () = sleep_real_time(HINT_TIMEOUT) => {}
                    }
                }
                Err(error) => {
                    if std::mem::replace(&mut is_well, error.is_transient()) && !error.is_transient() {
                        tracing::warn!(error = &error as &dyn Error, "change feed cannot be read");
                    }
                    pause_before_retry().await;
                }
            }
        }
    };
    let tidy = async {
        let mut is_well = true;
        loop {
            sleep_real_time(TRIM_INTERVAL).await;
            let forgotten = engine.store().within(Store::MAX_STATEMENT_TIME, trim_logs(engine.store())).await;
            if let Err(error) = &forgotten
                && is_well
            {
                tracing::warn!(
                    error = error as &dyn Error,
                    "the log of changes cannot be shortened; it is tried again"
                );
            }
            is_well = forgotten.is_ok();
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow => {}
        () = tidy => {}
    }
}

/// Reads what has changed since `cursor`, which goes on with it.
async fn read(store: &Store, cursor: &mut ChangeCursor) -> Result<Option<FeedUpdate>, StoreError> {
    let mut db = store.reader().await?;
    let Some(read) = changes::read(&mut db, cursor, MAX_ROWS_READ).await? else {
        *cursor = changes::current_cursor(&mut db).await?;
        return Ok(Some(FeedUpdate::Reset));
    };
    *cursor = read.cursor;
    let news = |changed: Vec<LoggedChange>| FeedUpdate::Changed(changed.into(), cursor.clone());
    Ok(Some(read.changes).filter(|changed| !changed.is_empty()).map(news))
}

/// Learns the deadlines that moved since `silent`, which says up to where they were read in which life of the database.
async fn read_rearmed(
    engine: &Engine,
    silent: &mut Option<(DatabaseLife, DeadlineChangeCursor)>,
) -> Result<(), StoreError> {
    let mut db = engine.store().reader().await?;
    let life = db.life();
    match silent {
        Some((of, position)) if *of == life => {
            let rearmed = deadline_changes::read(&mut db, position).await?;
            let armed = rearmed.iter().map(|one| (one.id, one.visit, one.deadline_at));
            if engine.inner.queue.deadlines().update_all(life, armed) {
                engine.inner.queue.wake();
            }
        }
        // All deadlines are read anew.
        Some(_) | None => *silent = Some((life, deadline_changes::current_cursor(&mut db).await?)),
    }
    Ok(())
}

async fn trim_logs(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    changes::prune(&mut tx, MAX_LOG_ROWS).await?;
    deadline_changes::prune(&mut tx).await?;
    tx.commit().await
}
