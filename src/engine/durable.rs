//! Decisions become durable, and whoever waits for them is answered.

use std::time::Duration;

use super::decisions::Decisions;
use super::grants::{PassedOn, pass_on};
use super::handle::Engine;
use super::rules::Known;
use super::work::{Committed, Done, Work};
use crate::machine::Outcome;
use crate::store::actions::{self, ActionId};
use crate::store::groups::{self, Applied, Decided, Group, Seen};
use crate::store::instances::InstanceId;
use crate::store::{Connection, Life, Pooled, Store, StoreError};

/// How long the database may take for one statement.
const LONGEST: Duration = Store::LONGEST;

/// Writes what was decided.
pub(super) async fn write(
    engine: &Engine,
    rules: &Known,
    db: &mut Pooled,
    decisions: &Decisions,
) -> Result<Applied, StoreError> {
    let Decisions { decided, worker, at, orphans, .. } = decisions;
    // First, because whatever fails after the group is durable would have it written again.
    let store = engine.store();
    let outages = db.outages();
    store.within_on(outages, LONGEST, sweep(db, orphans)).await?;
    if decided.is_empty() {
        return Ok(Applied::default());
    }
    let write = async {
        // What is given back goes to whoever is next, in the same transaction.
        let (faces, troubles) = (&engine.inner.faces, engine.inner.troubles.keys());
        let PassedOn { let_go, granted_on } = pass_on(db, decided, faces, &troubles, *at).await?;
        let group = Group { decided, let_go: &let_go, granted_on: &granted_on };
        groups::write(db, group, engine.inner.origin, rules.adoption, *worker, *at).await
    };
    store.within_on(outages, LONGEST, write).await
}

/// Deletes what instances still had to do that are gone.
async fn sweep(db: &mut Connection, orphans: &[(ActionId, Work)]) -> Result<(), StoreError> {
    if orphans.is_empty() {
        return Ok(());
    }
    let ids: Vec<ActionId> = orphans.iter().map(|(action, _)| *action).collect();
    actions::delete_orphans(db, &ids).await
}

/// Answers whose part is durable; gives back what has to be decided on anew.
pub(super) fn settle(engine: &Engine, life: Life, decisions: Decisions, applied: &Applied) -> Vec<Work> {
    let Decisions { decided, done, orphans, worker: _, at: _ } = decisions;
    let inner = &engine.inner;
    let is_overtaken = |id: &InstanceId| applied.overtaken.contains(id);
    // What they held is free now.
    if !orphans.is_empty() {
        inner.actions_changed.notify_one();
        inner.written.notify_one();
        inner.feed.wake_for_own();
    }
    learn(engine, life, decided, applied);
    for (_, work) in orphans {
        work.answer(Done::Started(None));
    }
    let mut again = Vec::new();
    for (id, work, came_to) in done {
        if is_overtaken(&id) {
            inner.retries.overtaken.increment();
            if matches!(&work, Work::Begin { action, .. } if !action.grant.taken_from.is_empty()) {
                // What it was to get may be somebody else's by now: it is scheduled anew.
                inner.actions_changed.notify_one();
                work.answer(Done::Started(None));
                continue;
            }
            again.push(work);
        } else {
            finish(engine, life, id, work, came_to);
        }
    }
    again
}

/// Learns what became of instances, which is durable.
pub(super) fn learn(engine: &Engine, life: Life, decided: Vec<Decided>, applied: &Applied) {
    let inner = &engine.inner;
    inner.recent.forget(applied.overtaken.iter().copied());
    let decided = decided.into_iter().filter(|one| !applied.overtaken.contains(&one.id()));
    let (mut is_changed, mut has_actions) = (false, false);
    let rewritten: Vec<Seen> = decided
        .inspect(|one| {
            has_actions |= !one.invoked.is_empty() || !one.ended.is_empty() || one.left.is_some();
            has_actions |= one.suspended.is_some();
            is_changed |= one.instance.is_some() && !one.is_silent;
        })
        .filter_map(|one| one.into_seen(applied.version?))
        .collect();
    let armed = rewritten.iter().map(|seen| (seen.id, seen.instance.visit, seen.instance.deadline_at));
    let is_earlier = inner.queue.deadlines().learn_all(life, armed);
    inner.recent.remember(life, rewritten.into_iter());
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
pub(super) fn finish(engine: &Engine, life: Life, id: InstanceId, work: Work, came_to: Done) {
    match &came_to {
        Done::Committed(committed) => tell(committed),
        Done::Fired(instance) => {
            // Where it did not stand any more, or stands for later: what the row says is known from now on.
            if engine.inner.queue.deadlines().learn(life, id, instance.visit, instance.deadline_at) {
                engine.inner.queue.wake();
            }
        }
        Done::Changed | Done::TooEarly(_) | Done::Unasked(_) | Done::Started(_) | Done::Noted => {}
    }
    work.answer(came_to);
}

/// Logs a state change that has become durable; history is the record of them.
fn tell(committed: &Committed) {
    if let Outcome::Moved { from, to } = &committed.outcome {
        let name = committed.instance.name.as_str();
        tracing::debug!(instance.name = name, %from, instance.state = %to, "{name}: {from} → {to}");
    }
}
