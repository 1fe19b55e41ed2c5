//! All deadlines are learned at start, and then what becomes of them.

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::feed::FeedUpdate;
use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use crate::machine::Visit;
use crate::store::changes::{ChangeCursor, InstanceChange, InstanceChangeKind, LoggedChange};
use crate::store::{Store, StoreError, instances as stored};

/// How many deadlines are taken at once where all are read.
const DEADLINES_PER_UPDATE: usize = 512;

/// Learns all deadlines that are armed, and then what becomes of them: from other processes, and from this one where a
/// connection broke before the commit was confirmed.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let mut follower = engine.follow();
    // Followed as well: the log of changes may be read over a connection that is not known yet to speak to another life.
    let mut life = engine.store().follow_life();
    let learn = async {
        let mut news = Some(FeedUpdate::Reset);
        while let Some(latest) = news {
            match latest {
                FeedUpdate::Reset => {
                    while let Err(error) = load_all(&engine).await {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "deadlines cannot be read yet"
                        );
                        pause_before_retry().await;
                    }
                }
                FeedUpdate::Changed(changed, cursor) => load_changed(&engine, &changed, &cursor),
            }
            news = tokio::select! {
                biased;
                Ok(()) = life.changed() => Some(FeedUpdate::Reset),
                news = follower.next() => news,
            };
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = learn => {}
    }
}

fn load_changed(engine: &Engine, changed: &[LoggedChange], cursor: &ChangeCursor) {
    let deadlines = engine.inner.queue.deadlines();
    let life = engine.store().life();
    if !cursor.is_of(life) {
        // All is read anew when the change of life is seen, within a second.
        return;
    }
    let mut is_earlier = false;
    for LoggedChange { change: InstanceChange { id, kind: now }, .. } in changed {
        is_earlier |= match now {
            InstanceChangeKind::Written { visit, deadline_at } => {
                deadlines.update(life, *id, *visit, *deadline_at)
            }
            InstanceChangeKind::Removed { .. } => deadlines.update(life, *id, Visit(i64::MAX), None),
        };
    }
    if is_earlier {
        engine.inner.queue.wake();
    }
}

async fn load_all(engine: &Engine) -> Result<(), StoreError> {
    let store = engine.store();
    let mut db = store.reader().await?;
    let life = db.life();
    engine.inner.queue.deadlines().enter_life(life);
    // However many there are, none of them may be waited for without end.
    let mut read = std::pin::pin!(stored::stream_deadlines(&mut db).ready_chunks(DEADLINES_PER_UPDATE));
    while let Some(armed) =
        store.within(Store::MAX_STATEMENT_TIME, async { Ok::<_, StoreError>(read.next().await) }).await?
    {
        for armed in armed {
            let armed = armed?;
            if engine.inner.queue.deadlines().update(life, armed.id, armed.visit, Some(armed.at)) {
                engine.inner.queue.wake();
            }
        }
    }
    Ok(())
}
