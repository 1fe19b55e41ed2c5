//! Decisions become durable, and whoever waits for them is answered.

use std::time::Duration;

use super::batch_decisions::BatchDecisions;
use super::definition_cache::DefinitionSet;
use super::grants::{PassOnPlan, pass_on};
use super::handle::Engine;
use super::work_item::{CommittedSubmission, WorkItem, WorkResult};
use crate::machine::Outcome;
use crate::store::actions::{self, ActionId};
use crate::store::batches::{self, Batch, BatchResult, DecidedUpdate, VersionedInstance};
use crate::store::instances::InstanceId;
use crate::store::{DatabaseLife, DbConnection, PooledConnection, Store, StoreError};

/// How long the database may take for one statement.
const STATEMENT_TIMEOUT: Duration = Store::MAX_STATEMENT_TIME;

/// Writes what was decided.
pub(super) async fn write(
    engine: &Engine,
    rules: &DefinitionSet,
    db: &mut PooledConnection,
    decisions: &BatchDecisions,
) -> Result<BatchResult, StoreError> {
    let BatchDecisions { decided, worker, decided_at: at, orphans, .. } = decisions;
    // First, because whatever fails after the group is durable would have it written again.
    let store = engine.store();
    let outages = db.outages();
    store.within_on(outages, STATEMENT_TIMEOUT, delete_orphans(db, orphans)).await?;
    if decided.is_empty() {
        return Ok(BatchResult::default());
    }
    let write = async {
        // What is given back goes to whoever is next, in the same transaction.
        let (faces, troubles) = (&engine.inner.faces, engine.inner.troubles.keys());
        let PassOnPlan { dropped_holds: let_go, passed_on_grants: granted_on } =
            pass_on(db, decided, faces, &troubles, *at).await?;
        let group = Batch { decided, dropped_holds: &let_go, passed_on_grants: &granted_on };
        batches::write(db, group, engine.inner.origin, rules.activation, *worker, *at).await
    };
    store.within_on(outages, STATEMENT_TIMEOUT, write).await
}

/// Deletes what instances still had to do that are gone.
async fn delete_orphans(db: &mut DbConnection, orphans: &[(ActionId, WorkItem)]) -> Result<(), StoreError> {
    if orphans.is_empty() {
        return Ok(());
    }
    let ids: Vec<ActionId> = orphans.iter().map(|(action, _)| *action).collect();
    actions::delete_orphans(db, &ids).await
}

/// Answers whose part is durable; gives back what has to be decided on anew.
pub(super) fn answer_all(
    engine: &Engine,
    life: DatabaseLife,
    decisions: BatchDecisions,
    applied: &BatchResult,
) -> Vec<WorkItem> {
    let BatchDecisions { decided, answers: done, orphans, worker: _, decided_at: _ } = decisions;
    let inner = &engine.inner;
    let is_overtaken = |id: &InstanceId| applied.overtaken.contains(id);
    // What they held is free now.
    if !orphans.is_empty() {
        inner.actions_changed.notify_one();
        inner.written.notify_one();
        inner.feed.wake_for_own();
    }
    update_caches(engine, life, decided, applied);
    for (_, work) in orphans {
        work.answer(WorkResult::Started(None));
    }
    let mut again = Vec::new();
    for (id, work, came_to) in done {
        if is_overtaken(&id) {
            inner.retries.overtaken.increment();
            if matches!(&work, WorkItem::Begin { action, .. } if !action.grant.based_on.is_empty()) {
                // What it was to get may be somebody else's by now: it is scheduled anew.
                inner.actions_changed.notify_one();
                work.answer(WorkResult::Started(None));
                continue;
            }
            again.push(work);
        } else {
            answer_one(engine, life, id, work, came_to);
        }
    }
    again
}

/// Learns what became of instances, which is durable.
pub(super) fn update_caches(
    engine: &Engine,
    life: DatabaseLife,
    decided: Vec<DecidedUpdate>,
    applied: &BatchResult,
) {
    let inner = &engine.inner;
    inner.instance_cache.remove(applied.overtaken.iter().copied());
    let decided = decided.into_iter().filter(|one| !applied.overtaken.contains(&one.id()));
    let (mut is_changed, mut has_actions) = (false, false);
    let rewritten: Vec<VersionedInstance> = decided
        .inspect(|one| {
            has_actions |= !one.invoked.is_empty() || !one.ended.is_empty() || one.left_visit.is_some();
            has_actions |= one.suspended.is_some();
            is_changed |= one.instance.is_some() && !one.is_silent;
        })
        .filter_map(|one| one.into_versioned(applied.version?))
        .collect();
    let armed = rewritten.iter().map(|seen| (seen.id, seen.instance.visit, seen.instance.deadline_at));
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

/// Answers one whose part is durable.
pub(super) fn answer_one(
    engine: &Engine,
    life: DatabaseLife,
    id: InstanceId,
    work: WorkItem,
    came_to: WorkResult,
) {
    match &came_to {
        WorkResult::Committed(committed) => log_move(committed),
        WorkResult::DeadlineHandled(instance) => {
            // Where it did not stand any more, or stands for later: what the row says is known from now on.
            if engine.inner.queue.deadlines().update(life, id, instance.visit, instance.deadline_at) {
                engine.inner.queue.wake();
            }
        }
        WorkResult::Changed
        | WorkResult::WaitsForAction(_)
        | WorkResult::NeedsPredictions(_)
        | WorkResult::Started(_)
        | WorkResult::Noted => {}
    }
    work.answer(came_to);
}

/// Logs a state change that has become durable; history is the record of them.
fn log_move(committed: &CommittedSubmission) {
    if let Outcome::Moved { from, to } = &committed.outcome {
        let name = committed.instance.name.as_str();
        tracing::debug!(instance.name = name, %from, instance.state = %to, "{name}: {from} → {to}");
    }
}
