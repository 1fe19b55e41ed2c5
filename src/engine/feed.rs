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

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::store::changes::{ChangeCursor, LoggedChange};

/// How many news a follower may lag behind.
const MAX_FEED_BACKLOG: usize = 1024;
/// What followers are told.
#[derive(Debug, Clone)]
pub enum FeedUpdate {
    /// What changed, whoever changed it, and from where a log of it would be read on.
    Changed(Arc<[LoggedChange]>, ChangeCursor),
    /// Something was missed: whatever is kept must be read anew.
    Reset,
}

/// Tells the process's followers what the log of changes says.
#[derive(Debug)]
pub(super) struct ChangeFeed {
    updates: broadcast::Sender<FeedUpdate>,
    wake: Notify,
    /// What has been told when the feed begins.
    start_cursor: ChangeCursor,
}

impl ChangeFeed {
    /// Makes a feed that tells what changes after `begin`.
    pub(super) fn new(begin: ChangeCursor) -> Self {
        Self { updates: broadcast::Sender::new(MAX_FEED_BACKLOG), wake: Notify::new(), start_cursor: begin }
    }

    /// Follows what changes from now on.
    pub(super) fn follow(&self) -> FeedFollower {
        FeedFollower(self.updates.subscribe())
    }

    /// What has been told when the feed begins.
    pub(super) fn start_cursor(&self) -> &ChangeCursor {
        &self.start_cursor
    }

    /// Waits until there may be news.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Says that there may be news.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that this process has written something. The memory of deadlines knows already; if nobody else follows,
    /// there is no hurry.
    pub(super) fn wake_for_own(&self) {
        if self.updates.receiver_count() > 1 {
            self.wake.notify_one();
        }
    }

    /// Tells whoever follows.
    pub(super) fn publish(&self, news: FeedUpdate) {
        // Nobody need follow.
        let _ = self.updates.send(news);
    }
}

/// Somebody who is told what changes.
#[derive(Debug)]
pub struct FeedFollower(broadcast::Receiver<FeedUpdate>);

impl FeedFollower {
    /// Waits for the next news; `None` when the engine is gone.
    pub async fn next(&mut self) -> Option<FeedUpdate> {
        match self.0.recv().await {
            Ok(news) => Some(news),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // What is still there is older than what will be read anew.
                self.0 = self.0.resubscribe();
                Some(FeedUpdate::Reset)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_that_lags_is_told_to_read_anew_and_then_goes_on() {
        let feed = ChangeFeed::new("0-0".parse().unwrap());
        let mut follower = feed.follow();
        let tell = || feed.publish(FeedUpdate::Changed(Arc::new([]), "0-1".parse().unwrap()));
        tell();
        assert!(matches!(follower.next().await, Some(FeedUpdate::Changed(..))));
        for _ in 0..=MAX_FEED_BACKLOG {
            tell();
        }
        assert!(matches!(follower.next().await, Some(FeedUpdate::Reset)));
        tell();
        assert!(matches!(follower.next().await, Some(FeedUpdate::Changed(..))));
        drop(feed);
        assert!(follower.next().await.is_none());
    }
}
