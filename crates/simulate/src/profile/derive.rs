//! Behaviour derived from definitions, for everything that a profile leaves out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::model::{ContainerLimits, FleetLayout, InstanceClass, OperatorRequest, PossibleReport};
use super::names::NumberedNames;
use machine::ActionSite;
use machine::Distribution;
use machine::FactKind;
use machine::Instance;
use machine::{Cause, Outcome, Stimulus};
use machine::{Definition, Event, State, StateKind, TimeoutDue, TransitionEffect};
use machine::{EventName, StateName};
use machine::{EventSource, Sender};
use machine::{create, decide};

/// Probability that a sound instance reports as it should.
const SOUND_SHARE: f64 = 0.98;
/// Probability that a repair succeeds.
const DEFAULT_REPAIR_RATE: f64 = 0.9;
/// Typical duration of a state as a fraction of its time limit.
const TYPICAL_TIMEOUT_FRACTION: f64 = 1.0 / 3.0;
/// The text in lists of facts and in arguments of events.
const SAMPLE_TEXT: &str = "image";

const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 24.0 * HOUR_S;
const YEAR_S: f64 = 365.25 * DAY_S;

/// No limits.
const UNLIMITED: ContainerLimits =
    ContainerLimits { capacity: None, gap_ms: 0, window_ms: 0, budget_ma: None };

/// Eight instances at a device, four devices on a circuit, no settle time, no limits.
pub(super) const DEFAULT_LAYOUT: FleetLayout = FleetLayout {
    instances_per_device: 8,
    devices_per_circuit: 4,
    settle_ms: 0,
    load_ma: 0,
    circuit: UNLIMITED,
    site: UNLIMITED,
};

/// Facts of an instance: booleans are true, and lists have one item.
pub(super) fn facts(definition: &Definition) -> Map<String, Value> {
    let fields = definition.facts.iter().flat_map(|facts| &facts.fields);
    let fact = |(name, kind): (&String, &FactKind)| {
        let value = match kind {
            FactKind::Boolean => json!(true),
            FactKind::List => json!([SAMPLE_TEXT]),
            FactKind::Number | FactKind::Text | FactKind::Mapping => return None,
        };
        Some((name.clone(), value))
    };
    fields.filter_map(fact).collect()
}

/// The available states: resting states other than the initial one that not only operators lead to. Of these, only the
/// ones that invoke an action, if any does. If there are none, all resting states.
pub(super) fn available(names: &NumberedNames<'_>) -> Vec<bool> {
    let NumberedNames { definition, states, .. } = names;
    let is_resting = |name: &StateName| kind(definition, name) == StateKind::Resting;
    let mut reached: BTreeSet<&StateName> = BTreeSet::new();
    for (_, to, by) in edges(definition) {
        if by != EdgeInitiator::Operator {
            reached.insert(to);
        }
    }
    let is_entered =
        |name: &StateName| is_resting(name) && *name != definition.initial && reached.contains(name);
    let is_watched =
        |name: &StateName| definition.states.get(name).is_some_and(|state| !state.invoke.is_empty());
    let all = |is_match: &dyn Fn(&StateName) -> bool| {
        states.iter().map(|name| is_match(name)).collect::<Vec<bool>>()
    };
    let choices = [all(&|name| is_entered(name) && is_watched(name)), all(&is_entered), all(&is_resting)];
    choices.into_iter().find(|choice| choice.contains(&true)).unwrap_or_else(|| all(&|_| false))
}

/// Reports of sound instances: in each working state the face's event on the shortest path to an available state, usually
/// within a third of the time limit. Events of failures are excluded.
pub(super) fn reports(names: &NumberedNames<'_>, available: &[bool]) -> Vec<Vec<PossibleReport>> {
    let steps = steps_to_available(names, available);
    let report = |name: &StateName| {
        let state = names.definition.states.get(name)?;
        let is_reported = |event: &EventName| {
            let has_reporter = event_of(names.definition, event).is_some_and(|e| e.reporter().is_some());
            has_reporter && !event.as_str().contains("fail")
        };
        let event = leading_event(state, name, &steps, is_reported)?;
        let args = args(event_of(names.definition, event)?);
        Some(vec![PossibleReport {
            event: event.clone(),
            args,
            after: typical_duration(state),
            chance: SOUND_SHARE,
        }])
    };
    let is_waiting = |name: &&StateName| kind(names.definition, name) == StateKind::Working;
    names
        .states
        .iter()
        .map(|name| Some(*name).filter(is_waiting).and_then(report).unwrap_or_default())
        .collect()
}

/// The typical duration of a state.
fn typical_duration(state: &State) -> Distribution {
    let limit = match state.timeout.as_ref().map(|timeout| timeout.due) {
        Some(TimeoutDue::After(limit)) => limit.as_secs_f64(),
        Some(TimeoutDue::At(_)) | None => 90.0,
    };
    let median = (limit * TYPICAL_TIMEOUT_FRACTION).max(0.001);
    Distribution::log_normal(median, 2.0 * median)
}

/// Requests of operators: new instances are put to use within an hour, available ones get a request once a day, and failed
/// ones are repaired within days.
pub(super) fn requests(names: &NumberedNames<'_>, available: &[bool]) -> Vec<OperatorRequest> {
    let steps = steps_to_available(names, available);
    let request_in = |(index, name): (usize, &&StateName)| {
        let kind = kind(names.definition, name);
        let (after, repair_rate) = match kind {
            StateKind::Failed => (Distribution::log_normal(DAY_S, 3.0 * DAY_S), DEFAULT_REPAIR_RATE),
            StateKind::Working | StateKind::Resting if **name == names.definition.initial => {
                (Distribution::Uniform { from: 0.0, to: HOUR_S }, 0.0)
            }
            StateKind::Resting => (Distribution::rate(1.0, DAY_S), 0.0),
            StateKind::Working | StateKind::Final => return None,
        };
        let (event, args) = request(names.definition, name, &steps)?;
        Some(OperatorRequest { states: BTreeSet::from([index]), event, args, after, repair_rate })
    };
    names.states.iter().enumerate().filter_map(request_in).collect()
}

/// The operator's request in a state that is accepted and leads on the shortest path to an available state.
fn request(
    definition: &Definition,
    name: &StateName,
    steps: &BTreeMap<&StateName, usize>,
) -> Option<(EventName, Map<String, Value>)> {
    let accepted = |event: &EventName| {
        let args = args(definition.events.get(event)?);
        let to = request_target(definition, name, event, &args)?;
        steps.get(&to).map(|count| (*count, event.clone(), args))
    };
    let all = definition.accepted_events(name.as_str(), &Sender::Operator);
    let best = all.into_iter().filter_map(accepted).min_by_key(|(count, ..)| *count);
    best.map(|(_, event, args)| (event, args))
}

/// The state to which an operator's event leads from `state`, if any.
fn request_target(
    definition: &Definition,
    state: &StateName,
    event: &EventName,
    args: &Map<String, Value>,
) -> Option<StateName> {
    let now = DateTime::UNIX_EPOCH;
    let created = create(definition, "instance", facts(definition), now).instance;
    let instance = Instance { state: state.clone(), ..created };
    let cause =
        Cause::Event { name: event.clone(), source: EventSource::Operator, args: args.clone(), visit: None };
    let stimulus = Stimulus { facts: facts(definition), ..Stimulus::new(cause) };
    let decision = decide(definition, &instance, &stimulus, now);
    match decision.outcome {
        Outcome::Moved { to, .. } if to != *state => Some(to),
        Outcome::Moved { .. } | Outcome::Stayed | Outcome::Ignored(_) => None,
    }
}

/// Classes of broken instances: a few instances are dead, and some die.
pub(super) fn broken(sound: &InstanceClass) -> Vec<InstanceClass> {
    let mut actions = sound.actions.clone();
    actions.iter_mut().filter(|action| action.at == ActionSite::Instance).for_each(|action| {
        action.failure_rate = 1.0;
        action.fails_after = action.fails_after_outage;
    });
    vec![InstanceClass {
        name: "dead".to_owned(),
        share: 0.002,
        breaks_after: Some(Distribution::rate(0.05, YEAR_S)),
        reports: vec![Vec::new(); sound.reports.len()],
        actions,
    }]
}

/// The event of `state` on the shortest path to an available state, among those that `is_wanted` selects.
fn leading_event<'a>(
    state: &'a State,
    here: &StateName,
    steps: &BTreeMap<&StateName, usize>,
    is_wanted: impl Fn(&EventName) -> bool,
) -> Option<&'a EventName> {
    let length = |target: &StateName| steps.get(target).map_or(usize::MAX, |count| count + 1);
    let shortest = |event: &EventName| {
        let effects = state.on.get(event).into_iter().flatten().map(|transition| &transition.effect);
        let lengths = effects.map(|effect| match effect {
            TransitionEffect::Move { target, .. } if target == here => usize::MAX,
            TransitionEffect::Move { target, .. } => length(target),
            TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. } => usize::MAX,
        });
        lengths.min().unwrap_or(usize::MAX)
    };
    state.on.keys().filter(|event| is_wanted(event)).min_by_key(|event| shortest(event))
}

/// The initiator of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EdgeInitiator {
    Operator,
    Other,
}

/// All transitions between states, with their initiators.
fn edges(definition: &Definition) -> Vec<(&StateName, &StateName, EdgeInitiator)> {
    let mut edges = Vec::new();
    for (name, state) in &definition.states {
        let timeout = state.timeout.iter();
        let targets = timeout
            .flat_map(|timeout| [Some(&timeout.target), timeout.limit.as_ref().map(|limit| &limit.exceeded)]);
        edges.extend(targets.flatten().map(|target| (name, target, EdgeInitiator::Other)));
        let always = state.always.iter().map(|transition| (transition, EdgeInitiator::Other));
        let on = state.on.iter().flat_map(|(event, transitions)| {
            let is_operators = event_of(definition, event)
                .is_some_and(|event| event.from == BTreeSet::from([Sender::Operator]));
            let by = if is_operators { EdgeInitiator::Operator } else { EdgeInitiator::Other };
            transitions.iter().map(move |transition| (transition, by))
        });
        for (transition, by) in always.chain(on) {
            if let TransitionEffect::Move { target, .. } = &transition.effect {
                edges.push((name, target, by));
            }
        }
    }
    edges
}

/// The number of steps from each state to an available one, without operators.
fn steps_to_available<'a>(names: &NumberedNames<'a>, available: &[bool]) -> BTreeMap<&'a StateName, usize> {
    let is_available = |(name, available): (&&'a StateName, &bool)| available.then_some((*name, 0));
    let mut steps: BTreeMap<&StateName, usize> =
        names.states.iter().zip(available).filter_map(is_available).collect();
    let edges = edges(names.definition);
    for length in 1..=names.states.len() {
        let next = |(from, to, by): &(&'a StateName, &'a StateName, EdgeInitiator)| {
            (*by == EdgeInitiator::Other && steps.get(to) == Some(&(length - 1)) && !steps.contains_key(from))
                .then_some(*from)
        };
        let found: Vec<&StateName> = edges.iter().filter_map(next).collect();
        if found.is_empty() {
            break;
        }
        steps.extend(found.into_iter().map(|state| (state, length)));
    }
    steps
}

/// Sample arguments of an event.
fn args(event: &Event) -> Map<String, Value> {
    event.args.iter().map(|name| (name.clone(), json!(SAMPLE_TEXT))).collect()
}

fn event_of<'a>(definition: &'a Definition, name: &EventName) -> Option<&'a Event> {
    definition.events.get(name)
}

fn kind(definition: &Definition, name: &StateName) -> StateKind {
    definition.states.get(name).map(|state| state.kind).unwrap_or_default()
}
