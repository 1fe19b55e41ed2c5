//! Resources granted together, with the queue for them; grants are planned by the scheduler that servers use.

use std::collections::BTreeMap;

use schedule::{LimitedResource, PlannedGrant, ResourceNeed, ResourceRequest, ResourceUnits, schedule};

/// Resources that one request may claim together, by their index in the shard.
#[derive(Debug, Default)]
pub(super) struct Dispatcher {
    resources: BTreeMap<usize, LimitedResource>,
    held: Vec<ResourceUnits<usize>>,
    waiting: Vec<ResourceRequest<WaitingInstance, usize>>,
    /// The next planned grant that only a gap or a settle time delays.
    planned_ms: Option<u64>,
}

/// A waiting instance with the start of its wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitingInstance {
    pub(super) instance: usize,
    pub(super) since_ms: u64,
}

/// Grants at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DispatchedGrants {
    pub(super) grants: Vec<PlannedGrant<WaitingInstance, usize>>,
    /// When to grant again, unless that is planned already.
    pub(super) next_grant_ms: Option<u64>,
}

impl Dispatcher {
    /// Adds a resource.
    pub(super) fn add(&mut self, number: usize, resource: LimitedResource) {
        self.resources.insert(number, resource);
    }

    /// Adds a request of an instance; `holds` says whether it holds units already.
    pub(super) fn wait(
        &mut self,
        instance: usize,
        (needs, later): (Vec<ResourceNeed<usize>>, Vec<ResourceNeed<usize>>),
        holds: bool,
        now_ms: u64,
    ) {
        self.waiting.push(ResourceRequest {
            key: WaitingInstance { instance, since_ms: now_ms },
            needs,
            later,
            holds,
        });
    }

    /// Removes the request of an instance; returns its needs.
    pub(super) fn stop_waiting(&mut self, instance: usize) -> Vec<ResourceNeed<usize>> {
        let position = self.waiting.iter().position(|request| request.key.instance == instance);
        let request = position.map(|position| self.waiting.remove(position));
        request.map(|request| request.all_needs().cloned().collect()).unwrap_or_default()
    }

    /// Releases units.
    pub(super) fn release(&mut self, units: &ResourceUnits<usize>, now_ms: u64) {
        if let Some(resource) = self.resources.get_mut(&units.resource) {
            resource.release(units.units, units.cools, ticks(now_ms));
        }
        for held in self.held.iter_mut().filter(|held| held.resource == units.resource) {
            held.units = held.units.saturating_sub(units.units);
        }
        self.held.retain(|held| held.units > 0);
    }

    /// Grants requests at `now_ms`, in the order of the queue.
    pub(super) fn grant(&mut self, now_ms: u64) -> DispatchedGrants {
        if self.planned_ms.is_some_and(|planned_ms| planned_ms <= now_ms) {
            self.planned_ms = None;
        }
        if self.waiting.is_empty() {
            return DispatchedGrants::default();
        }
        let plan = schedule(&self.resources, &self.held, &self.waiting, ticks(now_ms));
        for grant in &plan.grants {
            self.waiting.retain(|request| request.key != grant.key);
            for units in &grant.units {
                self.hold(units, now_ms);
            }
        }
        let next_ms = plan.next_at.and_then(|at| u64::try_from(at).ok());
        let new_plan_ms =
            next_ms.filter(|next_ms| self.planned_ms.is_none_or(|planned_ms| *next_ms < planned_ms));
        self.planned_ms = new_plan_ms.or(self.planned_ms);
        DispatchedGrants { grants: plan.grants, next_grant_ms: new_plan_ms }
    }

    fn hold(&mut self, units: &ResourceUnits<usize>, now_ms: u64) {
        if let Some(resource) = self.resources.get_mut(&units.resource) {
            resource.granted_at = Some(ticks(now_ms));
        }
        match self.held.iter_mut().find(|held| held.resource == units.resource) {
            Some(held) => held.units = held.units.saturating_add(units.units),
            None => self.held.push(units.clone()),
        }
    }
}

/// Converts milliseconds for the scheduler.
pub(super) fn ticks(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(granted: &DispatchedGrants) -> Vec<(usize, u64)> {
        granted.grants.iter().map(|grant| (grant.key.instance, grant.key.since_ms)).collect()
    }

    #[test]
    fn grants_follow_the_order_of_the_queue_with_a_settle_time_between() {
        let mut device = Dispatcher::default();
        device.add(0, LimitedResource { settle: 50, ..LimitedResource::of(1) });
        let unit = ResourceUnits::of(0, 1);
        assert_eq!(device.grant(0), DispatchedGrants::default());
        for (instance, at_ms) in [(7, 100), (8, 110), (9, 120)] {
            device.wait(instance, (vec![ResourceNeed::of(0, 1)], vec![]), false, at_ms);
        }
        assert_eq!(granted(&device.grant(120)), [(7, 100)]);
        assert_eq!(device.grant(150), DispatchedGrants::default());
        assert_eq!(device.stop_waiting(8), [ResourceNeed::of(0, 1)]);
        device.release(&unit, 160);
        assert_eq!(
            device.grant(160),
            DispatchedGrants { next_grant_ms: Some(210), ..DispatchedGrants::default() }
        );
        assert_eq!(device.grant(170), DispatchedGrants::default(), "planned already");
        assert_eq!(granted(&device.grant(210)), [(9, 120)]);
        device.release(&unit, 220);
        device.wait(7, (vec![ResourceNeed::of(0, 1)], vec![]), false, 230);
        assert_eq!(device.grant(230).next_grant_ms, Some(270), "the earlier plan has passed");
    }

    #[test]
    fn units_are_reserved_for_an_earlier_request() {
        let mut both = Dispatcher::default();
        both.add(0, LimitedResource::of(1));
        both.add(1, LimitedResource::of(2));
        both.wait(1, (vec![ResourceNeed::of(1, 2)], vec![]), false, 0);
        assert_eq!(granted(&both.grant(0)), [(1, 0)]);
        both.wait(2, (vec![ResourceNeed::of(1, 1), ResourceNeed::of(0, 1)], vec![]), false, 1);
        both.wait(3, (vec![ResourceNeed::of(0, 1)], vec![]), false, 2);
        assert_eq!(granted(&both.grant(2)), []);
        both.release(&ResourceUnits::of(1, 2), 3);
        assert_eq!(granted(&both.grant(3)), [(2, 1)]);
    }
}
