//! Deadlines: one loop sleeps until the earliest and is woken when an earlier one may have been armed.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineError, Submission, rest};
use crate::machine::{Cause, Outcome};
use crate::store::instances::{self, DueDeadline, Target};
use crate::store::{StoreError, history};

/// How many deadlines are read at a time, and how many of them are decided on at once.
const BATCH: i64 = 256;
const AT_ONCE: usize = 8;
/// The longest sleep, on the farm's clock: what is armed elsewhere is hinted at, but a hint may be lost.
const LONGEST: Duration = Duration::from_secs(30);

/// Fires deadlines until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let mut is_well = true;
    while !stop.is_cancelled() {
        match fire_due(&engine).await {
            Ok(Fired::All) => {
                is_well = true;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep_until_next(&engine) => {}
                    () = engine.inner.deadlines_changed.notified() => {}
                }
            }
            Ok(Fired::More) => {}
            // Something stood in the way, or a clock that was set back: try again, but do not spin.
            Ok(Fired::Stuck) => rest().await,
            Err(error) => {
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "deadlines wait for the database"
                    );
                }
                rest().await;
            }
        }
    }
}

enum Fired {
    All,
    More,
    Stuck,
}

async fn fire_due(engine: &Engine) -> Result<Fired, StoreError> {
    let now = engine.clock().now();
    let due = {
        let mut db = engine.db().reader().await?;
        instances::list_due(&mut db, &engine.machines(), now, BATCH).await?
    };
    if due.is_empty() {
        return Ok(Fired::All);
    }
    let moved = stream::iter(due)
        .map(|due| async move { fire(engine, due).await })
        .buffer_unordered(AT_ONCE)
        .filter(|moved| std::future::ready(*moved))
        .count()
        .await;
    Ok(if moved > 0 { Fired::More } else { Fired::Stuck })
}

/// Fires one deadline; false when nothing came of it.
async fn fire(engine: &Engine, due: DueDeadline) -> bool {
    let Ok(remark) = remark(engine, due).await else { return false };
    let submission =
        Submission { remark, ..Submission::new(Target::Id(due.id), Cause::Deadline { visit: due.visit }) };
    match engine.submit(submission).await {
        // Another process was quicker, or an event came first: either way it is not due any more.
        Ok(committed) => {
            !matches!(committed.outcome, Outcome::Ignored(_)) || committed.instance.visit != due.visit
        }
        Err(EngineError::NoInstance(_)) => true,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a deadline could not be fired yet");
            false
        }
    }
}

/// What the board has let be known of itself since its power came on.
async fn remark(engine: &Engine, due: DueDeadline) -> Result<Option<String>, StoreError> {
    let mut db = engine.db().reader().await?;
    Ok(super::fetches::tell(&history::read_boot(&mut db, due.id).await?))
}

async fn sleep_until_next(engine: &Engine) {
    let next =
        async { instances::find_next_deadline(&mut *engine.db().reader().await?, &engine.machines()).await };
    let longest = crate::clock::after(engine.clock().now(), LONGEST);
    let until = match next.await {
        Ok(Some(next)) => next.min(longest),
        Ok(None) | Err(_) => longest,
    };
    engine.clock().sleep_until(until).await;
}
