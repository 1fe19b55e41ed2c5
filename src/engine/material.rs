//! What the decisions on a group look at, and the decisions.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::carry;
use super::chain;
use super::decisions::Decisions;
use super::draft::Draft;
use super::drafts::Drafts;
use super::durable::finish;
use super::error::EngineError;
use super::face::SharedByFace;
use super::handle::Engine;
use super::linked;
use super::rules::Known;
use super::step::Lack;
use super::targets::{by_kind, targets_of};
use super::work::{Committed, Done, Note, Submission, Work};
use crate::machine::{Cause, Definition, Due};
use crate::store::actions::{self, LiveAction};
use crate::store::groups::{self};
use crate::store::instances::{InstanceId, Target};
use crate::store::{Pooled, StoreError};

/// From when on history tells that a deadline was handled late.
const LATE: TimeDelta = TimeDelta::seconds(1);

/// All that the decisions on a group may look at.
#[derive(Default)]
pub(super) struct Material {
    /// Whose each thing of the group is; nothing where it is about nothing that there is.
    ids: Vec<Option<InstanceId>>,
    drafts: Drafts,
    /// What the instances have to do, where an action begins or ends.
    actions: HashMap<InstanceId, Vec<LiveAction>>,
    /// What is known of instances that were silent until their time ran out.
    silence: BTreeMap<InstanceId, String>,
    /// What instances have in common, where a guard or an action asks.
    shared: Option<SharedByFace>,
}

impl Material {
    /// Reads it. The instances come first: whatever is read after them and has changed since shows in their rows.
    pub(super) async fn read(
        engine: &Engine,
        rules: &Known,
        db: &mut Pooled,
        part: &[Work],
    ) -> Result<Self, StoreError> {
        let targets: Vec<Cow<'_, Target>> = part.iter().map(Work::target).collect();
        let mut material = Self::default();
        let mut unknown = Vec::new();
        let remembered = engine.inner.recent.find(db.life(), targets.iter().map(AsRef::as_ref));
        for ((work, target), seen) in part.iter().zip(&targets).zip(remembered) {
            // Of what is remembered it does not show whether it is still so until something is written.
            let seen = seen.filter(|_| !work.has_condition());
            material.ids.push(seen.as_ref().map(|seen| seen.id));
            match seen {
                Some(seen) => {
                    material.drafts.add(Draft::remembered(seen, engine.kinds()));
                }
                None => unknown.push(target.as_ref()),
            }
        }
        if !unknown.is_empty() {
            let (ids, named) = by_kind(unknown.into_iter());
            let mut read = HashMap::new();
            let mut cold = groups::read(db, &ids, &named).await?;
            engine.inner.faces.add_facts(db, &mut cold).await?;
            for seen in cold {
                read.extend(targets_of(&seen).map(|target| (target, seen.id)));
                material.drafts.add(Draft::new(seen, engine.kinds()));
            }
            for (id, target) in material.ids.iter_mut().zip(&targets) {
                *id = id.or_else(|| read.get(target.as_ref()).copied());
            }
        }
        let (mut with_actions, mut silent) = (Vec::new(), Vec::new());
        let (mut needs_shared, mut is_linked) = (false, false);
        for (work, id) in part.iter().zip(&material.ids) {
            let Some(draft) = id.and_then(|id| material.drafts.get(id)) else { continue };
            let Ok(definition) = rules.definition(&draft.instance().machine) else { continue };
            is_linked = is_linked || !definition.links.is_empty();
            match work {
                Work::Begin { .. } | Work::End { .. } => with_actions.push(draft.id()),
                Work::Due(_) if waits_for_reports(definition, draft) => {
                    silent.push((draft.id(), draft.instance().machine.clone()));
                }
                Work::Happened { submission, .. } => {
                    needs_shared = needs_shared || draft.reads_facts(definition, &submission.cause);
                }
                Work::Due(_) | Work::Noted { .. } => {}
            }
        }
        if !with_actions.is_empty() {
            for action in actions::list_live(db, &with_actions).await? {
                let kind = engine.kinds().described(action.action.action.as_str());
                needs_shared |= kind.is_some_and(|kind| engine.inner.faces.need_shared(kind.facts));
                material.actions.entry(action.action.instance).or_default().push(action);
            }
        }
        if !silent.is_empty() {
            material.silence = engine.inner.faces.read_silence(db, &silent, engine.clock().now()).await?;
        }
        if needs_shared {
            material.shared = Some(engine.inner.faces.read_shared(db).await?);
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
        rules: &Known,
        db: &mut Pooled,
        part: &[Work],
    ) -> Result<(), StoreError> {
        let (now, none) = (engine.clock().now(), SharedByFace::default());
        loop {
            let shared = self.shared.as_ref();
            let scene = chain::Scene { drafts: &self.drafts, rules, shared, now };
            let lack = |(work, id): (&Work, &Option<InstanceId>)| {
                let draft = self.drafts.get((*id)?)?;
                let definition = rules.definition(&draft.instance().machine).ok()?;
                let live = self.actions.get(&draft.id()).map(Vec::as_slice).unwrap_or_default();
                let shared = shared.unwrap_or(&none);
                let context = carry::Context { engine, definition, live, shared, now };
                let submission = submission_of(context, draft, work)?;
                scene.decide(draft.id(), &submission).err()
            };
            let lacks: Vec<Lack> = part.iter().zip(&self.ids).filter_map(lack).collect();
            let needs_shared = lacks.contains(&Lack::Shared);
            let targets: HashSet<Target> = lacks.into_iter().filter_map(Lack::into_target).collect();
            if needs_shared {
                self.shared = Some(engine.inner.faces.read_shared(db).await?);
            } else if targets.is_empty() {
                return Ok(());
            }
            linked::read(engine, db, &mut self.drafts, targets).await?;
        }
    }

    /// Decides on everything in the order of its arrival. What is for the next group goes to `again`; what is about
    /// nothing that there is, or changes nothing, is answered at once.
    pub(super) fn decide(
        mut self,
        engine: &Engine,
        rules: &Known,
        part: Vec<Work>,
        again: &mut Vec<Work>,
    ) -> Decisions {
        let now = engine.clock().now();
        let mut done = Vec::with_capacity(part.len());
        let (mut worker, mut orphans) = (None, Vec::new());
        let (mut deferred, none) = (HashSet::new(), SharedByFace::default());
        for (work, id) in part.into_iter().zip(self.ids) {
            let Some((id, draft)) = id.and_then(|id| Some((id, self.drafts.get(id)?))) else {
                match &work {
                    Work::Begin { action, .. } => orphans.push((action.id, work)),
                    Work::End { ended, .. } => orphans.push((ended.action.id, work)),
                    Work::Happened { .. } | Work::Due(_) | Work::Noted { .. } => {
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
                    if let Work::Due(due) = &work {
                        engine.inner.queue.deadlines().put_back(*due);
                    }
                    work.fail(error);
                    continue;
                }
            };
            // An action's part is decided on by itself, on the row as it was read.
            let is_action = matches!(work, Work::Begin { .. } | Work::End { .. });
            // Where another stimulus of this group made it so, nothing was read yet of what a guard asks for.
            let lacks_shared = self.shared.is_none()
                && matches!(&work, Work::Happened { submission, .. } if draft.reads_facts(definition, &submission.cause));
            let is_late = draft.is_closed() || (is_action && !draft.is_untouched()) || lacks_shared;
            if is_late || deferred.contains(&id) {
                deferred.insert(id);
                again.push(work);
                continue;
            }
            let shared = self.shared.as_ref().unwrap_or(&none);
            let live = self.actions.get(&id).map(Vec::as_slice).unwrap_or_default();
            let context = carry::Context { engine, definition, live, shared, now };
            let scene = chain::Scene { drafts: &self.drafts, rules, shared: self.shared.as_ref(), now };
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
            let (drafts, by) = (&mut self.drafts, (&**definition, shared, now));
            let Some(draft) = drafts.get_mut(id) else { continue };
            let came_to = match &work {
                Work::Happened { submission, .. }
                    if submission.is_report() && engine.inner.running.is_ending(id) =>
                {
                    Done::TooEarly(id)
                }
                Work::Happened { submission, .. } if !draft.is_as_seen(submission, rules) => Done::Changed,
                Work::Happened { submission, .. } => {
                    let unasked = submission.unasked(definition);
                    if !unasked.is_empty() {
                        done.push((id, work, Done::Unasked(unasked)));
                        continue;
                    }
                    let outcome = drafts.decide(id, submission, steps, by);
                    let Some((outcome, draft)) = outcome.zip(drafts.get(id)) else { continue };
                    Done::Committed(Committed { id, outcome, instance: Arc::clone(draft.instance()) })
                }
                Work::Due(due) => {
                    let cause = Cause::Deadline { visit: due.visit };
                    let remark = self.silence.get(&id).cloned();
                    let evidence = tell_due(definition, draft, due.at, now);
                    let submission =
                        Submission { evidence, remark, ..Submission::new(Target::Id(id), cause) };
                    drafts.decide(id, &submission, steps, by);
                    let Some(draft) = drafts.get(id) else { continue };
                    Done::Fired(Arc::clone(draft.instance()))
                }
                Work::Begin { action, by, .. } => {
                    worker = Some(by.id);
                    Done::Started(carry::begin(context, draft, action, by.life))
                }
                Work::End { ended, .. } => {
                    worker = Some(ended.by.id);
                    Done::Started(carry::end(context, drafts, id, ended, steps))
                }
                Work::Noted { note, .. } => {
                    draft.note(Note::clone(note), now);
                    Done::Noted
                }
            };
            done.push((id, work, came_to));
        }
        let (untouched, touched): (Vec<_>, Vec<_>) =
            self.drafts.into_values().partition(|draft| draft.is_untouched());
        let untouched: HashMap<InstanceId, bool> =
            untouched.iter().map(|draft| (draft.id(), draft.is_remembered())).collect();
        // Nothing is to be written for these, so nothing has to become durable first.
        let (now_done, done): (Vec<_>, Vec<_>) =
            done.into_iter().partition(|(id, ..)| untouched.contains_key(id));
        for (id, work, came_to) in now_done {
            if untouched.get(&id) == Some(&true) && matches!(came_to, Done::Fired(_)) {
                // Only a look at the row says that nothing is due.
                engine.inner.recent.forget([id].into_iter());
                again.push(work);
            } else {
                finish(engine, rules.life, id, work, came_to);
            }
        }
        let decided = touched.into_iter().map(|draft| draft.finish()).collect();
        Decisions { decided, done, worker, at: now, orphans }
    }
}

/// When the time that passes now was due, for history: where that is a time on the calendar, and where nobody was there.
fn tell_due(
    definition: &Definition,
    draft: &Draft,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Map<String, Value>> {
    let timeout = definition.states.get(&draft.instance().state)?.timeout.as_ref()?;
    let is_told = matches!(timeout.due, Due::At(_)) || now - due > LATE;
    is_told.then(|| Map::from_iter([("due_at".to_owned(), json!(due))]))
}

/// What an instance that may be linked is to decide on, where something may be raised by that.
fn submission_of<'a>(
    context: carry::Context<'_>,
    draft: &Draft,
    work: &'a Work,
) -> Option<Cow<'a, Submission>> {
    if context.definition.links.is_empty() {
        return None;
    }
    match work {
        Work::Happened { submission, .. } => Some(Cow::Borrowed(submission)),
        Work::Due(due) => {
            let cause = Cause::Deadline { visit: due.visit };
            Some(Cow::Owned(Submission::new(Target::Id(draft.id()), cause)))
        }
        Work::End { ended, .. } => carry::report_of(context, draft, ended).map(Cow::Owned),
        Work::Begin { .. } | Work::Noted { .. } => None,
    }
}

/// Whether the instance's state waits for something that is to be reported from outside.
fn waits_for_reports(definition: &Definition, draft: &Draft) -> bool {
    let Some(state) = definition.states.get(&draft.instance().state) else { return false };
    let is_report = |event| definition.events.get(event).is_some_and(|event| event.reporter().is_some());
    state.on.keys().any(is_report)
}
