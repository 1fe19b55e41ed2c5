//! Expected grant times of the requests in a queue.

use std::collections::{BTreeMap, BTreeSet};

use crate::request::{PlannedGrant, ResourceRequest};
use crate::resource::{LimitedResource, ResourceUnits};
use crate::schedule::schedule;

/// How many requests for the same resources are simulated; the times of later ones continue at their rate. Each simulated
/// grant and release examines all of them again.
const MAX_FORECAST_REQUESTS: usize = 500;

/// An item with its duration, if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithDuration<T> {
    /// The item.
    pub item: T,
    /// The duration; for held units, the remaining one.
    pub duration: Option<i64>,
}

/// The forecast of a request in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestForecast<K> {
    /// The request.
    pub key: K,
    /// Number of earlier requests that need one of the same resources.
    pub ahead: usize,
    /// Expected time of the grant; `None` where it depends on an unknown duration.
    pub at: Option<i64>,
}

/// Forecasts position and grant time of each request of `queue`.
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
    for WithDuration { item: ResourceRequest { key, needs, later, .. }, .. } in queue {
        // What has no limits is not waited for.
        let limited = later.iter().filter(|need| need.any_of.iter().any(|name| resources.contains_key(name)));
        let named = || needs.iter().chain(limited.clone()).flat_map(|need| &need.any_of);
        // Usually there is one resource; of several, the longest queue counts.
        let ahead = named().filter_map(|name| waiting.get(name).copied()).max().unwrap_or(0);
        for name in named() {
            *waiting.entry(name).or_default() += 1;
        }
        expected.push(RequestForecast { key: *key, ahead, at: starts.get(key).copied() });
    }
    expected
}

/// The grant time of each request, and the number of requests examined. Parts of the queue that share no resource are
/// simulated separately.
fn grant_times<K: Copy + Ord, R: Clone + Ord>(
    resources: &BTreeMap<R, LimitedResource>,
    held: &[WithDuration<ResourceUnits<R>>],
    queue: &[WithDuration<ResourceRequest<K, R>>],
    now: i64,
) -> (BTreeMap<K, i64>, usize) {
    let mut held_of: BTreeMap<&R, Vec<&WithDuration<ResourceUnits<R>>>> = BTreeMap::new();
    for units in held {
        held_of.entry(&units.item.resource).or_default().push(units);
    }
    let mut starts = BTreeMap::new();
    let mut examined = 0;
    for part in independent_parts(resources, queue) {
        let (part, rest) = part.split_at(part.len().min(MAX_FORECAST_REQUESTS));
        let needs = part.iter().flat_map(|request| request.item.all_needs());
        let names: BTreeSet<&R> = needs.flat_map(|need| &need.any_of).collect();
        let resource = |name: &&R| Some(((*name).clone(), resources.get(*name)?.clone()));
        let resources = names.iter().filter_map(resource).collect();
        let held = names.iter().filter_map(|name| held_of.get(name)).flatten().copied();
        examined += simulate_grants(resources, held, part, now, &mut starts);
        extrapolate(part, rest, &mut starts);
    }
    (starts, examined)
}

/// Continues the grant times of `part` for the `rest` of the queue, where all of them are known.
fn extrapolate<K: Copy + Ord, R>(
    part: &[&WithDuration<ResourceRequest<K, R>>],
    rest: &[&WithDuration<ResourceRequest<K, R>>],
    starts: &mut BTreeMap<K, i64>,
) {
    let times: Option<Vec<i64>> = part.iter().map(|request| starts.get(&request.item.key).copied()).collect();
    let Some(times) = times else { return };
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return };
    let gaps = i128::try_from(times.len()).unwrap_or(i128::MAX).saturating_sub(1).max(1);
    for (nth, request) in (1_i128..).zip(rest) {
        let after = (i128::from(*last) - i128::from(*first)) * nth / gaps;
        starts.insert(request.item.key, last.saturating_add(i64::try_from(after).unwrap_or(i64::MAX)));
    }
}

/// Splits `queue` into parts that share no resource.
fn independent_parts<'q, K, R: Ord>(
    resources: &BTreeMap<R, LimitedResource>,
    queue: &'q [WithDuration<ResourceRequest<K, R>>],
) -> Vec<Vec<&'q WithDuration<ResourceRequest<K, R>>>> {
    // A union-find forest: each request points to an earlier one of its part, the first to itself.
    let mut parents: Vec<usize> = Vec::with_capacity(queue.len());
    let mut first_users: BTreeMap<&R, usize> = BTreeMap::new();
    for (at, request) in queue.iter().enumerate() {
        parents.push(at);
        for name in request.item.all_needs().flat_map(|need| &need.any_of) {
            if resources.contains_key(name) {
                let own = root_of(&parents, at);
                let other = root_of(&parents, *first_users.entry(name).or_insert(at));
                parents[own.max(other)] = own.min(other);
            }
        }
        parents[at] = root_of(&parents, at);
    }
    let mut parts: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for (at, request) in queue.iter().enumerate() {
        parts.entry(root_of(&parents, at)).or_default().push(request);
    }
    parts.into_values().collect()
}

fn root_of(parents: &[usize], mut at: usize) -> usize {
    while parents[at] != at {
        at = parents[at];
    }
    at
}

/// Simulates the grants to `queue` and records them in `starts`; returns the number of requests examined.
fn simulate_grants<'h, K: Copy + Ord, R: Clone + Ord + 'h>(
    mut resources: BTreeMap<R, LimitedResource>,
    held: impl Iterator<Item = &'h WithDuration<ResourceUnits<R>>>,
    queue: &[&WithDuration<ResourceRequest<K, R>>],
    now: i64,
    starts: &mut BTreeMap<K, i64>,
) -> usize {
    let end = |at: i64, duration: Option<i64>| duration.map(|duration| at.saturating_add(duration.max(0)));
    let mut held: Vec<_> = held.map(|held| (end(now, held.duration), held.item.clone())).collect();
    let durations: BTreeMap<K, Option<i64>> =
        queue.iter().map(|request| (request.item.key, request.duration)).collect();
    let mut waiting: Vec<ResourceRequest<K, R>> = queue.iter().map(|request| request.item.clone()).collect();
    let (mut at, mut examined) = (now, 0);
    while !waiting.is_empty() {
        examined += waiting.len();
        let in_use: Vec<ResourceUnits<R>> = held.iter().map(|(_, units)| units.clone()).collect();
        let plan = schedule(&resources, &in_use, &waiting, at);
        for PlannedGrant { key, units } in &plan.grants {
            starts.insert(*key, at);
            let end = end(at, durations.get(key).copied().flatten());
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
                resource.release(units.units, units.cools, at);
            }
            !has_ended
        });
    }
    examined
}

#[cfg(test)]
mod tests {
    use super::*;

    type Queue = Vec<WithDuration<ResourceRequest<usize, usize>>>;

    fn queue(waiters: usize, needs: impl Fn(usize) -> Vec<usize>) -> Queue {
        let need = |name| crate::request::ResourceNeed::of(name, 1);
        let request = |key| ResourceRequest {
            key,
            needs: needs(key).into_iter().map(need).collect(),
            later: Vec::new(),
            holds: false,
        };
        // Each of a hundred resources is held for another time, so that releases do not coincide.
        (0..waiters)
            .map(|key| WithDuration { item: request(key), duration: i64::try_from(5 + key % 100).ok() })
            .collect()
    }

    fn farm(resources: usize) -> BTreeMap<usize, LimitedResource> {
        (0..resources).map(|name| (name, LimitedResource { settle: 1, ..LimitedResource::of(1) })).collect()
    }

    #[test]
    fn independent_parts_are_simulated_separately() {
        let farm = farm(100);
        let (starts, examined) = grant_times(&farm, &[], &queue(1000, |key| vec![key % 100]), 0);
        assert_eq!((starts.len(), starts[&999]), (1000, 9 * (5 + 99 + 1)));
        assert!(examined <= 1000 * 20, "{examined}");
        // An unlimited resource joins no parts, and parts joined late are one part.
        let two_of_four = queue(4, |key| vec![[0, 1, 2, 0][key], 1000]);
        assert_eq!(independent_parts(&farm, &two_of_four).len(), 3);
        let joined = queue(4, |key| [vec![0], vec![1], vec![2], vec![1, 0]][key].clone());
        let keys = independent_parts(&farm, &joined).into_iter();
        let keys: Vec<Vec<_>> =
            keys.map(|part| part.iter().map(|request| request.item.key).collect()).collect();
        assert_eq!(keys, [vec![0, 1, 3], vec![2]]);
    }

    #[test]
    fn only_the_first_of_many_requests_are_simulated_and_the_others_continue_at_their_rate() {
        let all = queue(1000, |_| vec![0]);
        let (starts, examined) = grant_times(&farm(1), &[], &all, 0);
        assert_eq!(starts.len(), 1000);
        assert!(examined <= MAX_FORECAST_REQUESTS * MAX_FORECAST_REQUESTS * 3, "{examined}");
        // Each takes 55.5 on average.
        let last = forecast(&farm(1), &[], &all, 0).pop().unwrap();
        assert_eq!((last.key, last.ahead), (999, 999));
        assert!((54_000..57_000).contains(&last.at.unwrap()), "{last:?}");
        // What is not known of the first ones is not known of the others.
        let mut unknown = all;
        unknown[3].duration = None;
        assert_eq!(forecast(&farm(1), &[], &unknown, 0).pop().unwrap().at, None);
    }
}
