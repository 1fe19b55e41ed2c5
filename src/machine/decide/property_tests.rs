//! What holds of every decision, whatever the definition and whatever happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use super::{create, decide};
use crate::machine::{
    Cause, CounterName, Decision, Definition, Due, Effect, EventName, Ignored, Instance, MachineName,
    Outcome, Source, StateName, Stimulus, Visit, load,
};

const GUARDS: [&str; 10] = [
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
];
const OPERATIONS: [&str; 8] = [
    "{ count: c }",
    "{ count: d }",
    "{ set: { k: $args.x } }",
    "{ set: { k: $data.j, j: $data.k } }",
    "{ set: { j: { a: [1] } } }",
    "{ unset: [k, j] }",
    "{ clear: c }",
    "{ clear: counters }",
];
const EVENTS: [&str; 6] = ["e0", "e1", "a-ok", "b-failed", "e2", "none"];

/// A transition in the making: guard, target (or to stay, or to refuse), operations.
type Shape = (Option<usize>, usize, Vec<usize>);

#[derive(Debug, Clone)]
struct StateShape {
    entry: Vec<usize>,
    invoke: usize,
    /// Kind of due time, target, limit.
    timeout: Option<(usize, usize, Option<u32>)>,
    always: Vec<Shape>,
    on: BTreeMap<usize, Vec<Shape>>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let operations = prop::collection::vec(0..OPERATIONS.len(), 0..3);
    (prop::option::of(0..GUARDS.len()), 0..9_usize, operations)
}

fn state_shape() -> impl Strategy<Value = StateShape> {
    (
        prop::collection::vec(0..OPERATIONS.len(), 0..3),
        0..4_usize,
        prop::option::weighted(0.7, (0..3_usize, 0..9_usize, prop::option::of(0..3_u32))),
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

/// Writes a definition down. With `census`, every entry counts in `entries` and nothing is ever cleared.
fn write(states: &[StateShape], grouped: &Shape, census: bool) -> String {
    let operations = |indexes: &[usize]| -> String {
        let kept = indexes.iter().filter(|index| !census || !OPERATIONS[**index].contains("clear"));
        kept.map(|index| OPERATIONS[*index]).collect::<Vec<_>>().join(", ")
    };
    let state = |index: usize| format!("S{}", index % states.len());
    let transition = |shape: &Shape, target: Option<String>| {
        let (guard, to, does) = shape;
        let condition = guard.map_or_else(String::new, |guard| format!("if: \"{}\", ", GUARDS[guard]));
        match target {
            Some(target) => format!("{{ {condition}do: [{}], target: {target} }}", operations(does)),
            None if *to == 7 => format!("{{ {condition}do: [{}] }}", operations(does)),
            None if *to == 8 => format!("{{ {condition}refuse: not this }}"),
            None => format!("{{ {condition}do: [{}], target: {} }}", operations(does), state(*to)),
        }
    };
    // What stands behind one without a guard would be refused.
    let reachable = |shapes: &[Shape]| {
        let end = shapes.iter().position(|shape| shape.0.is_none()).map_or(shapes.len(), |index| index + 1);
        shapes[..end].to_vec()
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
        if let Some((kind, target, limit)) = shape.timeout {
            let due = ["after: 20s", "after: 1m 30s", "at: 2027-01-15T08:01:00"][kind];
            let limit = limit
                .map_or_else(String::new, |most| format!(", limit: {most}, exceeded: {}", state(target + 1)));
            writeln!(text, "    timeout: {{ {due}, target: {}{limit} }}", state(target)).unwrap();
        }
        let always = reachable(&shape.always);
        // Only to later states, so that there is no circle.
        let later = |shape: &Shape| index + 1 + shape.1 % (states.len() - index).max(1);
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
            let transitions: Vec<String> =
                reachable(shapes).iter().map(|shape| transition(shape, None)).collect();
            write!(text, " {}: [{}],", EVENTS[*event], transitions.join(", ")).unwrap();
        }
        text += " }\n";
    }
    text
}

/// Something that happens: kind, detail, where to, which visit, whether with arguments, seconds since the last.
type Happening = (usize, usize, usize, i64, bool, i64);

fn happening() -> impl Strategy<Value = Happening> {
    (0..9_usize, 0..EVENTS.len(), 0..8_usize, -2..3_i64, any::<bool>(), 0..80_i64)
}

fn cause(happening: &Happening, instance: &Instance) -> Cause {
    let (kind, detail, to, visit, has_args, _) = *happening;
    // The present visit more often than others.
    let spoken = Visit(instance.visit.0 + if visit == 2 { 0 } else { visit });
    let state = |index: usize| StateName::new(&format!("S{index}")).unwrap();
    match kind {
        0 | 1 => Cause::Began { visit: spoken },
        2 | 3 => Cause::Deadline { visit: spoken },
        4 if detail == 0 => Cause::Created,
        4 => Cause::Force {
            expected: if visit < 0 { state(to) } else { instance.state.clone() },
            to: state(to),
            reason: "because".to_owned(),
        },
        _ => {
            let source = match (EVENTS[detail], visit) {
                (_, 1) => Source::Operator,
                ("a-ok" | "b-failed", _) => Source::Action,
                ("e2", _) => Source::Operator,
                _ => Source::Board,
            };
            let args = if has_args { json!({ "x": to, "list": [to, 1, 2] }) } else { json!({ "x": null }) };
            let Value::Object(mut args) = args else { unreachable!() };
            if to == 7 {
                args.clear();
            }
            let visit = (source == Source::Action || visit > -2).then_some(spoken);
            Cause::Event { name: EventName::new(EVENTS[detail]).unwrap(), source, args, visit }
        }
    }
}

/// A decision, and what it was made of.
struct Made<'a> {
    definition: &'a Definition,
    before: &'a Instance,
    stimulus: &'a Stimulus,
    now: DateTime<Utc>,
    decision: &'a Decision,
}

impl Made<'_> {
    fn after(&self) -> &Instance {
        &self.decision.instance
    }

    fn is_ignored(&self) -> bool {
        matches!(self.decision.outcome, Outcome::Ignored(_))
    }

    fn is_moved(&self) -> bool {
        matches!(self.decision.outcome, Outcome::Moved { .. })
    }

    fn invokes(&self, state: &StateName) -> bool {
        !self.definition.states[state].invoke.is_empty()
    }
}

/// Checks every decision of many runs through many definitions.
fn in_every_decision(census: bool, check: impl Fn(&Made<'_>) -> Result<(), TestCaseError>) {
    let config = Config { cases: 120, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let input =
        (prop::collection::vec(state_shape(), 1..6), shape(), prop::collection::vec(happening(), 1..60));
    let run = |(states, grouped, happenings): (Vec<StateShape>, Shape, Vec<Happening>)| {
        let text = write(&states, &grouped, census);
        let definition = load(&text, &["a", "b"])
            .map_err(|faults| TestCaseError::fail(format!("{}\n{text}", faults.display("generated"))))?;
        let mut now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let device = Map::from_iter([("power".to_owned(), json!(true))]);
        let mut instance = Instance {
            machine: MachineName::new("m").unwrap(),
            name: "one".to_owned(),
            state: definition.initial.clone(),
            visit: Visit(0),
            entered_at: now,
            deadline_at: None,
            counters: BTreeMap::new(),
            data: Map::new(),
        };
        let mut next = Some(Cause::Created);
        for happening in &happenings {
            let cause = next.take().unwrap_or_else(|| cause(happening, &instance));
            let stimulus = Stimulus { cause, device: device.clone() };
            let decision = decide(&definition, &instance, &stimulus, now);
            let made = Made {
                definition: &definition,
                before: &instance,
                stimulus: &stimulus,
                now,
                decision: &decision,
            };
            check(&made).map_err(|error| {
                TestCaseError::fail(format!("{error}\n{stimulus:?}\n{instance:?}\n{text}"))
            })?;
            instance = decision.instance;
            now += TimeDelta::seconds(happening.5);
        }
        Ok(())
    };
    if let Err(error) = runner.run(&input, run) {
        panic!("{error}");
    }
}

#[test]
fn equal_arguments_give_equal_decisions() {
    in_every_decision(false, |made| {
        // As the store gives them back.
        let before: Instance = serde_json::from_value(serde_json::to_value(made.before).unwrap()).unwrap();
        let stimulus: Stimulus =
            serde_json::from_value(serde_json::to_value(made.stimulus).unwrap()).unwrap();
        prop_assert_eq!(&decide(made.definition, &before, &stimulus, made.now), made.decision);
        if made.stimulus.cause == Cause::Created && made.before.visit == Visit(0) {
            let created = create(made.definition, &before.name, stimulus.device, made.now);
            prop_assert_eq!(&created, made.decision);
        }
        Ok(())
    });
}

#[test]
fn what_is_ignored_changes_nothing() {
    in_every_decision(false, |made| {
        if made.is_ignored() {
            prop_assert_eq!(made.after(), made.before);
            prop_assert!(made.decision.effects.is_empty());
        }
        Ok(())
    });
}

#[test]
fn what_speaks_of_another_visit_changes_nothing() {
    in_every_decision(false, |made| {
        let spoken = match &made.stimulus.cause {
            Cause::Began { visit } | Cause::Deadline { visit } => Some(*visit),
            Cause::Event { visit, .. } => *visit,
            Cause::Created | Cause::Force { .. } => None,
        };
        if spoken.is_some_and(|spoken| spoken != made.before.visit) {
            prop_assert_eq!(made.after(), made.before);
            let Outcome::Ignored(why) = &made.decision.outcome else {
                return Err(TestCaseError::fail("it was not ignored"));
            };
            let is_told = match why {
                Ignored::Stale { spoken, present } => spoken < present,
                Ignored::Future { spoken, present } => spoken > present,
                Ignored::NotAllowed { .. } | Ignored::MissingArgument { .. } => true,
                _ => false,
            };
            prop_assert!(is_told, "{}", why);
        }
        Ok(())
    });
}

#[test]
fn a_deadline_is_armed_if_and_only_if_the_state_says_so() {
    in_every_decision(false, |made| {
        let due = made.definition.states[&made.after().state].timeout.as_ref().map(|timeout| timeout.due);
        let has_begun = matches!(made.stimulus.cause, Cause::Began { .. }) && !made.is_ignored();
        let after = |duration| made.now + TimeDelta::from_std(duration).unwrap();
        let expected = match due {
            None => None,
            Some(Due::At(at)) => Some(at),
            Some(Due::After(duration)) if has_begun => {
                prop_assert!(made.invokes(&made.after().state) && made.before.deadline_at.is_none());
                Some(after(duration))
            }
            Some(Due::After(duration)) if made.is_moved() => {
                (!made.invokes(&made.after().state)).then(|| after(duration))
            }
            // It runs on: neither staying nor ignoring touches it.
            Some(Due::After(_)) => made.before.deadline_at,
        };
        prop_assert_eq!(made.after().deadline_at, expected);
        prop_assert!(!has_begun || expected.is_some());
        // It is armed by the first beginning, so that it cannot be forgotten either.
        let is_owed = matches!(due, Some(Due::After(_))) && made.before.deadline_at.is_none();
        let cause = &made.stimulus.cause;
        if is_owed && !made.is_moved() && *cause == (Cause::Began { visit: made.before.visit }) {
            prop_assert!(has_begun);
        }
        if let (Cause::Deadline { .. }, true) = (cause, made.is_moved()) {
            prop_assert!(made.before.deadline_at.is_some_and(|at| at <= made.now));
        }
        Ok(())
    });
}

#[test]
fn counters_only_grow_between_clears() {
    in_every_decision(true, |made| {
        for (counter, before) in &made.before.counters {
            let after = made.after().counters.get(counter).copied().unwrap_or(0);
            prop_assert!(after >= *before, "{}: {} became {}", counter, before, after);
        }
        Ok(())
    });
}

#[test]
fn a_visit_is_an_entry_and_every_entry_is_a_visit() {
    in_every_decision(true, |made| {
        let entries = CounterName::new("entries").unwrap();
        let counted = made.after().counters.get(&entries).copied().unwrap_or(0);
        prop_assert_eq!(made.after().visit.0, counted);
        prop_assert_eq!(made.is_moved(), made.after().visit > made.before.visit);
        if made.is_moved() {
            prop_assert_eq!(made.after().entered_at, made.now);
            let outcome = Outcome::Moved { from: made.before.state.clone(), to: made.after().state.clone() };
            prop_assert_eq!(&made.decision.outcome, &outcome);
        } else {
            prop_assert_eq!(&made.after().state, &made.before.state);
            prop_assert_eq!(made.after().entered_at, made.before.entered_at);
        }
        Ok(())
    });
}

#[test]
fn leaving_cancels_and_entering_starts_what_the_states_invoke() {
    in_every_decision(false, |made| {
        let mut expected = Vec::new();
        if made.is_moved() {
            if made.before.visit > Visit(0) && made.invokes(&made.before.state) {
                expected.push(Effect::Cancel { visit: made.before.visit });
            }
            if made.invokes(&made.after().state) {
                let actions = made.definition.states[&made.after().state].invoke.clone();
                expected.push(Effect::Invoke { visit: made.after().visit, actions });
            }
        }
        prop_assert_eq!(&made.decision.effects, &expected);
        Ok(())
    });
}

#[test]
fn the_runs_see_every_kind_of_answer() {
    let seen: RefCell<BTreeMap<String, usize>> = RefCell::default();
    in_every_decision(false, |made| {
        let cause = format!("{:?}", made.stimulus.cause);
        let outcome = format!("{:?}", made.decision.outcome);
        let word = |text: &str| text.split([' ', '{']).next().unwrap_or_default().to_owned();
        *seen.borrow_mut().entry(format!("{} {}", word(&cause), word(&outcome))).or_default() += 1;
        Ok(())
    });
    let seen = seen.into_inner();
    for expected in [
        "Began Ignored(NotDue)",
        "Began Ignored(Stale",
        "Began Stayed",
        "Created Ignored(Stale",
        "Created Moved",
        "Deadline Ignored(Future",
        "Deadline Ignored(NotDue)",
        "Deadline Ignored(Stale",
        "Deadline Moved",
        "Event Ignored(Future",
        "Event Ignored(MissingArgument",
        "Event Ignored(NoGuardHolds",
        "Event Ignored(NotAllowed",
        "Event Ignored(NotHandled",
        "Event Ignored(Refused",
        "Event Ignored(Stale",
        "Event Moved",
        "Event Stayed",
        "Force Ignored(NoState",
        "Force Ignored(Unexpected",
        "Force Moved",
    ] {
        assert!(seen.get(expected).is_some_and(|times| *times >= 10), "{expected}: {seen:#?}");
    }
}
