//! Decisions about instances, and the result of writing them.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::actions::{ActionId, NewAction, Suspension};
use super::super::claims::{Grant, GrantedUnits};
use super::super::history::NewHistoryEntry;
use super::super::instances::InstanceId;
use super::super::links::LinkedIds;
use super::versioned::{RowVersion, VersionedInstance};
use crate::machine::{Instance, StateName, Visit};

/// The decision about one instance.
#[derive(Debug, Clone)]
pub struct DecidedUpdate {
    /// The instance as it was read.
    pub base: VersionedInstance,
    /// The instance after the decision; `None` if only history is added.
    pub instance: Option<Arc<Instance>>,
    /// The visit that was left: its waiting actions are deleted, its running ones are cancelled.
    pub left_visit: Option<Visit>,
    /// The history entries in order; the time of all of them is that of the batch.
    pub entries: Vec<NewHistoryEntry>,
    /// The state that its own deadline re-entered, and the new visit; such a re-entry has no history entry of its own.
    pub reentered: Option<(StateName, Visit)>,
    /// What changes about its actions and units; `None` where nothing does, as with most updates, which are thereby small.
    pub actions: Option<Box<ActionChanges>>,
    /// The IDs of the linked instances, if the links changed.
    pub linked: Option<LinkedIds>,
    /// The ID shared by the instances that were decided together because one of them raised an event at
    /// another: their updates are written together or not at all.
    pub coupling: Option<InstanceId>,
    /// Whether the change is invisible to followers: the state was re-entered and only the deadline is later.
    pub is_silent: bool,
}

/// What an update changes about the actions and units of its instance.
#[derive(Debug, Clone, Default)]
pub struct ActionChanges {
    /// The actions that ended or were superseded.
    pub ended: Vec<ActionId>,
    /// The action that begins, and its grant.
    pub started: Option<(ActionId, Grant)>,
    /// The action that is suspended.
    pub suspended: Option<Suspension>,
    /// The units that are released.
    pub released: Vec<GrantedUnits>,
    /// The holds of the state that was left which the new state does not have, by their names in the definition.
    pub dropped_holds: Vec<String>,
    /// The actions that the new visit invokes, in order.
    pub invoked: Vec<NewAction>,
    /// The position of the action of the same visit after which these come; usually 0.
    pub last_seq: i32,
    /// Whether `invoked` applies only if none of the actions of an earlier visit of the state is left.
    pub keeps_actions: bool,
}

impl DecidedUpdate {
    /// The instance's ID.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.base.id
    }

    /// The instance as written with `version`; `None` if its row was not rewritten.
    #[must_use]
    pub fn into_versioned(self, version: RowVersion) -> Option<VersionedInstance> {
        let invokes = self.actions.is_some_and(|actions| !actions.invoked.is_empty());
        let has_actions = self.base.has_actions || invokes;
        let linked = self.linked.unwrap_or(self.base.linked);
        Some(VersionedInstance { version, instance: self.instance?, linked, has_actions, ..self.base })
    }
}

/// Released units that are passed on to a waiting action of another instance; any process may start it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOnGrant {
    /// The action.
    pub action: ActionId,
    /// The grant.
    pub grant: Grant,
}

/// All decisions that are written together.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Each instance once, in the order of the IDs: all processes lock in that order.
    pub decided: &'a [DecidedUpdate],
    /// The holds that are dropped, with their units.
    pub dropped_holds: &'a [(InstanceId, GrantedUnits)],
    /// The grants that are passed on: they apply only if all of `decided` applies.
    pub passed_on_grants: &'a [PassedOnGrant],
}

/// The result of writing a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchResult {
    /// The instances whose decision was not written; those of all others are durable.
    pub overtaken: HashSet<InstanceId>,
    /// The version of the rows that were rewritten, if any.
    pub version: Option<RowVersion>,
    /// The running actions that were cancelled and have to be stopped.
    pub stopped: Vec<ActionId>,
    /// Whether another definition was activated since the batch was decided.
    pub is_outdated: bool,
}
