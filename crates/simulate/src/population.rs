//! Number of instances of each machine, and their initial links.
//!
//! Unless the profile says otherwise, each instance of the first machine has one instance of each machine that its links, or
//! those of its linked instances, lead to. Links lead back as well, unless the definition sets them itself later.

use std::collections::{BTreeSet, VecDeque};

use super::error::SimulationError;
use super::profile::{InitialLinking, MachineBehaviour};
use machine::{Definition, LinkName, Operation, TransitionEffect, check_linked};
use machine::{LinkFault, MachineName};

/// The instances of one machine.
#[derive(Debug, Clone)]
pub(super) struct Population {
    /// Number of instances of the first machine that share one of these.
    pub(super) shared_by: usize,
    /// Initial links with the index of their machine.
    pub(super) links: Vec<(LinkName, usize)>,
}

/// Determines the instances of each of `definitions`.
pub(super) fn populations(
    definitions: &[&Definition],
    behaviours: &[MachineBehaviour],
) -> Result<Vec<Population>, SimulationError> {
    check(definitions)?;
    let number = |machine: &MachineName| definitions.iter().position(|other| other.machine == *machine);
    let mut populations: Vec<Option<Population>> = vec![None; definitions.len()];
    let mut open = VecDeque::new();
    if let Some(first) = populations.first_mut() {
        *first = Some(Population { shared_by: 1, links: Vec::new() });
        open.push_back((0, 1_usize));
    }
    while let Some((from, shared_by)) = open.pop_front() {
        let later = links_set_later(definitions[from]);
        let mut links = Vec::new();
        for (name, declared) in &definitions[from].links {
            let Some(to) = number(&declared.machine) else { continue };
            let profiled = behaviours.get(from).and_then(|behaviour| behaviour.links.get(name));
            let is_linked = match (&populations[to], profiled) {
                (None, linking) => {
                    let factor = if let Some(InitialLinking::SharedBy(count)) = linking { *count } else { 1 };
                    let shared_by = shared_by.saturating_mul(factor);
                    populations[to] = Some(Population { shared_by, links: Vec::new() });
                    open.push_back((to, shared_by));
                    true
                }
                (Some(_), Some(InitialLinking::SharedBy(_))) => true,
                (Some(population), _) => {
                    to != from && population.shared_by >= shared_by && !later.contains(name)
                }
            };
            if is_linked && profiled != Some(&InitialLinking::Unlinked) {
                links.push((name.clone(), to));
            }
        }
        if let Some(population) = &mut populations[from] {
            population.links = links;
        }
    }
    let unlinked = |(index, population): (usize, Option<Population>)| {
        population
            .ok_or_else(|| SimulationError::UnlinkedMachine { machine: definitions[index].machine.clone() })
    };
    populations.into_iter().enumerate().map(unlinked).collect()
}

/// Checks that each machine is defined once and that raised events are accepted.
fn check(definitions: &[&Definition]) -> Result<(), SimulationError> {
    let mut machines = BTreeSet::new();
    if let Some(duplicate) = definitions.iter().find(|definition| !machines.insert(&definition.machine)) {
        return Err(SimulationError::DuplicateMachine { machine: duplicate.machine.clone() });
    }
    let faults = check_linked(definitions).into_iter();
    // The report lists events raised at missing machines.
    match faults.into_iter().find(|fault| !matches!(fault, LinkFault::NoMachine { .. })) {
        Some(fault) => Err(SimulationError::IncompatibleLinks(fault)),
        None => Ok(()),
    }
}

/// The links that `definition` sets itself, except those at which events are raised on creation.
fn links_set_later(definition: &Definition) -> BTreeSet<&LinkName> {
    let mut later: BTreeSet<&LinkName> = operations(definition).flat_map(Operation::links_made).collect();
    let initial = definition.states.get(&definition.initial);
    let raised = initial.into_iter().flat_map(|state| &state.entry).filter_map(Operation::declared_raise);
    raised.for_each(|raises| _ = later.remove(raises.to));
    later
}

/// All operations of a definition.
pub(super) fn operations(definition: &Definition) -> impl Iterator<Item = &Operation> {
    definition.states.values().flat_map(|state| {
        let transitions = state.always.iter().chain(state.on.values().flatten());
        let of_transitions = transitions.flat_map(|transition| match &transition.effect {
            TransitionEffect::Move { operations, .. } | TransitionEffect::Stay { operations } => {
                operations.as_slice()
            }
            TransitionEffect::Refuse { .. } => &[],
        });
        state.entry.iter().chain(of_transitions)
    })
}
