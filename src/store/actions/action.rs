//! Actions and their IDs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::claims::{Claim, Grant, GrantedUnits};
use super::super::instances::InstanceId;
use crate::machine::{ActionInvocation, ActionName, Visit};

/// An action's ID in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub i64);

/// A worker's ID in the database. After its lease has expired, a worker gets another ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub i64);

/// An action that a transition invokes.
#[derive(Debug, Clone)]
pub struct NewAction {
    /// The invocation in the definition.
    pub invoke: ActionInvocation,
    /// The resources that it needs to begin, and holds while it runs.
    pub claims: Vec<Claim>,
    /// Its time in the queue, if that is not the time at which it was invoked.
    pub queue_at: Option<DateTime<Utc>>,
    /// Its compensation, if it has one: run if the action began and its end was not observed.
    pub compensation: Option<ActionName>,
}

impl NewAction {
    /// Returns its time limit in milliseconds.
    pub(in crate::store) fn limit_ms(&self) -> Option<i64> {
        self.invoke.limit.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
    }
}

/// An action that runs or waits.
#[derive(Debug, Clone)]
pub struct RunningAction {
    /// Its ID.
    pub id: ActionId,
    /// Its instance.
    pub instance: InstanceId,
    /// The visit that invoked it: the current one, or an earlier one of a state that keeps its actions.
    pub visit: Visit,
    /// Whether it is the compensation of an action whose visit has ended.
    pub is_compensation: bool,
    /// The kind of action.
    pub action: ActionName,
    /// Settings from the definition.
    pub settings: Map<String, Value>,
    /// The time limit, if the definition has one.
    pub limit: Option<Duration>,
    /// The resources that it needs to run.
    pub claims: Vec<Claim>,
    /// The units that it holds.
    pub granted: Vec<GrantedUnits>,
    /// Its compensation, if it has one: run if the action began and its end was not observed.
    pub compensation: Option<ActionName>,
}

impl RunningAction {
    /// Returns the visit that it acts for while it is not cancelled and its instance is in visit `present`.
    ///
    /// Leaving a state cancels its actions in the same transaction, so an action that is not cancelled belongs to the current
    /// visit, however often the state was re-entered since.
    #[must_use]
    pub fn speaks_for(&self, present: Visit) -> Visit {
        if self.is_compensation { self.visit } else { present }
    }

    /// Whether it claims the same resources as `other`, apart from holds of states.
    #[must_use]
    pub(super) fn has_same_claims_as(&self, other: &Self) -> bool {
        let resources = |action: &Self| {
            let claims = action.claims.iter().filter(|claim| claim.hold.is_none());
            claims.map(|claim| claim.any_of.clone()).collect::<Vec<_>>()
        };
        resources(self) == resources(other)
    }

    /// Whether the units that `other` holds satisfy all its claims.
    #[must_use]
    pub fn is_covered_by(&self, other: &Self) -> bool {
        self.claims.iter().all(|claim| claim.hold.is_some() || other.units_for(claim).is_some())
    }

    /// Returns the units that it holds for `claim`.
    #[must_use]
    pub fn units_for(&self, claim: &Claim) -> Option<&GrantedUnits> {
        let is_for =
            |units: &&GrantedUnits| claim.any_of.contains(&units.resource) && units.units >= claim.units;
        self.granted.iter().find(is_for)
    }

    /// Returns the units that it holds of what contains the resource of a claim that adds load.
    pub fn container_units(&self) -> impl Iterator<Item = &GrantedUnits> {
        self.granted.iter().filter(|units| units.is_of_container())
    }
}

/// The suspension of an action by a local fault, until that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The action.
    pub action: ActionId,
    /// The code of the local fault: actions with the same code wait for the same fault to end.
    pub trouble: String,
    /// The reason in words.
    pub reason: String,
    /// Whether the run counts as an attempt.
    pub is_counted: bool,
    /// Whether only the compensation remains to be run, even after the visit has ended.
    pub is_compensation: bool,
}

/// An action that may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartableAction {
    /// Its ID.
    pub id: ActionId,
    /// Its instance.
    pub instance: InstanceId,
    /// The grant of its claims.
    pub grant: Grant,
}
