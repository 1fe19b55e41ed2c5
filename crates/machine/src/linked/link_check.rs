//! Checks across definitions: receivers declare the events that are raised at them, raising ends, and machines that
//! share resources declare the same limits and claim in the same order.

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

/// A fault between machines that are linked or that hold the same resources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum LinkFault {
    /// The machine is not among those checked.
    #[error("{machine}: link `{link}` leads to the machine `{target}`, which does not exist")]
    NoMachine {
        /// The machine that has the link.
        machine: MachineName,
        /// The link.
        link: LinkName,
        /// The machine of the linked instances.
        target: MachineName,
    },
    /// The receiving machine does not declare the event, or not for this sender.
    #[error(
        "{machine} raises `{event}` at {target}, which does not declare it `from: {{ machine: {machine} }}`"
    )]
    NotDeclared {
        /// The machine that raises it.
        machine: MachineName,
        /// The event.
        event: EventName,
        /// The receiving machine.
        target: MachineName,
    },
    /// A required argument of the event is missing.
    #[error("{machine} raises `{event}` at {target} without the required argument `{argument}`")]
    MissingArgument {
        /// The machine that raises it.
        machine: MachineName,
        /// The event.
        event: EventName,
        /// The receiving machine.
        target: MachineName,
        /// The argument.
        argument: String,
    },
    /// Events raise one another endlessly, with no time in between.
    #[error("these events may raise one another endlessly, with no time in between: {}", path(.0))]
    Endless(
        /// The events of the cycle, in order.
        Vec<(MachineName, EventName)>,
    ),
    /// Instances may deadlock: each waits for what another holds.
    #[error("instances may deadlock: {}", waits(.0))]
    HoldOrder(
        /// The transitions that wait, as a cycle.
        Vec<HeldWhileWaiting>,
    ),
    /// Another machine declares different limits of a resource.
    #[error("{machine} declares `{resource}` as {limits}, and {other} as {other_limits}")]
    OtherLimits {
        /// The machine.
        machine: MachineName,
        /// The resource.
        resource: ResourceName,
        /// Its declaration.
        limits: String,
        /// The other machine.
        other: MachineName,
        /// The other machine's declaration.
        other_limits: String,
    },
}

/// A transition that holds one resource while it waits for another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldWhileWaiting {
    /// The machine.
    pub machine: MachineName,
    /// The source state.
    pub from: StateName,
    /// The target state.
    pub to: StateName,
    /// The resource that is held, for messages.
    pub keeps: String,
    /// The resource that is waited for, for messages.
    pub waits_for: String,
}

impl fmt::Display for HeldWhileWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, from, to, keeps, waits_for } = self;
        write!(f, "in {machine} from `{from}` to `{to}` {keeps} is held while it waits for {waits_for}")
    }
}

fn waits(cycle: &[HeldWhileWaiting]) -> String {
    cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and ")
}

fn path(cycle: &[(MachineName, EventName)]) -> String {
    let steps = cycle.iter().chain(cycle.first()).map(|(machine, event)| format!("{machine}: {event}"));
    steps.collect::<Vec<_>>().join(" → ")
}

/// Checks definitions that may be linked and may hold the same resources; each machine must be present once.
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
    for cycle in endless_raises(&all) {
        let cycle = cycle.into_iter().map(|(machine, event)| (machine.clone(), event));
        faults.push(LinkFault::Endless(cycle.collect()));
    }
    let extensions: Vec<_> = by_machine.values().flat_map(|definition| hold_extensions(definition)).collect();
    for cycle in hold_wait_cycles(&extensions) {
        faults.push(LinkFault::HoldOrder(cycle.iter().map(kept_while_waiting).collect()));
    }
    faults.extend(other_limits(by_machine.values().copied()));
    faults.sort();
    faults.dedup();
    faults
}

fn kept_while_waiting(HoldWait { extension, keeps, waits_for }: &HoldWait<'_>) -> HeldWhileWaiting {
    HeldWhileWaiting {
        machine: extension.machine.clone(),
        from: extension.from.clone(),
        to: extension.to.clone(),
        keeps: keeps.to_string(),
        waits_for: waits_for.to_string(),
    }
}

/// Returns a fault for each declaration of a resource that differs from the first one. Those without limits leave them to the
/// others.
fn other_limits<'d>(definitions: impl Iterator<Item = &'d Definition>) -> Vec<LinkFault> {
    let mut first: BTreeMap<&ResourceName, (&MachineName, &ResourceDeclaration)> = BTreeMap::new();
    let mut faults = Vec::new();
    for Definition { machine, resources, .. } in definitions {
        // Resources behind a selector have other names.
        let shared = |declared: &ResourceDeclaration| declared.any.is_none() && declared.is_limited();
        for (resource, limits) in resources.iter().filter(|(_, declared)| shared(declared)) {
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

/// Returns why `target` would refuse an event that `machine` raises.
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
