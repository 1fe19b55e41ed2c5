//! What is proved of several definitions together: what one raises the other takes, and it comes to an end; they declare the
//! same of what they both hold, and take it in one order.

use std::collections::BTreeMap;
use std::fmt;

use super::endless_raises::endless_raises;
use super::raise_graph::edges;
use crate::check::{HoldWait, hold_extensions, hold_wait_cycles};
use crate::definition::{Definition, TransitionEffect};
use crate::names::{EventName, LinkName, MachineName, ResourceName, StateName};
use crate::operation::{DeclaredRaise, Operation};
use crate::resource::ResourceDeclaration;
use crate::sender::Sender;

/// What is wrong between machines: those that are linked, and those whose states hold the same.
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
    /// Instances may wait for one another for ever.
    #[error("instances may wait for one another for ever: {}", waits(.0))]
    HoldOrder(
        /// The ways on which they wait, in a circle.
        Vec<HeldWhileWaiting>,
    ),
    /// Another machine declares other limits of a resource.
    #[error("{machine} declares `{resource}` as {limits}, and {other} as {other_limits}")]
    OtherLimits {
        /// The machine.
        machine: MachineName,
        /// The resource.
        resource: ResourceName,
        /// What it says of it.
        limits: String,
        /// The other machine.
        other: MachineName,
        /// What that says of it.
        other_limits: String,
    },
}

/// What is kept on a way from state to state while something else is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldWhileWaiting {
    /// The machine.
    pub machine: MachineName,
    /// The state that is left.
    pub from: StateName,
    /// The state that is entered.
    pub to: StateName,
    /// What is kept, as one says it.
    pub keeps: String,
    /// What is waited for, as one says it.
    pub waits_for: String,
}

impl fmt::Display for HeldWhileWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, from, to, keeps, waits_for } = self;
        write!(f, "in {machine} from `{from}` to `{to}` {keeps} is kept while {waits_for} is waited for")
    }
}

fn waits(circle: &[HeldWhileWaiting]) -> String {
    circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and ")
}

fn path(circle: &[(MachineName, EventName)]) -> String {
    let steps = circle.iter().chain(circle.first()).map(|(machine, event)| format!("{machine}: {event}"));
    steps.collect::<Vec<_>>().join(" → ")
}

/// Checks definitions that may be linked to one another and hold the same resources; each machine is to be here once.
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
        for raise in operations(definition).filter_map(Operation::declared_raise) {
            if let Some(target) = by_machine.get(raise.machine) {
                faults.extend(refused(&definition.machine, &raise, target));
            }
        }
    }
    let all: Vec<_> = by_machine.values().flat_map(|definition| edges(definition)).collect();
    for circle in endless_raises(&all) {
        let circle = circle.into_iter().map(|(machine, event)| (machine.clone(), event));
        faults.push(LinkFault::Endless(circle.collect()));
    }
    let growths: Vec<_> = by_machine.values().flat_map(|definition| hold_extensions(definition)).collect();
    for circle in hold_wait_cycles(&growths) {
        faults.push(LinkFault::HoldOrder(circle.iter().map(kept_while_waiting).collect()));
    }
    faults.extend(other_limits(by_machine.values().copied()));
    faults.sort();
    faults.dedup();
    faults
}

fn kept_while_waiting(HoldWait { extension: growth, keeps, waits_for }: &HoldWait<'_>) -> HeldWhileWaiting {
    HeldWhileWaiting {
        machine: growth.machine.clone(),
        from: growth.from.clone(),
        to: growth.to.clone(),
        keeps: keeps.to_string(),
        waits_for: waits_for.to_string(),
    }
}

/// Where a definition says of a resource other than the first that declares it.
fn other_limits<'d>(definitions: impl Iterator<Item = &'d Definition>) -> Vec<LinkFault> {
    let mut first: BTreeMap<&ResourceName, (&MachineName, &ResourceDeclaration)> = BTreeMap::new();
    let mut faults = Vec::new();
    for Definition { machine, resources, .. } in definitions {
        // What a selector says is called otherwise.
        for (resource, limits) in resources.iter().filter(|(_, declared)| declared.any.is_none()) {
            let (other, other_limits) = *first.entry(resource).or_insert((machine, limits));
            if !limits.has_limits_of(other_limits) {
                faults.push(LinkFault::OtherLimits {
                    machine: machine.clone(),
                    resource: resource.clone(),
                    limits: limits.to_string(),
                    other: other.clone(),
                    other_limits: other_limits.to_string(),
                });
            }
        }
    }
    faults
}

/// Why `target` would refuse what `machine` raises, wherever it is.
fn refused(machine: &MachineName, raise: &DeclaredRaise<'_>, target: &Definition) -> Vec<LinkFault> {
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
