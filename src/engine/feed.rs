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

use crate::store::changes::{Cursor, Logged};

/// How many news a follower may lag behind.
const BACKLOG: usize = 1024;
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

    /// Follows what changes from now on.
    pub(super) fn follow(&self) -> Follower {
        Follower(self.news.subscribe())
    }

    /// What has been told when the feed begins.
    pub(super) fn begin(&self) -> &Cursor {
        &self.begin
    }

    /// Waits until there may be news.
    pub(super) async fn awakened(&self) {
        self.wake.notified().await;
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

    /// Tells whoever follows.
    pub(super) fn tell(&self, news: News) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_that_lags_is_told_to_read_anew_and_then_goes_on() {
        let feed = Feed::new("0-0".parse().unwrap());
        let mut follower = feed.follow();
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
