//! What the decisions on a group look at, and the decisions.

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
use crate::machine::{Cause, Definition, TimeoutDue};
use crate::store::actions::{self, LiveAction};
use crate::store::batches::{self};
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::{PooledConnection, StoreError};

/// From when on history tells that a deadline was handled late.
const LATE_DEADLINE_THRESHOLD: TimeDelta = TimeDelta::seconds(1);

/// All that the decisions on a group may look at.
#[derive(Default)]
pub(super) struct BatchInput {
    /// Whose each thing of the group is; nothing where it is about nothing that there is.
    ids: Vec<Option<InstanceId>>,
    pending: PendingUpdates,
    /// What the instances have to do, where an action begins or ends.
    actions: HashMap<InstanceId, Vec<LiveAction>>,
    /// What is known of instances that were silent until their time ran out.
    silence_reasons: BTreeMap<InstanceId, String>,
    /// What instances have in common, where a guard or an action asks.
    shared_facts: Option<SharedFactsByFace>,
}

impl BatchInput {
    /// Reads it. The instances come first: whatever is read after them and has changed since shows in their rows.
    pub(super) async fn read(
        engine: &Engine,
        rules: &DefinitionSet,
        db: &mut PooledConnection,
        part: &[WorkItem],
    ) -> Result<Self, StoreError> {
        let targets: Vec<Cow<'_, InstanceKey>> = part.iter().map(WorkItem::target).collect();
        let mut material = Self::default();
        let mut unknown = Vec::new();
        let remembered = engine.inner.instance_cache.find(db.life(), targets.iter().map(AsRef::as_ref));
        for ((work, target), seen) in part.iter().zip(&targets).zip(remembered) {
            // Of what is remembered it does not show whether it is still so until something is written.
            let seen = seen.filter(|_| !work.has_condition());
            material.ids.push(seen.as_ref().map(|seen| seen.id));
            match seen {
                Some(seen) => {
                    material.pending.add(PendingUpdate::from_cache(seen, engine.kinds()));
                }
                None => unknown.push(target.as_ref()),
            }
        }
        if !unknown.is_empty() {
            let (ids, named) = split_by_kind(unknown.into_iter());
            let mut read = HashMap::new();
            for seen in batches::read(db, &ids, &named).await? {
                read.extend(targets_of(&seen).map(|target| (target, seen.id)));
                material.pending.add(PendingUpdate::new(seen, engine.kinds()));
            }
            for (id, target) in material.ids.iter_mut().zip(&targets) {
                *id = id.or_else(|| read.get(target.as_ref()).copied());
            }
        }
        let (mut with_actions, mut silent) = (Vec::new(), Vec::new());
        let mut without_facts = HashSet::new();
        let (mut needs_shared, mut is_linked) = (false, false);
        for (work, id) in part.iter().zip(&material.ids) {
            let Some(draft) = id.and_then(|id| material.pending.get(id)) else { continue };
            let Ok(definition) = rules.definition(&draft.instance().machine) else { continue };
            is_linked = is_linked || !definition.links.is_empty();
            if draft.lacks_facts() && needs_facts(definition, draft, work) {
                without_facts.insert(draft.id());
            }
            match work {
                WorkItem::Begin { .. } | WorkItem::End { .. } => with_actions.push(draft.id()),
                WorkItem::Due(_) if waits_for_reports(definition, draft) => {
                    silent.push((draft.id(), draft.instance().machine.clone()));
                }
                WorkItem::Submitted { submission, .. } => {
                    needs_shared = needs_shared || draft.reads_facts(definition, &submission.cause);
                }
                WorkItem::Due(_) | WorkItem::Noted { .. } => {}
            }
        }
        if !without_facts.is_empty() {
            let lacking = material.pending.iter_mut().filter(|draft| without_facts.contains(&draft.id()));
            engine.inner.faces.add_facts(db, lacking.map(PendingUpdate::base_mut)).await?;
        }
        if !with_actions.is_empty() {
            for action in actions::list_live(db, &with_actions).await? {
                let kind = engine.kinds().description(action.action.action.as_str());
                needs_shared |= kind.is_some_and(|kind| engine.inner.faces.needs_shared_facts(kind.facts));
                material.actions.entry(action.action.instance).or_default().push(action);
            }
        }
        if !silent.is_empty() {
            material.silence_reasons =
                engine.inner.faces.read_silence(db, &silent, engine.clock().now()).await?;
        }
        if needs_shared {
            material.shared_facts = Some(engine.inner.faces.read_shared(db).await?);
        }
        if is_linked {
            material.read_linked(engine, rules, db, part).await?;
        }
        Ok(material)
    }

    /// Reads those to whom something may be raised, and those who are linked by it.
    async fn read_linked(
        &mut self,
        engine: &Engine,
        rules: &DefinitionSet,
        db: &mut PooledConnection,
        part: &[WorkItem],
    ) -> Result<(), StoreError> {
        let (now, none) = (engine.clock().now(), SharedFactsByFace::default());
        loop {
            let shared = self.shared_facts.as_ref();
            let scene =
                chain::ChainContext { pending: &self.pending, definitions: rules, shared_facts: shared, now };
            let lack = |(work, id): (&WorkItem, &Option<InstanceId>)| {
                let draft = self.pending.get((*id)?)?;
                let definition = rules.definition(&draft.instance().machine).ok()?;
                let live = self.actions.get(&draft.id()).map(Vec::as_slice).unwrap_or_default();
                let shared = shared.unwrap_or(&none);
                let context = action_run::ActionContext {
                    engine,
                    definition,
                    live_actions: live,
                    shared_facts: shared,
                    now,
                };
                let submission = submission_of(context, draft, work)?;
                scene.decide(draft.id(), &submission).err()
            };
            let lacks: Vec<MissingInput> = part.iter().zip(&self.ids).filter_map(lack).collect();
            let needs_shared = lacks.contains(&MissingInput::SharedFacts);
            let targets: HashSet<InstanceKey> =
                lacks.into_iter().filter_map(MissingInput::into_target).collect();
            if needs_shared {
                self.shared_facts = Some(engine.inner.faces.read_shared(db).await?);
            } else if targets.is_empty() {
                return Ok(());
            }
            linked_instances::read(engine, db, &mut self.pending, targets).await?;
        }
    }

    /// Decides on everything in the order of its arrival. What is for the next group goes to `again`; what is about
    /// nothing that there is, or changes nothing, is answered at once.
    pub(super) fn decide(
        mut self,
        engine: &Engine,
        rules: &DefinitionSet,
        part: Vec<WorkItem>,
        again: &mut Vec<WorkItem>,
    ) -> BatchDecisions {
        let now = engine.clock().now();
        let mut done = Vec::with_capacity(part.len());
        let (mut worker, mut orphans) = (None, Vec::new());
        let (mut deferred, none) = (HashSet::new(), SharedFactsByFace::default());
        for (work, id) in part.into_iter().zip(self.ids) {
            let Some((id, draft)) = id.and_then(|id| Some((id, self.pending.get(id)?))) else {
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
            let definition = match rules.definition(&draft.instance().machine) {
                Ok(definition) => definition,
                Err(error) => {
                    // There may be one again, which this program understands; until then the deadline stands.
                    if let WorkItem::Due(due) = &work {
                        engine.inner.queue.deadlines().put_back(*due);
                    }
                    work.fail(error);
                    continue;
                }
            };
            // An action's part is decided on by itself, on the row as it was read.
            let is_action = matches!(work, WorkItem::Begin { .. } | WorkItem::End { .. });
            // Where another stimulus of this group made it so, nothing was read yet of what a guard asks for.
            let lacks_shared = self.shared_facts.is_none()
                && matches!(&work, WorkItem::Submitted { submission, .. } if draft.reads_facts(definition, &submission.cause));
            let lacks_facts = draft.lacks_facts() && needs_facts(definition, draft, &work);
            let is_late =
                draft.is_closed() || (is_action && !draft.is_untouched()) || lacks_shared || lacks_facts;
            if is_late || deferred.contains(&id) {
                deferred.insert(id);
                again.push(work);
                continue;
            }
            let shared = self.shared_facts.as_ref().unwrap_or(&none);
            let live = self.actions.get(&id).map(Vec::as_slice).unwrap_or_default();
            let context = action_run::ActionContext {
                engine,
                definition,
                live_actions: live,
                shared_facts: shared,
                now,
            };
            let scene = chain::ChainContext {
                pending: &self.pending,
                definitions: rules,
                shared_facts: self.shared_facts.as_ref(),
                now,
            };
            let steps = match submission_of(context, draft, &work).map(|one| scene.decide(id, &one)) {
                None => None,
                Some(Ok(steps)) => Some(steps),
                // Another stimulus of this batch made it so that more has to be read.
                Some(Err(_)) => {
                    deferred.insert(id);
                    again.push(work);
                    continue;
                }
            };
            let (drafts, by) = (&mut self.pending, (&**definition, shared, now));
            let Some(draft) = drafts.get_mut(id) else { continue };
            let came_to = match &work {
                WorkItem::Submitted { submission, .. }
                    if submission.is_report() && engine.inner.running.is_ending(id) =>
                {
                    WorkResult::WaitsForAction(id)
                }
                WorkItem::Submitted { submission, .. } if !draft.has_expected_tag(submission, rules) => {
                    WorkResult::Changed
                }
                WorkItem::Submitted { submission, .. } => {
                    let unasked = submission.missing_questions(definition);
                    if !unasked.is_empty() {
                        done.push((id, work, WorkResult::NeedsPredictions(unasked)));
                        continue;
                    }
                    let outcome = drafts.decide(id, submission, steps, by);
                    let Some((outcome, draft)) = outcome.zip(drafts.get(id)) else { continue };
                    WorkResult::Committed(CommittedSubmission {
                        id,
                        outcome,
                        instance: Arc::clone(draft.instance()),
                    })
                }
                WorkItem::Due(due) => {
                    let cause = Cause::Deadline { visit: due.visit };
                    let remark = self.silence_reasons.get(&id).cloned();
                    let evidence = describe_due(definition, draft, due.at, now);
                    let submission = Submission {
                        evidence,
                        reason: remark,
                        ..Submission::new(InstanceKey::Id(id), cause)
                    };
                    drafts.decide(id, &submission, steps, by);
                    let Some(draft) = drafts.get(id) else { continue };
                    WorkResult::DeadlineHandled(Arc::clone(draft.instance()))
                }
                WorkItem::Begin { action, by, .. } => {
                    worker = Some(by.id);
                    WorkResult::Started(action_run::begin_action(context, draft, action, by.life))
                }
                WorkItem::End { ended, .. } => {
                    worker = Some(ended.worker.id);
                    WorkResult::Started(action_run::end_action(context, drafts, id, ended, steps))
                }
                WorkItem::Noted { note, .. } => {
                    draft.add_note(InstanceNote::clone(note), now);
                    WorkResult::Noted
                }
            };
            done.push((id, work, came_to));
        }
        let (untouched, touched): (Vec<_>, Vec<_>) =
            self.pending.into_values().partition(|draft| draft.is_untouched());
        let untouched: HashMap<InstanceId, bool> =
            untouched.iter().map(|draft| (draft.id(), draft.is_cached())).collect();
        // Nothing is to be written for these, so nothing has to become durable first.
        let (now_done, done): (Vec<_>, Vec<_>) =
            done.into_iter().partition(|(id, ..)| untouched.contains_key(id));
        for (id, work, came_to) in now_done {
            if untouched.get(&id) == Some(&true) && matches!(came_to, WorkResult::DeadlineHandled(_)) {
                // Only a look at the row says that nothing is due.
                engine.inner.instance_cache.remove([id].into_iter());
                again.push(work);
            } else {
                answer_one(engine, rules.life, id, work, came_to);
            }
        }
        let decided = touched.into_iter().map(|draft| draft.into_decided()).collect();
        BatchDecisions { decided, answers: done, worker, decided_at: now, orphans }
    }
}

/// When the time that passes now was due, for history: where that is a time on the calendar, and where nobody was there.
fn describe_due(
    definition: &Definition,
    draft: &PendingUpdate,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Map<String, Value>> {
    let timeout = definition.states.get(&draft.instance().state)?.timeout.as_ref()?;
    let is_told = matches!(timeout.due, TimeoutDue::At(_)) || now - due > LATE_DEADLINE_THRESHOLD;
    is_told.then(|| Map::from_iter([("due_at".to_owned(), json!(due))]))
}

/// What an instance that may be linked is to decide on, where something may be raised by that.
fn submission_of<'a>(
    context: action_run::ActionContext<'_>,
    draft: &PendingUpdate,
    work: &'a WorkItem,
) -> Option<Cow<'a, Submission>> {
    if context.definition.links.is_empty() {
        return None;
    }
    match work {
        WorkItem::Submitted { submission, .. } => Some(Cow::Borrowed(submission)),
        WorkItem::Due(due) => {
            let cause = Cause::Deadline { visit: due.visit };
            Some(Cow::Owned(Submission::new(InstanceKey::Id(draft.id()), cause)))
        }
        WorkItem::End { ended, .. } => action_run::end_event(context, draft, ended).map(Cow::Owned),
        WorkItem::Begin { .. } | WorkItem::Noted { .. } => None,
    }
}

/// Whether the decision on `work` may depend on what the instance's face knows of it.
fn needs_facts(definition: &Definition, draft: &PendingUpdate, work: &WorkItem) -> bool {
    match work {
        WorkItem::Submitted { submission, .. } => draft.needs_facts(definition, &submission.cause),
        WorkItem::Due(due) => draft.needs_facts(definition, &Cause::Deadline { visit: due.visit }),
        // What is run gets them.
        WorkItem::Begin { .. } | WorkItem::End { .. } => true,
        WorkItem::Noted { .. } => false,
    }
}

/// Whether the instance's state waits for something that is to be reported from outside.
fn waits_for_reports(definition: &Definition, draft: &PendingUpdate) -> bool {
    let Some(state) = definition.states.get(&draft.instance().state) else { return false };
    let is_report = |event| definition.events.get(event).is_some_and(|event| event.reporter().is_some());
    state.on.keys().any(is_report)
}
