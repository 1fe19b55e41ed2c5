//! What is proved of several definitions together: what one raises the other takes, and it comes to an end.

use std::collections::BTreeMap;

use super::circles::endless;
use super::raises::edges;
use crate::definition::{Definition, TransitionEffect};
use crate::names::{EventName, LinkName, MachineName};
use crate::operation::{Operation, Raises};
use crate::sender::Sender;

/// What is wrong between linked machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum LinkFault {
    /// There is no such machine among those that were looked at.
    #[error("{machine}: link `{link}` leads to the machine `{target}`, which there is not")]
    NoMachine {
        /// The machine that has the link.
        machine: MachineName,
        /// The link.
        link: LinkName,
        /// The machine that it leads to.
        target: MachineName,
    },
    /// The other machine does not declare the event, or not for this sender.
    #[error(
        "{machine} raises `{event}` at {target}, which does not declare it `from: {{ machine: {machine} }}`"
    )]
    NotDeclared {
        /// The machine that raises it.
        machine: MachineName,
        /// The event.
        event: EventName,
        /// The machine whose event it would be.
        target: MachineName,
    },
    /// An argument that the event must bring is not given.
    #[error("{machine} raises `{event}` at {target} without the argument `{argument}`, which it must bring")]
    MissingArgument {
        /// The machine that raises it.
        machine: MachineName,
        /// The event.
        event: EventName,
        /// The machine whose event it is.
        target: MachineName,
        /// The argument.
        argument: String,
    },
    /// Events raise one another for ever, with no time between.
    #[error("these events may raise one another for ever, with no time between: {}", path(.0))]
    Endless(
        /// The events on the way round, in order.
        Vec<(MachineName, EventName)>,
    ),
}

fn path(circle: &[(MachineName, EventName)]) -> String {
    let steps = circle.iter().chain(circle.first()).map(|(machine, event)| format!("{machine}: {event}"));
    steps.collect::<Vec<_>>().join(" → ")
}

/// Checks definitions that may be linked to one another; each machine is to be here once.
#[must_use]
pub fn check_linked(definitions: &[&Definition]) -> Vec<LinkFault> {
    let by_machine: BTreeMap<&MachineName, &Definition> =
        definitions.iter().map(|definition| (&definition.machine, *definition)).collect();
    let mut faults = Vec::new();
    for definition in by_machine.values() {
        for (link, declared) in &definition.links {
            if !by_machine.contains_key(&declared.machine) {
                let (machine, target) = (definition.machine.clone(), declared.machine.clone());
                faults.push(LinkFault::NoMachine { machine, link: link.clone(), target });
            }
        }
        for raise in operations(definition).filter_map(Operation::raises) {
            if let Some(target) = by_machine.get(raise.machine) {
                faults.extend(refused(&definition.machine, &raise, target));
            }
        }
    }
    let all: Vec<_> = by_machine.values().flat_map(|definition| edges(definition)).collect();
    for circle in endless(&all) {
        let circle = circle.into_iter().map(|(machine, event)| (machine.clone(), event));
        faults.push(LinkFault::Endless(circle.collect()));
    }
    faults.sort();
    faults.dedup();
    faults
}

/// Why `target` would refuse what `machine` raises, wherever it is.
fn refused(machine: &MachineName, raise: &Raises<'_>, target: &Definition) -> Vec<LinkFault> {
    let sender = Sender::Machine(machine.clone());
    let event = target.events.get(raise.event).filter(|event| event.from.contains(&sender));
    let (machine, name, target) = (machine.clone(), raise.event.clone(), target.machine.clone());
    let Some(event) = event else { return vec![LinkFault::NotDeclared { machine, event: name, target }] };
    let missing = event.args.iter().filter(|argument| !raise.args.contains(&argument.as_str()));
    let fault = |argument: &String| LinkFault::MissingArgument {
        machine: machine.clone(),
        event: name.clone(),
        target: target.clone(),
        argument: argument.clone(),
    };
    missing.map(fault).collect()
}

fn operations(definition: &Definition) -> impl Iterator<Item = &Operation> {
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
