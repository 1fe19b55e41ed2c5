//! Random definitions: mostly plausible ones, with loops, limits and counters; some damaged.

use std::fmt::Write as _;

/// Pseudorandom numbers, reproducible by seed.
pub(super) struct TestRandom(u64);

impl TestRandom {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `below` (Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    /// 2014).
    pub(super) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }

    /// Returns true with a probability of `percent` %.
    pub(super) fn is(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.roll(choices.len())]
    }
}

/// The greatest number in limits and comparisons.
pub(super) const MAX_COUNTER_LIMIT: i64 = 3;

/// The last one is used only where an event is sent.
const GUARDS: [&str; 10] = [
    "counters.c < 2",
    "counters.d <= 1",
    "counters.W0 < 3",
    "counters.c >= 3",
    "counters.c < 3 && args.x == 1",
    "!(counters.d > 2 || has(data.k))",
    "args.x == 1",
    "has(data.k)",
    "data.k == args.x || counters.d == 0",
    "predict('m', args.x) == 'bad'",
];
const OPERATIONS: [&str; 7] = [
    "{ count: c }",
    "{ count: c }",
    "{ count: d }",
    "{ set: { k: $args.x } }",
    "{ unset: k }",
    "{ clear: c }",
    "{ clear: counters }",
];

/// Writes a definition.
pub(super) fn definition(dice: &mut TestRandom) -> String {
    let states = 2 + dice.roll(4);
    let mut text = String::from(
        "machine: m\ninitial: Rest\nevents:\n  b0: { from: board }\n  b1: { from: board }\n  rq: { from: operator }\n",
    );
    for state in 0..states {
        writeln!(text, "  to{state}: {{ from: board }}").unwrap();
    }
    let clears = dice.pick(&["", ", do: { clear: counters }"]);
    writeln!(
        text,
        "groups: {{ asked: {{ states: [Rest, Failed*], on: {{ rq: {{ target: W0{clears} }} }} }} }}"
    )
    .unwrap();
    // This way every counter is counted and every state is reached, regardless of what else is drawn.
    let ways: Vec<String> = (0..states).map(|state| format!("to{state}: W{state}")).collect();
    writeln!(
        text,
        "states:\n  Rest: {{ resting: true, entry: [{{ count: W0 }}, {{ clear: counters }}], on: {{ b0: Failed, {} }} }}",
        ways.join(", ")
    )
    .unwrap();
    text += "  Other: { resting: true, entry: [{ count: c }, { count: d }], on: { rq: Rest, b0: W0 } }\n";
    let failed = if dice.is(10) { "{ on: { b0: W0 } }" } else { "{}" };
    writeln!(text, "  Failed: {failed}\n  Done: {{ final: true }}").unwrap();
    text += "  Ending: { resting: true, on: { b0: Done, rq: Rest } }\n";
    for state in 0..states {
        working(dice, &mut text, state, states);
    }
    if dice.is(50) { damaged(dice, &text) } else { text }
}

fn working(dice: &mut TestRandom, text: &mut String, state: usize, states: usize) {
    writeln!(text, "  W{state}:").unwrap();
    if dice.is(40) {
        let operation = operations(dice, 40);
        writeln!(text, "    entry: [{operation}]").unwrap();
    }
    let invoke = dice.pick(&["", "", "a", "b, a"]);
    let fails =
        if invoke.is_empty() { "" } else { dice.pick(&["left", "left", "on", "on", "on", "forgotten"]) };
    if !invoke.is_empty() {
        writeln!(text, "    invoke: [{invoke}]").unwrap();
    }
    if fails == "left" {
        let others = if invoke == "a" { "" } else { ", b-failed" };
        writeln!(text, "    left_to_deadline: [a-failed{others}]").unwrap();
    }
    if dice.is(85) {
        let target = target(dice, state, states);
        let limit = if dice.is(30) {
            let count = if dice.is(20) { ", count: c" } else { "" };
            let exceeded = if dice.is(60) { "Failed".to_owned() } else { self::target(dice, state, states) };
            format!(", limit: {}{count}, exceeded: {exceeded}", dice.roll(4))
        } else {
            String::new()
        };
        writeln!(text, "    timeout: {{ after: 1m, target: {target}{limit} }}").unwrap();
    }
    if dice.is(15) {
        let guard = dice.pick(&GUARDS[..9]);
        let target = if state + 1 < states { format!("W{}", state + 1) } else { "Failed".to_owned() };
        writeln!(text, "    always: [{{ if: \"{guard}\", target: {target} }}]").unwrap();
    }
    let mut on = Vec::new();
    if !invoke.is_empty() {
        on.push(format!("a-ok: [{}]", transitions(dice, state, states, &GUARDS[..9])));
    }
    if fails == "on" {
        on.push(format!("a-failed: [{}]", transitions(dice, state, states, &GUARDS[..9])));
        if invoke != "a" {
            on.push(format!("b-failed: [{}]", transitions(dice, state, states, &GUARDS[..9])));
        }
    }
    for event in ["b0", "b1"] {
        if dice.is(40) {
            on.push(format!("{event}: [{}]", transitions(dice, state, states, &GUARDS)));
        }
    }
    writeln!(text, "    on: {{ {} }}", on.join(", ")).unwrap();
}

/// A target state: mostly a later one, sometimes an earlier one.
fn target(dice: &mut TestRandom, state: usize, states: usize) -> String {
    match dice.roll(10) {
        0..3 => format!("W{}", (state + 1).min(states - 1)),
        3..5 => format!("W{}", dice.roll(states)),
        5..8 => dice.pick(&["Rest", "Other", "Failed", "Ending"]).to_owned(),
        8 => "Rest".to_owned(),
        _ => "Done".to_owned(),
    }
}

fn operations(dice: &mut TestRandom, percent: usize) -> String {
    let mut chosen = Vec::new();
    while chosen.len() < 3 && dice.is(percent) {
        // Clearing is rare, because otherwise nothing would be bounded.
        let among = if dice.is(80) { 5 } else { OPERATIONS.len() };
        chosen.push(OPERATIONS[dice.roll(among)]);
    }
    chosen.join(", ")
}

fn transitions(dice: &mut TestRandom, state: usize, states: usize, guards: &[&str]) -> String {
    let mut chosen = Vec::new();
    let one = |dice: &mut TestRandom, guard: String| {
        let does = operations(dice, 50);
        if dice.is(15) {
            return format!("{{ {guard}do: [{does}] }}");
        }
        format!("{{ {guard}target: {}, do: [{does}] }}", target(dice, state, states))
    };
    while chosen.len() < 2 && dice.is(30) {
        let guard = format!("if: \"{}\", ", dice.pick(guards));
        chosen.push(one(dice, guard));
    }
    if chosen.is_empty() || dice.is(60) {
        chosen.push(one(dice, String::new()));
    }
    chosen.join(", ")
}

/// Returns the text with a few of its parts swapped, duplicated or removed.
fn damaged(dice: &mut TestRandom, text: &str) -> String {
    let pieces = [
        "{", "}", "[", "]", ":", "\n", "  ", "W9", "on", "null", "-1", "é", "\"", "&a", "*a", "counters",
        "$args.", "0s", "",
    ];
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(text.len());
        let end = (at + dice.roll(6)).min(text.len());
        text.splice(at..end, dice.pick(&pieces).chars());
    }
    text.into_iter().collect()
}
