//! Deadlines: one loop sleeps until the earliest and is woken when an earlier one may have been armed.

use std::error::Error;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineError, Submission, fetches, rest};
use crate::clock::after;
use crate::machine::{Cause, Outcome};
use crate::store::instances::{self, DueDeadline, Target};
use crate::store::{StoreError, history};

/// How many deadlines are read at a time.
const BATCH: i64 = 256;
/// How many of them are decided on at once.
const AT_ONCE: usize = 8;
/// The longest sleep, on the farm's clock: what is armed elsewhere is hinted at, but a hint may be lost.
const LONGEST: Duration = Duration::from_secs(30);

/// Fires deadlines until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let mut is_well = true;
    while !stop.is_cancelled() {
        match round(&engine, &stop).await {
            Ok(()) => is_well = true,
            Err(error) => {
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(error = &error as &dyn Error, "deadlines wait for the database");
                }
                rest().await;
            }
        }
    }
}

/// Fires what is due, or sleeps until something is.
async fn round(engine: &Engine, stop: &CancellationToken) -> Result<(), StoreError> {
    let machines = engine.machines();
    let now = engine.clock().now();
    let (due, next) = {
        let mut db = engine.store().reader().await?;
        let due = instances::list_due(&mut db, &machines, now, BATCH).await?;
        (due, instances::find_next_deadline(&mut db, &machines).await?)
    };
    if due.is_empty() {
        let longest = after(now, LONGEST);
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.clock().sleep_until(next.map_or(longest, |next| next.min(longest))) => {}
            () = engine.inner.deadlines_changed.notified() => {}
        }
        return Ok(());
    }
    let fired = stream::iter(due)
        .map(|due| fire(engine, due))
        .buffer_unordered(AT_ONCE)
        .filter(|is_fired| std::future::ready(*is_fired))
        .count()
        .await;
    if fired == 0 {
        // Something stands in the way, or the clock was set back: try again, but do not spin.
        rest().await;
    }
    Ok(())
}

/// Fires one deadline; false when nothing came of it.
async fn fire(engine: &Engine, due: DueDeadline) -> bool {
    let fired = async {
        let remark = remark(engine, due).await?;
        let cause = Cause::Deadline { visit: due.visit };
        engine.submit(Submission { remark, ..Submission::new(Target::Id(due.id), cause) }).await
    };
    match fired.await {
        // Another process was quicker, or an event came first: either way it is not due any more.
        Ok(committed) => {
            !matches!(committed.outcome, Outcome::Ignored(_)) || committed.instance.visit != due.visit
        }
        Err(EngineError::NoInstance(_)) => true,
        Err(EngineError::Store(error)) if error.is_passing() => {
            tracing::debug!(error = &error as &dyn Error, "a deadline could not be fired yet");
            false
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn Error,
                instance.id = due.id.0,
                "a deadline cannot be fired"
            );
            false
        }
    }
}

/// What the board has let be known of itself since its power came on.
async fn remark(engine: &Engine, due: DueDeadline) -> Result<Option<String>, StoreError> {
    let mut db = engine.store().reader().await?;
    let boot = history::read_boot(&mut db, due.id, engine.clock().now()).await?;
    Ok(fetches::describe_boot(&boot))
}
