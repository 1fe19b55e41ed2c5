//! When each request in a queue may expect its turn.

use std::collections::BTreeMap;

use crate::request::{Grant, Request};
use crate::resource::{Resource, Units};
use crate::schedule::schedule;

/// How many grants are looked ahead: who is further back is told its place and no time.
const MAX_AHEAD: usize = 2000;

/// Something that takes a known time, or one that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<T> {
    /// What.
    pub what: T,
    /// How long it takes; of what is held, from now on.
    pub takes: Option<i64>,
}

/// What a request in the queue may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<K> {
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
    resources: &BTreeMap<R, Resource>,
    held: &[Timed<Units<R>>],
    queue: &[Timed<Request<K, R>>],
    now: i64,
) -> Vec<Expected<K>> {
    let starts = starts(resources, held, queue, now);
    let mut waiting: BTreeMap<&R, usize> = BTreeMap::new();
    let mut expected = Vec::with_capacity(queue.len());
    for Timed { what: Request { key, needs }, .. } in queue {
        let named = || needs.iter().flat_map(|need| &need.any_of);
        // Mostly there is one; of several the longest queue is what it waits for.
        let ahead = named().filter_map(|name| waiting.get(name).copied()).max().unwrap_or(0);
        for name in named() {
            *waiting.entry(name).or_default() += 1;
        }
        expected.push(Expected { key: *key, ahead, at: starts.get(key).copied() });
    }
    expected
}

/// Plays through what is granted when.
fn starts<K: Copy + Ord, R: Clone + Ord>(
    resources: &BTreeMap<R, Resource>,
    held: &[Timed<Units<R>>],
    queue: &[Timed<Request<K, R>>],
    now: i64,
) -> BTreeMap<K, i64> {
    let mut resources = resources.clone();
    let ends = |held: &Timed<Units<R>>| {
        (held.takes.map(|takes| now.saturating_add(takes.max(0))), held.what.clone())
    };
    let mut held: Vec<(Option<i64>, Units<R>)> = held.iter().map(ends).collect();
    let takes: BTreeMap<K, Option<i64>> = queue.iter().map(|one| (one.what.key, one.takes)).collect();
    let mut waiting: Vec<Request<K, R>> = queue.iter().map(|one| one.what.clone()).collect();
    let mut starts = BTreeMap::new();
    let mut at = now;
    while !waiting.is_empty() && starts.len() < MAX_AHEAD {
        let in_use: Vec<Units<R>> = held.iter().map(|(_, units)| units.clone()).collect();
        let plan = schedule(&resources, &in_use, &waiting, at);
        for Grant { key, units } in &plan.grants {
            starts.insert(*key, at);
            let end = takes.get(key).copied().flatten().map(|takes| at.saturating_add(takes.max(0)));
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
    starts
}
