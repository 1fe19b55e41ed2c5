//! A machine prepared for simulation.

use std::collections::BTreeMap;

use super::population::Population;
use super::profile::{MachineBehaviour, NumberedNames, OperatorRequest};
use machine::ActionSite;
use machine::Cause;
use machine::Links;
use machine::reads_facts;
use machine::{ActionInvocation, Definition, ResourceName, StateKind};
use machine::{ActionName, EventName, StateName};

/// A machine with its precomputed properties.
#[derive(Debug)]
pub(super) struct SimulatedMachine<'a> {
    pub(super) definition: &'a Definition,
    pub(super) behaviour: &'a MachineBehaviour,
    pub(super) population: Population,
    /// Number of instances.
    pub(super) instances: usize,
    pub(super) states: Vec<SimulatedState<'a>>,
    pub(super) actions: Vec<ActionEndEvents>,
    /// Index of each event, used for counting.
    pub(super) events: BTreeMap<&'a EventName, usize>,
    /// Whether entering any state may read facts.
    pub(super) reads_facts: bool,
}

/// A state prepared for simulation.
#[derive(Debug)]
pub(super) struct SimulatedState<'a> {
    pub(super) name: &'a StateName,
    pub(super) kind: StateKind,
    pub(super) is_available: bool,
    pub(super) steps: Vec<SimulatedStateAction>,
    /// Held resources: index and number of units.
    pub(super) holds: Vec<(usize, u32)>,
    /// Indices of the operators' requests in it.
    pub(super) requests: Vec<usize>,
}

/// An action invoked by a state.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimulatedStateAction {
    /// Index of the action.
    pub(super) action: usize,
    pub(super) limit_ms: Option<u64>,
    /// Whether it holds the device, because it or a later action of the state needs it.
    pub(super) holds_device: bool,
}

/// The events of an action's ends.
#[derive(Debug)]
pub(super) struct ActionEndEvents {
    pub(super) ok: Option<EventName>,
    pub(super) failed: Option<EventName>,
}

impl<'a> SimulatedMachine<'a> {
    /// Prepares a machine; `first_instances` is the number of instances of the first machine, `resources` are all that
    /// states hold.
    pub(super) fn new(
        (definition, behaviour): (&'a Definition, &'a MachineBehaviour),
        population: Population,
        first_instances: usize,
        resources: &[&ResourceName],
    ) -> Self {
        let names = NumberedNames::new(definition);
        let outcome = |action: &str, suffix: &str| EventName::new(&format!("{action}-{suffix}")).ok();
        let outcomes = |action: &ActionName| ActionEndEvents {
            ok: outcome(action.as_str(), "ok"),
            failed: outcome(action.as_str(), "failed"),
        };
        let created = Cause::Created { links: Links::new() };
        Self {
            states: (0..names.states.len())
                .map(|index| simulated_state(&names, behaviour, resources, index))
                .collect(),
            actions: behaviour.actions.iter().map(outcomes).collect(),
            events: definition.events.keys().enumerate().map(|(index, name)| (name, index)).collect(),
            reads_facts: reads_facts(definition, &definition.initial, &created),
            instances: first_instances.div_ceil(population.shared_by),
            definition,
            behaviour,
            population,
        }
    }

    /// Index of a state.
    pub(super) fn state(&self, name: &StateName) -> usize {
        self.states.binary_search_by(|state| state.name.cmp(name)).unwrap_or(0)
    }

    /// Whether any of its actions runs at a device.
    pub(super) fn uses_devices(&self) -> bool {
        let actions = self.behaviour.classes.iter().flat_map(|class| &class.actions);
        actions.into_iter().any(|action| action.at == ActionSite::Resource)
    }
}

fn simulated_state<'a>(
    names: &NumberedNames<'a>,
    behaviour: &MachineBehaviour,
    resources: &[&ResourceName],
    index: usize,
) -> SimulatedState<'a> {
    let name = names.states[index];
    let state = names.definition.states.get(name);
    let invoke = state.map_or(&[][..], |state| &state.invoke);
    let sound = behaviour.classes.first();
    let mut is_needed = false;
    let step = |invoke: &ActionInvocation| {
        let action = behaviour.actions.binary_search(&invoke.action).unwrap_or(0);
        let simulated = sound.and_then(|class| class.actions.get(action));
        is_needed |= simulated.is_some_and(|action| action.at == ActionSite::Resource);
        let limit_ms = invoke.limit.and_then(|limit| u64::try_from(limit.as_millis()).ok());
        SimulatedStateAction { action, limit_ms, holds_device: is_needed }
    };
    let mut steps: Vec<SimulatedStateAction> = invoke.iter().rev().map(step).collect();
    steps.reverse();
    let held = state.into_iter().flat_map(|state| &state.hold);
    let holds = held.filter_map(|(name, units)| Some((resources.binary_search(&name).ok()?, *units)));
    let applies = |request: &(usize, &OperatorRequest)| request.1.states.contains(&index);
    SimulatedState {
        name,
        kind: state.map(|state| state.kind).unwrap_or_default(),
        is_available: behaviour.available.get(index).copied().unwrap_or(false),
        steps,
        holds: holds.collect(),
        requests: behaviour.requests.iter().enumerate().filter(applies).map(|(request, _)| request).collect(),
    }
}
