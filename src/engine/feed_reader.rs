//! Reads the change log for the change feed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::feed::{FeedFollower, FeedUpdate};
use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use crate::clock::sleep_real_time;
use crate::formatting::with_causes;
use crate::store::changes::{self, ChangeCursor, LoggedChange};
use crate::store::deadline_changes::{self, DeadlineChangeCursor};
use crate::store::{DatabaseLife, Store, StoreError};

/// How long the reader waits for a change notification, in real time: notifications can be lost.
const HINT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after an update, in real time, so that under load many transactions are read at a time.
const PAUSE_AFTER_UPDATE: Duration = Duration::from_millis(5);
/// The maximum number of rows that are read at a time; a reader that lags by more is reset.
const MAX_ROWS_READ: u16 = 10_000;
/// The number of rows of the change log that are kept for returning clients.
const MAX_LOG_ROWS: u32 = 100_000;
/// The interval at which older rows are deleted, in real time.
const TRIM_INTERVAL: Duration = Duration::from_mins(1);

impl Engine {
    /// Subscribes to the changes of all processes from now on.
    #[must_use]
    pub fn follow(&self) -> FeedFollower {
        self.inner.feed.follow()
    }
}

/// Reads the change log until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let feed = &engine.inner.feed;
    let follow = async {
        let mut cursor = feed.start_cursor().clone();
        let mut life = engine.store().follow_life();
        let mut is_healthy = true;
        // All deadlines are loaded after this cursor is read.
        let mut deadline_cursor = None;
        loop {
            let read = async {
                read_rearmed(&engine, &mut deadline_cursor).await?;
                read(engine.store(), &mut cursor).await
            };
            match engine.store().within(Store::MAX_STATEMENT_TIME, read).await {
                Ok(update) => {
                    is_healthy = true;
                    if let Some(update) = update {
                        feed.publish(update);
                        sleep_real_time(PAUSE_AFTER_UPDATE).await;
                    }
                    tokio::select! {
                        () = feed.wait() => {}
                        // The sender lives as long as the store. The reader may have entered the new life before its
                        // followers: they are reset.
                        Ok(()) = life.changed() => feed.publish(FeedUpdate::Reset),
                        () = sleep_real_time(HINT_TIMEOUT) => {}
                    }
                }
                Err(error) => {
                    if std::mem::replace(&mut is_healthy, error.is_transient()) && !error.is_transient() {
                        tracing::warn!(error = %with_causes(&error), "cannot read change feed");
                    }
                    pause_before_retry().await;
                }
            }
        }
    };
    let trim = async {
        let mut is_healthy = true;
        loop {
            sleep_real_time(TRIM_INTERVAL).await;
            let trimmed = engine.store().within(Store::MAX_STATEMENT_TIME, trim_logs(engine.store())).await;
            if let Err(error) = &trimmed
                && is_healthy
            {
                tracing::warn!(error = %with_causes(error), "cannot trim change log, will retry");
            }
            is_healthy = trimmed.is_ok();
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow => {}
        () = trim => {}
    }
}

/// Reads the changes since `cursor`, and advances it.
async fn read(store: &Store, cursor: &mut ChangeCursor) -> Result<Option<FeedUpdate>, StoreError> {
    let mut db = store.reader().await?;
    let Some(read) = changes::read(&mut db, cursor, MAX_ROWS_READ).await? else {
        *cursor = changes::current_cursor(&mut db).await?;
        return Ok(Some(FeedUpdate::Reset));
    };
    *cursor = read.cursor;
    let update = |changed: Vec<LoggedChange>| FeedUpdate::Changed(changed.into(), cursor.clone());
    Ok(Some(read.changes).filter(|changed| !changed.is_empty()).map(update))
}

/// Reads the deadlines that moved since `deadline_cursor`, the position in a life of the database.
async fn read_rearmed(
    engine: &Engine,
    deadline_cursor: &mut Option<(DatabaseLife, DeadlineChangeCursor)>,
) -> Result<(), StoreError> {
    let mut db = engine.store().reader().await?;
    let life = db.life();
    match deadline_cursor {
        Some((of, position)) if *of == life => {
            let rearmed = deadline_changes::read(&mut db, position).await?;
            let armed = rearmed.iter().map(|change| (change.id, change.visit, change.deadline_at));
            if engine.inner.queue.deadlines().update_all(life, armed) {
                engine.inner.queue.wake();
            }
        }
        // All deadlines are loaded again.
        Some(_) | None => *deadline_cursor = Some((life, deadline_changes::current_cursor(&mut db).await?)),
    }
    Ok(())
}

async fn trim_logs(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    changes::prune(&mut tx, MAX_LOG_ROWS).await?;
    deadline_changes::prune(&mut tx).await?;
    tx.commit().await
}
