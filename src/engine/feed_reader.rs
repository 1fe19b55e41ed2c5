//! Reads the log of changes on, for the feed.

use std::error::Error;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::feed::{Follower, News};
use super::handle::Engine;
use super::rest::rest;
use crate::clock::pause;
use crate::store::changes::{self, Cursor, Logged};
use crate::store::rearmed::{self, Position};
use crate::store::{Life, Store, StoreError};

/// How long the feed waits for a hint, in real time: hints may be lost.
const LONGEST: Duration = Duration::from_secs(1);
/// How long the feed rests after news, in real time, so that under load it reads many transactions at a time.
const REST: Duration = Duration::from_millis(5);
/// How many rows of the log are worth reading; who lags by more reads anew.
const MOST: u16 = 10_000;
/// How many rows of the log are kept for those who come back.
const KEPT: u32 = 100_000;
/// How often the rest is forgotten, in real time.
const TIDY: Duration = Duration::from_mins(1);

impl Engine {
    /// Follows what changes from now on, in this and in other processes.
    #[must_use]
    pub fn follow(&self) -> Follower {
        self.inner.feed.follow()
    }
}

/// Reads the log on until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let feed = &engine.inner.feed;
    let follow = async {
        let mut cursor = feed.begin().clone();
        let mut life = engine.store().follow_life();
        let mut is_well = true;
        // Deadlines are read after this begins to be followed.
        let mut silent = None;
        loop {
            let read = async {
                learn_rearmed(&engine, &mut silent).await?;
                read(engine.store(), &mut cursor).await
            };
            match engine.store().within(Store::LONGEST, read).await {
                Ok(news) => {
                    is_well = true;
                    if let Some(news) = news {
                        feed.tell(news);
                        pause(REST).await;
                    }
                    tokio::select! {
                        () = feed.awakened() => {}
                        // The sender lives as long as the store.
                        // This has read the present life perhaps while others were still in the one before: they read
                        // anew now.
                        Ok(()) = life.changed() => feed.tell(News::Anew),
                        () = pause(LONGEST) => {}
                    }
                }
                Err(error) => {
                    if std::mem::replace(&mut is_well, error.is_passing()) && !error.is_passing() {
                        tracing::warn!(error = &error as &dyn Error, "change feed cannot be read");
                    }
                    rest().await;
                }
            }
        }
    };
    let tidy = async {
        let mut is_well = true;
        loop {
            pause(TIDY).await;
            let forgotten = engine.store().within(Store::LONGEST, forget(engine.store())).await;
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
async fn read(store: &Store, cursor: &mut Cursor) -> Result<Option<News>, StoreError> {
    let mut db = store.reader().await?;
    let Some(read) = changes::read(&mut db, cursor, MOST).await? else {
        *cursor = changes::state(&mut db).await?;
        return Ok(Some(News::Anew));
    };
    *cursor = read.cursor;
    let news = |changed: Vec<Logged>| News::Changed(changed.into(), cursor.clone());
    Ok(Some(read.changed).filter(|changed| !changed.is_empty()).map(news))
}

/// Learns the deadlines that moved since `silent`, which says up to where they were read in which life of the database.
async fn learn_rearmed(engine: &Engine, silent: &mut Option<(Life, Position)>) -> Result<(), StoreError> {
    let mut db = engine.store().reader().await?;
    let life = db.life();
    match silent {
        Some((of, position)) if *of == life => {
            let rearmed = rearmed::read(&mut db, position).await?;
            let armed = rearmed.iter().map(|one| (one.id, one.visit, one.deadline_at));
            if engine.inner.queue.deadlines().learn_all(life, armed) {
                engine.inner.queue.wake();
            }
        }
        // All deadlines are read anew.
        Some(_) | None => *silent = Some((life, rearmed::end(&mut db).await?)),
    }
    Ok(())
}

async fn forget(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    changes::forget(&mut tx, KEPT).await?;
    rearmed::forget(&mut tx).await?;
    tx.commit().await
}
