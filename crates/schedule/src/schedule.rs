//! What is granted now.

use std::collections::BTreeMap;

use crate::request::{Grant, Need, Request};
use crate::resource::{Resource, Units};

/// What is granted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<K, R> {
    /// In the order of the queue.
    pub grants: Vec<Grant<K, R>>,
    /// When something may be granted that only waits for a gap or for a resource to settle.
    pub next_at: Option<i64>,
}

/// Decides what is granted at `now`, while `held` is held, to those in `queue`, the first of which comes first.
///
/// A resource that is not among `resources` has no limit.
#[must_use]
pub fn schedule<K: Clone, R: Clone + Ord>(
    resources: &BTreeMap<R, Resource>,
    held: &[Units<R>],
    queue: &[Request<K, R>],
    now: i64,
) -> Plan<K, R> {
    let mut state = State::new(resources, held, now);
    let mut plan = Plan { grants: Vec::new(), next_at: None };
    for request in queue {
        if state.is_exhausted() {
            break;
        }
        match state.choose(&request.needs) {
            Choice::Granted(units) => plan.grants.push(Grant { key: request.key.clone(), units }),
            Choice::Later(at) => plan.next_at = Some(plan.next_at.map_or(at, |next| next.min(at))),
            Choice::Waits => {}
        }
    }
    plan
}

/// What of a resource is left for those in the queue who have not been looked at yet.
struct Left {
    resource: Resource,
    units: i64,
    /// When it may grant something next.
    free_from: i64,
}

impl Left {
    /// How many units of it `units` are.
    fn clamp(&self, units: u32) -> i64 {
        i64::from(units.min(self.resource.capacity).max(1))
    }

    fn has(&self, units: u32) -> bool {
        self.units >= self.clamp(units)
    }
}

struct State<'a, R> {
    left: BTreeMap<&'a R, Left>,
    /// How many resources have units left.
    open: usize,
    now: i64,
}

enum Choice<R> {
    Granted(Vec<Units<R>>),
    /// Only a gap or a settle time is in the way, until then.
    Later(i64),
    Waits,
}

impl<'a, R: Clone + Ord> State<'a, R> {
    fn new(resources: &'a BTreeMap<R, Resource>, held: &[Units<R>], now: i64) -> Self {
        let left = |resource: &Resource| Left {
            resource: *resource,
            units: i64::from(resource.capacity),
            free_from: resource.free_from(now),
        };
        let mut left: BTreeMap<&R, Left> =
            resources.iter().map(|(name, resource)| (name, left(resource))).collect();
        for Units { resource, units } in held {
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

    /// Grants all of `needs`, or keeps for them what they wait for.
    fn choose(&mut self, needs: &[Need<R>]) -> Choice<R> {
        let chosen: Vec<Option<&R>> = needs.iter().map(|need| self.candidate(need)).collect();
        let later = chosen.iter().flatten().filter_map(|name| self.left.get(name)).map(|left| left.free_from);
        let free_from = later.max().unwrap_or(i64::MIN);
        let has_all = chosen.iter().all(Option::is_some);
        let is_granted = has_all && free_from <= self.now;
        let mut units = Vec::with_capacity(needs.len());
        for (need, chosen) in needs.iter().zip(chosen) {
            let Some(name) = chosen.or(need.any_of.first()) else { continue };
            self.take(name, need.units, is_granted);
            units.push(Units { resource: name.clone(), units: need.units });
        }
        match (is_granted, has_all) {
            (true, _) => Choice::Granted(units),
            (false, true) => Choice::Later(free_from),
            (false, false) => Choice::Waits,
        }
    }

    /// The resource that `need` gets: one that grants now before one that does so later.
    fn candidate<'n>(&self, need: &'n Need<R>) -> Option<&'n R> {
        let free_from = |name: &R| match self.left.get(name) {
            Some(left) => left.has(need.units).then_some(left.free_from.max(self.now)),
            None => Some(self.now),
        };
        let free = need.any_of.iter().filter_map(|name| Some((free_from(name)?, name)));
        // Of those that are equal the first.
        free.min_by_key(|(at, _)| *at).map(|(_, name)| name)
    }

    /// Takes units away: they are granted, or kept for who waits for them.
    fn take(&mut self, name: &R, units: u32, is_granted: bool) {
        let Some(left) = self.left.get_mut(name) else { return };
        let was_open = left.units > 0;
        left.units -= left.clamp(units);
        if is_granted && left.resource.gap > 0 {
            left.free_from = left.free_from.max(self.now.saturating_add(left.resource.gap));
        }
        self.open -= usize::from(was_open && left.units <= 0);
    }
}
