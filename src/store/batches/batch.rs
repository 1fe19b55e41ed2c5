//! What was decided about instances, and what became of it.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::actions::{ActionId, NewAction, Suspension};
use super::super::claims::{Grant, GrantedUnits};
use super::super::history::NewHistoryEntry;
use super::super::instances::InstanceId;
use super::super::links::LinkedIds;
use super::versioned::{RowVersion, VersionedInstance};
use crate::machine::{Instance, StateName, Visit};

/// What was decided about one instance.
#[derive(Debug, Clone)]
pub struct DecidedUpdate {
    /// The instance as it was read.
    pub base: VersionedInstance,
    /// The instance after it; nothing where only history is added.
    pub instance: Option<Arc<Instance>>,
    /// The visit that was left: what it still had to do is deleted, and what runs is to be stopped.
    pub left_visit: Option<Visit>,
    /// What happened, in order; all of it at the time at which the group is written.
    pub entries: Vec<NewHistoryEntry>,
    /// The state that was entered anew by its own deadline, and the visit that began; it has no entry of its own.
    pub reentered: Option<(StateName, Visit)>,
    /// The actions that ended, or count no more.
    pub ended: Vec<ActionId>,
    /// The action that begins, and what it holds.
    pub started: Option<(ActionId, Grant)>,
    /// The action that is suspended.
    pub suspended: Option<Suspension>,
    /// What is given back.
    pub released: Vec<GrantedUnits>,
    /// What its state may have held and the present one does not, by the names that the definition has for it.
    pub dropped_holds: Vec<String>,
    /// The actions that the present visit asks for, in order.
    pub invoked: Vec<NewAction>,
    /// Whether they are only for where none is left of those that an earlier visit of the state asked for.
    pub keeps_actions: bool,
    /// The numbers of the instances that it is linked to, where its links are not what they were.
    pub linked: Option<LinkedIds>,
    /// The number that it has in common with those that were decided together with it, because one of them raised an event
    /// at another: their parts are written whole or not at all.
    pub coupling: Option<InstanceId>,
    /// Whether nobody sees a difference: its state was entered anew and only its deadline is a later one.
    pub is_silent: bool,
}

impl DecidedUpdate {
    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.base.id
    }

    /// The instance as it was written with `version`; nothing where its row was not rewritten.
    #[must_use]
    pub fn into_versioned(self, version: RowVersion) -> Option<VersionedInstance> {
        let has_actions = self.base.has_actions || !self.invoked.is_empty();
        let linked = self.linked.unwrap_or(self.base.linked);
        Some(VersionedInstance { version, instance: self.instance?, linked, has_actions, ..self.base })
    }
}

/// What a waiting action gets of what is given back with a group; whoever comes first starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOnGrant {
    /// The action.
    pub action: ActionId,
    /// What it gets.
    pub grant: Grant,
}

/// Everything that is written together.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Each instance once, in the order of their numbers: all processes lock in that order.
    pub decided: &'a [DecidedUpdate],
    /// What states held of what is dropped.
    pub dropped_holds: &'a [(InstanceId, GrantedUnits)],
    /// What is granted on: only where all of `decided` is applied.
    pub passed_on_grants: &'a [PassedOnGrant],
}

/// What a group came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchResult {
    /// The instances of which nothing that was decided is durable; of the others everything is.
    pub overtaken: HashSet<InstanceId>,
    /// The version of the rows that were rewritten, if any were.
    pub version: Option<RowVersion>,
    /// The actions that run and are to be stopped.
    pub stopped: Vec<ActionId>,
    /// Whether another definition has come into force than it was decided under.
    pub is_outdated: bool,
}
