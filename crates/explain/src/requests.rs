//! The requests that an operator can make.

use chrono::{DateTime, Utc};
use machine::{
    Cause, Definition, EventName, EventSource, Guard, GuardVariables, IgnoreReason, Instance, ModelAnswers,
    Outcome, Sender, StateName, Stimulus, Transition, TransitionEffect, decide, reads_facts,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::targets::targets;

/// A request that an operator can make in a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PossibleRequest {
    /// The event.
    pub event: EventName,
    /// The event's description in the definition, or empty.
    pub about: String,
    /// The states that it can lead to.
    pub targets: Vec<StateName>,
    /// The names of its required arguments.
    pub required_args: Vec<String>,
    /// Why it would be refused now, where that is known: arguments or facts that are not known may decide.
    pub refusal_reason: Option<String>,
}

/// Lists what an operator can request now; `facts` are those that guards read, where they are known.
#[must_use]
pub fn requests(
    definition: &Definition,
    instance: &Instance,
    facts: Option<&Map<String, Value>>,
    now: DateTime<Utc>,
) -> Vec<PossibleRequest> {
    let Some(state) = definition.states.get(&instance.state) else { return Vec::new() };
    let request = |event: &EventName| {
        let declared = definition.events.get(event).filter(|event| event.from.contains(&Sender::Operator))?;
        let mut targets = state.on.get(event).map(|on| targets(on, &instance.state)).unwrap_or_default();
        let mut refusal_reason = None;
        let (source, args) = (EventSource::Operator, Map::new());
        let cause = Cause::Event { name: event.clone(), source, args, visit: None };
        let is_decidable = facts.is_some() || !reads_facts(definition, &instance.state, &cause);
        if is_decidable && !declared.args.is_empty() {
            let facts = facts.cloned().unwrap_or_default();
            refusal_reason = refusal_of_any_arguments(definition, instance, state.on.get(event)?, &facts);
        } else if is_decidable {
            let stimulus = Stimulus { facts: facts.cloned().unwrap_or_default(), ..Stimulus::new(cause) };
            let decision = decide(definition, instance, &stimulus, now);
            match decision.outcome {
                Outcome::Moved { to, .. } => targets = vec![to],
                Outcome::Ignored(
                    reason @ (IgnoreReason::Refused { .. } | IgnoreReason::NoGuardHolds { .. }),
                ) => {
                    refusal_reason = Some(reason.to_string());
                }
                Outcome::Stayed | Outcome::Ignored(_) => {}
            }
        }
        Some(PossibleRequest {
            event: event.clone(),
            about: declared.about.clone(),
            targets,
            required_args: declared.args.iter().cloned().collect(),
            refusal_reason,
        })
    };
    state.on.keys().filter_map(request).collect()
}

/// Why the first of `transitions` that applies refuses the request, where no argument can make another one apply.
fn refusal_of_any_arguments(
    definition: &Definition,
    instance: &Instance,
    transitions: &[Transition],
    facts: &Map<String, Value>,
) -> Option<String> {
    let counters = &*definition.effective_counters(&instance.counters);
    let (args, predicted) = (&Map::new(), &ModelAnswers::default());
    let variables = GuardVariables { counters, data: &instance.data, args, facts, predicted };
    let holds = |guard: &Guard| guard.holds(&definition.counters, variables);
    let may_apply = |transition: &&Transition| {
        transition.guard.as_ref().is_none_or(|guard| guard.reads_arguments() || holds(guard))
    };
    let first = transitions.iter().find(may_apply)?;
    match &first.effect {
        TransitionEffect::Refuse { reason } if !first.guard.as_ref().is_some_and(Guard::reads_arguments) => {
            Some(reason.clone())
        }
        TransitionEffect::Refuse { .. } | TransitionEffect::Move { .. } | TransitionEffect::Stay { .. } => {
            None
        }
    }
}
