//! What the actions of a state claim.

use chrono::{DateTime, Utc};

use crate::actions::{self, ActionRegistry, Facts};
use crate::machine::{ActionInvocation, Definition, ResourceDeclaration, ResourceName, State, StateName};
use crate::store::actions::NewAction;
use crate::store::claims::{Claim, ResourceLimits};

/// The actions that a state invokes, with what each claims: what it needs itself, and already what those need that come
/// after it. The whole list waits for its turn before it begins, so that nothing loses time of its deadline in a queue.
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
                    Some(claim) => claim.units = claim.units.max(own.units),
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

/// What the states hold that a decision left and entered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HoldChanges {
    /// By their names in the definition.
    pub(super) left: Vec<ResourceName>,
    /// As the first of the state's actions claims it.
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

/// What a state claims by `hold:`.
fn hold_claim(definition: &Definition, name: &ResourceName, units: u32) -> Claim {
    let declared = definition.resources.get(name);
    let select = declared.and_then(|declared| declared.any.as_ref()).map(ToString::to_string);
    Claim {
        any_of: if select.is_none() { vec![name.to_string()] } else { Vec::new() },
        select,
        units,
        limits: declared.map_or_else(ResourceLimits::default, declared_limits),
        hold: Some(name.to_string()),
    }
}

/// What a definition says of a resource.
pub(super) fn declared_limits(declared: &ResourceDeclaration) -> ResourceLimits {
    ResourceLimits::new(declared.capacity, declared.gap, declared.settle)
}

/// Lets the first of a state's actions take what the state holds: before all else, so that nobody waits for it who has
/// something already.
pub(super) fn prepend_holds(new: &mut [NewAction], held: &[Claim]) {
    if let Some(first) = new.first_mut() {
        first.claims.splice(0..0, held.iter().cloned());
    }
}

/// A kind's claim as rows have it.
pub(super) fn to_stored_claim(claim: &actions::ResourceClaim) -> Claim {
    let actions::ResourceClaim { any_of, units, capacity, gap, settle } = claim;
    let limits = ResourceLimits::new(Some(*capacity), *gap, *settle);
    Claim { any_of: any_of.clone(), select: None, units: *units, limits, hold: None }
}
