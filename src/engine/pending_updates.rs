//! The pending updates of a batch, with those of linked instances.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::face::SharedFactsByFace;
use super::pending_update::PendingUpdate;
use super::step::{ChainStep, MissingInput};
use super::work_item::Submission;
use crate::machine::{Definition, InstanceAddress, Outcome};
use crate::store::instances::{InstanceId, InstanceKey};

/// The pending updates, in the order of instance numbers.
#[derive(Default)]
pub(super) struct PendingUpdates {
    /// Boxed, because an update is large.
    by_id: BTreeMap<InstanceId, Box<PendingUpdate>>,
    /// The instances by address, where that was read; nothing where there is none.
    ids_by_address: HashMap<InstanceAddress, Option<InstanceId>>,
    /// Numbers without an instance.
    missing: HashSet<InstanceId>,
}

impl PendingUpdates {
    /// Adds an instance, unless it is known.
    pub(super) fn add(&mut self, update: PendingUpdate) {
        self.by_id.entry(update.id()).or_insert_with(|| Box::new(update));
    }

    /// Records that `target` does not exist, unless it was read.
    pub(super) fn note_missing(&mut self, target: InstanceKey) {
        match target {
            InstanceKey::Id(id) => {
                if !self.by_id.contains_key(&id) {
                    self.missing.insert(id);
                }
            }
            InstanceKey::Name(machine, name) => {
                _ = self.ids_by_address.entry(InstanceAddress { machine, name }).or_default();
            }
        }
    }

    /// Records the address of the instance `id`.
    pub(super) fn note_name(&mut self, address: InstanceAddress, id: InstanceId) {
        self.ids_by_address.insert(address, Some(id));
    }

    pub(super) fn get(&self, id: InstanceId) -> Option<&PendingUpdate> {
        self.by_id.get(&id).map(|update| &**update)
    }

    pub(super) fn get_mut(&mut self, id: InstanceId) -> Option<&mut PendingUpdate> {
        self.by_id.get_mut(&id).map(|update| &mut **update)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PendingUpdate> {
        self.by_id.values_mut().map(|update| &mut **update)
    }

    /// Whether the instance `id` is known not to exist.
    pub(super) fn is_missing(&self, id: InstanceId) -> bool {
        self.missing.contains(&id)
    }

    /// Finds the number of an instance; nothing where it does not exist.
    pub(super) fn find_id(&self, address: &InstanceAddress) -> Result<Option<InstanceId>, MissingInput> {
        let InstanceAddress { machine, name } = address;
        let target = || InstanceKey::Name(machine.clone(), name.clone());
        self.ids_by_address.get(address).copied().ok_or_else(|| MissingInput::Instance(target()))
    }

    /// Applies the decisions that were already made on `submission` and its raised events; without them, the instance `id`
    /// decides.
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

    /// Applies the decisions of a chain that started with `submission`: they are written together or not at all. Returns the
    /// outcome of the first one.
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

    /// Applies the decisions on raised events.
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
        let update = self.get_mut(id)?;
        if let Some(linked) = linked {
            update.set_linked(linked);
        }
        Some(update.apply(submission, stimulus, (decision, &holds), now))
    }

    /// Couples the updates of `ids`, and all updates that are coupled with one of them.
    pub(super) fn couple(&mut self, ids: &BTreeSet<InstanceId>) {
        let of = |id: &InstanceId| self.get(*id).map(PendingUpdate::coupling);
        let couplings: BTreeSet<InstanceId> = ids.iter().filter_map(of).collect();
        let Some(first) = couplings.first().copied().filter(|_| ids.len() > 1) else { return };
        for update in self.by_id.values_mut().filter(|update| couplings.contains(&update.coupling())) {
            update.couple(first);
        }
    }

    /// Returns the updates, in the order of instance numbers.
    pub(super) fn into_values(self) -> impl Iterator<Item = Box<PendingUpdate>> {
        self.by_id.into_values()
    }
}
