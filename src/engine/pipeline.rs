//! The pipeline: the only path by which a stimulus becomes durable. It takes a batch, reads, decides, writes and answers.
//!
//! ```text
//! events ───────────┐          ┌─ lane: fill ─▶ read ─▶ decide ─▶ write ─▶ answer ─┐
//! ends of actions ──┼─▶ queue ─┤                                       (commit)      ├─▶ next batch
//! deadlines due ────┘          └─ lane: the same, while the other waits for the disk ┘
//! ```
//!
//! A batch is what has arrived when a lane is free, up to the lane's share of all pending work: a single event does not wait,
//! and batches grow with the load. Several stimuli for one instance in one batch are decided on in the order of their
//! arrival. A decision on a row that was rewritten meanwhile, or under a definition that is no longer active, is not applied
//! and is made again. A batch that fails is halved until only the failing item is left.

use std::borrow::Cow;
use std::time::Duration;

use super::batch_commit::{answer_all, write};
use super::batch_input::BatchInput;
use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use super::targets::free_targets;
use super::work_item::{WorkItem, WorkResult};
use crate::clock::sleep_real_time;
use crate::formatting::with_causes;
use crate::store::instances::InstanceKey;
use crate::store::{DatabaseLife, PooledConnection, Store, StoreError};

/// How long a work item is retried while its row is rewritten or locked by others.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of a statement.
pub(super) const STATEMENT_TIMEOUT: Duration = Store::MAX_STATEMENT_TIME;

/// Commits batches until the queue is closed and empty.
pub(super) async fn run(engine: Engine) {
    let mut lane = PipelineLane { engine, db: None };
    let (mut retries, mut answered) = (Vec::new(), 0);
    while let Some(batch) = lane.engine.inner.queue.next_batch(retries, answered).await {
        let size = batch.len();
        retries = lane.commit(batch).await;
        answered = size - retries.len();
        if answered == 0 {
            // Other transactions use the same rows.
            sleep_real_time(Duration::from_millis(1)).await;
        }
    }
}

struct PipelineLane {
    engine: Engine,
    /// Its own connection, once it has one.
    db: Option<PooledConnection>,
}

impl PipelineLane {
    /// Commits a batch and answers its requests; returns the items that have to be decided again.
    async fn commit(&mut self, batch: Vec<WorkItem>) -> Vec<WorkItem> {
        let mut retries = Vec::new();
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let Err(error) = self.attempt(&mut part, &mut retries).await else { continue };
            match error {
                StoreError::Conflict(_) => {
                    self.engine.inner.retries.conflicts.increment();
                    retries.append(&mut part);
                }
                StoreError::Locked(_) => {
                    let (free, locked) = self.split_off_locked(part).await;
                    if locked.is_empty() {
                        // The lock was not on the row of an instance.
                        retries.extend(free.into_iter().filter_map(|work| self.retry_or_fail(work, &error)));
                    } else {
                        retries
                            .extend(locked.into_iter().filter_map(|work| self.retry_or_fail(work, &error)));
                        parts.push(free);
                    }
                }
                StoreError::Unavailable(_) => {
                    for work in part.into_iter().chain(parts.drain(..).flatten()) {
                        self.fail(work, &error);
                    }
                    pause_before_retry().await;
                }
                StoreError::Constraint { .. }
                | StoreError::Statement(_)
                | StoreError::Migration(_)
                | StoreError::TooOld { .. } => {
                    let second = part.split_off(part.len() / 2);
                    if part.is_empty() {
                        // Only the failing item is left.
                        for work in second {
                            self.fail(work, &error);
                        }
                    } else {
                        parts.extend([second, part]);
                    }
                }
            }
        }
        retries
    }

    /// Tries to commit a part of a batch. Answered items are removed from `part`; an error leaves all of them.
    async fn attempt(
        &mut self,
        part: &mut Vec<WorkItem>,
        retries: &mut Vec<WorkItem>,
    ) -> Result<(), StoreError> {
        if part.is_empty() {
            return Ok(());
        }
        let engine = self.engine.clone();
        let store = engine.store();
        let mut db = self.connection().await?;
        let (life, outages) = (db.life(), db.outages());
        drop_stale(part, life);
        if engine.inner.definitions.current().life != life {
            store
                .within_on(outages, STATEMENT_TIMEOUT, engine.inner.definitions.refresh(life, &mut db))
                .await?;
        }
        let definitions = engine.inner.definitions.current();
        let input = match store
            .within_on(outages, STATEMENT_TIMEOUT, BatchInput::read(&engine, &definitions, &mut db, part))
            .await
        {
            Ok(input) => input,
            Err(error) => {
                self.return_connection(db, Some(&error));
                return Err(error);
            }
        };
        // The decisions own the items now; they are returned where the decisions cannot be written.
        let decisions = input.decide(&engine, &definitions, std::mem::take(part), retries);
        let written = write(&engine, &definitions, &mut db, &decisions).await;
        if !decisions.decided.is_empty() {
            store.note_writing(written.as_ref().map(|_| ()));
        }
        match written {
            Ok(applied) => {
                if applied.is_outdated
                    && let Err(error) = store
                        .within_on(
                            outages,
                            STATEMENT_TIMEOUT,
                            engine.inner.definitions.refresh(life, &mut db),
                        )
                        .await
                {
                    // Nothing is written until the definitions are read.
                    tracing::debug!(error = %with_causes(&error), "cannot read active definitions");
                    self.return_connection(db, Some(&error));
                } else {
                    self.return_connection(db, None);
                }
                for work in answer_all(&engine, life, decisions, &applied) {
                    retries.extend(self.retry_or_fail(work, &StoreError::overtaken()));
                }
                Ok(())
            }
            Err(error) => {
                self.return_connection(db, Some(&error));
                part.extend(decisions.answers.into_iter().map(|(_, work, _)| work));
                part.extend(decisions.orphans.into_iter().map(|(_, work)| work));
                Err(error)
            }
        }
    }

    /// Returns a connection of the pool for batches. The store monitors pooled connections, so the lane keeps none.
    async fn connection(&mut self) -> Result<PooledConnection, StoreError> {
        // A bad connection is returned before another one is taken, because it counts against the pool.
        let own = self.db.take().filter(PooledConnection::is_good);
        match own {
            Some(db) => Ok(db),
            None => self.engine.store().connect().await,
        }
    }

    /// Returns the connection to the pool, unless it failed: its protocol state is unknown then.
    fn return_connection(&mut self, db: PooledConnection, failed: Option<&StoreError>) {
        match failed {
            Some(StoreError::Unavailable(_)) => db.discard(),
            // The locked rows are found over the same connection.
            Some(StoreError::Locked(_)) => self.db = Some(db),
            _ => {}
        }
    }

    /// Splits off the items of locked rows.
    async fn split_off_locked(&mut self, part: Vec<WorkItem>) -> (Vec<WorkItem>, Vec<WorkItem>) {
        let Ok(mut db) = self.connection().await else { return (Vec::new(), part) };
        let targets: Vec<Cow<'_, InstanceKey>> = part.iter().map(WorkItem::target).collect();
        // If that fails, all items are retried.
        let engine = self.engine.clone();
        let free = engine.store().within(STATEMENT_TIMEOUT, free_targets(&mut db, &targets)).await;
        self.return_connection(db, free.as_ref().err());
        let free = free.unwrap_or_default();
        part.into_iter().partition(|work| free.contains(work.target().as_ref()))
    }

    /// Returns `work` for a retry, unless its request has waited for too long.
    fn retry_or_fail(&self, work: WorkItem, error: &StoreError) -> Option<WorkItem> {
        let is_overtaken_deadline =
            work.waiting_since().is_none() && matches!(error, StoreError::Conflict(_));
        if is_overtaken_deadline || work.waiting_since().is_some_and(|since| since.elapsed() < RETRY_TIMEOUT)
        {
            return Some(work);
        }
        self.fail(work, error);
        None
    }

    /// Answers the request of `work` with the error; a deadline is retried.
    fn fail(&self, work: WorkItem, error: &StoreError) {
        if let WorkItem::Due(due) = &work {
            if error.is_transient() {
                tracing::debug!(error = %with_causes(error), "deadline not handled, will retry");
            } else {
                tracing::error!(
                    error = %with_causes(error),
                    instance.id = due.id.0,
                    "cannot handle deadline"
                );
            }
            self.engine.inner.queue.deadlines().put_back(*due);
        }
        work.fail(error.clone().into());
    }
}

/// Drops the items of an earlier life of the database than `life`: their numbers can identify other rows now.
fn drop_stale(part: &mut Vec<WorkItem>, life: DatabaseLife) {
    let is_past = |work: &mut WorkItem| work.life().is_some_and(|of| of < life);
    for work in part.extract_if(.., is_past) {
        work.answer(WorkResult::Started(None));
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::engine::deadlines;
    use crate::engine::lease::WorkerIdentity;
    use crate::machine::Visit;
    use crate::store::actions::{ActionId, StartableAction, WorkerId};
    use crate::store::claims::Grant;
    use crate::store::instances::InstanceId;

    #[test]
    fn items_of_an_earlier_life_are_answered_and_not_decided_on() {
        let (before, present) = (DatabaseLife::nth(1), DatabaseLife::nth(2));
        let due = |life| {
            let (id, visit, at) = (InstanceId(1), Visit(1), DateTime::UNIX_EPOCH);
            WorkItem::Due(deadlines::DueDeadline { life, id, visit, at })
        };
        let begin = |life| {
            let (answer, answered) = oneshot::channel();
            let startable =
                StartableAction { id: ActionId(1), instance: InstanceId(1), grant: Grant::default() };
            let action = Box::new(startable);
            let worker = WorkerIdentity { id: WorkerId(1), life };
            (WorkItem::Begin { action, worker, since: Instant::now(), answer }, answered)
        };
        let ((past, mut of_past), (now, mut of_now)) = (begin(before), begin(present));
        let mut part = vec![due(before), past, due(present), now];
        drop_stale(&mut part, present);
        let left: Vec<_> = part.iter().map(WorkItem::life).collect();
        assert_eq!(left, [Some(present); 2]);
        assert!(matches!(of_past.try_recv(), Ok(Ok(None))), "nothing was started");
        assert!(of_now.try_recv().is_err(), "it was answered");
    }
}
