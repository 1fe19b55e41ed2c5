//! The instances of a batch while it is decided on, and those that they are linked to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::face::SharedFactsByFace;
use super::pending_update::PendingUpdate;
use super::step::{ChainStep, MissingInput};
use super::work_item::Submission;
use crate::machine::{Definition, InstanceAddress, Outcome};
use crate::store::instances::{InstanceId, InstanceKey};

/// The instances, in the order of their numbers.
#[derive(Default)]
pub(super) struct PendingUpdates {
    /// Each in its own place: a draft is too large to be moved about among them.
    by_id: BTreeMap<InstanceId, Box<PendingUpdate>>,
    /// Which instance has a name, where that was read; nothing where none has it.
    ids_by_address: HashMap<InstanceAddress, Option<InstanceId>>,
    /// Numbers that no instance has.
    missing: HashSet<InstanceId>,
}

impl PendingUpdates {
    /// Adds an instance, unless it is here.
    pub(super) fn add(&mut self, draft: PendingUpdate) {
        self.by_id.entry(draft.id()).or_insert_with(|| Box::new(draft));
    }

    /// Takes that nobody is at `target`, where no such instance was read.
    pub(super) fn note_missing(&mut self, target: InstanceKey) {
        match target {
            InstanceKey::Id(id) => {
                if !self.by_id.contains_key(&id) {
                    self.missing.insert(id);
                }
            }
            InstanceKey::Name(machine, name) => {
                _ = self.ids_by_address.entry(InstanceAddress { machine, name }).or_default()
            }
        }
    }

    /// Takes that `address` is that of the instance `id`.
    pub(super) fn note_name(&mut self, address: InstanceAddress, id: InstanceId) {
        self.ids_by_address.insert(address, Some(id));
    }

    pub(super) fn get(&self, id: InstanceId) -> Option<&PendingUpdate> {
        self.by_id.get(&id).map(|draft| &**draft)
    }

    pub(super) fn get_mut(&mut self, id: InstanceId) -> Option<&mut PendingUpdate> {
        self.by_id.get_mut(&id).map(|draft| &mut **draft)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PendingUpdate> {
        self.by_id.values_mut().map(|draft| &mut **draft)
    }

    /// Whether it was read that there is no instance `id`.
    pub(super) fn is_missing(&self, id: InstanceId) -> bool {
        self.missing.contains(&id)
    }

    /// The number of the instance that has a name; nothing where none has it.
    pub(super) fn find_id(&self, address: &InstanceAddress) -> Result<Option<InstanceId>, MissingInput> {
        let InstanceAddress { machine, name } = address;
        let target = || InstanceKey::Name(machine.clone(), name.clone());
        self.ids_by_address.get(address).copied().ok_or_else(|| MissingInput::Instance(target()))
    }

    /// Keeps what was decided already on `submission` and all that was raised by it; or, where nothing can be raised, lets
    /// the instance `id` decide on it.
    pub(super) fn decide(
        &mut self,
        id: InstanceId,
        submission: &Submission,
        steps: Option<Vec<ChainStep>>,
        (definition, shared, now): (&Definition, &SharedFactsByFace, DateTime<Utc>),
    ) -> Option<Outcome> {
        match steps {
            Some(steps) => self.apply_steps(submission, steps, now),
            None => Some(self.get_mut(id)?.decide(definition, submission, shared, now)),
        }
    }

    /// Keeps the decisions of a chain that began with `submission`: they are written together or not at all. Gives what it
    /// came to where it began.
    pub(super) fn apply_steps(
        &mut self,
        submission: &Submission,
        steps: Vec<ChainStep>,
        now: DateTime<Utc>,
    ) -> Option<Outcome> {
        self.couple(&steps.iter().map(|step| step.id).collect());
        let mut steps = steps.into_iter();
        let first = self.apply_step(submission, steps.next()?, now);
        self.apply_raised(steps, now);
        first
    }

    /// Keeps what was decided on what was raised.
    pub(super) fn apply_raised(&mut self, steps: impl IntoIterator<Item = ChainStep>, now: DateTime<Utc>) {
        for step in steps {
            self.apply_step(&Submission::raised(step.id, &step.stimulus.cause), step, now);
        }
    }

    fn apply_step(
        &mut self,
        submission: &Submission,
        step: ChainStep,
        now: DateTime<Utc>,
    ) -> Option<Outcome> {
        let ChainStep { id, stimulus, decision, holds, linked } = step;
        let draft = self.get_mut(id)?;
        if let Some(linked) = linked {
            draft.set_linked(linked);
        }
        Some(draft.apply(submission, stimulus, (decision, &holds), now))
    }

    /// Lets the parts of `ids`, and of all that are written together with one of them, be written together.
    pub(super) fn couple(&mut self, ids: &BTreeSet<InstanceId>) {
        let of = |id: &InstanceId| self.get(*id).map(PendingUpdate::coupling);
        let couplings: BTreeSet<InstanceId> = ids.iter().filter_map(of).collect();
        let Some(first) = couplings.first().copied().filter(|_| ids.len() > 1) else { return };
        for draft in self.by_id.values_mut().filter(|draft| couplings.contains(&draft.coupling())) {
            draft.couple(first);
        }
    }

    /// The instances, in the order of their numbers.
    pub(super) fn into_values(self) -> impl Iterator<Item = Box<PendingUpdate>> {
        self.by_id.into_values()
    }
}
