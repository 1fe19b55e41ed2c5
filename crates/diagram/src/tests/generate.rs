//! Generated definitions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::read;
use machine::Definition;

/// The shape of a state: kind, name, actions, time limit (target, index of the state after the limit), `always`, and
/// transitions of events (event, target, conditional).
type Shape = (usize, usize, usize, Option<(usize, Option<usize>)>, Option<usize>, Vec<(usize, usize, bool)>);

const EVENTS: [&str; 6] = [
    "report",
    "report-of-something-that-has-a-very-long-name-indeed",
    "ask",
    "ask-more",
    "power-cycle-ok",
    "poll-failed",
];

fn shape() -> impl Strategy<Value = Shape> {
    (
        0..7_usize,
        0..4_usize,
        0..4_usize,
        prop::option::weighted(0.6, (0..200_usize, prop::option::of(0..200_usize))),
        prop::option::weighted(0.1, 1..4_usize),
        prop::collection::vec((0..EVENTS.len(), 0..200_usize, any::<bool>()), 0..4),
    )
}

fn name_of(index: usize, (kind, name, ..): &Shape) -> String {
    let failed = if *kind == 5 { "Failed" } else { "" };
    let rest = ["", "Installing", "_waits-for-an-image-that-is-a-long-time-coming", "MMMMWWWW"][*name];
    format!("{failed}S{index}{rest}")
}

fn write(shapes: &[Shape]) -> String {
    let name = |index: usize| name_of(index % shapes.len(), &shapes[index % shapes.len()]);
    let mut text = format!("machine: generated\ninitial: {}\nevents:\n", name(0));
    for (event, from) in
        [("report", "board"), ("report-of-something-that-has-a-very-long-name-indeed", "board")]
    {
        writeln!(text, "  {event}: {{ from: {from}, about: \"a <b> & 'c'\" }}").unwrap();
    }
    text +=
        "  ask: { from: operator }\n  ask-more: { from: [board, operator] }\n  order: { from: operator }\n";
    let resting: Vec<String> = (0..shapes.len()).filter(|index| shapes[*index].0 > 3).map(name).collect();
    if !resting.is_empty() {
        let target = name(shapes.len() / 2);
        writeln!(text, "groups: {{ g: {{ states: [{}], on: {{ order: {target} }} }} }}", resting.join(", "))
            .unwrap();
    }
    text += "states:\n  Z: { invoke: [poll, power-cycle] }\n";
    for (index, shape) in shapes.iter().enumerate() {
        let (kind, _, invoke, timeout, always, on) = shape;
        let kind = ["", "", "", "", "resting: true, ", "", "final: true, "][*kind];
        let invoke =
            ["", "poll", "power-cycle, poll", "set-pxe, clear-pxe, poll, power-cycle, power-off"][*invoke];
        write!(text, "  {}: {{ about: \"<&>\", {kind}invoke: [{invoke}]", name(index)).unwrap();
        if let Some((target, exceeded)) = timeout {
            let limit =
                exceeded.map_or_else(String::new, |to| format!(", limit: {to}, exceeded: {}", name(to)));
            write!(text, ", timeout: {{ after: 90s, target: {}{limit} }}", name(*target)).unwrap();
        }
        // Only to later states, so that there is no cycle.
        if let Some(further) = always.filter(|further| index + further < shapes.len()) {
            write!(text, ", always: [{{ if: data.x == 1, target: {} }}]", name(index + further)).unwrap();
        }
        text += ", on: {";
        let mut events: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (event, target, is_conditional) in on {
            let earlier = events.get(event).map_or(0, Vec::len);
            let condition = if *is_conditional || earlier > 0 {
                // A transition before an unconditional one needs a condition.
                format!("if: data.x == {earlier}, ")
            } else {
                "if: data.y == 1, ".to_owned()
            };
            events.entry(*event).or_default().push(format!("{{ {condition}target: {} }}", name(*target)));
        }
        for (event, transitions) in events {
            let event = EVENTS[event];
            write!(text, " {event}: [{}],", transitions.join(", ")).unwrap();
        }
        text += " } }\n";
    }
    text
}

/// Runs a test on generated definitions with this many states.
pub(super) fn for_generated(
    cases: u32,
    states: Range<usize>,
    test: impl Fn(&Definition) -> Result<(), TestCaseError>,
) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let shapes = prop::collection::vec(shape(), states);
    if let Err(error) = runner.run(&shapes, |shapes| test(&read(&write(&shapes)))) {
        panic!("{}", error.to_string().chars().take(4000).collect::<String>());
    }
}
