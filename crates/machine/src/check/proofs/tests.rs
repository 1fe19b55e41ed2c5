use std::fmt::Write as _;

use crate::testing::vocabulary;
use crate::{Rule, SourceFault, check, load};

const ACTIONS: [&str; 4] = ["clear-pxe", "set-pxe", "power-cycle", "poll"];

/// Returns a definition whose initial state is resting; an operator's `rq` leads from there, and from the failed state,
/// to `A`. The first line of `states` is line 11.
fn with(states: &str) -> String {
    format!(
        "machine: m\ninitial: Rest\nevents:\n  rq: {{ from: operator }}\n  rq-fail: {{ from: operator }}\n  ev: {{ from: board }}\n  go: {{ from: board }}\n\
         groups: {{ g: {{ states: [Rest, Failed], on: {{ rq: A }} }} }}\n\
         states:\n  Rest: {{ resting: true, about: x, on: {{ rq-fail: Failed }} }}\n{states}\n  Failed: {{ about: x }}\n"
    )
}

/// Returns the errors, as lines of `LINE rule: message`.
fn errors(text: &str) -> String {
    let faults = check(text, &vocabulary(&ACTIONS)).faults;
    let reported = faults.iter().filter(|fault| fault.is_error());
    reported
        .map(|SourceFault { line, rule, message, .. }| format!("{line} {rule}: {message}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the beginning of each error: `LINE rule`.
fn rules(states: &str) -> String {
    let errors = errors(&with(states));
    errors.lines().filter_map(|line| line.split(':').next()).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check_table(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter(|(states, expected)| rules(states) != *expected)
        .map(|(states, expected)| format!("{states}\nexpected {expected}\nfound {}\n", errors(&with(states))))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_loop_that_a_counter_ends_is_none() {
    check_table(&[
        // The limit of a time limit.
        ("  A: { timeout: { after: 1s, target: A, limit: 3, exceeded: Failed } }", ""),
        ("  A: { timeout: { after: 1s, target: A } , on: { ev: Rest } }", "11 endless-loop"),
        // The target of `exceeded` must leave the loop.
        (
            "  A: { timeout: { after: 1s, target: A, limit: 3, exceeded: A }, on: { ev: Rest } }",
            "11 endless-loop",
        ),
        ("  A: { timeout: { after: 1s, target: Rest, limit: 3, exceeded: A } }", "11 endless-loop"),
        (
            "  A: { timeout: { after: 1s, target: A, limit: 3, exceeded: B } }\n\
             \x20 B: { timeout: { after: 1s, target: A, limit: 3, exceeded: Failed } }",
            "",
        ),
        // A counter that is cleared on the loop: on entry, on exit, or by a report in between.
        (
            "  A: { entry: { clear: A }, timeout: { after: 1s, target: A, limit: 3, exceeded: Failed } }",
            "11 endless-loop",
        ),
        (
            "  A: { timeout: { after: 1s, target: B, limit: 3, exceeded: Failed } }\n\
             \x20 B: { timeout: { after: 1s, target: Rest }, on: { ev: { target: A, do: { clear: counters } } } }",
            "11 endless-loop",
        ),
        (
            "  A: { timeout: { after: 1s, target: A, limit: 3, exceeded: Failed }, on: { ev: { do: { clear: A } } } }",
            "11 endless-loop",
        ),
        (
            "  A: { timeout: { after: 1s, target: A, limit: 3, exceeded: Failed }, on: { rq: { do: { clear: A } } } }",
            "",
        ),
        // A counter may clear another one if it is bounded itself.
        (
            "  A: { timeout: { after: 1s, target: B, limit: 3, exceeded: Failed } }\n\
             \x20 B: { entry: { clear: c }, timeout: { after: 1s, target: C } }\n\
             \x20 C: { timeout: { after: 1s, target: C, limit: 3, count: c, exceeded: A } }",
            "",
        ),
        (
            "  A: { timeout: { after: 1s, target: B } }\n\
             \x20 B: { entry: { clear: c }, timeout: { after: 1s, target: C } }\n\
             \x20 C: { timeout: { after: 1s, target: C, limit: 3, count: c, exceeded: A } }",
            "11 endless-loop",
        ),
    ]);
}

#[test]
fn a_transition_that_counts_and_asks_how_often_is_bounded() {
    let at = |condition: &str, does: &str| {
        format!(
            "  A: {{ timeout: {{ after: 1s, target: Rest }}, on: {{ ev: {{ if: \"{condition}\", target: A, do: [{does}] }} }} }}"
        )
    };
    for (condition, does, is_bounded) in [
        ("counters.c < 3", "{ count: c }", true),
        ("counters.c <= 3 && args.x == 1", "{ count: c }", true),
        ("args.x == 1 && (3 > counters['c'] && data.y)", "{ count: c }", true),
        ("!(counters.c > 3 || data.y)", "{ count: c }", true),
        ("counters.c == 3", "{ count: c }", true),
        ("counters.c < 3 || counters.c < 5", "{ count: c }", true),
        ("counters.c < 3 || data.y", "{ count: c }", false),
        ("counters.c > 3", "{ count: c }", false),
        ("counters.c != 3", "{ count: c }", false),
        ("counters.c < 3", "{ clear: c }", false),
        ("counters.c < 3", "{ clear: c }, { count: c }", false),
        ("counters.c < 3", "{ count: d }, { unset: c }, { clear: e }", false),
        ("counters.c < data.n", "{ count: c }", false),
    ] {
        // The counter must be counted somewhere.
        let states = at(condition, does) + "\n  B: { resting: true, entry: { count: c } }";
        assert_eq!(rules(&states), if is_bounded { "" } else { "11 endless-loop" }, "{condition} {does}");
    }
}

#[test]
fn the_ranges_left_by_earlier_conditions_bound_a_transition_too() {
    check_table(&[
        (
            "  A: { timeout: { after: 1s, target: Rest }, \
             on: { ev: [{ if: counters.c >= 3, target: Failed }, { target: A, do: { count: c } }] } }",
            "",
        ),
        (
            "  A: { timeout: { after: 1s, target: Rest }, \
             on: { ev: [{ if: counters.c >= 3 && data.x, target: Failed }, { target: A, do: { count: c } }] } }",
            "11 endless-loop",
        ),
        (
            "  A: { timeout: { after: 1s, target: Rest }, \
             on: { ev: [{ if: data.x || counters.c >= 3, target: Failed }, { target: A, do: { count: c } }] } }",
            "",
        ),
        // Counted on entry, and left at once: the incoming edges count, the outgoing edges are bounded.
        (
            "  A: { entry: { count: c }, always: { if: counters.c > 3, target: Failed }, timeout: { after: 1s, target: B } }\n\
             \x20 B: { timeout: { after: 1s, target: A } }",
            "",
        ),
        (
            "  A: { entry: { count: c }, always: { if: counters.c < 3, target: Failed }, timeout: { after: 1s, target: B } }\n\
             \x20 B: { timeout: { after: 1s, target: A } }",
            "11 endless-loop",
        ),
        (
            "  A: { entry: { count: c }, always: { if: counters.c > 3, target: Failed }, timeout: { after: 1s, target: B } }\n\
             \x20 B: { timeout: { after: 1s, target: B }, on: { ev: A } }",
            "12 endless-loop",
        ),
    ]);
}

#[test]
fn a_loop_that_rests_or_needs_an_operator_is_allowed() {
    check_table(&[
        (
            "  A: { timeout: { after: 1s, target: B } }\n  B: { resting: true, timeout: { after: 1s, target: A } }",
            "11 endless-loop",
        ),
        (
            "  A: { invoke: power-cycle, timeout: { after: 1m, target: B }, left_to_deadline: [power-cycle-failed], \
             on: { power-cycle-ok: B } }\n  B: { resting: true, timeout: { after: 1s, target: A } }",
            "11 endless-loop",
        ),
        // A periodic check, and one that a report leaves.
        (
            "  A: { timeout: { after: 1s, target: B } }\n\
             \x20 B: { resting: true, timeout: { after: 1s, target: B }, on: { ev: A } }",
            "",
        ),
        // It is left at once, so an instance does not rest in it.
        ("  A: { timeout: { after: 1s, target: B } }\n  B: { resting: true, always: A }", "11 endless-loop"),
        (
            "  A: { timeout: { after: 1s, target: B } }\n  B: { timeout: { after: 1s, target: Rest }, on: { rq: A } }",
            "",
        ),
        ("  A: { timeout: { after: 1s, target: FailedB } }\n  FailedB: { on: { rq: A } }", ""),
        (
            "  A: { timeout: { after: 1s, target: FailedB } }\n  FailedB: { on: { rq: Rest, ev: A } }",
            "11 endless-loop",
        ),
        (
            "  A: { timeout: { after: 1s, target: FailedB } }\n\
             \x20 FailedB: { timeout: { after: 1h, target: A }, on: { rq: Rest } }",
            "11 endless-loop",
        ),
    ]);
}

#[test]
fn the_shortest_loop_is_shown_with_what_does_not_end_it() {
    let states = "  A: { timeout: { after: 60s, target: B, limit: 12, exceeded: C } }\n\
                  \x20 B: { entry: { clear: A }, timeout: { after: 1m, target: Failed }, on: { ev: C, go: Rest } }\n\
                  \x20 C: { always: [{ if: has(data.x), target: B }, A] }";
    assert_eq!(
        errors(&with(states)),
        "11 endless-loop: these states can follow one another endlessly: `A`, `B`, `C`; \
         A --(1m pass, limit 12 exceeded)--> C --(at once)--> A. Nothing ends it: `exceeded` of the timeout of `A` leads \
         on within it: lead it out"
    );
    let states = "  A: { timeout: { after: 60s, target: A, limit: 12, exceeded: B } }\n\
                  \x20 B: { entry: { clear: counters }, timeout: { after: 1m, target: Failed }, on: { ev: A } }";
    assert_eq!(
        errors(&with(states)),
        "11 endless-loop: these states can follow one another endlessly: `A`, `B`; \
         A --(1m pass, limit 12 exceeded)--> B --(ev)--> A. Nothing ends it: `exceeded` of the timeout of `A` leads on \
         within it: lead it out"
    );
    let states = "  A: { timeout: { after: 60s, target: B, limit: 12, exceeded: Failed } }\n\
                  \x20 B: { entry: { clear: counters }, timeout: { after: 1m, target: Failed }, on: { ev: A } }";
    assert_eq!(
        errors(&with(states)),
        "11 endless-loop: these states can follow one another endlessly: `A`, `B`; \
         A --(1m pass, limit 12)--> B --(ev)--> A. Nothing ends it: `A` is counted and limited, but entering `B` clears \
         it; clear it only where an instance has come to rest or an operator asks for something"
    );
}

#[test]
fn reachability_and_exits_are_proved() {
    check_table(&[
        (
            "  A: { timeout: { after: 1s, target: Rest } }\n  B: { timeout: { after: 1s, target: Rest } }",
            "12 unreachable",
        ),
        // A forced move may lead to a resting state, and edges lead on from there.
        (
            "  A: { timeout: { after: 1s, target: Rest } }\n  B: { timeout: { after: 1s, target: Rest } }\n\
             \x20 Out: { resting: true, on: { rq: B } }",
            "",
        ),
        ("  A: {}", "11 no-way-out"),
        ("  A: { on: { ev: { do: { unset: x } }, go: { refuse: no } } }", "11 no-way-out"),
        ("  A: { final: true }", ""),
        ("  A: { final: true, on: { ev: Rest } }", "11 final-goes-on"),
        ("  A: { on: { ev: Rest } }", "11 no-deadline"),
        ("  A: { on: { rq: Rest } }", "11 no-deadline"),
        ("  A: { always: { if: has(data.x), target: Rest } }", "11 no-deadline"),
        ("  A: { always: [{ if: has(data.x), target: Failed }, Rest] }", ""),
        ("  A: { always: [{ if: has(data.x), target: Failed }, { if: true, target: Rest }] }", ""),
        ("  A: { timeout: { after: 1s, target: FailedA } }\n  FailedA: {}", "12 failed-for-ever"),
        (
            "  A: { timeout: { after: 1s, target: FailedA } }\n  FailedA: { on: { ev: Rest } }",
            "12 failed-for-ever",
        ),
        (
            "  A: { timeout: { after: 1s, target: FailedA } }\n  FailedA: { on: { rq: FailedA } }",
            "12 failed-for-ever",
        ),
        (
            "  A: { timeout: { after: 1s, target: FailedA } }\n  FailedA: { on: { rq: FailedB } }\n\
             \x20 FailedB: { on: { rq: FailedA } }",
            "12 failed-for-ever, 13 failed-for-ever",
        ),
        (
            "  A: { timeout: { after: 1s, target: FailedA } }\n  FailedA: { on: { rq: FailedB } }\n\
             \x20 FailedB: { on: { rq: FailedA, rq-fail: Rest } }",
            "",
        ),
        // A transition whose condition never holds is no edge.
        (
            "  A: { timeout: { after: 1s, target: FailedA } }\n  FailedA: { on: { rq: { if: false, target: Rest } } }",
            "12 failed-for-ever",
        ),
        (
            "  A: { entry: { count: c }, timeout: { after: 1s, target: Rest }, \
             on: { ev: { if: counters.c > 3 && counters.c < 2, target: B } } }\n\
             \x20 B: { timeout: { after: 1s, target: Rest } }",
            "12 unreachable",
        ),
        // Where counters have changed since entry, the ranges left by `always` do not apply.
        (
            "  A: { always: { if: counters.c > 3, target: Rest }, timeout: { after: 1s, target: Rest }, \
             on: { go: { if: counters.c > 3, target: B }, ev: { do: { unset: x } } } }\n\
             \x20 B: { entry: { count: c }, timeout: { after: 1s, target: Rest } }",
            "12 unreachable",
        ),
        (
            "  A: { always: { if: counters.c > 3, target: Rest }, timeout: { after: 1s, target: Rest }, \
             on: { go: { if: counters.c > 3, target: B }, ev: { do: { count: c } } } }\n\
             \x20 B: { timeout: { after: 1s, target: Rest } }",
            "",
        ),
        // One of them always holds.
        (
            "  A: { entry: { count: c }, always: [{ if: counters.c < 3, target: Rest }, \
             { if: counters.c >= 3, target: Failed }] }",
            "",
        ),
        (
            "  A: { entry: { count: c }, always: [{ if: counters.c < 3, target: Rest }, \
             { if: counters.c > 3, target: Failed }] }",
            "11 no-deadline",
        ),
    ]);
}

#[test]
fn outcomes_of_actions_must_be_handled() {
    let left = "left_to_deadline: [power-cycle-failed]";
    let time = "timeout: { after: 1s, target: Rest }";
    check_table(&[
        (&format!("  A: {{ invoke: power-cycle, {time}, {left}, on: {{ power-cycle-ok: Rest }} }}"), ""),
        (
            &format!(
                "  A: {{ invoke: power-cycle, {time}, on: {{ power-cycle-ok: Rest, power-cycle-failed: Failed }} }}"
            ),
            "",
        ),
        (
            &format!("  A: {{ invoke: power-cycle, {time}, on: {{ power-cycle-ok: Rest }} }}"),
            "11 unhandled-failed",
        ),
        (&format!("  A: {{ invoke: power-cycle, {time}, {left} }}"), "11 unhandled-ok"),
        (
            &format!(
                "  A: {{ invoke: power-cycle, {time}, left_to_deadline: [power-cycle-failed, power-cycle-ok] }}"
            ),
            "",
        ),
        // It is handled in one of the states that invoke it.
        (
            &format!(
                "  A: {{ invoke: power-cycle, {time}, {left}, on: {{ power-cycle-ok: B }} }}\n\
                 \x20 B: {{ invoke: power-cycle, {time}, {left} }}"
            ),
            "",
        ),
        // Handled in a state that does not invoke it, it is not handled, and is no edge.
        (
            &format!(
                "  A: {{ invoke: power-cycle, {time}, {left} }}\n  B: {{ resting: true, on: {{ power-cycle-ok: A }} }}"
            ),
            "11 unhandled-ok, 12 unknown-event",
        ),
        // Its success starts the next action; the success of a periodic check needs no effect.
        (
            &format!(
                "  A: {{ invoke: [clear-pxe, power-cycle], {time}, left_to_deadline: [clear-pxe-failed, power-cycle-failed], \
                 on: {{ power-cycle-ok: Rest }} }}"
            ),
            "",
        ),
        (&format!("  A: {{ {time} }}\n  B: {{ resting: true, invoke: poll, on: {{ poll-failed: A }} }}"), ""),
        (
            &format!("  A: {{ invoke: power-cycle, {time}, left_to_deadline: [poll-failed] }}"),
            "11 unknown-event",
        ),
        (
            &format!("  A: {{ invoke: power-cycle, {time}, {left}, on: {{ power-cycle-failed: Rest }} }}"),
            "11 form",
        ),
        // Some failures are handled, and the others left to the deadline.
        (
            &format!(
                "  A: {{ invoke: power-cycle, {time}, {left}, on: {{ power-cycle-ok: Rest, \
                 power-cycle-failed: {{ if: args.fault == 'configuration', target: Failed }} }} }}"
            ),
            "",
        ),
        (&format!("  A: {{ resting: true, invoke: power-cycle, {left} }}"), "11 unhandled-failed"),
    ]);
}

#[test]
fn transitions_that_are_never_taken_are_found() {
    let at = |transitions: &str| {
        let states = format!(
            "  A: {{ entry: {{ count: c }}, timeout: {{ after: 1s, target: Rest }}, on: {{ ev: [{transitions}] }} }}"
        );
        let faults = check(&with(&states), &vocabulary(&ACTIONS)).faults;
        let faults =
            faults.into_iter().filter(|fault| [Rule::Shadowed, Rule::NeverHolds].contains(&fault.rule));
        faults.map(|fault| fault.rule.id()).collect::<Vec<_>>().join(", ")
    };
    for (transitions, expected) in [
        ("{ if: true, target: Rest }, Failed", "shadowed"),
        ("{ if: data.x, target: Rest }, { if: data.x, target: Failed }", "shadowed"),
        ("{ if: counters.c < 10, target: Rest }, { if: counters.c < 5, target: Failed }", "shadowed"),
        ("{ if: counters.c < 5, target: Rest }, { if: counters.c < 10, target: Failed }", ""),
        (
            "{ if: counters.c < 10, target: Rest }, { if: counters.c < 5 && data.x, target: Failed }",
            "shadowed",
        ),
        ("{ if: counters.c < 10 && data.x, target: Rest }, { if: counters.c < 5, target: Failed }", ""),
        ("{ if: counters.c < 10, target: Rest }, { if: counters.c >= 10, target: Rest }, Failed", "shadowed"),
        ("{ if: counters.c < 10, target: Rest }, { if: counters.c > 10, target: Rest }, Failed", ""),
        ("{ if: counters.c >= 0, target: Rest }, Failed", "shadowed"),
        ("{ if: counters.c != 0, target: Rest }, { if: counters.c > 0, target: Failed }", "shadowed"),
        ("{ if: false, target: Rest }, Failed", "never-holds"),
        ("{ if: counters.c < 0, target: Rest }, Failed", "never-holds"),
        ("{ if: counters.c < 3 && counters.c > 3, target: Rest }, Failed", "never-holds"),
    ] {
        assert_eq!(at(transitions), expected, "{transitions}");
    }
}

#[test]
fn warnings_are_reported_and_the_definition_loads() {
    let text = "machine: m\ninitial: A\nevents:\n  ev: { from: board }\n  never: { from: board }\nstates:\n  \
                A: { resting: true, entry: [{ clear: gone }, { count: idle }], on: { ev: A } }\n";
    let reported: Vec<String> =
        check(text, &vocabulary(&[])).faults.iter().map(|fault| fault.display("f").to_string()).collect();
    assert_eq!(
        reported,
        [
            "f:5:3: warning[unused-event]: no state takes `never`: its senders get the answer that it is ignored",
            "f:7:3: warning[no-about]: `A` has no `about`: describe in a line what it waits for or what an operator should do",
            "f:7:33: warning[idle-counter]: `gone` is cleared, but nothing counts it",
            "f:7:50: warning[idle-counter]: `idle` is counted, but no condition and no limit looks at it",
        ]
    );
    assert!(load(text, &vocabulary(&[])).is_ok());
}

#[test]
fn an_event_has_one_kind_of_sender() {
    let text = with("  A: { timeout: { after: 1s, target: Rest } }")
        .replace("ev: { from: board }", "ev: { from: [board, operator] }");
    assert_eq!(
        errors(&text),
        "6 two-senders: both `board` and an operator may send `ev`, so history cannot tell a report from a request; \
         declare two events, such as `ev` and `rq-ev`"
    );
}

#[test]
fn warnings_do_not_keep_errors_out() {
    let mut states = String::from("  A: { on: { ev: Rest } }");
    for index in 0..200 {
        write!(states, "\n  R{index}: {{ resting: true }}").unwrap();
    }
    assert_eq!(rules(&states), "11 no-deadline");
}

#[test]
fn the_largest_definitions_are_proved() {
    // A proof that follows each path would not end here. Each state is bounded by a counter of its own, which the state before it clears; each also counts the next.
    let mut states = String::from("  A: { always: S0 }");
    for index in 0..2000 {
        let next = (index + 1) % 2000;
        write!(
            states,
            "\n  S{index}: {{ entry: {{ clear: S{next} }}, timeout: {{ after: 1s, target: S{index}, limit: 1, exceeded: S{next} }} }}"
        )
        .unwrap();
    }
    assert_eq!(rules(&states), "12 endless-loop");
}

#[test]
fn outcomes_of_actions_occur_only_where_these_are_invoked() {
    let time = "timeout: { after: 1s, target: Rest }";
    let states = format!(
        "  A: {{ invoke: power-cycle, {time}, left_to_deadline: [power-cycle-failed] }}\n  B: {{ {time} }}"
    );
    // A group handles it, but only in states that do not invoke the action.
    let text = with(&states).replace(
        "groups: { ",
        "groups: { h: { states: [Rest, B, Failed], on: { power-cycle-ok: B, power-cycle-failed: B } }, ",
    );
    let found = errors(&text);
    assert!(found.contains("11 unhandled-ok") && found.contains("12 unreachable"), "{found}");
    // A group does not handle what a state leaves to its deadline.
    let states = format!(
        "  A: {{ invoke: power-cycle, {time}, left_to_deadline: [power-cycle-failed], on: {{ power-cycle-ok: Rest }} }}"
    );
    let text = with(&states)
        .replace("groups: { ", "groups: { h: { states: [A], on: { power-cycle-failed: Failed } }, ");
    let definition = load(&text, &vocabulary(&ACTIONS)).unwrap();
    assert!(!definition.states["A"].on.contains_key("power-cycle-failed"));
}

/// Returns the first error of a definition with held resources, without its line.
fn of_holding(states: &str) -> String {
    let resources = "resources: { a: 1, b: 1, w: { any: idle-workers }, v: { any: idle-workers } }";
    let errors = errors(&with(states).replace("states:\n", &format!("{resources}\nstates:\n")));
    let first = errors.lines().next().and_then(|line| line.split_once(' '));
    first.map(|(_, reported)| reported.to_owned()).unwrap_or_default()
}

/// A state that holds resources and invokes an action, with `on` besides its failure.
fn working(name: &str, hold: &str, on: &str) -> String {
    format!(
        "  {name}: {{ hold: {{ {hold} }}, invoke: set-pxe, timeout: {{ after: 1s, target: Rest }}, on: {{ set-pxe-failed: Rest, {on} }} }}\n"
    )
}

/// A state that holds resources and invokes nothing.
fn keeping(name: &str, hold: &str, on: &str) -> String {
    format!("  {name}: {{ hold: {{ {hold} }}, timeout: {{ after: 1s, target: Rest }}, on: {{ {on} }} }}\n")
}

#[test]
fn a_hold_without_actions_was_granted_on_every_edge_into_the_state() {
    let kept = keeping("K", "a: 1", "");
    let first = |on: &str| working("A", "a: 1", on);
    let timed = |due: &str| {
        first("set-pxe-ok: Rest").replace("after: 1s, target: Rest", &format!("{due}, target: K"))
    };
    let refused = |from: &str, by: &str| {
        format!(
            "unclaimed-hold: `K` invokes no action with which its resources are claimed, and is entered from `{from}` by {by}, \
             where `{from}` may still wait for `a`"
        )
    };
    for (states, expected) in [
        // A finished action has started, and so has one whose start starts the time limit.
        (first("set-pxe-ok: K"), String::new()),
        (timed("after: 1s"), String::new()),
        (timed("at: 2030-01-01T00:00:00Z"), refused("A", "the timeout")),
        // Other senders may be earlier than the first action.
        (first("set-pxe-ok: K, ev: K"), refused("A", "`ev`")),
        (
            first("set-pxe-ok: K").replace("A: {", "A: { always: [{ if: has(data.x), target: K }],"),
            refused("A", "`always`"),
        ),
        // A state that held it before does not wait for it.
        (first("set-pxe-ok: B") + &working("B", "a: 1, b: 1", "set-pxe-ok: K, ev: K"), String::new()),
        (first("set-pxe-ok: B, ev: B") + &working("B", "a: 1", "set-pxe-ok: K, ev: K"), refused("B", "`ev`")),
        (
            working("A", "b: 1", "set-pxe-ok: B") + &working("B", "a: 1, b: 1", "set-pxe-ok: K, ev: K"),
            refused("B", "`ev`"),
        ),
    ] {
        assert_eq!(of_holding(&(states.clone() + &kept)), expected, "{states}");
    }
}

#[test]
fn states_that_claim_resources_in_different_orders_are_refused() {
    let first = |hold: &str| working("A", hold, "set-pxe-ok: C, ev: B");
    let second = |hold: &str| working("B", hold, "set-pxe-ok: C");
    let both = working("C", "a: 1, b: 1", "set-pxe-ok: Rest");
    let refused = "hold-order: instances may deadlock: from `A` to `C` `a` is held while it waits for `b`, and from \
                   `B` to `C` `b` is held while it waits for `a`";
    for (states, expected) in [
        (first("a: 1") + &second("b: 1") + &both, refused),
        (first("a: 1") + &second("a: 1") + &both, ""),
        // A resource that was released before is not waited for.
        (first("a: 1") + &working("B", "b: 1", "set-pxe-ok: Rest") + &both, ""),
        // A state that is left at once releases nothing.
        (
            first("a: 1")
                + &second("b: 1").replace("set-pxe-ok: C", "set-pxe-ok: D")
                + &both
                + "  D: { always: [{ if: has(data.x), target: C }, Rest] }\n",
            refused,
        ),
        // Two resources of one selector count as the same.
        (
            first("w: 1") + &second("w: 1") + &working("C", "w: 1, v: 1", "set-pxe-ok: Rest"),
            "hold-order: instances may deadlock: from `A` to `C` one of `any: idle-workers` is held \
             while it waits for one of `any: idle-workers`",
        ),
    ] {
        assert_eq!(of_holding(&states), expected, "{states}");
    }
}

#[test]
fn definitions_too_large_for_the_proofs_are_refused() {
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().join("\n");
    let states = many(5001, &|index| format!("  R{index}: {{ resting: true }}"));
    assert!(errors(&with(&states)).contains("form: 5003 states are too many"), "{}", errors(&with(&states)));
    let list = many(101, &|_| "{ if: has(data.x), target: Rest }".to_owned()).replace('\n', ", ");
    let reported =
        rules(&format!("  A: {{ timeout: {{ after: 1s, target: Rest }}, on: {{ ev: [{list}] }} }}"));
    assert!(reported.contains("form"), "{reported}");
}
