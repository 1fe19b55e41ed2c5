//! What an operator may ask for.

use chrono::{DateTime, Utc};
use machine::{
    Cause, Definition, EventName, EventSource, IgnoreReason, Instance, Outcome, Sender, StateName, Stimulus,
    decide,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::targets::targets;

/// Something that an operator may ask for in a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PossibleRequest {
    /// The event.
    pub event: EventName,
    /// What the definition says of it, or empty.
    pub about: String,
    /// The states that it may lead to.
    pub to: Vec<StateName>,
    /// The arguments that it must bring.
    pub needs: Vec<String>,
    /// Why it would be refused now, as far as that can be told without its arguments.
    pub refused: Option<String>,
}

/// What an operator may ask for now; `facts` is what guards may know of it besides.
#[must_use]
pub fn requests(
    definition: &Definition,
    instance: &Instance,
    facts: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Vec<PossibleRequest> {
    let Some(state) = definition.states.get(&instance.state) else { return Vec::new() };
    let request = |event: &EventName| {
        let declared = definition.events.get(event).filter(|event| event.from.contains(&Sender::Operator))?;
        let mut to = state.on.get(event).map(|on| targets(on, &instance.state)).unwrap_or_default();
        let mut refused = None;
        // What the arguments would say is not known, and guards may look at them.
        if declared.args.is_empty() {
            let (source, args) = (EventSource::Operator, Map::new());
            let cause = Cause::Event { name: event.clone(), source, args, visit: None };
            let stimulus = Stimulus { facts: facts.clone(), ..Stimulus::new(cause) };
            let decision = decide(definition, instance, &stimulus, now);
            match decision.outcome {
                Outcome::Moved { to: there, .. } => to = vec![there],
                Outcome::Ignored(
                    why @ (IgnoreReason::Refused { .. } | IgnoreReason::NoGuardHolds { .. }),
                ) => {
                    refused = Some(why.to_string());
                }
                Outcome::Stayed | Outcome::Ignored(_) => {}
            }
        }
        Some(PossibleRequest {
            event: event.clone(),
            about: declared.about.clone(),
            to,
            needs: declared.args.iter().cloned().collect(),
            refused,
        })
    };
    state.on.keys().filter_map(request).collect()
}
