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
use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::carry;
use super::chain;
use super::draft::Draft;
use super::drafts::Drafts;
use super::error::EngineError;
use super::face::SharedByFace;
use super::grants;
use super::handle::Engine;
use super::linked;
use super::rest::rest;
use super::rules::Known;
use super::step::Lack;
use super::work::{Committed, Done, Note, Submission, Work};
use crate::clock::pause;
use crate::machine::{Cause, Definition, Due, MachineName, Outcome};
use crate::store::actions::{self, ActionId, LiveAction, WorkerId};
use crate::store::groups::{self, Applied, Decided, Group, Seen};
use crate::store::instances::{InstanceId, Target};
use crate::store::{Connection, Life, Pooled, Store, StoreError};

/// How long something is tried again while others rewrite its row or keep it locked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the database may take for one statement.
const LONGEST: Duration = Store::LONGEST;
/// From when on history tells that a deadline was handled late.
const LATE: TimeDelta = TimeDelta::seconds(1);

/// Commits groups until the queue is closed and empty.
pub(super) async fn run(engine: Engine) {
    let mut lane = Lane { engine, db: None };
    let (mut again, mut answered) = (Vec::new(), 0);
    while let Some(group) = lane.engine.inner.queue.fill(again, answered).await {
        let size = group.len();
        again = lane.commit(group).await;
        answered = size - again.len();
        if answered == 0 {
            // Others are at the same rows; they need a moment.
            pause(Duration::from_millis(1)).await;
        }
    }
}

struct Lane {
    engine: Engine,
    /// Its own connection, once there is one.
    db: Option<Pooled>,
}

/// A group whose fate is decided, and who is answered then.
struct Decisions {
    decided: Vec<Decided>,
    /// With whose part each becomes durable.
    done: Vec<(InstanceId, Work, Done)>,
    worker: Option<WorkerId>,
    at: DateTime<Utc>,
    /// Actions of instances that are gone, and who asks.
    orphans: Vec<(ActionId, Work)>,
}

impl Lane {
    /// Makes a group durable and answers; gives what has to be decided on anew.
    async fn commit(&mut self, group: Vec<Work>) -> Vec<Work> {
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
                    let (free, kept) = self.without_locked(part).await;
                    if kept.is_empty() {
                        // It was no row of an instance: nobody is to be left out.
                        again.extend(free.into_iter().filter_map(|work| self.patiently(work, &error)));
                    } else {
                        again.extend(kept.into_iter().filter_map(|work| self.patiently(work, &error)));
                        parts.push(free);
                    }
                }
                StoreError::Unavailable(_) => {
                    for work in part.into_iter().chain(parts.drain(..).flatten()) {
                        self.fail(work, &error);
                    }
                    rest().await;
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
    async fn attempt(&mut self, part: &mut Vec<Work>, again: &mut Vec<Work>) -> Result<(), StoreError> {
        if part.is_empty() {
            return Ok(());
        }
        let engine = self.engine.clone();
        let store = engine.store();
        let mut db = self.connection().await?;
        let (life, outages) = (db.life(), db.outages());
        leave_out_of_past(part, life);
        if engine.inner.rules.known().life != life {
            store.within_on(outages, LONGEST, engine.inner.rules.look(life, &mut db)).await?;
        }
        let rules = engine.inner.rules.known();
        let material =
            match store.within_on(outages, LONGEST, Material::read(&engine, &rules, &mut db, part)).await {
                Ok(material) => material,
                Err(error) => {
                    self.give_back(db, Some(&error));
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
                    && let Err(error) =
                        store.within_on(outages, LONGEST, engine.inner.rules.look(life, &mut db)).await
                {
                    // Nothing is written until it is seen.
                    tracing::debug!(error = &error as &dyn Error, "cannot see what is in force");
                    self.give_back(db, Some(&error));
                } else {
                    self.give_back(db, None);
                }
                for work in settle(&engine, life, decisions, &applied) {
                    again.extend(self.patiently(work, &StoreError::overtaken()));
                }
                Ok(())
            }
            Err(error) => {
                self.give_back(db, Some(&error));
                part.extend(decisions.done.into_iter().map(|(_, work, _)| work));
                part.extend(decisions.orphans.into_iter().map(|(_, work)| work));
                Err(error)
            }
        }
    }

    /// A connection of those that are for this. The store looks after them while no lane uses them: it is not kept here.
    async fn connection(&mut self) -> Result<Pooled, StoreError> {
        // One that is not good is given back before another one is taken, whose place it has.
        let kept = self.db.take().filter(Pooled::is_good);
        match kept {
            Some(db) => Ok(db),
            None => self.engine.store().connect().await,
        }
    }

    /// Gives the lane's connection back, unless it failed: nobody knows then in the middle of what it is.
    fn give_back(&mut self, db: Pooled, failed: Option<&StoreError>) {
        match failed {
            Some(StoreError::Unavailable(_)) => db.discard(),
            // Who keeps a row locked is asked over the same connection.
            Some(StoreError::Locked(_)) => self.db = Some(db),
            _ => {}
        }
    }

    /// Splits off what belongs to rows that somebody keeps locked.
    async fn without_locked(&mut self, part: Vec<Work>) -> (Vec<Work>, Vec<Work>) {
        let Ok(mut db) = self.connection().await else { return (Vec::new(), part) };
        let targets: Vec<Cow<'_, Target>> = part.iter().map(Work::target).collect();
        // Where that cannot be told either, all of it is tried again.
        let engine = self.engine.clone();
        let free = engine.store().within(LONGEST, free_targets(&mut db, &targets)).await;
        self.give_back(db, free.as_ref().err());
        let free = free.unwrap_or_default();
        part.into_iter().partition(|work| free.contains(work.target().as_ref()))
    }

    /// Gives `work` back to be tried again, unless whoever waits for it has waited long enough.
    fn patiently(&self, work: Work, error: &StoreError) -> Option<Work> {
        let is_overtaken_deadline = work.since().is_none() && matches!(error, StoreError::Conflict(_));
        if is_overtaken_deadline || work.since().is_some_and(|since| since.elapsed() < PATIENCE) {
            return Some(work);
        }
        self.fail(work, error);
        None
    }

    /// Tells whoever waits that `work` could not be done; a deadline is tried again.
    fn fail(&self, work: Work, error: &StoreError) {
        if let Work::Due(due) = &work {
            if error.is_passing() {
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
fn leave_out_of_past(part: &mut Vec<Work>, life: Life) {
    let is_past = |work: &mut Work| work.life().is_some_and(|of| of < life);
    for work in part.extract_if(.., is_past) {
        work.answer(Done::Started(None));
    }
}

/// Says which of `targets` nobody keeps locked.
async fn free_targets(
    db: &mut Connection,
    targets: &[Cow<'_, Target>],
) -> Result<HashSet<Target>, StoreError> {
    let (ids, named) = by_kind(targets.iter().map(AsRef::as_ref));
    let seen = groups::read(db, &ids, &named).await?;
    let all: Vec<InstanceId> = seen.iter().map(|seen| seen.id).collect();
    let free = groups::find_free(db, &all).await?;
    Ok(seen.iter().filter(|seen| free.contains(&seen.id)).flat_map(targets_of).collect())
}

/// The ways in which an instance is meant.
fn targets_of(seen: &Seen) -> [Target; 2] {
    [Target::Id(seen.id), Target::Name(seen.instance.machine.clone(), seen.instance.name.clone())]
}

/// Numbers and names, each once.
fn by_kind<'a>(targets: impl Iterator<Item = &'a Target>) -> (Vec<InstanceId>, Vec<(MachineName, String)>) {
    let (mut ids, mut named) = (HashSet::new(), HashSet::new());
    for target in targets {
        match target {
            Target::Id(id) => _ = ids.insert(*id),
            Target::Name(machine, name) => _ = named.insert((machine.clone(), name.clone())),
        }
    }
    (ids.into_iter().collect(), named.into_iter().collect())
}

/// All that the decisions on a group may look at.
#[derive(Default)]
struct Material {
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
    async fn read(
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
    fn decide(mut self, engine: &Engine, rules: &Known, part: Vec<Work>, again: &mut Vec<Work>) -> Decisions {
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

/// Writes what was decided.
async fn write(
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
        let let_go = grants::let_go(db, decided).await?;
        let given_back = grants::given_back(decided, &let_go);
        let next = (&engine.inner.faces, engine.inner.troubles.keys());
        let granted_on = grants::grant_on(db, decided, &given_back, next, *at).await?;
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
fn settle(engine: &Engine, life: Life, decisions: Decisions, applied: &Applied) -> Vec<Work> {
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
fn finish(engine: &Engine, life: Life, id: InstanceId, work: Work, came_to: Done) {
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::engine::deadlines;
    use crate::engine::lease::Identity;
    use crate::machine::Visit;
    use crate::store::actions::Startable;
    use crate::store::claims::Grant;

    #[test]
    fn what_is_of_a_life_before_is_answered_and_not_decided_on() {
        let (before, present) = (Life::nth(1), Life::nth(2));
        let due = |life| {
            let (id, visit, at) = (InstanceId(1), Visit(1), DateTime::UNIX_EPOCH);
            Work::Due(deadlines::Due { life, id, visit, at })
        };
        let begin = |life| {
            let (answer, answered) = oneshot::channel();
            let startable = Startable { id: ActionId(1), instance: InstanceId(1), grant: Grant::default() };
            let action = Box::new(startable);
            let by = Identity { id: WorkerId(1), life };
            (Work::Begin { action, by, since: Instant::now(), answer }, answered)
        };
        let ((past, mut of_past), (now, mut of_now)) = (begin(before), begin(present));
        let mut part = vec![due(before), past, due(present), now];
        leave_out_of_past(&mut part, present);
        let left: Vec<_> = part.iter().map(Work::life).collect();
        assert_eq!(left, [Some(present); 2]);
        assert!(matches!(of_past.try_recv(), Ok(Ok(None))), "nothing was started");
        assert!(of_now.try_recv().is_err(), "it is still to be decided on");
    }
}
