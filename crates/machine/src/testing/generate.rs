//! Random definitions and stimuli.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::vocabulary::REPORTER;
use crate::{
    Cause, EventName, EventSource, Instance, ModelAnswers, ModelQuestion, Prediction, StateName, Visit,
};

/// The last one is used only where an event is sent.
const GUARDS: [&str; 11] = [
    "counters.c > 2",
    "counters.S0 < 3",
    "has(data.k)",
    "data.k == args.x",
    "args.x > 1",
    "counters.c / counters.d > 0",
    "data.missing.more",
    "device.power || 'a' in device.images",
    "args.list.exists(x, x > counters.c)",
    "data.k + 9223372036854775807 > 0",
    "predict('m', args.x) in ['bad', 'worse'] && counters.c < 4",
];
const OPERATIONS: [&str; 9] = [
    "{ append: { to: k, value: $args.x, last: 2 } }",
    "{ count: c }",
    "{ count: d }",
    "{ set: { k: $args.x } }",
    "{ set: { k: $data.j, j: $data.k } }",
    "{ set: { j: { a: [1] } } }",
    "{ unset: [k, j] }",
    "{ clear: c }",
    "{ clear: counters }",
];
/// The actions of a generated state with `keep: actions`.
pub const KEEP: &str = ", keep: actions";
const EVENTS: [&str; 6] = ["e0", "e1", "a-ok", "b-failed", "e2", "none"];

/// The numbers of a transition: guard, target (or stay, or refuse), operations.
pub type TransitionShape = (Option<usize>, usize, Vec<usize>);

/// The numbers of a state.
#[derive(Debug, Clone)]
pub struct StateShape {
    entry: Vec<usize>,
    invoke: usize,
    /// Kind of due time, target, limit, whether to keep actions where possible.
    timeout: Option<(usize, usize, Option<u32>, bool)>,
    always: Vec<TransitionShape>,
    on: BTreeMap<usize, Vec<TransitionShape>>,
}

/// The numbers of an event's transitions.
pub fn shape() -> impl Strategy<Value = TransitionShape> {
    let operations = prop::collection::vec(0..OPERATIONS.len(), 0..3);
    (prop::option::of(0..GUARDS.len()), 0..9_usize, operations)
}

/// A strategy for states.
pub fn state_shape() -> impl Strategy<Value = StateShape> {
    (
        prop::collection::vec(0..OPERATIONS.len(), 0..3),
        0..4_usize,
        prop::option::weighted(0.7, (0..3_usize, 0..9_usize, prop::option::of(0..3_u32), any::<bool>())),
        prop::collection::vec(shape(), 0..2),
        prop::collection::btree_map(0..5_usize, prop::collection::vec(shape(), 1..3), 0..4),
    )
        .prop_map(|(entry, invoke, timeout, always, on)| StateShape {
            entry,
            invoke,
            timeout,
            always,
            on,
        })
}

/// Writes a definition. With `census`, every entry counts in `entries` and nothing is ever cleared.
pub fn write(states: &[StateShape], grouped: &TransitionShape, census: bool) -> String {
    let operations = |indexes: &[usize]| -> String {
        let kept = indexes.iter().filter(|index| !census || !OPERATIONS[**index].contains("clear"));
        kept.map(|index| OPERATIONS[*index]).collect::<Vec<_>>().join(", ")
    };
    let state = |index: usize| format!("S{}", index % states.len());
    let transition = |shape: &TransitionShape, target: Option<String>| {
        let (guard, to, does) = shape;
        let condition = guard.map_or_else(String::new, |guard| format!("if: \"{}\", ", GUARDS[guard]));
        match target {
            Some(target) => format!("{{ {condition}do: [{}], target: {target} }}", operations(does)),
            None if *to == 7 => format!("{{ {condition}do: [{}] }}", operations(does)),
            None if *to == 8 => format!("{{ {condition}refuse: not this }}"),
            None => format!("{{ {condition}do: [{}], target: {} }}", operations(does), state(*to)),
        }
    };
    // A transition after one without a guard, or with the same guard, would be refused.
    let reachable = |shapes: &[TransitionShape], is_sent: bool| {
        let shapes: Vec<TransitionShape> = shapes
            .iter()
            .map(|(guard, to, does)| {
                let guard = guard.map(|guard| if is_sent { guard } else { guard.min(GUARDS.len() - 2) });
                (guard, *to, does.clone())
            })
            .collect();
        let end = shapes.iter().position(|shape| shape.0.is_none()).map_or(shapes.len(), |index| index + 1);
        let mut seen = BTreeSet::new();
        shapes[..end].iter().filter(|shape| seen.insert(shape.0)).cloned().collect::<Vec<_>>()
    };
    let mut text = String::from("machine: m\ninitial: S0\nevents:\n  e0: { from: board }\n");
    text += "  e1: { from: [board, operator], args: x }\n  e2: { from: operator }\n";
    writeln!(text, "groups: {{ g: {{ states: [S*], on: {{ e2: {} }} }} }}", transition(grouped, None))
        .unwrap();
    text += "states:\n  Z: { invoke: [a, b], entry: [{ count: c }, { count: d }, { count: S0 }, { count: entries }] }\n";
    for (index, shape) in states.iter().enumerate() {
        let counted = if census { "{ count: entries }, " } else { "" };
        writeln!(text, "  S{index}:\n    entry: [{counted}{}]", operations(&shape.entry)).unwrap();
        let invoke = ["", "a", "b, a", "{ action: b, limit: 5s, with: { n: 1 } }"][shape.invoke];
        writeln!(text, "    invoke: [{invoke}]").unwrap();
        if let Some((kind, target, limit, keeps)) = shape.timeout {
            let due = ["after: 20s", "after: 1m 30s", "at: 2027-01-15T08:01:00"][kind];
            let limit = limit.map_or_else(String::new, |max_count| {
                format!(", limit: {max_count}, exceeded: {}", state(target + 1))
            });
            let can_keep = target % states.len() == index && shape.invoke > 0;
            let keep = if keeps && can_keep { KEEP } else { "" };
            writeln!(text, "    timeout: {{ {due}, target: {}{limit}{keep} }}", state(target)).unwrap();
        }
        let always = reachable(&shape.always, false);
        // Only later states, so that there is no cycle.
        let later = |shape: &TransitionShape| index + 1 + shape.1 % (states.len() - index).max(1);
        let always: Vec<String> = always
            .iter()
            .filter(|shape| later(shape) < states.len())
            .map(|shape| transition(shape, Some(state(later(shape)))))
            .collect();
        if !always.is_empty() {
            writeln!(text, "    always: [{}]", always.join(", ")).unwrap();
        }
        text += "    on: {";
        for (event, shapes) in &shape.on {
            let is_sent = !matches!(EVENTS[*event], "a-ok" | "b-failed");
            let transitions: Vec<String> =
                reachable(shapes, is_sent).iter().map(|shape| transition(shape, None)).collect();
            write!(text, " {}: [{}],", EVENTS[*event], transitions.join(", ")).unwrap();
        }
        text += " }\n";
    }
    text
}

/// The numbers of a stimulus: kind, detail, target, visit, whether with arguments, seconds since the last one.
pub type GeneratedCause = (usize, usize, usize, i64, bool, i64);

/// A strategy for stimuli.
pub fn generated_cause() -> impl Strategy<Value = GeneratedCause> {
    (0..9_usize, 0..EVENTS.len(), 0..8_usize, -2..3_i64, any::<bool>(), 0..80_i64)
}

/// Builds the stimulus for `instance` from its numbers.
///
/// # Panics
///
/// If a name is invalid.
#[must_use]
pub fn cause(generated: &GeneratedCause, instance: &Instance) -> Cause {
    let (kind, detail, to, visit, has_args, _) = *generated;
    // The current visit is more frequent than others.
    let stated = Visit(instance.visit.0 + if visit == 2 { 0 } else { visit });
    let state = |index: usize| StateName::new(&format!("S{index}")).unwrap();
    match kind {
        0 => Cause::Began { visit: stated },
        1 if detail % 2 == 0 => Cause::Began { visit: stated },
        1 if detail % 3 == 0 => {
            let action = crate::ActionName::new(["a", "b"][to % 2]).unwrap();
            Cause::Retry { visit: stated, action }
        }
        1 => Cause::Suspend { visit: stated },
        2 | 3 => Cause::Deadline { visit: stated },
        4 if detail == 0 => Cause::Created { links: crate::Links::new() },
        4 => Cause::Force {
            expected: if visit < 0 { state(to) } else { instance.state.clone() },
            to: state(to),
            reason: "because".to_owned(),
        },
        _ => {
            let source = match (EVENTS[detail], visit) {
                (_, 1) | ("e2", _) => EventSource::Operator,
                ("a-ok" | "b-failed", _) => EventSource::Action,
                _ => REPORTER,
            };
            let args = if has_args { json!({ "x": to, "list": [to, 1, 2] }) } else { json!({ "x": null }) };
            let Value::Object(mut args) = args else { unreachable!() };
            if to == 7 {
                args.clear();
            }
            let visit = (source == EventSource::Action || visit > -2).then_some(stated);
            Cause::Event { name: EventName::new(EVENTS[detail]).unwrap(), source, args, visit }
        }
    }
}

/// A model's answer, if any.
pub fn predicted(generated: &GeneratedCause) -> ModelAnswers {
    let states = ["bad", "good", "worse"].map(str::to_owned);
    let question = ModelQuestion { model: "m".to_owned(), argument: "x".to_owned() };
    let mut predicted = ModelAnswers::default();
    match generated.2 {
        0 => {}
        1 => predicted.insert(question, Prediction::Each(states.to_vec())),
        to => predicted.insert(question, Prediction::One(states[to % 3].clone())),
    }
    predicted
}
