//! The input of the decisions on a batch, and the decisions.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::action_run;
use super::batch_commit::answer_one;
use super::batch_decisions::BatchDecisions;
use super::chain;
use super::definition_cache::DefinitionSet;
use super::error::EngineError;
use super::face::SharedFactsByFace;
use super::handle::Engine;
use super::linked_instances;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use super::step::MissingInput;
use super::targets::{split_by_kind, targets_of};
use super::work_item::{CommittedSubmission, InstanceNote, Submission, WorkItem, WorkResult};
use crate::machine::{Cause, Definition, IgnoreReason, Outcome, TimeoutDue};
use crate::store::actions::{self, ActionStatus, LiveAction};
use crate::store::batches;
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::{PooledConnection, StoreError};

/// The delay from which history records that a deadline was handled late.
const LATE_DEADLINE_THRESHOLD: TimeDelta = TimeDelta::seconds(1);

/// The input of the decisions on a batch.
#[derive(Default)]
pub(super) struct BatchInput {
    /// The instance of each work item; nothing where it does not exist.
    ids: Vec<Option<InstanceId>>,
    pending: PendingUpdates,
    /// The open actions of instances of which an action starts or ends.
    actions: HashMap<InstanceId, Vec<LiveAction>>,
    /// The reasons of instances that were silent until their deadline.
    silence_reasons: BTreeMap<InstanceId, String>,
    /// The shared facts, where a guard or an action reads them.
    shared_facts: Option<SharedFactsByFace>,
}

impl BatchInput {
    /// Reads the input. Instances are read first: a later change of anything else shows in the versions of their rows.
    pub(super) async fn read(
        engine: &Engine,
        definitions: &DefinitionSet,
        db: &mut PooledConnection,
        part: &[WorkItem],
    ) -> Result<Self, StoreError> {
        let targets: Vec<Cow<'_, InstanceKey>> = part.iter().map(WorkItem::target).collect();
        let mut input = Self::default();
        let mut unknown = Vec::new();
        let cached = engine.inner.instance_cache.find(db.life(), targets.iter().map(AsRef::as_ref));
        for ((work, target), versioned) in part.iter().zip(&targets).zip(cached) {
            // A condition needs the present row: a cached instance is validated on write only.
            let versioned = versioned.filter(|_| !work.has_condition());
            input.ids.push(versioned.as_ref().map(|versioned| versioned.id));
            match versioned {
                Some(versioned) => {
                    input.pending.add(PendingUpdate::from_cache(versioned, engine.kinds()));
                }
                None => unknown.push(target.as_ref()),
            }
        }
        if !unknown.is_empty() {
            let (ids, named) = split_by_kind(unknown.into_iter());
            let mut read = HashMap::new();
            for versioned in batches::read(db, &ids, &named).await? {
                read.extend(targets_of(&versioned).map(|target| (target, versioned.id)));
                input.pending.add(PendingUpdate::new(versioned, engine.kinds()));
            }
            for (id, target) in input.ids.iter_mut().zip(&targets) {
                *id = id.or_else(|| read.get(target.as_ref()).copied());
            }
        }
        let now = engine.clock().now();
        let (mut with_actions, mut silent) = (Vec::new(), Vec::new());
        let mut without_facts = HashSet::new();
        let (mut needs_shared, mut is_linked) = (false, false);
        for (work, id) in part.iter().zip(&input.ids) {
            let Some(update) = id.and_then(|id| input.pending.get(id)) else { continue };
            let Ok(definition) = definitions.definition(&update.instance().machine) else { continue };
            is_linked = is_linked || !definition.links.is_empty();
            if update.lacks_facts() && needs_facts(definition, update, work) {
                without_facts.insert(update.id());
            }
            match work {
                WorkItem::Begin { .. } | WorkItem::End { .. } => with_actions.push(update.id()),
                WorkItem::Submitted { submission, .. } if submission.is_retry() => {
                    with_actions.push(update.id());
                }
                WorkItem::Due(_) if waits_for_reports(definition, update) => {
                    silent.push((update.id(), update.instance().machine.clone()));
                }
                WorkItem::Submitted { .. } | WorkItem::Due(_) | WorkItem::Noted { .. } => {}
            }
        }
        if !without_facts.is_empty() {
            let lacking = input.pending.iter_mut().filter(|update| without_facts.contains(&update.id()));
            engine.inner.faces.add_facts(db, lacking.map(PendingUpdate::base_mut)).await?;
        }
        if !with_actions.is_empty() {
            for action in actions::list_live(db, &with_actions).await? {
                let kind = engine.kinds().description(action.action.action.as_str());
                needs_shared |= kind.is_some_and(|kind| engine.inner.faces.needs_shared_facts(kind.facts));
                input.actions.entry(action.action.instance).or_default().push(action);
            }
        }
        if !silent.is_empty() {
            input.silence_reasons = engine.inner.faces.read_silence(db, &silent, now).await?;
        }
        if needs_shared || part.iter().zip(&input.ids).any(|item| input.reads_facts(definitions, item)) {
            input.shared_facts = Some(engine.inner.faces.read_shared(db).await?);
        }
        if is_linked {
            input.read_linked(engine, definitions, db, part).await?;
        }
        Ok(input)
    }

    /// Whether a guard can read facts when it is decided on a work item.
    fn reads_facts(&self, definitions: &DefinitionSet, (work, id): (&WorkItem, &Option<InstanceId>)) -> bool {
        let Some(update) = id.and_then(|id| self.pending.get(id)) else { return false };
        let Ok(definition) = definitions.definition(&update.instance().machine) else { return false };
        cause_of(self.live_actions(update.id()), update, work)
            .is_some_and(|cause| update.reads_facts(definition, &cause))
    }

    /// The open actions of an instance of which one starts or ends.
    fn live_actions(&self, id: InstanceId) -> &[LiveAction] {
        self.actions.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Reads the instances at which events can be raised, and those that become linked.
    async fn read_linked(
        &mut self,
        engine: &Engine,
        definitions: &DefinitionSet,
        db: &mut PooledConnection,
        part: &[WorkItem],
    ) -> Result<(), StoreError> {
        let now = engine.clock().now();
        loop {
            let shared = self.shared_facts.as_ref();
            let chain_context =
                chain::ChainContext { pending: &self.pending, definitions, shared_facts: shared, now };
            let missing_input = |(work, id): (&WorkItem, &Option<InstanceId>)| {
                let update = self.pending.get((*id)?)?;
                let definition = definitions.definition(&update.instance().machine).ok()?;
                if definition.links.is_empty() {
                    return None;
                }
                let submission = submission_of(self.live_actions(update.id()), update, work)?;
                chain_context.decide(update.id(), &submission).err()
            };
            let missing: Vec<MissingInput> = part.iter().zip(&self.ids).filter_map(missing_input).collect();
            let needs_shared = missing.contains(&MissingInput::SharedFacts);
            let without_facts: HashSet<InstanceId> =
                missing.iter().filter_map(MissingInput::instance_without_facts).collect();
            let targets: HashSet<InstanceKey> =
                missing.into_iter().filter_map(MissingInput::into_target).collect();
            if needs_shared {
                self.shared_facts = Some(engine.inner.faces.read_shared(db).await?);
            } else if targets.is_empty() && without_facts.is_empty() {
                return Ok(());
            }
            let lacking = self.pending.iter_mut().filter(|update| without_facts.contains(&update.id()));
            engine.inner.faces.add_facts(db, lacking.map(PendingUpdate::base_mut)).await?;
            linked_instances::read(engine, db, &mut self.pending, targets).await?;
        }
    }

    /// Decides on all work items in the order of their arrival. Items for the next batch go to `again`; items of missing
    /// instances and items that change nothing are answered at once.
    pub(super) fn decide(
        mut self,
        engine: &Engine,
        definitions: &DefinitionSet,
        part: Vec<WorkItem>,
        retries: &mut Vec<WorkItem>,
    ) -> BatchDecisions {
        let now = engine.clock().now();
        let mut done = Vec::with_capacity(part.len());
        let (mut worker, mut orphans) = (None, Vec::new());
        let (mut deferred, none) = (HashSet::new(), SharedFactsByFace::default());
        for (work, id) in part.into_iter().zip(self.ids) {
            let Some((id, update)) = id.and_then(|id| Some((id, self.pending.get(id)?))) else {
                match &work {
                    WorkItem::Begin { action, .. } => orphans.push((action.id, work)),
                    WorkItem::End { ended, .. } => orphans.push((ended.action.id, work)),
                    WorkItem::Submitted { .. } | WorkItem::Due(_) | WorkItem::Noted { .. } => {
                        let target = work.target().into_owned();
                        work.fail(EngineError::NoInstance(target));
                    }
                }
                continue;
            };
            let definition = match definitions.definition(&update.instance().machine) {
                Ok(definition) => definition,
                Err(error) => {
                    // The deadline stays until there is a definition that this program can parse.
                    if let WorkItem::Due(due) = &work {
                        engine.inner.queue.deadlines().put_back(*due);
                    }
                    work.fail(error);
                    continue;
                }
            };
            // An action starts or ends on the row as it was read, before other updates of the batch.
            let is_retry = matches!(&work, WorkItem::Submitted { submission, .. } if submission.is_retry());
            let is_action = is_retry || matches!(work, WorkItem::Begin { .. } | WorkItem::End { .. });
            let live = self.actions.get(&id).map(Vec::as_slice).unwrap_or_default();
            // Another stimulus of this batch led to a state that depends on facts that were not read.
            let lacks_shared = || {
                self.shared_facts.is_none()
                    && cause_of(live, update, &work)
                        .is_some_and(|cause| update.reads_facts(definition, &cause))
            };
            let lacks_facts = || update.lacks_facts() && needs_facts(definition, update, &work);
            let is_late = !update.is_untouched()
                && (update.is_closed() || is_action || lacks_shared() || lacks_facts());
            if is_late || deferred.contains(&id) {
                deferred.insert(id);
                retries.push(work);
                continue;
            }
            let shared = self.shared_facts.as_ref().unwrap_or(&none);
            let context = action_run::ActionContext {
                engine,
                definition,
                live_actions: live,
                shared_facts: shared,
                now,
            };
            let chain_context = chain::ChainContext {
                pending: &self.pending,
                definitions,
                shared_facts: self.shared_facts.as_ref(),
                now,
            };
            let submission =
                (!definition.links.is_empty()).then(|| submission_of(live, update, &work)).flatten();
            let steps = match submission.map(|submission| chain_context.decide(id, &submission)) {
                None => None,
                Some(Ok(steps)) => Some(steps),
                // Another stimulus of this batch requires further instances to be read.
                Some(Err(_)) => {
                    deferred.insert(id);
                    retries.push(work);
                    continue;
                }
            };
            let (pending, inputs) = (&mut self.pending, (&**definition, shared, now));
            let Some(update) = pending.get_mut(id) else { continue };
            let result = match &work {
                WorkItem::Submitted { submission, .. }
                    if submission.is_report() && engine.inner.running.is_ending(id) =>
                {
                    WorkResult::WaitsForAction(id)
                }
                WorkItem::Submitted { submission, .. }
                    if !update.has_expected_tag(submission, definitions) =>
                {
                    WorkResult::Changed
                }
                // Its failure is not committed yet.
                WorkItem::Submitted { .. } if is_retry && live.iter().any(is_running) => WorkResult::Changed,
                // It waits again already.
                WorkItem::Submitted { .. } if is_retry && live.iter().any(is_waiting) => {
                    let instance = Arc::clone(update.instance());
                    WorkResult::Committed(CommittedSubmission {
                        id,
                        outcome: Outcome::Ignored(IgnoreReason::NotDue),
                        instance,
                    })
                }
                WorkItem::Submitted { submission, .. } => {
                    if is_retry {
                        let seqs = live.iter().filter(|live| live.action.visit == update.instance().visit);
                        update.set_last_seq(seqs.map(|live| live.seq).max().unwrap_or(0));
                    }
                    let unasked = submission.missing_questions(definition);
                    if !unasked.is_empty() {
                        done.push((id, work, WorkResult::NeedsPredictions(unasked)));
                        continue;
                    }
                    let outcome = pending.decide(id, submission, steps, inputs);
                    let Some((outcome, update)) = outcome.zip(pending.get(id)) else { continue };
                    WorkResult::Committed(CommittedSubmission {
                        id,
                        outcome,
                        instance: Arc::clone(update.instance()),
                    })
                }
                WorkItem::Due(due) => {
                    let cause = Cause::Deadline { visit: due.visit };
                    let reason = self.silence_reasons.get(&id).cloned();
                    let evidence = describe_due(definition, update, due.at, now);
                    let submission =
                        Submission { evidence, reason, ..Submission::new(InstanceKey::Id(id), cause) };
                    pending.decide(id, &submission, steps, inputs);
                    let Some(update) = pending.get(id) else { continue };
                    WorkResult::DeadlineHandled(Arc::clone(update.instance()))
                }
                WorkItem::Begin { action, worker: identity, .. } => {
                    worker = Some(identity.id);
                    WorkResult::Started(action_run::begin_action(context, update, action, identity.life))
                }
                WorkItem::End { ended, .. } => {
                    worker = Some(ended.worker.id);
                    WorkResult::Started(action_run::end_action(context, pending, id, ended, steps))
                }
                WorkItem::Noted { note, .. } => {
                    update.add_note(InstanceNote::clone(note), now);
                    WorkResult::Noted
                }
            };
            done.push((id, work, result));
        }
        let (untouched, touched): (Vec<_>, Vec<_>) =
            self.pending.into_values().partition(|update| update.is_untouched());
        let untouched: HashMap<InstanceId, bool> =
            untouched.iter().map(|update| (update.id(), update.is_cached())).collect();
        // Nothing is written for these, so they are answered at once.
        let (now_done, done): (Vec<_>, Vec<_>) =
            done.into_iter().partition(|(id, ..)| untouched.contains_key(id));
        for (id, work, result) in now_done {
            if untouched.get(&id) == Some(&true) && matches!(result, WorkResult::DeadlineHandled(_)) {
                // Only the row itself shows that nothing is due.
                engine.inner.instance_cache.remove([id].into_iter());
                retries.push(work);
            } else {
                answer_one(engine, definitions.life, id, work, result);
            }
        }
        let decided = touched.into_iter().map(|update| update.into_decided()).collect();
        BatchDecisions { decided, answers: done, worker, decided_at: now, orphans }
    }
}

/// Whether an action of the present visit runs.
fn is_running(live: &LiveAction) -> bool {
    !live.action.is_compensation && !live.is_cancelled && live.status == ActionStatus::Running
}

/// Whether an action of the present visit waits.
fn is_waiting(live: &LiveAction) -> bool {
    !live.action.is_compensation && !live.is_cancelled && live.status == ActionStatus::Waiting
}

/// The time at which a deadline was due, for history: recorded for calendar times and for late deadlines.
fn describe_due(
    definition: &Definition,
    update: &PendingUpdate,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Map<String, Value>> {
    let timeout = definition.states.get(&update.instance().state)?.timeout.as_ref()?;
    let is_recorded = matches!(timeout.due, TimeoutDue::At(_)) || now - due > LATE_DEADLINE_THRESHOLD;
    is_recorded.then(|| Map::from_iter([("due_at".to_owned(), json!(due))]))
}

/// Whether the decision on `work` can depend on the facts of the instance.
fn needs_facts(definition: &Definition, update: &PendingUpdate, work: &WorkItem) -> bool {
    match work {
        WorkItem::Submitted { submission, .. } => update.needs_facts(definition, &submission.cause),
        WorkItem::Due(due) => update.needs_facts(definition, &Cause::Deadline { visit: due.visit }),
        // The job of an action has them.
        WorkItem::Begin { .. } | WorkItem::End { .. } => true,
        WorkItem::Noted { .. } => false,
    }
}

/// The submission of a work item whose decision can raise events.
fn submission_of<'a>(
    live: &[LiveAction],
    update: &PendingUpdate,
    work: &'a WorkItem,
) -> Option<Cow<'a, Submission>> {
    match work {
        WorkItem::Submitted { submission, .. } => Some(Cow::Borrowed(submission)),
        WorkItem::Due(due) => {
            let cause = Cause::Deadline { visit: due.visit };
            Some(Cow::Owned(Submission::new(InstanceKey::Id(update.id()), cause)))
        }
        WorkItem::End { ended, .. } => action_run::end_event(live, update, ended).map(Cow::Owned),
        WorkItem::Begin { .. } | WorkItem::Noted { .. } => None,
    }
}

/// The cause of the decision on a work item, where guards are evaluated for it.
fn cause_of<'a>(live: &[LiveAction], update: &PendingUpdate, work: &'a WorkItem) -> Option<Cow<'a, Cause>> {
    match work {
        WorkItem::Submitted { submission, .. } => Some(Cow::Borrowed(&submission.cause)),
        WorkItem::Due(due) => Some(Cow::Owned(Cause::Deadline { visit: due.visit })),
        WorkItem::End { ended, .. } => {
            action_run::end_event(live, update, ended).map(|event| Cow::Owned(event.cause))
        }
        // The start of an action only starts the clock of its state.
        WorkItem::Begin { .. } | WorkItem::Noted { .. } => None,
    }
}

/// Whether the instance's state waits for a report.
fn waits_for_reports(definition: &Definition, update: &PendingUpdate) -> bool {
    let Some(state) = definition.states.get(&update.instance().state) else { return false };
    let is_report = |event| definition.events.get(event).is_some_and(|event| event.reporter().is_some());
    state.on.keys().any(is_report)
}
