//! In which order states take what they hold: instances that keep one thing while they wait for another must not wait for one
//! another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::super::positions::DefinitionPositions;
use super::graph::{StateEdgeCause, StateGraph};
use crate::definition::{Definition, State};
use crate::fault::FaultCollector;
use crate::names::{MachineName, ResourceName, SelectorName, StateName};
use crate::rule::Rule;
use crate::strongly_connected::cyclic_components;

/// What is waited for: a resource, or any of those that a selector says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HeldResource<'d> {
    Named(&'d ResourceName),
    AnyOf(&'d SelectorName),
}

impl fmt::Display for HeldResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "`{name}`"),
            Self::AnyOf(selector) => write!(f, "one of `any: {selector}`"),
        }
    }
}

/// A way from a state to one that holds some of the same and something besides.
#[derive(Debug, Clone)]
pub(crate) struct HoldExtension<'d> {
    pub(crate) machine: &'d MachineName,
    pub(crate) from: &'d StateName,
    pub(crate) to: &'d StateName,
    keeps: BTreeSet<HeldResource<'d>>,
    takes: BTreeSet<HeldResource<'d>>,
}

/// A growth on a circle: what it keeps is waited for on the way before it, and what it waits for is kept on the next.
#[derive(Debug, Clone)]
pub(crate) struct HoldWait<'d> {
    pub(crate) extension: HoldExtension<'d>,
    pub(crate) keeps: HeldResource<'d>,
    pub(crate) waits_for: HeldResource<'d>,
}

/// Refuses a definition whose instances may wait for one another for ever.
pub(super) fn check(graph: &StateGraph<'_>, places: &DefinitionPositions<'_>, faults: &mut FaultCollector) {
    for circle in hold_wait_cycles(&hold_extensions_in(graph)) {
        let ways =
            circle.iter().map(|HoldWait { extension: HoldExtension { from, to, .. }, keeps, waits_for }| {
                format!("from `{from}` to `{to}` {keeps} is kept while {waits_for} is waited for")
            });
        let ways = ways.collect::<Vec<_>>().join(", and ");
        let message = format!("instances may wait for one another for ever: {ways}");
        let at = circle.first().map(|first| places.within_state(first.extension.to, "hold"));
        faults.add(at.unwrap_or_default(), Rule::HoldOrder, message);
    }
}

/// The growths of a definition.
pub(crate) fn hold_extensions(definition: &Definition) -> Vec<HoldExtension<'_>> {
    if definition.resources.is_empty() {
        Vec::new()
    } else {
        hold_extensions_in(&StateGraph::new(definition))
    }
}

/// The growths, one for each that is kept and taken.
fn hold_extensions_in<'d>(graph: &StateGraph<'d>) -> Vec<HoldExtension<'d>> {
    let held = |name| match graph.definition.resources.get(name).and_then(|declared| declared.any.as_ref()) {
        Some(selector) => HeldResource::AnyOf(selector),
        None => HeldResource::Named(name),
    };
    let mut growths = BTreeMap::new();
    for (number, (from, state)) in graph.states.iter().enumerate() {
        if state.hold.is_empty() {
            continue;
        }
        for reached in reached(graph, number) {
            let (to, target) = graph.states[reached];
            let has = |name: &&ResourceName| state.hold.contains_key(*name);
            let of = |target: &'d State| target.hold.keys();
            let keeps: BTreeSet<_> = of(target).filter(has).map(held).collect();
            let takes: BTreeSet<_> = of(target).filter(|name| !has(name)).map(held).collect();
            if !keeps.is_empty() && !takes.is_empty() {
                let machine = &graph.definition.machine;
                let way = HoldExtension { machine, from, to, keeps: keeps.clone(), takes: takes.clone() };
                growths.entry((keeps, takes)).or_insert(way);
            }
        }
    }
    growths.into_values().collect()
}

/// The states that are entered from this one; also those that are entered through others, which are left at once, for what
/// these do not hold is not given back.
fn reached(graph: &StateGraph<'_>, from: usize) -> BTreeSet<usize> {
    let mut open: Vec<usize> = graph.edges_from(from).iter().map(|edge| edge.to).collect();
    let mut reached = BTreeSet::new();
    while let Some(state) = open.pop() {
        if reached.insert(state) {
            let ways = graph.edges_from(state).iter();
            open.extend(ways.filter(|edge| matches!(edge.cause, StateEdgeCause::Always)).map(|edge| edge.to));
        }
    }
    reached
}

/// The circles of those that wait for what the next keeps, one for each set of growths that lead to one another.
pub(crate) fn hold_wait_cycles<'d>(growths: &[HoldExtension<'d>]) -> Vec<Vec<HoldWait<'d>>> {
    // Growths and resources take turns: from what is kept to the growth, from there to what is taken.
    let mut numbers: BTreeMap<&HeldResource<'d>, usize> = BTreeMap::new();
    for held in growths.iter().flat_map(|growth| growth.keeps.iter().chain(&growth.takes)) {
        let next = growths.len() + numbers.len();
        numbers.entry(held).or_insert(next);
    }
    let mut ways = Vec::new();
    for (number, growth) in growths.iter().enumerate() {
        ways.extend(growth.keeps.iter().map(|held| (numbers[held], number)));
        ways.extend(growth.takes.iter().map(|held| (number, numbers[held])));
    }
    let held: BTreeMap<usize, &HeldResource<'d>> =
        numbers.iter().map(|(held, number)| (*number, *held)).collect();
    let mut found = Vec::new();
    for circle in cyclic_components(growths.len() + numbers.len(), &ways) {
        let ways = circle.into_iter().map(|way| ways[way]);
        let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        ways.for_each(|(from, to)| next.entry(from).or_default().push(to));
        let Some(round) = next.keys().next().map(|first| shortest_cycle(*first, &next)) else { continue };
        let waiting = (0..round.len() / 2).filter_map(|index| {
            let kept = (2 * index + round.len() - 1) % round.len();
            Some(HoldWait {
                extension: growths.get(round[2 * index])?.clone(),
                keeps: (*held.get(&round[kept])?).clone(),
                waits_for: (*held.get(&round[2 * index + 1])?).clone(),
            })
        });
        found.push(waiting.collect());
    }
    found
}

/// The shortest way from `first` back to it, beginning there.
fn shortest_cycle(first: usize, next: &BTreeMap<usize, Vec<usize>>) -> Vec<usize> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open = VecDeque::from([first]);
    while let Some(node) = open.pop_front() {
        for &to in next.get(&node).into_iter().flatten() {
            if to != first {
                came_from.entry(to).or_insert_with(|| {
                    open.push_back(to);
                    node
                });
                continue;
            }
            let path = std::iter::successors(Some(node), |node| came_from.get(node).copied());
            let mut path: Vec<usize> = path.collect();
            path.reverse();
            return path;
        }
    }
    Vec::new()
}
