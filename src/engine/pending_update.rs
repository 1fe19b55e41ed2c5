//! One instance while a group is decided on: how it was read, how it stands after what was decided so far, and what is
//! to be written. Nothing here reads or writes anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::claims::{HoldChanges, prepend_holds, with_claims};
use super::definition_cache::DefinitionSet;
use super::face::SharedFactsByFace;
use super::repeated_reports;
use super::tag_condition::TagCondition;
use super::work_item::{InstanceNote, Submission};
use crate::actions::{ActionRegistry, Facts};
use crate::machine::{
    self, Cause, Decision, Definition, Effect, EventSource, IgnoreReason, Instance, Outcome, ResourceName,
    StateName, Stimulus, Visit,
};
use crate::store::actions::{ActionId, NewAction, Suspension};
use crate::store::batches::{DecidedUpdate, VersionedInstance};
use crate::store::claims::{Grant, GrantedUnits};
use crate::store::history::{HistoryContent, NewHistoryEntry};
use crate::store::instances::InstanceId;
use crate::store::links::LinkedIds;

/// An instance in the making.
#[expect(clippy::struct_excessive_bools, reason = "they say different things of one instance")]
pub(super) struct PendingUpdate {
    base: VersionedInstance,
    kinds: Arc<ActionRegistry>,
    instance: Arc<Instance>,
    entries: Vec<NewHistoryEntry>,
    left_visit: Option<Visit>,
    invoked: Vec<NewAction>,
    reentered: Option<(StateName, Visit)>,
    keeps_actions: bool,
    ended: Vec<ActionId>,
    started: Option<(ActionId, Grant)>,
    released: Vec<GrantedUnits>,
    /// What the states that were left hold.
    held: BTreeSet<ResourceName>,
    dropped_holds: Vec<String>,
    suspended: Option<Suspension>,
    linked: Option<LinkedIds>,
    coupling: Option<InstanceId>,
    is_rewritten: bool,
    /// Whether something else moved it than the end of a time that begins anew with the state's actions going on.
    is_moved: bool,
    is_cached: bool,
}

impl PendingUpdate {
    /// Begins with an instance as it was remembered: whether it is still so shows when something is written.
    pub(super) fn from_cache(seen: VersionedInstance, kinds: &Arc<ActionRegistry>) -> Self {
        Self { is_cached: true, ..Self::new(seen, kinds) }
    }

    /// Begins with an instance as it was read just now.
    pub(super) fn new(seen: VersionedInstance, kinds: &Arc<ActionRegistry>) -> Self {
        Self {
            instance: Arc::clone(&seen.instance),
            base: seen,
            kinds: Arc::clone(kinds),
            // Mostly one thing happens to it.
            entries: Vec::with_capacity(1),
            left_visit: None,
            invoked: Vec::new(),
            reentered: None,
            keeps_actions: false,
            ended: Vec::new(),
            started: None,
            released: Vec::new(),
            held: BTreeSet::new(),
            dropped_holds: Vec::new(),
            suspended: None,
            linked: None,
            coupling: None,
            is_rewritten: false,
            is_moved: false,
            is_cached: false,
        }
    }

    pub(super) fn id(&self) -> InstanceId {
        self.base.id
    }

    /// The instance as it stands now.
    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Whether an action has begun, ended or been suspended: what happens next is for the next group to decide, which sees that.
    pub(super) fn is_closed(&self) -> bool {
        !self.ended.is_empty() || self.started.is_some() || self.suspended.is_some()
    }

    /// Whether anything at all is to be written so far.
    pub(super) fn is_untouched(&self) -> bool {
        !self.is_rewritten && self.entries.is_empty() && !self.is_closed()
    }

    /// Whether nobody has looked whether it is still so.
    pub(super) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Whether it is as its sender has seen it, where the submission depends on that.
    pub(super) fn has_expected_tag(&self, submission: &Submission, rules: &DefinitionSet) -> bool {
        // What was decided on in this group has no version yet that anybody could have seen.
        let is_met =
            |condition: &TagCondition| !self.is_rewritten && condition.is_met_by(&rules.tag(&self.base));
        submission.tag_condition.as_ref().is_none_or(is_met)
    }

    /// Whether a guard may read facts when `cause` happens now.
    pub(super) fn reads_facts(&self, definition: &Definition, cause: &Cause) -> bool {
        machine::reads_facts(definition, &self.instance.state, cause)
    }

    /// Whether the decision on `cause` may depend on what its face knows of it: a guard may read that, and an action that is
    /// invoked may claim resources by it.
    pub(super) fn needs_facts(&self, definition: &Definition, cause: &Cause) -> bool {
        self.reads_facts(definition, cause)
            || machine::may_invoke(definition, &self.instance.state, cause)
            || !definition.links.is_empty()
    }

    /// Whether its face was not asked yet what it knows of it.
    pub(super) fn lacks_facts(&self) -> bool {
        !self.base.has_read_facts
    }

    /// As it was read, so that what its face knows of it can be added.
    pub(super) fn base_mut(&mut self) -> &mut VersionedInstance {
        &mut self.base
    }

    /// Decides on what happened, and keeps what follows.
    pub(super) fn decide(
        &mut self,
        definition: &Definition,
        submission: &Submission,
        shared: &SharedFactsByFace,
        now: DateTime<Utc>,
    ) -> Outcome {
        let Submission { cause, predictions, .. } = submission;
        let facts = if self.reads_facts(definition, cause) { self.facts(shared) } else { Map::new() };
        let stimulus = Stimulus { cause: cause.clone(), facts, predicted: predictions.answers() };
        let decision = machine::decide(definition, &self.instance, &stimulus, now);
        let holds = HoldChanges::of(definition, &self.instance.state, &decision.instance.state);
        self.apply(submission, stimulus, (decision, &holds), now)
    }

    /// Keeps what follows from a decision.
    pub(super) fn apply(
        &mut self,
        submission: &Submission,
        mut stimulus: Stimulus,
        (decision, holds): (Decision, &HoldChanges),
        now: DateTime<Utc>,
    ) -> Outcome {
        let Submission { sender, evidence, reason: remark, predictions, .. } = submission;
        let is_ours =
            matches!(stimulus.cause, Cause::Deadline { .. } | Cause::Began { .. } | Cause::Suspend { .. });
        if is_ours && matches!(decision.outcome, Outcome::Ignored(_)) {
            // Our own clockwork came late or twice; nobody waits for an answer and nothing happened.
            return decision.outcome;
        }
        // An action whose end a state leaves to its deadline, or does not list, is no surprise: it ends.
        let is_action = matches!(stimulus.cause, Cause::Event { source: EventSource::Action, .. });
        let ignored = match &decision.outcome {
            Outcome::Ignored(
                IgnoreReason::LeftToDeadline { .. }
                | IgnoreReason::NotHandled { .. }
                | IgnoreReason::NotAllowed { .. },
            ) if is_action => None,
            Outcome::Ignored(why) => Some(why.to_string()),
            Outcome::Moved { .. } | Outcome::Stayed => None,
        };
        let is_ignored_report = ignored.is_some() && submission.is_report();
        if is_ignored_report {
            repeated_reports::shorten_args(&mut stimulus, &decision.outcome);
        }
        // Of what is at rest and stays there, one entry tells for many; and nobody asks how its last boot went.
        if decision.keeps_actions() && self.is_untouched() && stimulus.facts.is_empty() {
            self.reentered = Some((decision.instance.state.clone(), decision.instance.visit));
        } else if !is_ignored_report
            || !repeated_reports::count_repeat(self.entries.last_mut(), &stimulus, &decision.outcome)
        {
            let reasons: Vec<String> =
                ignored.into_iter().chain(remark.clone()).chain(predictions.failures()).collect();
            self.entries.push(NewHistoryEntry {
                instance: self.id(),
                at: now,
                content: HistoryContent::Stimulus(stimulus),
                sender: sender.clone(),
                outcome: Some(decision.outcome.clone()),
                from: self.instance.state.clone(),
                to: decision.instance.state.clone(),
                visit: decision.instance.visit,
                reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
                evidence: evidence.clone(),
            });
        }
        for effect in &decision.effects {
            match effect {
                Effect::Cancel { visit } => {
                    if self.base.has_actions {
                        self.abandon_actions(*visit);
                    }
                    // What an earlier stimulus of this group asked for was never written.
                    self.invoked.clear();
                    self.keeps_actions = false;
                }
                // What an earlier stimulus of this group asked for begins with the present visit.
                Effect::Keep { .. } if !self.invoked.is_empty() => {}
                Effect::Hold { .. } => self.release_dropped_holds(holds),
                // Whoever has all that is linked at hand lets the others decide on what is raised.
                Effect::Raise(_) => {}
                Effect::Invoke { actions, .. } | Effect::Keep { actions, .. } => {
                    let facts = self.action_facts(&SharedFactsByFace::default());
                    self.invoked = with_claims(&self.kinds, &facts, actions, submission.queue_at);
                    prepend_holds(&mut self.invoked, &holds.entered);
                    self.keeps_actions = matches!(effect, Effect::Keep { .. });
                }
            }
        }
        if decision.instance != *self.instance {
            self.is_rewritten = true;
            self.is_moved |= !decision.keeps_actions();
            self.instance = Arc::new(decision.instance);
        }
        decision.outcome
    }

    /// The numbers of the instances that it is linked to.
    pub(super) fn linked(&self) -> &LinkedIds {
        self.linked.as_ref().unwrap_or(&self.base.linked)
    }

    /// Takes the numbers of the instances that it is linked to from here on.
    pub(super) fn set_linked(&mut self, linked: LinkedIds) {
        self.linked = Some(linked);
    }

    /// What its part and those of others have in common that are written together with it or not at all; its own number
    /// where there are none.
    pub(super) fn coupling(&self) -> InstanceId {
        self.coupling.unwrap_or(self.base.id)
    }

    /// Lets its part be written only together with all others that have `coupling` in common.
    pub(super) fn couple(&mut self, coupling: InstanceId) {
        self.coupling = Some(coupling);
    }

    /// Writes down what was noticed.
    pub(super) fn add_note(&mut self, note: InstanceNote, now: DateTime<Utc>) {
        let InstanceNote { name, sender, evidence, reason: remark } = note;
        self.entries.push(NewHistoryEntry {
            instance: self.id(),
            at: now,
            content: HistoryContent::Note(name.to_owned()),
            sender,
            outcome: None,
            from: self.instance.state.clone(),
            to: self.instance.state.clone(),
            visit: self.instance.visit,
            reason: remark,
            evidence: (!evidence.is_empty()).then_some(evidence),
        });
    }

    /// Gives back what the states that were left held and the one that is entered does not. What that holds besides is taken
    /// with its first action.
    fn release_dropped_holds(&mut self, holds: &HoldChanges) {
        self.held.extend(holds.left.iter().cloned());
        let is_held = |name: &&ResourceName| {
            holds.entered.iter().any(|claim| claim.hold.as_deref() == Some(name.as_str()))
        };
        let dropped = self.held.iter().filter(|name| !is_held(name));
        self.dropped_holds = dropped.map(ToString::to_string).collect();
    }

    /// Lets nothing more be done for `visit` and those before it.
    pub(super) fn abandon_actions(&mut self, visit: Visit) {
        self.left_visit = self.left_visit.max(Some(visit));
        self.is_rewritten = true;
    }

    /// Lets a waiting action run, which gets `grant`.
    pub(super) fn start_action(&mut self, action: ActionId, grant: Grant) {
        self.started = Some((action, grant));
        self.is_rewritten = true;
    }

    /// Lets a running action wait until its trouble is over.
    pub(super) fn suspend_action(&mut self, suspension: Suspension) {
        self.suspended = Some(suspension);
        self.is_rewritten = true;
    }

    /// What the action that begins holds.
    pub(super) fn started_units(&self) -> &[GrantedUnits] {
        self.started.as_ref().map(|(_, grant)| grant.units.as_slice()).unwrap_or_default()
    }

    /// Gives back what an action held.
    pub(super) fn release(&mut self, units: impl Iterator<Item = GrantedUnits>) {
        self.released.extend(units);
    }

    /// Takes an action's row away, of which others have to take note.
    pub(super) fn end_action(&mut self, action: ActionId) {
        self.ended.push(action);
        self.is_rewritten = true;
    }

    /// Takes away the row of an action that counts no more.
    pub(super) fn delete_action(&mut self, action: ActionId) {
        self.ended.push(action);
    }

    /// What is to be written.
    pub(super) fn into_decided(self) -> DecidedUpdate {
        let is_silent = self.is_silent();
        let (linked, coupling) = (self.linked.clone(), self.coupling);
        let Self {
            base: seen,
            instance,
            entries,
            left_visit: left,
            invoked,
            reentered: kept,
            keeps_actions: goes_on,
            ended,
            started,
            suspended,
            released,
            dropped_holds,
            ..
        } = self;
        let instance = self.is_rewritten.then_some(instance);
        DecidedUpdate {
            base: seen,
            instance,
            left_visit: left,
            entries,
            reentered: kept,
            ended,
            started,
            suspended,
            released,
            dropped_holds,
            invoked,
            keeps_actions: goes_on,
            linked,
            coupling,
            is_silent,
        }
    }

    /// Whether its state was entered anew, its actions go on, and all that lists and pages show is as it was but for when
    /// its time passes.
    fn is_silent(&self) -> bool {
        let (before, after) = (&*self.base.instance, &*self.instance);
        self.is_rewritten
            && !self.is_moved
            && !self.is_closed()
            && self.left_visit.is_none()
            && (&before.state, before.since, &before.counters, &before.data, before.remaining)
                == (&after.state, after.since, &after.counters, &after.data, after.remaining)
            && before.links == after.links
    }

    /// What actions may know of what the instance stands for.
    pub(super) fn action_facts(&self, shared: &SharedFactsByFace) -> Facts {
        let facts = self.base.facts.as_ref();
        facts.map(|facts| facts.for_actions(&self.instance, shared.of(facts.face()))).unwrap_or_default()
    }

    /// What guards may know of what the instance stands for.
    fn facts(&self, shared: &SharedFactsByFace) -> Map<String, Value> {
        self.facts_of(&self.instance, shared)
    }

    /// The same, where the instance is as `instance` says.
    pub(super) fn facts_of(&self, instance: &Instance, shared: &SharedFactsByFace) -> Map<String, Value> {
        let facts = self.base.facts.as_ref();
        facts.map(|facts| facts.for_guards(instance, shared.of(facts.face()))).unwrap_or_default()
    }
}
