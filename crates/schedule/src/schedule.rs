//! What is granted now.

use std::collections::BTreeMap;

use crate::request::{PlannedGrant, ResourceNeed, ResourceRequest};
use crate::resource::{LimitedResource, ResourceUnits};

/// How many picks are tried for the needs of one request: only of many that name the same resources there are more.
const MAX_ASSIGNMENT_ATTEMPTS: usize = 1000;

/// What is granted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantPlan<K, R> {
    /// In the order of the queue.
    pub grants: Vec<PlannedGrant<K, R>>,
    /// When something may be granted that only waits for a gap or for a resource to settle.
    pub next_at: Option<i64>,
}

/// Decides what is granted at `now`, while `held` is held, to those in `queue`, the first of which comes first.
///
/// A resource that is not among `resources` has no limit.
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
    plan
}

/// What of a resource is left for those in the queue who have not been looked at yet.
struct RemainingUnits {
    resource: LimitedResource,
    units: i64,
    /// How many of them are kept for those who wait for something else besides.
    kept: i64,
    /// When it may grant something next.
    free_from: i64,
}

impl RemainingUnits {
    /// How many units of it `units` are.
    fn clamp(&self, units: u32) -> i64 {
        i64::from(units.min(self.resource.capacity).max(1))
    }
}

struct ScheduleState<'a, R> {
    left: BTreeMap<&'a R, RemainingUnits>,
    /// How many resources have units left.
    open: usize,
    now: i64,
}

enum GrantChoice<R> {
    Granted(Vec<ResourceUnits<R>>),
    /// Only a gap or a settle time is in the way, until then.
    Later(i64),
    Waits,
}

impl<'a, R: Clone + Ord> ScheduleState<'a, R> {
    fn new(resources: &'a BTreeMap<R, LimitedResource>, held: &[ResourceUnits<R>], now: i64) -> Self {
        let left = |resource: &LimitedResource| RemainingUnits {
            resource: *resource,
            units: i64::from(resource.capacity),
            kept: 0,
            free_from: resource.free_from(now),
        };
        let mut left: BTreeMap<&R, RemainingUnits> =
            resources.iter().map(|(name, resource)| (name, left(resource))).collect();
        for ResourceUnits { resource, units } in held {
            if let Some(left) = left.get_mut(resource) {
                left.units -= left.clamp(*units);
            }
        }
        let open = left.values().filter(|left| left.units > 0).count();
        Self { left, open, now }
    }

    /// Whether nothing is left of anything, so that nobody need be looked at any more.
    fn is_exhausted(&self) -> bool {
        self.open == 0 && !self.left.is_empty()
    }

    /// Grants all that is asked for, or keeps it for whoever waits.
    ///
    /// What is free is not kept from those who hold something already: whoever waits may wait for just that.
    fn choose<K>(&mut self, ResourceRequest { needs, holds, .. }: &ResourceRequest<K, R>) -> GrantChoice<R> {
        let Some(chosen) = self.pick(needs, |left| left.units - if *holds { 0 } else { left.kept }) else {
            // What it would get if nobody held anything; if need be, of what is out of use for now. Where even that is not
            // enough, it keeps nothing from others.
            let in_use = self.pick(needs, |left| left.resource.capacity.into());
            let all = in_use.or_else(|| self.pick(needs, |left| left.resource.capacity.max(1).into()));
            for (name, units) in all.unwrap_or_default() {
                self.keep(name, units);
            }
            return GrantChoice::Waits;
        };
        for (name, units) in &chosen {
            self.take(name, *units);
        }
        let free_from = chosen.iter().map(|(name, _)| self.free_from(name)).max().unwrap_or(self.now);
        if free_from > self.now {
            return GrantChoice::Later(free_from);
        }
        let grant = |(name, units): (&R, u32)| {
            self.delay(name);
            ResourceUnits { resource: name.clone(), units }
        };
        GrantChoice::Granted(chosen.into_iter().map(grant).collect())
    }

    /// Picks a resource for each of `needs` from as many units as `there_are`; one that grants now before one that does so
    /// later, and of those that are equal the first. Needs that name the same resource share its units.
    fn pick<'n>(
        &self,
        needs: &'n [ResourceNeed<R>],
        there_are: impl Fn(&RemainingUnits) -> i64,
    ) -> Option<Vec<(&'n R, u32)>> {
        let mut picks = NeedAssignment {
            needs,
            chosen: Vec::new(),
            tries: MAX_ASSIGNMENT_ATTEMPTS,
            state: self,
            there_are,
        };
        // Most that wait lack something whatever they pick for the rest.
        let may_have = |need: &ResourceNeed<R>| need.any_of.iter().any(|name| picks.has(name, need.units));
        let has_all = needs.iter().all(may_have) && picks.complete();
        has_all.then(|| picks.chosen.into_iter().zip(needs.iter().map(|need| need.units)).collect())
    }

    /// From when on a resource grants something.
    fn free_from(&self, name: &R) -> i64 {
        self.left.get(name).map_or(self.now, |left| left.free_from.max(self.now))
    }

    /// Keeps units for who waits: of what is lacking all that there is, of the rest only from those who hold nothing.
    fn keep(&mut self, name: &R, units: u32) {
        match self.left.get_mut(name) {
            Some(left) if left.units >= left.clamp(units) => left.kept += left.clamp(units),
            _ => self.take(name, units),
        }
    }

    /// Takes units away: they are granted, or nobody else gets them.
    fn take(&mut self, name: &R, units: u32) {
        let Some(left) = self.left.get_mut(name) else { return };
        let was_open = left.units > 0;
        left.units -= left.clamp(units);
        self.open -= usize::from(was_open && left.units <= 0);
    }

    /// Begins the gap after a grant.
    fn delay(&mut self, name: &R) {
        if let Some(left) = self.left.get_mut(name).filter(|left| left.resource.gap > 0) {
            left.free_from = left.free_from.max(self.now.saturating_add(left.resource.gap));
        }
    }
}

/// The resources that are picked for the needs of one request, in their order.
struct NeedAssignment<'p, 'n, R, F> {
    needs: &'n [ResourceNeed<R>],
    chosen: Vec<&'n R>,
    tries: usize,
    state: &'p ScheduleState<'p, R>,
    there_are: F,
}

impl<R: Clone + Ord, F: Fn(&RemainingUnits) -> i64> NeedAssignment<'_, '_, R, F> {
    /// Picks for the needs that have nothing yet; where a later one then gets nothing, what is picked for an earlier one changes.
    fn complete(&mut self) -> bool {
        let Some(need) = self.needs.get(self.chosen.len()) else { return true };
        let mut free: Vec<_> = need.any_of.iter().filter(|name| self.has(name, need.units)).collect();
        free.sort_by_key(|name| self.state.free_from(name));
        for name in free {
            let Some(left) = self.tries.checked_sub(1) else { return false };
            self.tries = left;
            self.chosen.push(name);
            if self.complete() {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    /// Whether so many units are there besides those that other needs have.
    fn has(&self, name: &R, units: u32) -> bool {
        let Some(left) = self.state.left.get(name) else { return true };
        let others = self.needs.iter().zip(&self.chosen).filter(|(_, chosen)| **chosen == name);
        let others: i64 = others.map(|(need, _)| left.clamp(need.units)).sum();
        (self.there_are)(left) - others >= left.clamp(units)
    }
}
