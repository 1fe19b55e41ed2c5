//! Writes the decisions of a batch, and answers the waiting requests.

use chrono::{DateTime, Utc};
use tracing::Level;

use super::batch_decisions::BatchDecisions;
use super::definition_cache::DefinitionSet;
use super::grants::{PassOnPlan, pass_on};
use super::handle::Engine;
use super::work_item::{WorkItem, WorkResult};
use crate::machine::{Instance, Outcome};
use crate::store::actions::{self, ActionId};
use crate::store::batches::{self, Batch, BatchResult, DecidedUpdate, VersionedInstance};
use crate::store::history::{HistoryContent, NewHistoryEntry};
use crate::store::incidents::INCIDENT_MACHINE;
use crate::store::instances::InstanceId;
use crate::store::{DatabaseLife, DbConnection, PooledConnection, Store, StoreError};

/// Writes the decisions of a batch.
pub(super) async fn write(
    engine: &Engine,
    definitions: &DefinitionSet,
    db: &mut PooledConnection,
    decisions: &BatchDecisions,
) -> Result<BatchResult, StoreError> {
    let BatchDecisions { decided, worker, decided_at: at, orphans, .. } = decisions;
    // Done first: a failure after the batch is durable would cause the batch to be written again.
    let store = engine.store();
    let outages = db.outages();
    store.within_on(outages, Store::MAX_STATEMENT_TIME, delete_orphans(db, orphans, *at)).await?;
    if decided.is_empty() {
        return Ok(BatchResult::default());
    }
    let write = async {
        // Released units are granted to the next claimants in the same transaction.
        let (faces, troubles) = (&engine.inner.faces, engine.inner.troubles.keys());
        let PassOnPlan { dropped_holds, passed_on_grants } =
            pass_on(db, decided, faces, &troubles, *at).await?;
        let batch = Batch { decided, dropped_holds: &dropped_holds, passed_on_grants: &passed_on_grants };
        batches::write(db, batch, engine.inner.origin, definitions.activation, *worker, *at).await
    };
    store.within_on(outages, Store::MAX_STATEMENT_TIME, write).await
}

/// Deletes the actions of instances that no longer exist.
async fn delete_orphans(
    db: &mut DbConnection,
    orphans: &[(ActionId, WorkItem)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if orphans.is_empty() {
        return Ok(());
    }
    let ids: Vec<ActionId> = orphans.iter().map(|(action, _)| *action).collect();
    actions::delete_orphans(db, &ids, now).await
}

/// Answers the requests whose updates are durable; returns the others, which have to be decided again.
pub(super) fn answer_all(
    engine: &Engine,
    life: DatabaseLife,
    decisions: BatchDecisions,
    applied: &BatchResult,
) -> Vec<WorkItem> {
    let BatchDecisions { decided, answers: done, orphans, worker: _, decided_at: _ } = decisions;
    let inner = &engine.inner;
    let is_overtaken = |id: &InstanceId| applied.overtaken.contains(id);
    // Their units are free now.
    if !orphans.is_empty() {
        inner.actions_changed.notify_one();
        inner.written.notify_one();
        inner.feed.wake_for_own();
    }
    update_caches(engine, life, decided, applied);
    for (_, work) in orphans {
        work.answer(WorkResult::Started(None));
    }
    let mut retries = Vec::new();
    for (id, work, result) in done {
        if is_overtaken(&id) {
            inner.retries.overtaken.increment();
            if matches!(&work, WorkItem::Begin { action, .. } if !action.grant.based_on.is_empty()) {
                // Its units may have been granted to another action: it is scheduled again.
                inner.actions_changed.notify_one();
                work.answer(WorkResult::Started(None));
                continue;
            }
            retries.push(work);
        } else {
            answer_one(engine, life, id, work, result);
        }
    }
    retries
}

/// Updates the caches and wakes the followers after a commit.
pub(super) fn update_caches(
    engine: &Engine,
    life: DatabaseLife,
    decided: Vec<DecidedUpdate>,
    applied: &BatchResult,
) {
    let inner = &engine.inner;
    log_state_changes(&decided, applied);
    inner.instance_cache.remove(applied.overtaken.iter().copied());
    let decided = decided.into_iter().filter(|update| !applied.overtaken.contains(&update.id()));
    let (mut is_changed, mut has_actions) = (false, false);
    let rewritten: Vec<VersionedInstance> = decided
        .inspect(|update| {
            has_actions |= update.left_visit.is_some();
            has_actions |= update.actions.as_ref().is_some_and(|actions| {
                !actions.invoked.is_empty() || !actions.ended.is_empty() || actions.suspended.is_some()
            });
            is_changed |= update.instance.is_some() && !update.is_silent;
        })
        .filter_map(|update| update.into_versioned(applied.version?))
        .collect();
    let armed = rewritten
        .iter()
        .map(|versioned| (versioned.id, versioned.instance.visit, versioned.instance.deadline_at));
    let is_earlier = inner.queue.deadlines().update_all(life, armed);
    inner.instance_cache.insert(life, rewritten.into_iter());
    if is_earlier {
        inner.queue.wake();
    }
    for action in &applied.stopped {
        inner.running.cancel(*action);
    }
    if has_actions {
        inner.actions_changed.notify_one();
    }
    if is_changed {
        inner.written.notify_one();
        inner.feed.wake_for_own();
    }
}

/// Answers a request whose update is durable.
pub(super) fn answer_one(
    engine: &Engine,
    life: DatabaseLife,
    id: InstanceId,
    work: WorkItem,
    result: WorkResult,
) {
    // A deadline that was stale or moved: the deadline of the row replaces it.
    if let WorkResult::DeadlineHandled(instance) = &result
        && engine.inner.queue.deadlines().update(life, id, instance.visit, instance.deadline_at)
    {
        engine.inner.queue.wake();
    }
    work.answer(result);
}

/// Logs the state changes of updates that have become durable: at info, or at debug where the state was re-entered by its
/// own timeout and no list shows a difference.
fn log_state_changes(updates: &[DecidedUpdate], applied: &BatchResult) {
    // Without a version nothing was written.
    if !tracing::enabled!(Level::INFO) || applied.version.is_none() {
        return;
    }
    for update in updates.iter().filter(|update| !applied.overtaken.contains(&update.id())) {
        let Instance { machine, name: instance, .. } = &*update.base.instance;
        for NewHistoryEntry { content, outcome, visit, sender, reason, .. } in &update.entries {
            let (HistoryContent::Stimulus(stimulus), Some(Outcome::Moved { from, to })) = (content, outcome)
            else {
                continue;
            };
            let (event, visit) = (stimulus.cause.event_name(), visit.0);
            // An open incident is entered anew for each probe.
            if update.is_silent || (from == to && machine.as_str() == INCIDENT_MACHINE) {
                tracing::debug!(%machine, %instance, %from, %to, %event, visit, sender, reason, "state changed");
            } else {
                tracing::info!(%machine, %instance, %from, %to, %event, visit, sender, reason, "state changed");
            }
        }
        if let Some((state, visit)) = &update.reentered {
            let event = "deadline";
            tracing::debug!(%machine, %instance, from = %state, to = %state, %event, visit = visit.0, "state changed");
        }
    }
}
