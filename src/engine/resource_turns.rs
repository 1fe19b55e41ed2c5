//! Turns of the resources within another: which of the circuits of a site is granted units next.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::resource_requests::{ClaimedResources, limits};
use crate::store::claims::ResourceLimits;
use crate::store::queue::{Claimant, ResourceState};

/// How long a resource within another waits for a grant at most before its first claimant comes before those of others.
const MAX_PAUSE: TimeDelta = TimeDelta::seconds(10);

/// Sorts claimants, so that resources within others take turns: the one whose limits let it need longest for all that wait in it
/// comes first, so that none is left when the others are done and could use only a part of what is free. But the first claimant of
/// one that was granted nothing for [`MAX_PAUSE`] comes before all others. Claimants of the same resource stay in their order.
pub(super) fn sort(claimants: &mut Vec<Claimant>, resources: &ClaimedResources, now: DateTime<Utc>) {
    let mut earlier: HashMap<Option<&str>, i64> = HashMap::new();
    let turn = |claimant: Claimant| {
        let mut names = claimant.claims.iter().filter_map(|claim| claim.any_of.first());
        let container = names.find_map(|name| resources.find(name)?.settings.within.as_deref());
        let container = container.and_then(|name| resources.find(name));
        let before = earlier.entry(container.map(|state| state.name.as_str())).or_default();
        let left = claimant.waiting_beside - *before;
        let granted_at = container.and_then(|state| state.granted_at);
        let is_first = *before == 0 && granted_at.is_none_or(|at| now - at >= MAX_PAUSE);
        *before += 1;
        let pace = container.map_or(0, |state| time_per_claimant(state, resources.load(claimant.instance)));
        let rest = if is_first { 0 } else { pace.saturating_mul(left) };
        ((Reverse(is_first), Reverse(rest), granted_at), claimant)
    };
    let mut turns: Vec<_> = claimants.drain(..).map(turn).collect();
    turns.sort_by_key(|(turn, _)| *turn);
    claimants.extend(turns.into_iter().map(|(_, claimant)| claimant));
}

/// The least time, in milliseconds, that a resource needs for each claimant that adds `load_ma`; 0 where none of its limits is one of
/// time.
fn time_per_claimant(state: &ResourceState, load_ma: u32) -> i64 {
    let ResourceLimits { capacity, gap_ms, .. } = limits(state, ResourceLimits::default());
    let window_ms = state.settings.window_ms;
    let share = |part: u32, of: u32| window_ms.saturating_mul(part.into()) / u64::from(of.max(1));
    let of_capacity = capacity.map_or(0, |capacity| share(1, capacity));
    let of_budget = state.settings.budget_ma.map_or(0, |budget_ma| share(load_ma, budget_ma));
    i64::try_from(gap_ms.max(of_capacity).max(of_budget)).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "resource_turns_tests.rs"]
mod tests;
