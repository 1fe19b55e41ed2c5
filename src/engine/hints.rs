//! Processes tell each other that something was written.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use crate::clock;
use crate::store::Store;

/// Tells other processes that something was written: after the commit, for what is to be done is in rows, and one for
/// all that were written meanwhile. (A notification within a transaction takes a lock that all commits share.)
pub(super) async fn send(engine: Engine, stop: CancellationToken) {
    let give = async {
        loop {
            engine.inner.written.notified().await;
            if engine.inner.queue.deadlines().is_alone() {
                // Whoever is just starting looks by itself.
                continue;
            }
            // Whoever misses a hint looks by itself before long.
            let store = engine.store();
            if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, store.hint(engine.inner.origin)).await
            {
                tracing::debug!(error = &error as &dyn std::error::Error, "a hint could not be given");
            }
            clock::sleep_real_time(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = give => {}
    }
}

/// Looks at what another process has written as soon as it says so.
pub(super) async fn receive(engine: Engine, stop: CancellationToken) {
    let hear = async {
        loop {
            match engine.inner.store.listen().await {
                Ok(mut hints) => {
                    let mut is_heard = true;
                    while is_heard {
                        engine.inner.feed.wake();
                        engine.inner.actions_changed.notify_one();
                        is_heard = hints.next(engine.inner.origin).await.is_ok();
                    }
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "cannot listen for hints");
                }
            }
            pause_before_retry().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = hear => {}
    }
}
