//! When each request in a queue may expect its turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::request::{PlannedGrant, ResourceRequest};
use crate::resource::{LimitedResource, ResourceUnits};
use crate::schedule::schedule;

/// How many of those that wait for the same resources are given a time: who is further back is told its place only. Each
/// grant and each end looks at all of them again.
const MAX_FORECAST_REQUESTS: usize = 500;

/// Something that takes a known time, or one that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithDuration<T> {
    /// What.
    pub item: T,
    /// How long it takes; of what is held, from now on.
    pub duration: Option<i64>,
}

/// What a request in the queue may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestForecast<K> {
    /// Which request.
    pub key: K,
    /// How many before it in the queue wait for something that it needs as well.
    pub ahead: usize,
    /// When its turn comes, if all takes as long as was said; nothing where that depends on what nobody knows.
    pub at: Option<i64>,
}

/// Says for each request of `queue` where it stands and when its turn may come.
#[must_use]
pub fn forecast<K: Copy + Ord, R: Clone + Ord>(
    resources: &BTreeMap<R, LimitedResource>,
    held: &[WithDuration<ResourceUnits<R>>],
    queue: &[WithDuration<ResourceRequest<K, R>>],
    now: i64,
) -> Vec<RequestForecast<K>> {
    let (starts, _) = grant_times(resources, held, queue, now);
    let mut waiting: BTreeMap<&R, usize> = BTreeMap::new();
    let mut expected = Vec::with_capacity(queue.len());
    for WithDuration { item: ResourceRequest { key, needs, .. }, .. } in queue {
        let named = || needs.iter().flat_map(|need| &need.any_of);
        // Mostly there is one; of several the longest queue is what it waits for.
        let ahead = named().filter_map(|name| waiting.get(name).copied()).max().unwrap_or(0);
        for name in named() {
            *waiting.entry(name).or_default() += 1;
        }
        expected.push(RequestForecast { key: *key, ahead, at: starts.get(key).copied() });
    }
    expected
}

/// When each is granted what it needs, and how many requests were looked at for that. What shares no resource is played
/// through apart.
fn grant_times<K: Copy + Ord, R: Clone + Ord>(
    resources: &BTreeMap<R, LimitedResource>,
    held: &[WithDuration<ResourceUnits<R>>],
    queue: &[WithDuration<ResourceRequest<K, R>>],
    now: i64,
) -> (BTreeMap<K, i64>, usize) {
    let mut held_of: BTreeMap<&R, Vec<&WithDuration<ResourceUnits<R>>>> = BTreeMap::new();
    for one in held {
        held_of.entry(&one.item.resource).or_default().push(one);
    }
    let mut starts = BTreeMap::new();
    let mut looks = 0;
    for part in independent_parts(resources, queue) {
        let part = part.get(..MAX_FORECAST_REQUESTS).unwrap_or(&part);
        let needs = part.iter().flat_map(|one| &one.item.needs);
        let names: BTreeSet<&R> = needs.flat_map(|need| &need.any_of).collect();
        let resource = |name: &&R| Some(((*name).clone(), *resources.get(*name)?));
        let resources = names.iter().filter_map(resource).collect();
        let held = names.iter().filter_map(|name| held_of.get(name)).flatten().copied();
        looks += simulate_grants(resources, held, part, now, &mut starts);
    }
    (starts, looks)
}

/// The parts of `queue` that share no resource with one another.
fn independent_parts<'q, K, R: Ord>(
    resources: &BTreeMap<R, LimitedResource>,
    queue: &'q [WithDuration<ResourceRequest<K, R>>],
) -> Vec<Vec<&'q WithDuration<ResourceRequest<K, R>>>> {
    // Each leads to an earlier one of its part, and the first to itself.
    let mut leads_to: Vec<usize> = Vec::with_capacity(queue.len());
    let mut seen: BTreeMap<&R, usize> = BTreeMap::new();
    for (at, one) in queue.iter().enumerate() {
        leads_to.push(at);
        for name in one.item.needs.iter().flat_map(|need| &need.any_of) {
            if resources.contains_key(name) {
                let own = root_of(&leads_to, at);
                let other = root_of(&leads_to, *seen.entry(name).or_insert(at));
                leads_to[own.max(other)] = own.min(other);
            }
        }
        leads_to[at] = root_of(&leads_to, at);
    }
    let mut parts: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for (at, one) in queue.iter().enumerate() {
        parts.entry(root_of(&leads_to, at)).or_default().push(one);
    }
    parts.into_values().collect()
}

fn root_of(leads_to: &[usize], mut at: usize) -> usize {
    while leads_to[at] != at {
        at = leads_to[at];
    }
    at
}

/// Plays through what is granted when to those in `queue`. Says how many requests it looked at.
fn simulate_grants<'h, K: Copy + Ord, R: Clone + Ord + 'h>(
    mut resources: BTreeMap<R, LimitedResource>,
    held: impl Iterator<Item = &'h WithDuration<ResourceUnits<R>>>,
    queue: &[&WithDuration<ResourceRequest<K, R>>],
    now: i64,
    starts: &mut BTreeMap<K, i64>,
) -> usize {
    let end = |at: i64, takes: Option<i64>| takes.map(|takes| at.saturating_add(takes.max(0)));
    let mut held: Vec<_> = held.map(|held| (end(now, held.duration), held.item.clone())).collect();
    let takes: BTreeMap<K, Option<i64>> = queue.iter().map(|one| (one.item.key, one.duration)).collect();
    let mut waiting: Vec<ResourceRequest<K, R>> = queue.iter().map(|one| one.item.clone()).collect();
    let (mut at, mut looks) = (now, 0);
    while !waiting.is_empty() {
        looks += waiting.len();
        let in_use: Vec<ResourceUnits<R>> = held.iter().map(|(_, units)| units.clone()).collect();
        let plan = schedule(&resources, &in_use, &waiting, at);
        for PlannedGrant { key, units } in &plan.grants {
            starts.insert(*key, at);
            let end = end(at, takes.get(key).copied().flatten());
            for units in units {
                if let Some(resource) = resources.get_mut(&units.resource) {
                    resource.granted_at = Some(at);
                }
                held.push((end, units.clone()));
            }
        }
        waiting.retain(|request| !starts.contains_key(&request.key));
        let next_end = held.iter().filter_map(|(end, _)| *end).min();
        let Some(next) = [plan.next_at, next_end].into_iter().flatten().min() else { break };
        at = at.max(next);
        held.retain(|(end, units)| {
            let has_ended = end.is_some_and(|end| end <= at);
            if has_ended && let Some(resource) = resources.get_mut(&units.resource) {
                resource.released_at = Some(at);
            }
            !has_ended
        });
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    type Queue = Vec<WithDuration<ResourceRequest<usize, usize>>>;

    fn queue(waiters: usize, needs: impl Fn(usize) -> Vec<usize>) -> Queue {
        let need = |name| crate::request::ResourceNeed::of(name, 1);
        let request =
            |key| ResourceRequest { key, needs: needs(key).into_iter().map(need).collect(), holds: false };
        // At each resource of a hundred turns take another time, so that they end apart.
        (0..waiters)
            .map(|key| WithDuration { item: request(key), duration: i64::try_from(5 + key % 100).ok() })
            .collect()
    }

    fn farm(resources: usize) -> BTreeMap<usize, LimitedResource> {
        (0..resources).map(|name| (name, LimitedResource { settle: 1, ..LimitedResource::of(1) })).collect()
    }

    #[test]
    fn what_shares_no_resource_is_played_through_apart() {
        let farm = farm(100);
        let (told, looks) = grant_times(&farm, &[], &queue(1000, |key| vec![key % 100]), 0);
        assert_eq!((told.len(), told[&999]), (1000, 9 * (5 + 99 + 1)));
        assert!(looks <= 1000 * 20, "{looks}");
        // The unlimited joins nothing, and what is joined late is one part from the beginning.
        let two_and_two = queue(4, |key| vec![[0, 1, 2, 0][key], 1000]);
        assert_eq!(independent_parts(&farm, &two_and_two).len(), 3);
        let joined = queue(4, |key| [vec![0], vec![1], vec![2], vec![1, 0]][key].clone());
        let keys = independent_parts(&farm, &joined).into_iter();
        let keys: Vec<Vec<_>> = keys.map(|part| part.iter().map(|one| one.item.key).collect()).collect();
        assert_eq!(keys, [vec![0, 1, 3], vec![2]]);
    }

    #[test]
    fn of_those_that_wait_for_the_same_only_so_many_are_given_a_time() {
        let all = queue(1000, |_| vec![0]);
        let (told, looks) = grant_times(&farm(1), &[], &all, 0);
        assert_eq!(told.len(), MAX_FORECAST_REQUESTS);
        assert!(looks <= MAX_FORECAST_REQUESTS * MAX_FORECAST_REQUESTS * 3, "{looks}");
        let last = forecast(&farm(1), &[], &all, 0).pop();
        assert_eq!(last, Some(RequestForecast { key: 999, ahead: 999, at: None }));
    }
}
