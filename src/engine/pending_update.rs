//! The pending update of an instance while a batch is decided on: the instance as it was read, its present form, and what is
//! to be written. This module does no I/O.

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
use crate::store::InstanceFacts;
use crate::store::actions::{ActionId, NewAction, Suspension};
use crate::store::batches::{ActionChanges, DecidedUpdate, VersionedInstance};
use crate::store::claims::{Grant, GrantedUnits};
use crate::store::history::{HistoryContent, NewHistoryEntry};
use crate::store::instances::InstanceId;
use crate::store::links::LinkedIds;

/// The pending update of an instance.
pub(super) struct PendingUpdate {
    base: VersionedInstance,
    kinds: Arc<ActionRegistry>,
    instance: Arc<Instance>,
    entries: Vec<NewHistoryEntry>,
    left_visit: Option<Visit>,
    reentered: Option<(StateName, Visit)>,
    actions: Option<Box<ActionChanges>>,
    /// The holds of the states that were left.
    held: BTreeSet<ResourceName>,
    linked: Option<LinkedIds>,
    coupling: Option<InstanceId>,
    is_rewritten: bool,
    /// Whether it changed by anything but a timeout that re-enters the state and keeps its actions.
    is_moved: bool,
    is_cached: bool,
}

impl PendingUpdate {
    /// Starts with a cached instance, which is validated on write.
    pub(super) fn from_cache(versioned: VersionedInstance, kinds: &Arc<ActionRegistry>) -> Self {
        Self { is_cached: true, ..Self::new(versioned, kinds) }
    }

    /// Starts with an instance that was just read.
    pub(super) fn new(versioned: VersionedInstance, kinds: &Arc<ActionRegistry>) -> Self {
        Self {
            instance: Arc::clone(&versioned.instance),
            base: versioned,
            kinds: Arc::clone(kinds),
            // Most updates have one entry.
            entries: Vec::with_capacity(1),
            left_visit: None,
            reentered: None,
            actions: None,
            held: BTreeSet::new(),
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

    /// Returns the instance after the decisions so far.
    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Whether an action has started, ended or been suspended: further stimuli are decided on in the next batch.
    pub(super) fn is_closed(&self) -> bool {
        self.actions.as_ref().is_some_and(|actions| {
            !actions.ended.is_empty() || actions.started.is_some() || actions.suspended.is_some()
        })
    }

    /// Whether nothing is to be written so far.
    pub(super) fn is_untouched(&self) -> bool {
        !self.is_rewritten && self.entries.is_empty() && !self.is_closed()
    }

    /// Whether the instance is from the cache.
    pub(super) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Whether the instance meets the condition of the submission on its tag, where it has one.
    pub(super) fn has_expected_tag(&self, submission: &Submission, definitions: &DefinitionSet) -> bool {
        // A changed instance has no version yet that a client could have read.
        let is_met = |condition: &TagCondition| {
            !self.is_rewritten && condition.is_met_by(&definitions.tag(&self.base))
        };
        submission.tag_condition.as_ref().is_none_or(is_met)
    }

    /// Whether a guard can read facts when it decides on `cause`.
    pub(super) fn reads_facts(&self, definition: &Definition, cause: &Cause) -> bool {
        machine::reads_facts(definition, &self.instance.state, cause)
    }

    /// Whether the decision on `cause` can depend on the facts of the instance: a guard can read them, or it can invoke
    /// actions, which claim resources by them.
    pub(super) fn needs_facts(&self, definition: &Definition, cause: &Cause) -> bool {
        !definition.links.is_empty()
            || self.reads_facts(definition, cause)
            || machine::can_invoke(definition, &self.instance.state, cause)
    }

    /// Whether the facts have not been read yet.
    pub(super) fn lacks_facts(&self) -> bool {
        !self.base.has_read_facts
    }

    /// Returns the instance as it was read, so that facts can be added.
    pub(super) fn base_mut(&mut self) -> &mut VersionedInstance {
        &mut self.base
    }

    /// Decides on a submission, and applies the decision.
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

    /// Applies a decision.
    pub(super) fn apply(
        &mut self,
        submission: &Submission,
        mut stimulus: Stimulus,
        (decision, holds): (Decision, &HoldChanges),
        now: DateTime<Utc>,
    ) -> Outcome {
        let Submission { sender, evidence, reason, predictions, .. } = submission;
        let is_internal = matches!(
            stimulus.cause,
            Cause::Deadline { .. } | Cause::Began { .. } | Cause::Suspend { .. } | Cause::Retry { .. }
        );
        if is_internal && matches!(decision.outcome, Outcome::Ignored(_)) {
            // A late or repeated stimulus of the engine itself: no answer is expected and nothing changed.
            return decision.outcome;
        }
        // No reason is needed where the state leaves the end of an action to the deadline, or does not list
        // it.
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
        // Re-entries of resting instances share one entry of history.
        if decision.keeps_actions() && self.is_untouched() && stimulus.facts.is_empty() {
            self.reentered = Some((decision.instance.state.clone(), decision.instance.visit));
        } else if !is_ignored_report
            || !repeated_reports::count_repeat(self.entries.last_mut(), &stimulus, &decision.outcome)
        {
            let reasons: Vec<String> =
                ignored.into_iter().chain(reason.clone()).chain(predictions.failures()).collect();
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
                    // Actions of an earlier stimulus of this batch were never written.
                    if let Some(actions) = &mut self.actions {
                        actions.invoked.clear();
                        actions.keeps_actions = false;
                    }
                }
                // Actions of an earlier stimulus of this batch start with the present visit.
                Effect::Keep { .. } if self.invokes() => {}
                Effect::Hold { .. } => self.release_dropped_holds(holds),
                // Raised events are decided on by the chain.
                Effect::Raise(_) => {}
                Effect::Invoke { actions, .. } | Effect::Keep { actions, .. } => {
                    let mut invoked = Vec::new();
                    if !actions.is_empty() {
                        // As the decision leaves the instance: its data may say what the actions are about.
                        let facts = self.action_facts_of(&decision.instance, &SharedFactsByFace::default());
                        invoked = with_claims(&self.kinds, &facts, actions, submission.queue_at);
                    }
                    prepend_holds(&mut invoked, &holds.entered);
                    self.invoke(invoked, matches!(effect, Effect::Keep { .. }));
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

    /// Returns the numbers of the linked instances.
    pub(super) fn linked(&self) -> &LinkedIds {
        self.linked.as_ref().unwrap_or(&self.base.linked)
    }

    /// Sets the numbers of the linked instances.
    pub(super) fn set_linked(&mut self, linked: LinkedIds) {
        self.linked = Some(linked);
    }

    /// Returns the number shared by all updates that are written together or not at all; its own where there are no others.
    pub(super) fn coupling(&self) -> InstanceId {
        self.coupling.unwrap_or(self.base.id)
    }

    /// Couples the update with all others that share `coupling`.
    pub(super) fn couple(&mut self, coupling: InstanceId) {
        self.coupling = Some(coupling);
    }

    /// Adds a note to history.
    pub(super) fn add_note(&mut self, note: InstanceNote, now: DateTime<Utc>) {
        let InstanceNote { name, sender, evidence, reason } = note;
        self.entries.push(NewHistoryEntry {
            instance: self.id(),
            at: now,
            content: HistoryContent::Note(name.to_owned()),
            sender,
            outcome: None,
            from: self.instance.state.clone(),
            to: self.instance.state.clone(),
            visit: self.instance.visit,
            reason,
            evidence: (!evidence.is_empty()).then_some(evidence),
        });
    }

    /// Releases the holds of the states that were left, except those of the entered state. Its further holds are claimed by
    /// its first action.
    fn release_dropped_holds(&mut self, holds: &HoldChanges) {
        self.held.extend(holds.left.iter().cloned());
        let is_held = |name: &&ResourceName| {
            holds.entered.iter().any(|claim| claim.hold.as_deref() == Some(name.as_str()))
        };
        let dropped = self.held.iter().filter(|name| !is_held(name)).map(ToString::to_string).collect();
        self.actions_mut().dropped_holds = dropped;
    }

    fn actions_mut(&mut self) -> &mut ActionChanges {
        self.actions.get_or_insert_default()
    }

    /// Whether an earlier stimulus of this batch invoked actions of the present visit.
    fn invokes(&self) -> bool {
        self.actions.as_ref().is_some_and(|actions| !actions.invoked.is_empty())
    }

    /// Replaces the actions that are invoked; `keeps_actions` where those of the last visit take precedence.
    fn invoke(&mut self, invoked: Vec<NewAction>, keeps_actions: bool) {
        if !invoked.is_empty() || self.invokes() {
            let actions = self.actions_mut();
            actions.invoked = invoked;
            actions.keeps_actions = keeps_actions;
        }
    }

    /// Cancels the actions of `visit` and of earlier visits.
    pub(super) fn abandon_actions(&mut self, visit: Visit) {
        self.left_visit = self.left_visit.max(Some(visit));
        self.is_rewritten = true;
    }

    /// Sets the position of the last action of the visit, after which further ones are invoked.
    pub(super) fn set_last_seq(&mut self, last_seq: i32) {
        self.actions_mut().last_seq = last_seq;
    }

    /// Starts a waiting action with its grant.
    pub(super) fn start_action(&mut self, action: ActionId, grant: Grant) {
        self.actions_mut().started = Some((action, grant));
        self.is_rewritten = true;
    }

    /// Suspends a running action.
    pub(super) fn suspend_action(&mut self, suspension: Suspension) {
        self.actions_mut().suspended = Some(suspension);
        self.is_rewritten = true;
    }

    /// Returns the units of the started action.
    pub(super) fn started_units(&self) -> &[GrantedUnits] {
        let started = self.actions.as_ref().and_then(|actions| actions.started.as_ref());
        started.map(|(_, grant)| grant.units.as_slice()).unwrap_or_default()
    }

    /// Releases units of an action.
    pub(super) fn release(&mut self, units: impl Iterator<Item = GrantedUnits>) {
        self.actions_mut().released.extend(units);
    }

    /// Deletes the row of an action that ended, with a new version of the instance.
    pub(super) fn end_action(&mut self, action: ActionId) {
        self.actions_mut().ended.push(action);
        self.is_rewritten = true;
    }

    /// Deletes the row of an obsolete action.
    pub(super) fn delete_action(&mut self, action: ActionId) {
        self.actions_mut().ended.push(action);
    }

    /// Builds the update to write.
    pub(super) fn into_decided(self) -> DecidedUpdate {
        let is_silent = self.is_silent();
        let instance = self.is_rewritten.then_some(self.instance);
        let Self { base, entries, left_visit, reentered, actions, linked, coupling, .. } = self;
        DecidedUpdate { base, instance, left_visit, entries, reentered, actions, linked, coupling, is_silent }
    }

    /// Whether only the deadline changed visibly: the state was re-entered and its actions continue.
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

    /// Returns the facts of the face, where it has some.
    fn known_facts(&self) -> Option<&Arc<dyn InstanceFacts>> {
        debug_assert!(
            !self.lacks_facts(),
            "a decision on {} needs facts that were not read",
            self.instance.name
        );
        self.base.facts.as_ref()
    }

    /// Returns the facts for actions.
    pub(super) fn action_facts(&self, shared: &SharedFactsByFace) -> Facts {
        self.action_facts_of(&self.instance, shared)
    }

    /// Returns the facts for actions of `instance`, a later form of this one. Of an instance without a face nothing is known
    /// but its data.
    fn action_facts_of(&self, instance: &Instance, shared: &SharedFactsByFace) -> Facts {
        match self.known_facts() {
            Some(facts) => facts.for_actions(instance, shared.of(facts.face())),
            None => instance.data.clone(),
        }
    }

    /// Returns the facts for guards.
    fn facts(&self, shared: &SharedFactsByFace) -> Map<String, Value> {
        self.facts_of(&self.instance, shared)
    }

    /// Returns the facts for guards of `instance`, a later form of this one.
    pub(super) fn facts_of(&self, instance: &Instance, shared: &SharedFactsByFace) -> Map<String, Value> {
        let facts = self.known_facts();
        facts.map(|facts| facts.for_guards(instance, shared.of(facts.face()))).unwrap_or_default()
    }
}
