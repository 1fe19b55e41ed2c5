//! One instance while a group is decided on: how it was read, how it stands after what was decided so far, and what is
//! to be written. Nothing here reads or writes anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::claims::{StateHolds, hold_first, with_claims};
use super::face::SharedByFace;
use super::repeats;
use super::rules::Known;
use super::work::{Note, Submission};
use crate::actions::{Facts, Registry};
use crate::machine::{
    self, Cause, Decision, Definition, Effect, Ignored, Instance, Outcome, ResourceName, Source, StateName,
    Stimulus, Visit,
};
use crate::store::actions::{ActionId, NewAction, Suspension};
use crate::store::claims::{Grant, GrantedUnits};
use crate::store::groups::{Decided, Seen};
use crate::store::history::{NewEntry, Told};
use crate::store::instances::InstanceId;
use crate::store::links::LinkedIds;

/// An instance in the making.
#[expect(clippy::struct_excessive_bools, reason = "they say different things of one instance")]
pub(super) struct Draft {
    seen: Seen,
    kinds: Arc<Registry>,
    instance: Arc<Instance>,
    entries: Vec<NewEntry>,
    left: Option<Visit>,
    invoked: Vec<NewAction>,
    kept: Option<(StateName, Visit)>,
    goes_on: bool,
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
    is_remembered: bool,
}

impl Draft {
    /// Begins with an instance as it was remembered: whether it is still so shows when something is written.
    pub(super) fn remembered(seen: Seen, kinds: &Arc<Registry>) -> Self {
        Self { is_remembered: true, ..Self::new(seen, kinds) }
    }

    /// Begins with an instance as it was read just now.
    pub(super) fn new(seen: Seen, kinds: &Arc<Registry>) -> Self {
        Self {
            instance: Arc::clone(&seen.instance),
            seen,
            kinds: Arc::clone(kinds),
            // Mostly one thing happens to it.
            entries: Vec::with_capacity(1),
            left: None,
            invoked: Vec::new(),
            kept: None,
            goes_on: false,
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
            is_remembered: false,
        }
    }

    pub(super) fn id(&self) -> InstanceId {
        self.seen.id
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
    pub(super) fn is_remembered(&self) -> bool {
        self.is_remembered
    }

    /// Whether it is as its sender has seen it, where the submission depends on that.
    pub(super) fn is_as_seen(&self, submission: &Submission, rules: &Known) -> bool {
        // What was decided on in this group has no version yet that anybody could have seen.
        let is_one_of = |tags: &Vec<String>| !self.is_rewritten && tags.contains(&rules.tag(&self.seen));
        submission.only_as.as_ref().is_none_or(is_one_of)
    }

    /// Whether a guard may read facts when `cause` happens now.
    pub(super) fn reads_facts(&self, definition: &Definition, cause: &Cause) -> bool {
        machine::reads_facts(definition, &self.instance.state, cause)
    }

    /// Decides on what happened, and keeps what follows.
    pub(super) fn decide(
        &mut self,
        definition: &Definition,
        submission: &Submission,
        shared: &SharedByFace,
        now: DateTime<Utc>,
    ) -> Outcome {
        let Submission { cause, predictions, .. } = submission;
        let facts = if self.reads_facts(definition, cause) { self.facts(shared) } else { Map::new() };
        let stimulus = Stimulus { cause: cause.clone(), facts, predicted: predictions.answers() };
        let decision = machine::decide(definition, &self.instance, &stimulus, now);
        let holds = StateHolds::of(definition, &self.instance.state, &decision.instance.state);
        self.keep(submission, stimulus, (decision, &holds), now)
    }

    /// Keeps what follows from a decision.
    pub(super) fn keep(
        &mut self,
        submission: &Submission,
        mut stimulus: Stimulus,
        (decision, holds): (Decision, &StateHolds),
        now: DateTime<Utc>,
    ) -> Outcome {
        let Submission { sender, evidence, remark, predictions, .. } = submission;
        let is_ours =
            matches!(stimulus.cause, Cause::Deadline { .. } | Cause::Began { .. } | Cause::Suspend { .. });
        if is_ours && matches!(decision.outcome, Outcome::Ignored(_)) {
            // Our own clockwork came late or twice; nobody waits for an answer and nothing happened.
            return decision.outcome;
        }
        // An action whose end a state leaves to its deadline, or does not list, is no surprise: it ends.
        let is_action = matches!(stimulus.cause, Cause::Event { source: Source::Action, .. });
        let ignored = match &decision.outcome {
            Outcome::Ignored(
                Ignored::LeftToDeadline { .. } | Ignored::NotHandled { .. } | Ignored::NotAllowed { .. },
            ) if is_action => None,
            Outcome::Ignored(why) => Some(why.to_string()),
            Outcome::Moved { .. } | Outcome::Stayed => None,
        };
        let is_ignored_report = ignored.is_some() && submission.is_report();
        if is_ignored_report {
            repeats::shorten(&mut stimulus, &decision.outcome);
        }
        // Of what is at rest and stays there, one entry tells for many; and nobody asks how its last boot went.
        if decision.keeps_actions() && self.is_untouched() && stimulus.facts.is_empty() {
            self.kept = Some((decision.instance.state.clone(), decision.instance.visit));
        } else if !is_ignored_report || !repeats::count(self.entries.last_mut(), &stimulus, &decision.outcome)
        {
            let reasons: Vec<String> =
                ignored.into_iter().chain(remark.clone()).chain(predictions.failures()).collect();
            self.entries.push(NewEntry {
                instance: self.id(),
                at: now,
                told: Told::Stimulus(stimulus),
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
                    if self.seen.has_actions {
                        self.give_up(*visit);
                    }
                    // What an earlier stimulus of this group asked for was never written.
                    self.invoked.clear();
                    self.goes_on = false;
                }
                // What an earlier stimulus of this group asked for begins with the present visit.
                Effect::Keep { .. } if !self.invoked.is_empty() => {}
                Effect::Hold { .. } => self.hold(holds),
                // Whoever has all that is linked at hand lets the others decide on what is raised.
                Effect::Raise(_) => {}
                Effect::Invoke { actions, .. } | Effect::Keep { actions, .. } => {
                    let facts = self.action_facts(&SharedByFace::default());
                    self.invoked = with_claims(&self.kinds, &facts, actions, submission.queue_at);
                    hold_first(&mut self.invoked, &holds.entered);
                    self.goes_on = matches!(effect, Effect::Keep { .. });
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
        self.linked.as_ref().unwrap_or(&self.seen.linked)
    }

    /// Takes the numbers of the instances that it is linked to from here on.
    pub(super) fn link(&mut self, linked: LinkedIds) {
        self.linked = Some(linked);
    }

    /// What its part and those of others have in common that are written together with it or not at all; its own number
    /// where there are none.
    pub(super) fn coupling(&self) -> InstanceId {
        self.coupling.unwrap_or(self.seen.id)
    }

    /// Lets its part be written only together with all others that have `coupling` in common.
    pub(super) fn couple(&mut self, coupling: InstanceId) {
        self.coupling = Some(coupling);
    }

    /// Writes down what was noticed.
    pub(super) fn note(&mut self, note: Note, now: DateTime<Utc>) {
        let Note { name, sender, evidence, remark } = note;
        self.entries.push(NewEntry {
            instance: self.id(),
            at: now,
            told: Told::Note(name.to_owned()),
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
    fn hold(&mut self, holds: &StateHolds) {
        self.held.extend(holds.left.iter().cloned());
        let is_held = |name: &&ResourceName| {
            holds.entered.iter().any(|claim| claim.hold.as_deref() == Some(name.as_str()))
        };
        let dropped = self.held.iter().filter(|name| !is_held(name));
        self.dropped_holds = dropped.map(ToString::to_string).collect();
    }

    /// Lets nothing more be done for `visit` and those before it.
    pub(super) fn give_up(&mut self, visit: Visit) {
        self.left = self.left.max(Some(visit));
        self.is_rewritten = true;
    }

    /// Lets a waiting action run, which gets `grant`.
    pub(super) fn start(&mut self, action: ActionId, grant: Grant) {
        self.started = Some((action, grant));
        self.is_rewritten = true;
    }

    /// Lets a running action wait until its trouble is over.
    pub(super) fn suspend(&mut self, suspension: Suspension) {
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
    pub(super) fn end(&mut self, action: ActionId) {
        self.ended.push(action);
        self.is_rewritten = true;
    }

    /// Takes away the row of an action that counts no more.
    pub(super) fn sweep(&mut self, action: ActionId) {
        self.ended.push(action);
    }

    /// What is to be written.
    pub(super) fn finish(self) -> Decided {
        let is_silent = self.is_silent();
        let (linked, coupling) = (self.linked.clone(), self.coupling);
        let Self {
            seen,
            instance,
            entries,
            left,
            invoked,
            kept,
            goes_on,
            ended,
            started,
            suspended,
            released,
            dropped_holds,
            ..
        } = self;
        let instance = self.is_rewritten.then_some(instance);
        Decided {
            seen,
            instance,
            left,
            entries,
            kept,
            ended,
            started,
            suspended,
            released,
            dropped_holds,
            invoked,
            goes_on,
            linked,
            coupling,
            is_silent,
        }
    }

    /// Whether its state was entered anew, its actions go on, and all that lists and pages show is as it was but for when
    /// its time passes.
    fn is_silent(&self) -> bool {
        let (before, after) = (&*self.seen.instance, &*self.instance);
        self.is_rewritten
            && !self.is_moved
            && !self.is_closed()
            && self.left.is_none()
            && (&before.state, before.since, &before.counters, &before.data, before.remaining)
                == (&after.state, after.since, &after.counters, &after.data, after.remaining)
            && before.links == after.links
    }

    /// What actions may know of what the instance stands for.
    pub(super) fn action_facts(&self, shared: &SharedByFace) -> Facts {
        let facts = self.seen.facts.as_ref();
        facts.map(|facts| facts.for_actions(&self.instance, shared.of(facts.face()))).unwrap_or_default()
    }

    /// What guards may know of what the instance stands for.
    fn facts(&self, shared: &SharedByFace) -> Map<String, Value> {
        self.facts_of(&self.instance, shared)
    }

    /// The same, where the instance is as `instance` says.
    pub(super) fn facts_of(&self, instance: &Instance, shared: &SharedByFace) -> Map<String, Value> {
        let facts = self.seen.facts.as_ref();
        facts.map(|facts| facts.for_guards(instance, shared.of(facts.face()))).unwrap_or_default()
    }
}
