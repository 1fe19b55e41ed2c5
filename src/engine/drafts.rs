//! The instances of a batch while it is decided on, and those that they are linked to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::draft::Draft;
use super::face::SharedByFace;
use super::step::{Lack, Step};
use super::work::Submission;
use crate::machine::{Address, Definition, Outcome};
use crate::store::instances::{InstanceId, Target};

/// The instances, in the order of their numbers.
#[derive(Default)]
pub(super) struct Drafts {
    /// Each in its own place: a draft is too large to be moved about among them.
    by_id: BTreeMap<InstanceId, Box<Draft>>,
    /// Which instance has a name, where that was read; nothing where none has it.
    named: HashMap<Address, Option<InstanceId>>,
    /// Numbers that no instance has.
    gone: HashSet<InstanceId>,
}

impl Drafts {
    /// Adds an instance, unless it is here.
    pub(super) fn add(&mut self, draft: Draft) {
        self.by_id.entry(draft.id()).or_insert_with(|| Box::new(draft));
    }

    /// Takes that nobody is at `target`, where no such instance was read.
    pub(super) fn note_read(&mut self, target: Target) {
        match target {
            Target::Id(id) => {
                if !self.by_id.contains_key(&id) {
                    self.gone.insert(id);
                }
            }
            Target::Name(machine, name) => _ = self.named.entry(Address { machine, name }).or_default(),
        }
    }

    /// Takes that `address` is that of the instance `id`.
    pub(super) fn note_name(&mut self, address: Address, id: InstanceId) {
        self.named.insert(address, Some(id));
    }

    pub(super) fn get(&self, id: InstanceId) -> Option<&Draft> {
        self.by_id.get(&id).map(|draft| &**draft)
    }

    pub(super) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Draft> {
        self.by_id.get_mut(&id).map(|draft| &mut **draft)
    }

    /// Whether it was read that there is no instance `id`.
    pub(super) fn is_gone(&self, id: InstanceId) -> bool {
        self.gone.contains(&id)
    }

    /// The number of the instance that has a name; nothing where none has it.
    pub(super) fn number(&self, address: &Address) -> Result<Option<InstanceId>, Lack> {
        let Address { machine, name } = address;
        let target = || Target::Name(machine.clone(), name.clone());
        self.named.get(address).copied().ok_or_else(|| Lack::Instance(target()))
    }

    /// Keeps what was decided already on `submission` and all that was raised by it; or, where nothing can be raised, lets
    /// the instance `id` decide on it.
    pub(super) fn decide(
        &mut self,
        id: InstanceId,
        submission: &Submission,
        steps: Option<Vec<Step>>,
        (definition, shared, now): (&Definition, &SharedByFace, DateTime<Utc>),
    ) -> Option<Outcome> {
        match steps {
            Some(steps) => self.keep(submission, steps, now),
            None => Some(self.get_mut(id)?.decide(definition, submission, shared, now)),
        }
    }

    /// Keeps the decisions of a chain that began with `submission`: they are written together or not at all. Gives what it
    /// came to where it began.
    pub(super) fn keep(
        &mut self,
        submission: &Submission,
        steps: Vec<Step>,
        now: DateTime<Utc>,
    ) -> Option<Outcome> {
        self.couple(&steps.iter().map(|step| step.id).collect());
        let mut steps = steps.into_iter();
        let first = self.keep_one(submission, steps.next()?, now);
        self.keep_raised(steps, now);
        first
    }

    /// Keeps what was decided on what was raised.
    pub(super) fn keep_raised(&mut self, steps: impl IntoIterator<Item = Step>, now: DateTime<Utc>) {
        for step in steps {
            self.keep_one(&Submission::raised(step.id, &step.stimulus.cause), step, now);
        }
    }

    fn keep_one(&mut self, submission: &Submission, step: Step, now: DateTime<Utc>) -> Option<Outcome> {
        let Step { id, stimulus, decision, holds, linked } = step;
        let draft = self.get_mut(id)?;
        if let Some(linked) = linked {
            draft.link(linked);
        }
        Some(draft.keep(submission, stimulus, (decision, &holds), now))
    }

    /// Lets the parts of `ids`, and of all that are written together with one of them, be written together.
    pub(super) fn couple(&mut self, ids: &BTreeSet<InstanceId>) {
        let of = |id: &InstanceId| self.get(*id).map(Draft::coupling);
        let couplings: BTreeSet<InstanceId> = ids.iter().filter_map(of).collect();
        let Some(first) = couplings.first().copied().filter(|_| ids.len() > 1) else { return };
        for draft in self.by_id.values_mut().filter(|draft| couplings.contains(&draft.coupling())) {
            draft.couple(first);
        }
    }

    /// The instances, in the order of their numbers.
    pub(super) fn into_values(self) -> impl Iterator<Item = Box<Draft>> {
        self.by_id.into_values()
    }
}
