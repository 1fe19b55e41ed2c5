//! The change feed: what all processes on the database change, told to everybody in this process who keeps a picture.
//!
//! ```text
//! own commits ─┐
//! hints ───────┼─▶ read the log on ─▶ followers: streams, the memory of deadlines
//! each second ─┘
//! ```
//!
//! One reader for the process, however many follow. A follower begins to follow, reads what it keeps a picture of,
//! and then takes each [`News`]: nothing falls between, and what it is told of changes that its reading has seen
//! already says nothing new. Followers are told what somebody can see; of deadlines that moved without that only the
//! memory of deadlines learns.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use super::{Engine, rest};
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
/// How many news a follower may lag behind.
const BACKLOG: usize = 1024;
/// How many rows of the log are kept for those who come back.
const KEPT: u32 = 100_000;
/// How often the rest is forgotten, in real time.
const TIDY: Duration = Duration::from_mins(1);

/// What followers are told.
#[derive(Debug, Clone)]
pub enum News {
    /// What changed, whoever changed it, and from where a log of it would be read on.
    Changed(Arc<[Logged]>, Cursor),
    /// Something was missed: whatever is kept must be read anew.
    Anew,
}

/// Tells the process's followers what the log of changes says.
#[derive(Debug)]
pub(super) struct Feed {
    news: broadcast::Sender<News>,
    wake: Notify,
    /// What has been told when the feed begins.
    begin: Cursor,
}

impl Feed {
    /// Makes a feed that tells what changes after `begin`.
    pub(super) fn new(begin: Cursor) -> Self {
        Self { news: broadcast::Sender::new(BACKLOG), wake: Notify::new(), begin }
    }

    /// Says that there may be news.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that this process has written something. The memory of deadlines knows already; if nobody else follows,
    /// there is no hurry.
    pub(super) fn wake_for_own(&self) {
        if self.news.receiver_count() > 1 {
            self.wake.notify_one();
        }
    }

    fn tell(&self, news: News) {
        // Nobody need follow.
        let _ = self.news.send(news);
    }
}

/// Somebody who is told what changes.
#[derive(Debug)]
pub struct Follower(broadcast::Receiver<News>);

impl Follower {
    /// Waits for the next news; `None` when the engine is gone.
    pub async fn next(&mut self) -> Option<News> {
        match self.0.recv().await {
            Ok(news) => Some(news),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // What is still there is older than what will be read anew.
                self.0 = self.0.resubscribe();
                Some(News::Anew)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Engine {
    /// Follows what changes from now on, in this and in other processes.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower(self.inner.feed.news.subscribe())
    }
}

/// Reads the log on until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let feed = &engine.inner.feed;
    let follow = async {
        let mut cursor = feed.begin.clone();
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
                        () = feed.wake.notified() => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_that_lags_is_told_to_read_anew_and_then_goes_on() {
        let feed = Feed::new("0-0".parse().unwrap());
        let mut follower = Follower(feed.news.subscribe());
        let tell = || feed.tell(News::Changed(Arc::new([]), "0-1".parse().unwrap()));
        tell();
        assert!(matches!(follower.next().await, Some(News::Changed(..))));
        for _ in 0..=BACKLOG {
            tell();
        }
        assert!(matches!(follower.next().await, Some(News::Anew)));
        tell();
        assert!(matches!(follower.next().await, Some(News::Changed(..))));
        drop(feed);
        assert!(follower.next().await.is_none());
    }
}
