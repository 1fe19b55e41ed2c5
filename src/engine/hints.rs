//! Change notifications between processes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use crate::clock;
use crate::formatting::with_causes;
use crate::store::Store;

/// Notifies other processes of commits, with one notification for all commits since the last one. It is sent after the
/// commit, because a notification within a transaction takes a lock that all commits share.
pub(super) async fn send(engine: Engine, stop: CancellationToken) {
    let send = async {
        loop {
            engine.inner.written.notified().await;
            if engine.inner.queue.deadlines().is_alone() {
                // A starting process reads everything by itself.
                continue;
            }
            // A process that misses a notification checks by itself within a second.
            let store = engine.store();
            if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, store.hint(engine.inner.origin)).await
            {
                tracing::debug!(error = %with_causes(&error), "cannot send change notification");
            }
            clock::sleep_real_time(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = send => {}
    }
}

/// Wakes the feed and the dispatcher when another process notifies of a commit.
pub(super) async fn receive(engine: Engine, stop: CancellationToken) {
    let listen = async {
        loop {
            match engine.inner.store.listen().await {
                Ok(mut hints) => {
                    let mut is_connected = true;
                    while is_connected {
                        engine.inner.feed.wake();
                        engine.inner.actions_changed.notify_one();
                        is_connected = hints.next(engine.inner.origin).await.is_ok();
                    }
                }
                Err(error) => {
                    tracing::debug!(
                        error = %with_causes(&error),
                        "cannot listen for change notifications"
                    );
                }
            }
            pause_before_retry().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen => {}
    }
}
