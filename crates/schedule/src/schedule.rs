//! Grants at a given time.

use std::collections::BTreeMap;

use crate::profile::UnitProfile;
use crate::request::{PlannedGrant, ResourceNeed, ResourceRequest};
use crate::resource::{LimitedResource, ResourceUnits};

/// How many assignments of resources are tried for one request. Only requests with many needs of the same resources have
/// more.
const MAX_ASSIGNMENT_ATTEMPTS: usize = 1000;

/// The grants at a given time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantPlan<K, R> {
    /// Grants in the order of the queue.
    pub grants: Vec<PlannedGrant<K, R>>,
    /// The earliest end of a gap or a settle time that alone delays a request, or of a window that may delay one.
    pub next_at: Option<i64>,
}

/// Decides which requests of `queue` are granted at `now`, in the order of the queue, while `held` is in use.
///
/// Resources that are not in `resources` are unlimited.
#[must_use]
pub fn schedule<K: Clone, R: Clone + Ord>(
    resources: &BTreeMap<R, LimitedResource>,
    held: &[ResourceUnits<R>],
    queue: &[ResourceRequest<K, R>],
    now: i64,
) -> GrantPlan<K, R> {
    let mut state = ScheduleState::new(resources, held, now);
    let mut plan = GrantPlan { grants: Vec::new(), next_at: None };
    for request in queue {
        if state.is_exhausted() {
            break;
        }
        match state.choose(request) {
            GrantChoice::Granted(units) => plan.grants.push(PlannedGrant { key: request.key.clone(), units }),
            GrantChoice::Later(at) => plan.next_at = Some(plan.next_at.map_or(at, |next| next.min(at))),
            GrantChoice::Waits => {}
        }
    }
    if plan.grants.len() < queue.len() {
        let ends = resources.values().flat_map(|resource| resource.cooling_units(now));
        plan.next_at = ends.map(|cooling| cooling.until).chain(plan.next_at).min();
    }
    plan
}

/// The units of a resource that are left for the requests not yet examined.
struct RemainingUnits<'a> {
    resource: &'a LimitedResource,
    units: i64,
    /// Units reserved for earlier requests that wait for other units as well.
    reserved: i64,
    /// The earliest time of the next grant.
    free_from: i64,
    /// Of a resource with a window: the units that come back, and those that are promised.
    profile: UnitProfile,
}

impl RemainingUnits<'_> {
    /// The number of units that a need of `units` takes: at least 1, at most the capacity.
    fn clamp(&self, units: u32) -> i64 {
        i64::from(units.min(self.resource.capacity).max(1))
    }

    /// The earliest time from `from` on at which `units` of the `free` ones can be taken; `None` where that is not known.
    fn earliest(&self, free: i64, units: i64, from: i64) -> Option<i64> {
        match self.resource.window {
            0 => (free >= units).then_some(from),
            window => self.profile.earliest(free, units, from, window),
        }
    }
}

struct ScheduleState<'a, R> {
    left: BTreeMap<&'a R, RemainingUnits<'a>>,
    /// Number of resources with units left.
    open: usize,
    now: i64,
    /// Until when units are promised: the longest window.
    horizon: i64,
}

enum GrantChoice<R> {
    Granted(Vec<ResourceUnits<R>>),
    /// Only gaps, settle times and windows delay it, until this time.
    Later(i64),
    Waits,
}

impl<'a, R: Clone + Ord> ScheduleState<'a, R> {
    fn new(resources: &'a BTreeMap<R, LimitedResource>, held: &[ResourceUnits<R>], now: i64) -> Self {
        let left = |resource: &'a LimitedResource| RemainingUnits {
            resource,
            units: i64::from(resource.capacity),
            reserved: 0,
            free_from: resource.free_from(now),
            profile: UnitProfile::default(),
        };
        let mut left: BTreeMap<&R, RemainingUnits<'a>> =
            resources.iter().map(|(name, resource)| (name, left(resource))).collect();
        for ResourceUnits { resource, units, cools: _ } in held {
            if let Some(left) = left.get_mut(resource) {
                left.units -= left.clamp(*units);
            }
        }
        for left in left.values_mut() {
            for cooling in left.resource.cooling_units(now) {
                let units = left.clamp(cooling.units);
                left.units -= units;
                left.profile.give_back(units, cooling.until);
            }
        }
        let open = left.values().filter(|left| left.units > 0).count();
        let window = resources.values().map(|resource| resource.window).max().unwrap_or(0);
        Self { left, open, now, horizon: now.saturating_add(window) }
    }

    /// Whether no resource has units left, so that the rest of the queue need not be examined.
    fn is_exhausted(&self) -> bool {
        self.open == 0 && !self.left.is_empty()
    }

    /// Grants all needs of a request, or reserves free units for it while it waits.
    ///
    /// Reserved units are granted to requesters that hold units already: the waiting request may wait for those.
    fn choose<K>(&mut self, request: &ResourceRequest<K, R>) -> GrantChoice<R> {
        let ResourceRequest { needs, later, holds, key: _ } = request;
        let is_out_of_use = |name: &R| self.left.get(name).is_some_and(|left| left.resource.capacity == 0);
        if later.iter().flat_map(|need| &need.any_of).any(is_out_of_use) {
            return GrantChoice::Waits;
        }
        let free = |left: &RemainingUnits<'_>| left.units - if *holds { 0 } else { left.reserved };
        let Some(mut chosen) = self.assign(needs, free) else {
            // Reserves what the request would be granted if no units were held, even of resources that are
            // out of use. A request that exceeds even that reserves nothing.
            let in_use = self.assign(needs, |left| left.resource.capacity.into());
            let all = in_use.or_else(|| self.assign(needs, |left| left.resource.capacity.max(1).into()));
            for (name, units) in all.unwrap_or_default() {
                self.reserve(name, units);
            }
            return GrantChoice::Waits;
        };
        let mut start = self.free_from_all(&chosen);
        for need in later {
            let Some(name) = need.any_of.first() else { continue };
            // What begins after all that is promised now is looked at again then.
            if start >= self.horizon && start > self.now {
                break;
            }
            let earliest = self.left.get(name).map_or(Some(start), |left| {
                let own = chosen.iter().filter(|(own, _)| *own == name);
                let own: i64 = own.map(|(_, units)| left.clamp(*units)).sum();
                left.earliest(free(left), own + left.clamp(need.units), start)
            });
            chosen.push((name, need.units));
            let Some(earliest) = earliest else {
                for (name, units) in chosen {
                    self.reserve(name, units);
                }
                return GrantChoice::Waits;
            };
            start = earliest.max(self.free_from(name));
        }
        if start > self.now {
            self.promise(&chosen, start);
            return GrantChoice::Later(start);
        }
        self.take_all(&chosen);
        let cools = request.all_needs().map(|need| need.cools);
        let grant = |((name, units), cools): ((&R, u32), bool)| {
            self.delay(name, self.now);
            ResourceUnits { resource: name.clone(), units, cools }
        };
        GrantChoice::Granted(chosen.into_iter().zip(cools).map(grant).collect())
    }

    fn take_all(&mut self, chosen: &[(&R, u32)]) {
        for (name, units) in chosen {
            self.take(name, *units);
        }
    }

    /// Assigns a resource to each of `needs`, with `available` units each: the one that grants earliest, and of equal ones the
    /// first. Needs that name the same resource share its units.
    fn assign<'n>(
        &self,
        needs: &'n [ResourceNeed<R>],
        available: impl Fn(&RemainingUnits<'_>) -> i64,
    ) -> Option<Vec<(&'n R, u32)>> {
        let mut assignment = NeedAssignment {
            needs,
            chosen: Vec::new(),
            attempts_left: MAX_ASSIGNMENT_ATTEMPTS,
            state: self,
            available,
        };
        // Cheap test first: most waiting requests lack a resource in any assignment.
        let is_satisfiable =
            |need: &ResourceNeed<R>| need.any_of.iter().any(|name| assignment.has(name, need.units));
        let has_all = needs.iter().all(is_satisfiable) && assignment.complete();
        has_all.then(|| assignment.chosen.into_iter().zip(needs.iter().map(|need| need.units)).collect())
    }

    /// The earliest time at which all these resources grant units.
    fn free_from_all(&self, chosen: &[(&R, u32)]) -> i64 {
        chosen.iter().map(|(name, _)| self.free_from(name)).max().unwrap_or(self.now)
    }

    /// The earliest time at which a resource grants units.
    fn free_from(&self, name: &R) -> i64 {
        self.left.get(name).map_or(self.now, |left| left.free_from.max(self.now))
    }

    /// Reserves units for a waiting request. If the resource lacks units, nobody else gets those that are
    /// left; otherwise only requesters that hold nothing are refused them.
    fn reserve(&mut self, name: &R, units: u32) {
        match self.left.get_mut(name) {
            Some(left) if left.units >= left.clamp(units) => left.reserved += left.clamp(units),
            _ => self.take(name, units),
        }
    }

    /// Removes units that are granted or reserved for good.
    fn take(&mut self, name: &R, units: u32) {
        let Some(left) = self.left.get_mut(name) else { return };
        let was_open = left.units > 0;
        left.units -= left.clamp(units);
        self.open -= usize::from(was_open && left.units <= 0);
    }

    /// Starts the gap after a grant at `at`.
    fn delay(&mut self, name: &R, at: i64) {
        if let Some(left) = self.left.get_mut(name).filter(|left| left.resource.gap > 0) {
            left.free_from = left.free_from.max(at.saturating_add(left.resource.gap));
        }
    }

    /// Keeps units for a request that can start at `start`: those of resources with windows from then on, so that they can be
    /// used until then, and those of others from now on.
    fn promise(&mut self, chosen: &[(&R, u32)], start: i64) {
        for (name, units) in chosen {
            match self.left.get_mut(*name).filter(|left| left.resource.window > 0) {
                Some(left) => left.profile.promise(left.clamp(*units), start, left.resource.window),
                None => self.take(name, *units),
            }
            self.delay(name, start);
        }
    }
}

/// The resources assigned to the needs of one request, in the order of the needs.
struct NeedAssignment<'p, 'n, R, F> {
    needs: &'n [ResourceNeed<R>],
    chosen: Vec<&'n R>,
    attempts_left: usize,
    state: &'p ScheduleState<'p, R>,
    available: F,
}

impl<R: Clone + Ord, F: Fn(&RemainingUnits<'_>) -> i64> NeedAssignment<'_, '_, R, F> {
    /// Assigns resources to the remaining needs, with backtracking.
    fn complete(&mut self) -> bool {
        let Some(need) = self.needs.get(self.chosen.len()) else { return true };
        let mut free: Vec<_> = need.any_of.iter().filter(|name| self.has(name, need.units)).collect();
        free.sort_by_key(|name| self.state.free_from(name));
        for name in free {
            let Some(left) = self.attempts_left.checked_sub(1) else { return false };
            self.attempts_left = left;
            self.chosen.push(name);
            if self.complete() {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    /// Whether the resource has the units besides those assigned to other needs.
    fn has(&self, name: &R, units: u32) -> bool {
        let Some(left) = self.state.left.get(name) else { return true };
        let others = self.needs.iter().zip(&self.chosen).filter(|(_, chosen)| **chosen == name);
        let others: i64 = others.map(|(need, _)| left.clamp(need.units)).sum();
        (self.available)(left) - others >= left.clamp(units)
    }
}
