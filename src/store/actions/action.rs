//! What there is of an action.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::claims::{Claim, Grant, GrantedUnits};
use super::super::instances::InstanceId;
use crate::machine::{ActionInvocation, ActionName, Visit};

/// An action's number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub i64);

/// A worker's number in the database. A worker whose lease ran out never comes back: it registers anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub i64);

/// An action to be written with its transition.
#[derive(Debug, Clone)]
pub struct NewAction {
    /// What to do.
    pub invoke: ActionInvocation,
    /// What it needs before it can begin, and holds while it runs.
    pub claims: Vec<Claim>,
    /// When its turn is, where that is not the time at which it is asked for.
    pub queue_at: Option<DateTime<Utc>>,
    /// What makes up for it where it was begun and is not seen to end.
    pub compensation: Option<ActionName>,
}

impl NewAction {
    /// The longest it may take, in milliseconds.
    pub(in crate::store) fn limit_ms(&self) -> Option<i64> {
        self.invoke.limit.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
    }
}

/// An action that runs.
#[derive(Debug, Clone)]
pub struct RunningAction {
    /// Its number.
    pub id: ActionId,
    /// Whose it is.
    pub instance: InstanceId,
    /// The visit that asked for it: the present one, or an earlier one of a state that keeps its actions.
    pub visit: Visit,
    /// Whether it only makes up for an action whose visit has ended.
    pub is_compensation: bool,
    /// Which action.
    pub action: ActionName,
    /// Settings from the definition.
    pub settings: Map<String, Value>,
    /// The longest it may take, where the definition says so.
    pub limit: Option<Duration>,
    /// What it needs to run.
    pub claims: Vec<Claim>,
    /// What it holds of that while it runs.
    pub granted: Vec<GrantedUnits>,
    /// What makes up for it where it was begun and is not seen to end.
    pub compensation: Option<ActionName>,
}

impl RunningAction {
    /// The visit that it speaks for while it is not cancelled and its instance is in visit `present`.
    ///
    /// Leaving a state cancels its actions in the same transaction, so what is not cancelled is the present visit's,
    /// however often the state has been entered anew since it was asked for.
    #[must_use]
    pub fn speaks_for(&self, present: Visit) -> Visit {
        if self.is_compensation { self.visit } else { present }
    }

    /// Whether it claims the same resources as `other`, apart from those that states hold.
    #[must_use]
    pub(super) fn has_same_claims_as(&self, other: &Self) -> bool {
        let own = |action: &Self| {
            let claims = action.claims.iter().filter(|claim| claim.hold.is_none());
            claims.map(|claim| claim.any_of.clone()).collect::<Vec<_>>()
        };
        own(self) == own(other)
    }

    /// Whether what `other` holds is all that it needs.
    #[must_use]
    pub fn is_covered_by(&self, other: &Self) -> bool {
        self.claims.iter().all(|claim| claim.hold.is_some() || other.units_for(claim).is_some())
    }

    /// What it holds for `claim`.
    #[must_use]
    pub fn units_for(&self, claim: &Claim) -> Option<&GrantedUnits> {
        let is_for =
            |units: &&GrantedUnits| claim.any_of.contains(&units.resource) && units.units >= claim.units;
        self.granted.iter().find(is_for)
    }
}

/// An action that trouble of our own stopped, to be handed back until that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The action.
    pub action: ActionId,
    /// What it is suspended by: actions with the same trouble wait for the same thing.
    pub trouble: String,
    /// Why, in words.
    pub reason: String,
    /// Whether its run counts among its attempts.
    pub is_counted: bool,
    /// Whether what is left to do is the compensation, whatever becomes of the visit.
    pub is_compensation: bool,
}

/// An action that may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartableAction {
    /// Its number.
    pub id: ActionId,
    /// Whose it is.
    pub instance: InstanceId,
    /// What it gets of what it claims.
    pub grant: Grant,
}
