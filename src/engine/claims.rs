//! The claims of the actions of a state.

use chrono::{DateTime, Utc};

use crate::actions::{self, ActionRegistry, Facts};
use crate::machine::{ActionInvocation, Definition, ResourceDeclaration, ResourceName, State, StateName};
use crate::store::actions::NewAction;
use crate::store::claims::{Claim, ResourceLimits};

/// Builds the actions that a state invokes. Each claims what it needs itself and what the following actions need: the list
/// waits as a whole before it starts, so that no part of the timeout is spent in a queue.
pub(super) fn with_claims(
    kinds: &ActionRegistry,
    facts: &Facts,
    invoked: &[ActionInvocation],
    queue_at: Option<DateTime<Utc>>,
) -> Vec<NewAction> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut new: Vec<NewAction> = invoked
        .iter()
        .rev()
        .map(|invoke| {
            for own in kinds.claims(&invoke.action, &invoke.with, facts).iter().map(to_stored_claim) {
                match claims.iter_mut().find(|claim| claim.any_of == own.any_of) {
                    Some(claim) => {
                        claim.units = claim.units.max(own.units);
                        claim.adds_load |= own.adds_load;
                        claim.probes &= own.probes;
                    }
                    None => claims.push(own),
                }
            }
            NewAction {
                compensation: kinds.compensation(&invoke.action),
                invoke: invoke.clone(),
                queue_at: queue_at.filter(|_| !claims.is_empty()),
                claims: claims.clone(),
            }
        })
        .collect();
    new.reverse();
    new
}

/// The holds of the states that a decision left and entered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HoldChanges {
    /// The holds of the state that was left, by their names in the definition.
    pub(super) left: Vec<ResourceName>,
    /// The claims for the holds of the entered state.
    pub(super) entered: Vec<Claim>,
}

impl HoldChanges {
    pub(super) fn of(definition: &Definition, left: &StateName, entered: &StateName) -> Self {
        if definition.resources.is_empty() {
            return Self::default();
        }
        let hold = |state| definition.states.get(state).into_iter().flat_map(|state: &State| &state.hold);
        Self {
            left: hold(left).map(|(name, _)| name.clone()).collect(),
            entered: hold(entered).map(|(name, units)| hold_claim(definition, name, *units)).collect(),
        }
    }
}

/// Builds the claim of a hold.
fn hold_claim(definition: &Definition, name: &ResourceName, units: u32) -> Claim {
    let declared = definition.resources.get(name);
    let select = declared.and_then(|declared| declared.any.as_ref()).map(ToString::to_string);
    Claim {
        any_of: if select.is_none() { vec![name.to_string()] } else { Vec::new() },
        select,
        units,
        limits: declared.map_or_else(ResourceLimits::default, declared_limits),
        hold: Some(name.to_string()),
        adds_load: false,
        probes: false,
    }
}

/// Returns the limits of a resource in a definition.
pub(super) fn declared_limits(declared: &ResourceDeclaration) -> ResourceLimits {
    ResourceLimits::new(declared.capacity, declared.gap, declared.settle)
}

/// Adds the claims of the holds of a state to its first action, before its other claims: no action waits for a hold while it
/// has units of another resource.
pub(super) fn prepend_holds(new: &mut [NewAction], held: &[Claim]) {
    if let Some(first) = new.first_mut() {
        first.claims.splice(0..0, held.iter().cloned());
    }
}

/// Converts the claim of an action kind to its stored form.
#[must_use]
pub fn to_stored_claim(claim: &actions::ResourceClaim) -> Claim {
    let actions::ResourceClaim { any_of, units, capacity, gap, settle, adds_load, probes } = claim;
    let limits = ResourceLimits::new(*capacity, *gap, *settle);
    Claim {
        any_of: any_of.clone(),
        select: None,
        units: *units,
        limits,
        hold: None,
        adds_load: *adds_load,
        probes: *probes,
    }
}
