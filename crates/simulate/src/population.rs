//! How many instances there are of each machine, and how they are linked at first.
//!
//! Where a profile does not say otherwise, each instance of the first machine has one of each machine that its links, or
//! those of its linked instances, lead to. Links lead back as well, unless the definition sets them itself later.

use std::collections::{BTreeSet, VecDeque};

use super::error::SimulationError;
use super::profile::{InitialLinking, MachineBehaviour};
use machine::{Definition, LinkName, Operation, TransitionEffect, check_linked};
use machine::{LinkFault, MachineName};

/// The instances of one machine.
#[derive(Debug, Clone)]
pub(super) struct Population {
    /// How many instances of the first machine share one of these.
    pub(super) shared_by: usize,
    /// The links that lead somewhere at first, and to which machine.
    pub(super) links: Vec<(LinkName, usize)>,
}

/// The instances of each of `definitions`.
pub(super) fn populations(
    definitions: &[&Definition],
    behaviours: &[MachineBehaviour],
) -> Result<Vec<Population>, SimulationError> {
    check(definitions)?;
    let number = |machine: &MachineName| definitions.iter().position(|one| one.machine == *machine);
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
            let said = behaviours.get(from).and_then(|behaviour| behaviour.links.get(name));
            let leads = match (&populations[to], said) {
                (None, said) => {
                    let more = if let Some(InitialLinking::SharedBy(more)) = said { *more } else { 1 };
                    let shared_by = shared_by.saturating_mul(more);
                    populations[to] = Some(Population { shared_by, links: Vec::new() });
                    open.push_back((to, shared_by));
                    true
                }
                (Some(_), Some(InitialLinking::SharedBy(_))) => true,
                (Some(there), _) => to != from && there.shared_by >= shared_by && !later.contains(name),
            };
            if leads && said != Some(&InitialLinking::Unlinked) {
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

/// Whether definitions go together: each machine once, and what one raises another takes.
fn check(definitions: &[&Definition]) -> Result<(), SimulationError> {
    let mut machines = BTreeSet::new();
    if let Some(twice) = definitions.iter().find(|definition| !machines.insert(&definition.machine)) {
        return Err(SimulationError::DuplicateMachine { machine: twice.machine.clone() });
    }
    let faults = check_linked(definitions).into_iter();
    // Of a machine that is not there the report says what is left out.
    match faults.into_iter().find(|fault| !matches!(fault, LinkFault::NoMachine { .. })) {
        Some(fault) => Err(SimulationError::IncompatibleLinks(fault)),
        None => Ok(()),
    }
}

/// The links that `definition` sets itself, except those by which an instance raises something as it is created.
fn links_set_later(definition: &Definition) -> BTreeSet<&LinkName> {
    let mut later: BTreeSet<&LinkName> = operations(definition).flat_map(Operation::links).collect();
    let initial = definition.states.get(&definition.initial);
    let raised = initial.into_iter().flat_map(|state| &state.entry).filter_map(Operation::raises);
    raised.for_each(|raises| _ = later.remove(raises.to));
    later
}

/// All operations of a definition.
pub(super) fn operations(definition: &Definition) -> impl Iterator<Item = &Operation> {
    definition.states.values().flat_map(|state| {
        let transitions = state.always.iter().chain(state.on.values().flatten());
        let done = transitions.flat_map(|transition| match &transition.effect {
            TransitionEffect::Move { operations, .. } | TransitionEffect::Stay { operations } => {
                operations.as_slice()
            }
            TransitionEffect::Refuse { .. } => &[],
        });
        state.entry.iter().chain(done)
    })
}
