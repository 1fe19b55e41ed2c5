//! Events of a profile with their senders.

use serde_json::{Map, Value};

use super::names::NumberedNames;
use machine::source_text::FaultCollector;
use machine::source_text::{SourceFields, SourceNode};
use machine::{Event, EventName, Rule, Sender};

/// The sender of an event.
#[derive(Debug, Clone, Copy)]
pub(super) enum ProfileSender {
    /// The instance, by its face.
    Report,
    Operator,
}

impl ProfileSender {
    fn may_send(self, event: &Event) -> bool {
        match self {
            Self::Report => event.reporter().is_some(),
            Self::Operator => event.from.contains(&Sender::Operator),
        }
    }

    fn noun(self, names: &NumberedNames<'_>) -> String {
        match self {
            Self::Report => {
                let reporter = names.definition.events.values().find_map(Event::reporter);
                reporter
                    .map_or_else(|| "the instance itself".to_owned(), |name| format!("a {}", name.as_str()))
            }
            Self::Operator => "an operator".to_owned(),
        }
    }
}

/// Reads the event that `sender` sends in `states`, with its arguments.
pub(super) fn event(
    parent: &SourceNode,
    fields: SourceFields<'_>,
    (names, states): (&NumberedNames<'_>, &[usize]),
    sender: ProfileSender,
    faults: &mut FaultCollector,
) -> Option<(EventName, Map<String, Value>)> {
    let Some(node) = fields.get("event") else {
        faults.add(parent.at, Rule::Form, "`event` is missing");
        return None;
    };
    let text = node.text("the name of an event", faults)?;
    let definition = names.definition;
    let Some((name, event)) = definition.events.get_key_value(text) else {
        let known = definition.events.iter().filter(|(_, event)| sender.may_send(event));
        let known = known.map(|(name, _)| name.as_str());
        faults.add_unknown(node.at, Rule::UnknownEvent, "event", text, known);
        return None;
    };
    if !sender.may_send(event) {
        let sender = sender.noun(names);
        faults.add(node.at, Rule::Form, format!("{sender} may not send `{text}`"));
        return None;
    }
    let handles = |state: &usize| {
        let state = names.states.get(*state).and_then(|state| definition.states.get(*state));
        state.is_some_and(|state| state.on.contains_key(name))
    };
    if !states.is_empty() && !states.iter().any(handles) {
        faults.add(node.at, Rule::Form, format!("none of these states handles `{text}`"));
    }
    let args = args(parent, fields, event, faults)?;
    Some((name.clone(), args))
}

fn args(
    parent: &SourceNode,
    fields: SourceFields<'_>,
    event: &Event,
    faults: &mut FaultCollector,
) -> Option<Map<String, Value>> {
    let args = match fields.get("args").map(|node| (node, node.to_json())) {
        None => Map::new(),
        Some((_, Value::Object(args))) => args,
        Some((node, _)) => {
            node.refuse("a mapping of arguments", faults);
            return None;
        }
    };
    let missing = event.args.iter().filter(|argument| !args.contains_key(*argument));
    for argument in missing {
        let message = format!("the event needs the argument `{argument}`: say it under `args`");
        faults.add(parent.at, Rule::Form, message);
    }
    Some(args)
}
