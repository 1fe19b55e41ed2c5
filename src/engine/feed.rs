//! The change feed: passes the changes of all processes on the database to the followers in this process.
//!
//! ```text
//! own commits ───┐
//! notifications ─┼─▶ read the change log ─▶ followers: streams, the deadlines in memory
//! each second ───┘
//! ```
//!
//! One reader serves all followers of the process. A follower subscribes, reads its initial state, and then applies each
//! [`FeedUpdate`]: no change is missed, and an update that the initial reading contains already is harmless. Followers get
//! visible changes; deadlines that moved without one are passed to the deadlines in memory only.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::store::changes::{ChangeCursor, LoggedChange};

/// The number of updates that a follower may lag behind.
const MAX_FEED_BACKLOG: usize = 1024;

/// An update of the change feed.
#[derive(Debug, Clone)]
pub enum FeedUpdate {
    /// Changes by any process, with the cursor after them.
    Changed(Arc<[LoggedChange]>, ChangeCursor),
    /// Changes were missed: the follower must read its state again.
    Reset,
}

/// Publishes the change log to the followers of the process.
#[derive(Debug)]
pub(super) struct ChangeFeed {
    updates: broadcast::Sender<FeedUpdate>,
    wake: Notify,
    /// The cursor at which the feed starts.
    start_cursor: ChangeCursor,
}

impl ChangeFeed {
    /// Creates a feed of the changes after `start_cursor`.
    pub(super) fn new(start_cursor: ChangeCursor) -> Self {
        Self { updates: broadcast::Sender::new(MAX_FEED_BACKLOG), wake: Notify::new(), start_cursor }
    }

    /// Subscribes to the changes from now on.
    pub(super) fn follow(&self) -> FeedFollower {
        FeedFollower(self.updates.subscribe())
    }

    /// The cursor at which the feed starts.
    pub(super) fn start_cursor(&self) -> &ChangeCursor {
        &self.start_cursor
    }

    /// Waits until there may be changes.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Signals that there may be changes.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Signals a commit of this process. The deadlines in memory are updated already; without other followers the reader is
    /// not woken.
    pub(super) fn wake_for_own(&self) {
        if self.updates.receiver_count() > 1 {
            self.wake.notify_one();
        }
    }

    /// Publishes an update.
    pub(super) fn publish(&self, update: FeedUpdate) {
        // There may be no followers.
        let _ = self.updates.send(update);
    }
}

/// A subscription to the change feed.
#[derive(Debug)]
pub struct FeedFollower(broadcast::Receiver<FeedUpdate>);

impl FeedFollower {
    /// Waits for the next update; `None` when the engine has ended.
    pub async fn next(&mut self) -> Option<FeedUpdate> {
        match self.0.recv().await {
            Ok(update) => Some(update),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // The remaining updates are older than the state that will be read.
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
    async fn a_lagging_follower_is_reset_and_continues() {
        let feed = ChangeFeed::new("0-0".parse().unwrap());
        let mut follower = feed.follow();
        let publish = || feed.publish(FeedUpdate::Changed(Arc::new([]), "0-1".parse().unwrap()));
        publish();
        assert!(matches!(follower.next().await, Some(FeedUpdate::Changed(..))));
        for _ in 0..=MAX_FEED_BACKLOG {
            publish();
        }
        assert!(matches!(follower.next().await, Some(FeedUpdate::Reset)));
        publish();
        assert!(matches!(follower.next().await, Some(FeedUpdate::Changed(..))));
        drop(feed);
        assert!(follower.next().await.is_none());
    }
}
