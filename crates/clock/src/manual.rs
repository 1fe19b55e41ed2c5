//! A clock for tests: it moves when it is told to.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::spans::time_after;

/// A clock that moves only when it is told to.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: watch::Sender<DateTime<Utc>>,
}

impl ManualClock {
    /// Starts a clock that stands at `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { now: watch::Sender::new(now.trunc_subsecs(6)) }
    }

    /// Moves the clock forward by `span` and wakes everybody whose time has come.
    pub fn advance(&self, span: Duration) {
        self.now.send_modify(|now| *now = time_after(*now, span).trunc_subsecs(6));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock; without a clock no time comes, so the sleeper sleeps on.
            if now.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(time_after(self.now(), span))
    }
}
