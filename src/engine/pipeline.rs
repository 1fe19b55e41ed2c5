//! The one path by which anything that happens becomes durable: take what has arrived, read, decide, write, answer.
//!
//! ```text
//! events ───────────┐          ┌─ lane: fill ─▶ read ─▶ decide ─▶ write ─▶ answer ─┐
//! ends of actions ──┼─▶ queue ─┤                                       (commit)      ├─▶ next group
//! deadlines due ────┘          └─ lane: the same, while the other waits for the disk ┘
//! ```
//!
//! A group is what has arrived by the time that a lane is free, up to the lane's share of all that is on its way: a lone
//! event waits for no company, and groups grow with the load. Several things that happen to one instance in one group are
//! decided on in the order of their arrival. What was decided on a row that somebody else, or the other lane, has rewritten
//! meanwhile, or under a definition that is not in force any more, is not applied and is decided on anew. A group that fails
//! is halved until the one that cannot be written fails alone.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use super::batch_commit::{answer_all, write};
use super::batch_input::BatchInput;
use super::handle::Engine;
use super::retry_pause::pause_before_retry;
use super::targets::free_targets;
use super::work_item::{WorkItem, WorkResult};
use crate::clock::sleep_real_time;
use crate::store::instances::InstanceKey;
use crate::store::{DatabaseLife, PooledConnection, Store, StoreError};

/// How long something is tried again while others rewrite its row or keep it locked.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the database may take for one statement.
const STATEMENT_TIMEOUT: Duration = Store::MAX_STATEMENT_TIME;

/// Commits groups until the queue is closed and empty.
pub(super) async fn run(engine: Engine) {
    let mut lane = PipelineLane { engine, db: None };
    let (mut again, mut answered) = (Vec::new(), 0);
    while let Some(group) = lane.engine.inner.queue.next_batch(again, answered).await {
        let size = group.len();
        again = lane.commit(group).await;
        answered = size - again.len();
        if answered == 0 {
            // Others are at the same rows; they need a moment.
            sleep_real_time(Duration::from_millis(1)).await;
        }
    }
}

struct PipelineLane {
    engine: Engine,
    /// Its own connection, once there is one.
    db: Option<PooledConnection>,
}

impl PipelineLane {
    /// Makes a group durable and answers; gives what has to be decided on anew.
    async fn commit(&mut self, group: Vec<WorkItem>) -> Vec<WorkItem> {
        let mut again = Vec::new();
        let mut parts = vec![group];
        while let Some(mut part) = parts.pop() {
            let Err(error) = self.attempt(&mut part, &mut again).await else { continue };
            match error {
                StoreError::Conflict(_) => {
                    self.engine.inner.retries.conflicts.increment();
                    again.append(&mut part);
                }
                StoreError::Locked(_) => {
                    let (free, kept) = self.split_off_locked(part).await;
                    if kept.is_empty() {
                        // It was no row of an instance: nobody is to be left out.
                        again.extend(free.into_iter().filter_map(|work| self.retry_or_fail(work, &error)));
                    } else {
                        again.extend(kept.into_iter().filter_map(|work| self.retry_or_fail(work, &error)));
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
                        // One is left, and fails alone.
                        for work in second {
                            self.fail(work, &error);
                        }
                    } else {
                        parts.extend([second, part]);
                    }
                }
            }
        }
        again
    }

    /// Tries to make a part of a group durable. What was answered is gone from `part` then; an error leaves all of it.
    async fn attempt(
        &mut self,
        part: &mut Vec<WorkItem>,
        again: &mut Vec<WorkItem>,
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
        let rules = engine.inner.definitions.current();
        let material = match store
            .within_on(outages, STATEMENT_TIMEOUT, BatchInput::read(&engine, &rules, &mut db, part))
            .await
        {
            Ok(material) => material,
            Err(error) => {
                self.return_connection(db, Some(&error));
                return Err(error);
            }
        };
        // From here on the work is in the hands of the decisions, and comes back where they cannot be written.
        let decisions = material.decide(&engine, &rules, std::mem::take(part), again);
        let written = write(&engine, &rules, &mut db, &decisions).await;
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
                    // Nothing is written until it is seen.
                    tracing::debug!(error = &error as &dyn Error, "cannot see what is in force");
                    self.return_connection(db, Some(&error));
                } else {
                    self.return_connection(db, None);
                }
                for work in answer_all(&engine, life, decisions, &applied) {
                    again.extend(self.retry_or_fail(work, &StoreError::overtaken()));
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

    /// A connection of those that are for this. The store looks after them while no lane uses them: it is not kept here.
    async fn connection(&mut self) -> Result<PooledConnection, StoreError> {
        // One that is not good is given back before another one is taken, whose place it has.
        let kept = self.db.take().filter(PooledConnection::is_good);
        match kept {
            Some(db) => Ok(db),
            None => self.engine.store().connect().await,
        }
    }

    /// Gives the lane's connection back, unless it failed: nobody knows then in the middle of what it is.
    fn return_connection(&mut self, db: PooledConnection, failed: Option<&StoreError>) {
        match failed {
            Some(StoreError::Unavailable(_)) => db.discard(),
            // Who keeps a row locked is asked over the same connection.
            Some(StoreError::Locked(_)) => self.db = Some(db),
            _ => {}
        }
    }

    /// Splits off what belongs to rows that somebody keeps locked.
    async fn split_off_locked(&mut self, part: Vec<WorkItem>) -> (Vec<WorkItem>, Vec<WorkItem>) {
        let Ok(mut db) = self.connection().await else { return (Vec::new(), part) };
        let targets: Vec<Cow<'_, InstanceKey>> = part.iter().map(WorkItem::target).collect();
        // Where that cannot be told either, all of it is tried again.
        let engine = self.engine.clone();
        let free = engine.store().within(STATEMENT_TIMEOUT, free_targets(&mut db, &targets)).await;
        self.return_connection(db, free.as_ref().err());
        let free = free.unwrap_or_default();
        part.into_iter().partition(|work| free.contains(work.target().as_ref()))
    }

    /// Gives `work` back to be tried again, unless whoever waits for it has waited long enough.
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

    /// Tells whoever waits that `work` could not be done; a deadline is tried again.
    fn fail(&self, work: WorkItem, error: &StoreError) {
        if let WorkItem::Due(due) = &work {
            if error.is_transient() {
                tracing::debug!(error = error as &dyn Error, "a deadline could not be fired yet");
            } else {
                tracing::error!(
                    error = error as &dyn Error,
                    instance.id = due.id.0,
                    "a deadline cannot be fired"
                );
            }
            self.engine.inner.queue.deadlines().put_back(*due);
        }
        work.fail(error.clone().into());
    }
}

/// Leaves out what speaks of a life of the database before `life`: a deadline that does not stand any more, an action that
/// is perhaps another one's by now.
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
    fn what_is_of_a_life_before_is_answered_and_not_decided_on() {
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
            let by = WorkerIdentity { id: WorkerId(1), life };
            (WorkItem::Begin { action, by, since: Instant::now(), answer }, answered)
        };
        let ((past, mut of_past), (now, mut of_now)) = (begin(before), begin(present));
        let mut part = vec![due(before), past, due(present), now];
        drop_stale(&mut part, present);
        let left: Vec<_> = part.iter().map(WorkItem::life).collect();
        assert_eq!(left, [Some(present); 2]);
        assert!(matches!(of_past.try_recv(), Ok(Ok(None))), "nothing was started");
        assert!(of_now.try_recv().is_err(), "it is still to be decided on");
    }
}
