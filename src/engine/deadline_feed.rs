//! Loads all deadlines at start, and follows their changes.

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::feed::FeedUpdate;
use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use crate::formatting::with_causes;
use crate::machine::Visit;
use crate::store::changes::{ChangeCursor, InstanceChange, InstanceChangeKind, LoggedChange};
use crate::store::{Store, StoreError, instances as stored};

/// The number of deadlines that are processed at a time while all are loaded.
const DEADLINES_PER_UPDATE: usize = 512;

/// Loads all armed deadlines, and follows changes by other processes, and by this one where a connection broke before the
/// commit was confirmed.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let mut follower = engine.follow();
    // Followed as well: the change log may be read over a connection that is not yet known to be in another life.
    let mut life = engine.store().follow_life();
    let learn = async {
        let mut update = Some(FeedUpdate::Reset);
        while let Some(present) = update {
            match present {
                FeedUpdate::Reset => {
                    while let Err(error) = load_all(&engine).await {
                        tracing::debug!(error = %with_causes(&error), "cannot read deadlines");
                        pause_before_retry().await;
                    }
                }
                FeedUpdate::Changed(changed, cursor) => load_changed(&engine, &changed, &cursor),
            }
            update = tokio::select! {
                biased;
                Ok(()) = life.changed() => Some(FeedUpdate::Reset),
                update = follower.next() => update,
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
        // All deadlines are loaded again when the change of life is seen, within a second.
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
    // Each part has the time limit of a statement, however many deadlines there are.
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
