//! The order in which states claim what they hold: instances that hold one resource while they wait for another must
//! not wait for one another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::super::positions::DefinitionPositions;
use super::graph::{StateEdgeCause, StateGraph};
use crate::definition::{Definition, State};
use crate::fault::FaultCollector;
use crate::names::{MachineName, ResourceName, SelectorName, StateName};
use crate::rule::Rule;
use crate::strongly_connected::cyclic_components;

/// A resource that is waited for: by name, or any of a selector.
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

/// A transition to a state that holds some of the same resources and additional ones.
#[derive(Debug, Clone)]
pub(crate) struct HoldExtension<'d> {
    pub(crate) machine: &'d MachineName,
    pub(crate) from: &'d StateName,
    pub(crate) to: &'d StateName,
    keeps: BTreeSet<HeldResource<'d>>,
    takes: BTreeSet<HeldResource<'d>>,
}

/// An extension on a cycle: another one waits for the resource that it keeps.
#[derive(Debug, Clone)]
pub(crate) struct HoldWait<'d> {
    pub(crate) extension: HoldExtension<'d>,
    pub(crate) keeps: HeldResource<'d>,
    pub(crate) waits_for: HeldResource<'d>,
}

/// Refuses a definition whose instances may deadlock.
pub(super) fn check(
    graph: &StateGraph<'_>,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    for cycle in hold_wait_cycles(&hold_extensions_in(graph)) {
        let steps =
            cycle.iter().map(|HoldWait { extension: HoldExtension { from, to, .. }, keeps, waits_for }| {
                format!("from `{from}` to `{to}` {keeps} is held while it waits for {waits_for}")
            });
        let steps = steps.collect::<Vec<_>>().join(", and ");
        let message = format!("instances may deadlock: {steps}");
        let at = cycle.first().map(|first| positions.within_state(first.extension.to, "hold"));
        faults.add(at.unwrap_or_default(), Rule::HoldOrder, message);
    }
}

/// Returns the extensions of a definition.
pub(crate) fn hold_extensions(definition: &Definition) -> Vec<HoldExtension<'_>> {
    if definition.resources.is_empty() {
        Vec::new()
    } else {
        hold_extensions_in(&StateGraph::new(definition))
    }
}

/// Returns the extensions, one for each pair of kept and claimed resources.
fn hold_extensions_in<'d>(graph: &StateGraph<'d>) -> Vec<HoldExtension<'d>> {
    let held = |name| match graph.definition.resources.get(name).and_then(|declared| declared.any.as_ref()) {
        Some(selector) => HeldResource::AnyOf(selector),
        None => HeldResource::Named(name),
    };
    let mut extensions = BTreeMap::new();
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
                let extension =
                    HoldExtension { machine, from, to, keeps: keeps.clone(), takes: takes.clone() };
                extensions.entry((keeps, takes)).or_insert(extension);
            }
        }
    }
    extensions.into_values().collect()
}

/// Returns the states entered from this one, also through states that are left at once: a resource that those do not
/// hold is not released.
fn reached(graph: &StateGraph<'_>, from: usize) -> BTreeSet<usize> {
    let mut open: Vec<usize> = graph.edges_from(from).iter().map(|edge| edge.to).collect();
    let mut reached = BTreeSet::new();
    while let Some(state) = open.pop() {
        if reached.insert(state) {
            let edges = graph.edges_from(state).iter();
            open.extend(
                edges.filter(|edge| matches!(edge.cause, StateEdgeCause::Always)).map(|edge| edge.to),
            );
        }
    }
    reached
}

/// Returns the cycles of extensions that wait for what the next one keeps, one for each strongly connected set.
pub(crate) fn hold_wait_cycles<'d>(extensions: &[HoldExtension<'d>]) -> Vec<Vec<HoldWait<'d>>> {
    // Extensions and resources alternate: edges lead from a kept resource to the extension, and from there to the
    // claimed resource.
    let mut numbers: BTreeMap<&HeldResource<'d>, usize> = BTreeMap::new();
    for held in extensions.iter().flat_map(|extension| extension.keeps.iter().chain(&extension.takes)) {
        let next = extensions.len() + numbers.len();
        numbers.entry(held).or_insert(next);
    }
    let mut edges = Vec::new();
    for (number, extension) in extensions.iter().enumerate() {
        edges.extend(extension.keeps.iter().map(|held| (numbers[held], number)));
        edges.extend(extension.takes.iter().map(|held| (number, numbers[held])));
    }
    let held: BTreeMap<usize, &HeldResource<'d>> =
        numbers.iter().map(|(held, number)| (*number, *held)).collect();
    let mut found = Vec::new();
    for component in cyclic_components(extensions.len() + numbers.len(), &edges) {
        let edges = component.into_iter().map(|edge| edges[edge]);
        let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        edges.for_each(|(from, to)| next.entry(from).or_default().push(to));
        let Some(cycle) = next.keys().next().map(|first| shortest_cycle(*first, &next)) else { continue };
        let waiting = (0..cycle.len() / 2).filter_map(|index| {
            let kept = (2 * index + cycle.len() - 1) % cycle.len();
            Some(HoldWait {
                extension: extensions.get(cycle[2 * index])?.clone(),
                keeps: (*held.get(&cycle[kept])?).clone(),
                waits_for: (*held.get(&cycle[2 * index + 1])?).clone(),
            })
        });
        found.push(waiting.collect());
    }
    found
}

/// Returns the shortest cycle through `first`, starting there.
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
