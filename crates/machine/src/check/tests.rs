use proptest::prelude::*;

use super::{load, load_stored, load_unproved};
use crate::Rule;
use crate::StateKind;
use crate::testing::vocabulary;

const ACTIONS: [&str; 4] = ["clear-pxe", "set-pxe", "power-cycle", "poll"];
static BOARD: &str = include_str!("../../../../states/board.yaml");

/// Returns a definition whose only state `Here` has `body`, beside a state `There`; line 6 is the first of the body.
fn with(body: &str) -> String {
    let body = body.replace('\n', "\n    ");
    format!(
        "machine: m\ninitial: Here\nevents: {{ go: {{ from: board }} }}\nstates:\n  Here:\n    {body}\n  There: {{}}\n"
    )
}

/// Returns the parse errors of a text.
fn faults(text: &str) -> String {
    match load_unproved(text, &vocabulary(&ACTIONS)) {
        Ok(_) => "no fault".to_owned(),
        Err(faults) => faults.display("f").to_string(),
    }
}

#[track_caller]
fn check_table(table: &[(String, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(text, expected)| (text, expected, faults(text)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(text, expected, found)| format!("--- {text:?}\nexpected {expected:?}\nfound    {found:?}\n"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faults_of_states_are_reported_with_their_positions() {
    let table = [
        ("on: { go: Ther }", "f:6:15: error[unknown-target]: unknown target `Ther`; did you mean `There`?"),
        (
            "on: { go: { target: Ther } }",
            "f:6:25: error[unknown-target]: unknown target `Ther`; did you mean `There`?",
        ),
        ("on: { went: There }", "f:6:11: error[unknown-event]: unknown event `went`; known: go"),
        (
            "on: { go: { target: There, fi: true } }",
            "f:6:32: error[form]: unknown key `fi`; did you mean `if`?",
        ),
        (
            "on: { go: [There, Here] }",
            "f:6:23: error[shadowed]: this transition is never taken: the one before it has no `if`",
        ),
        (
            "on: { go: }",
            "f:6:13: error[form]: expected a state, `{ target, if, do }` or a list of those; `{}` stays",
        ),
        ("on: { go: 3 }", "f:6:15: error[form]: expected a state, or `{ target, if, do }`, found a number"),
        ("on: [go]", "f:6:9: error[form]: expected a mapping from events to transitions, found a list"),
        (
            "on: { go: { refuse: no no, target: There } }",
            "f:6:25: error[form]: a refusal changes nothing: `refuse` excludes `target` and `do`",
        ),
        (
            "on: { go: { if: \"data.n ==\", target: There } }",
            "f:6:31: error[guard-form]: this condition is not CEL: mismatched input '<EOF>'; write it like `args.fault == 'network' && counters.Booting < 3`",
        ),
        (
            "on: { go: { if: dat.n == 1, target: There } }",
            "f:6:21: error[unknown-variable]: unknown variable `dat`; did you mean `data`?",
        ),
        (
            "on: { go: { if: counters.n == 1, target: There } }",
            "f:6:29: error[unknown-counter]: unknown counter `n`; there is none",
        ),
        (
            "on: { go: { if: \"1 == 1 &&\\\n  \\ dat.n == 1\", target: There } }",
            "f:6:21: error[unknown-variable]: unknown variable `dat`; did you mean `data`?",
        ),
        (
            "on: { go: { if: 3, target: There } }",
            "f:6:21: error[form]: expected a condition; quote it if it begins with `!`, `[`, `{` or a quote, found a number",
        ),
        (
            "on: { poll-ok: There }",
            "f:6:11: error[unknown-event]: no state invokes `poll`, so `poll-ok` never comes",
        ),
        (
            "invoke: { action: poll, with: { a: 1, no-such-setting: 2 } }",
            "f:6:43: error[settings]: `poll` has no setting `no-such-setting`",
        ),
        ("invoke: [pol]", "f:6:14: error[unknown-action]: unknown action `pol`; did you mean `poll`?"),
        (
            "invoke: { action: poll, limit: 1 }",
            "f:6:36: error[form]: the duration `1` has no unit; write it like `60s`, `5m` or `1h 30m`",
        ),
        ("invoke: [{ limit: 1s }]", "f:6:14: error[form]: `action` is missing"),
        (
            "invoke: [{ action: poll, with: 3 }]",
            "f:6:36: error[form]: expected a mapping of settings, found a number",
        ),
        ("timeout: { after: 60s }", "f:6:14: error[form]: `target` is missing"),
        ("invoke: poll\ntimeout: { after: 60s, target: Here, keep: actions }", "no fault"),
        (
            "invoke: poll\ntimeout: { after: 60s, target: There, keep: actions }",
            "f:7:49: error[form]: `keep` is for a time limit that leads back to `Here`",
        ),
        (
            "timeout: { after: 60s, target: Here, keep: actions }",
            "f:6:48: error[form]: `Here` invokes no action that could be kept",
        ),
        (
            "invoke: poll\ntimeout: { after: 60s, target: Here, keep: true }",
            "f:7:48: error[form]: expected `actions`, found a truth value",
        ),
        (
            "invoke: poll\ntimeout: { after: 60s, target: Here, keep: action }",
            "f:7:48: error[form]: unknown thing to keep `action`; did you mean `actions`?",
        ),
        (
            "timeout: { target: There }",
            "f:6:14: error[form]: a time limit says `after:` (a duration) or `at:` (a time)",
        ),
        (
            "timeout: { after: 1s, at: 3000-01-01T12:00:00, target: There }",
            "f:6:31: error[form]: a time limit has either `after` or `at`",
        ),
        (
            "timeout: { after: 60, target: There }",
            "f:6:23: error[form]: the duration `60` has no unit; write it like `60s`, `5m` or `1h 30m`",
        ),
        (
            "timeout: { after: 60 parsecs, target: There }",
            "f:6:23: error[form]: bad duration `60 parsecs`: there is no unit `parsecs`; units are `ms`, `s`, `m`, `h`, `d` and `w`; write it like `60s`, `5m` or `1h 30m`",
        ),
        (
            "timeout: { after: 0s, target: There }",
            "f:6:23: error[form]: a duration must be greater than zero",
        ),
        ("timeout: { after: 11y, target: There }", "f:6:23: error[form]: `11y` is more than ten years"),
        (
            "timeout: { at: tomorrow, target: There }",
            "f:6:20: error[form]: bad time `tomorrow`; write it like `3000-01-01T12:00:00Z`",
        ),
        (
            "timeout: { after: 1s, target: There, limit: 3 }",
            "f:6:42: error[form]: `limit` without `exceeded`: add which state follows",
        ),
        (
            "timeout: { after: 1s, target: There, exceeded: There }",
            "f:6:42: error[form]: `exceeded` without `limit`: add how often the time limit may expire",
        ),
        (
            "timeout: { after: 1s, target: There, count: c }",
            "f:6:42: error[form]: `count` without `limit`: add how often the time limit may expire",
        ),
        (
            "timeout: { after: 1s, target: There, limit: -1, exceeded: There }",
            "f:6:49: error[form]: `limit` is a whole number from 0 to 4294967295",
        ),
        (
            "timeout: { after: 1s, target: There, limit: 1, exceeded: Ther }",
            "f:6:62: error[unknown-target]: unknown target `Ther`; did you mean `There`?",
        ),
        (
            "timeot: { after: 1s, target: There }",
            "f:6:5: error[form]: unknown key `timeot`; did you mean `timeout`?",
        ),
        ("about: [x]", "f:6:12: error[form]: expected a description of one line, found a list"),
        ("entry: [{ cleer: counters }]", "f:6:15: error[form]: unknown key `cleer`; did you mean `clear`?"),
        (
            "entry: [{ clear: a, count: b }]",
            "f:6:13: error[form]: an operation is one of: append, clear, count, link, raise, set, unlink, unset",
        ),
        (
            "entry: [clear]",
            "f:6:13: error[form]: expected an operation such as `{ clear: counters }`, found a text",
        ),
        (
            "entry: { count: counters }",
            "f:6:21: error[form]: `counters` means all of them: name the one to count",
        ),
        (
            "entry: { count: 1st }",
            "f:6:21: error[name]: `1st` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter",
        ),
        (
            "entry: { set: { a: $arg.x } }",
            "f:6:24: error[form]: `$arg.x` is none of `$args.NAME`, `$data.NAME`, `$instance.name` and `$instance.visit`; `$$arg.x` is the text itself",
        ),
        ("entry: { unset: [3] }", "f:6:22: error[form]: expected what to unset, found a number"),
        ("always: { if: data.x }", "f:6:13: error[form]: `always` leaves the state: `target` is missing"),
        (
            "always: { refuse: no, target: There }",
            "f:6:15: error[form]: unknown key `refuse`; known: target, if, do",
        ),
        ("always: Here", "f:5:3: error[always-loop]: `always` transitions form a cycle: Here → Here"),
        ("about: a\nabout: b", "f:7:5: error[form]: `about` is present twice"),
        ("about: a\n\ton: {}", "f:6:12: error[yaml]: while scanning a plain scalar, found a tab"),
    ];
    check_table(&table.map(|(body, expected)| (with(body), expected)));
}

#[test]
fn faults_of_a_whole_definition_are_reported_with_their_positions() {
    let states = "states: { A: {}, B: {} }";
    let table = [
        (String::new(), "f:1:1: error[form]: `initial` is missing\nf:1:1: error[form]: `machine` is missing\nf:1:1: error[form]: `states` is missing"),
        ("machine: m\ninitial: A\nstates: {}".to_owned(), "f:3:9: error[form]: a machine has at least one state"),
        (format!("machine: m\n{states}"), "f:1:1: error[form]: `initial` is missing"),
        (format!("machine: 1m\ninitial: A\n{states}"), "f:1:10: error[name]: `1m` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter"),
        (format!("machine: m\ninitial: C\n{states}"), "f:2:10: error[unknown-target]: unknown state `C`; known: A, B"),
        (format!("machine: m\ninitial: A\nstats: 1\n{states}"), "f:3:1: error[form]: unknown key `stats`; did you mean `states`?"),
        ("machine: m\ninitial: A\nstates: { A: {}, A: {} }".to_owned(), "f:3:18: error[form]: `A` is present twice"),
        ("machine: m\ninitial: A\nstates: { A: {}, b c: {} }".to_owned(), "f:3:18: error[name]: `b c` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter"),
        ("machine: m\ninitial: A\nstates: [A]".to_owned(), "f:3:9: error[form]: expected a mapping of states, found a list"),
        ("- a".to_owned(), "f:1:1: error[form]: expected a machine definition, found a list"),
        ("a: b: c".to_owned(), "f:1:5: error[yaml]: mapping values are not allowed in this context"),
        (format!("machine: m\ninitial: A\nevents: {{ x: {{ from: bord }} }}\n{states}"), "f:3:22: error[form]: unknown sender `bord`; did you mean `board`?"),
        (format!("machine: m\ninitial: A\nevents: {{ x: {{}} }}\n{states}"), "f:3:11: error[form]: declare who may send this event: `from: board` or `from: operator`"),
        (format!("machine: m\ninitial: A\nevents: {{ poll-ok: {{ from: board }} }}\n{states}"), "f:3:11: error[form]: `poll-ok` is what action `poll` ends in: it needs no declaration"),
        (format!("machine: m\ninitial: A\nevents: {{ x: {{ from: board, args: 3 }} }}\n{states}"), "f:3:35: error[form]: expected the name of an argument, found a number"),
        (format!("machine: m\ninitial: A\ngroups: {{ g: {{ states: [A, C], on: {{}} }} }}\n{states}"), "f:3:28: error[unknown-target]: unknown state `C`; known: A, B"),
        (format!("machine: m\ninitial: A\ngroups: {{ g: {{ states: [C*], on: {{}} }} }}\n{states}"), "f:3:25: error[unknown-target]: unknown state `C*`; known: A, B"),
        (format!("machine: m\ninitial: A\ngroups: {{ g: {{ states: [A] }} }}\n{states}"), "f:3:14: error[form]: `on` is missing"),
        (format!("machine: m\ninitial: A\nevents: {{ x: {{ from: board }} }}\ngroups:\n  g: {{ states: [A], on: {{ x: B }} }}\n  h: {{ states: [\"*\"], on: {{ x: A }} }}\n{states}"), "f:6:29: error[two-groups]: state `A` has `x` from group `g` too; define it in the state itself"),
        ("machine: m\ninitial: A\nstates:\n  A: { always: [{ target: B, if: data.x }, C] }\n  B: { always: C }\n  C: { always: A }".to_owned(), "f:4:3: error[always-loop]: `always` transitions form a cycle: A → C → A"),
        ("machine: m\ninitial: D\nstates:\n  A: { on: { x: E } }\n  B: { timeout: { after: 1, target: A } }".to_owned(), "f:2:10: error[unknown-target]: unknown state `D`; known: A, B\nf:4:14: error[unknown-event]: unknown event `x`; there is none\nf:4:17: error[unknown-target]: unknown target `E`; known: A, B\nf:5:26: error[form]: the duration `1` has no unit; write it like `60s`, `5m` or `1h 30m`"),
    ];
    check_table(&table);
}

#[test]
fn board_loads() {
    assert_eq!(load(BOARD, &vocabulary(&ACTIONS)).err(), None);
}

#[test]
fn groups_are_written_into_their_members() {
    let board = load(BOARD, &vocabulary(&ACTIONS)).unwrap();
    let of_resting = ["rq-maintenance", "rq-reboot", "rq-reimage", "rq-self-test"];
    for (name, state) in &board.states {
        let accepted = board.accepted_events(name.as_str(), &crate::Sender::Operator);
        let accepted: Vec<&str> = accepted.iter().map(|event| event.as_str()).collect();
        let is_resting =
            ["New", "Ready", "Maintenance"].contains(&name.as_str()) || name.as_str().starts_with("Failed");
        let is_failed = name.as_str().starts_with("Failed");
        let is_work = state.kind == StateKind::Working && name.as_str() != "Cancelling";
        let mut expected = vec!["rq-lock-out"];
        expected.extend(of_resting.iter().filter(|_| is_resting));
        expected.extend((is_failed || is_work).then_some("rq-cancel"));
        expected.extend((name.as_str() == "LockedOut").then_some("rq-unlock"));
        expected.sort_unstable();
        assert_eq!(accepted, expected, "{name}");
        assert!(!state.about.is_empty(), "{name}");
    }
}

#[test]
fn a_states_own_transition_wins_over_its_groups() {
    let text = "machine: m\ninitial: A\nevents: { x: { from: board } }\n\
                groups: { g: { states: [A, B], on: { x: B } }, h: { states: A, on: { x: B } } }\n\
                states: { A: { on: { x: { refuse: never } } }, B: {} }";
    let definition = load_unproved(text, &vocabulary(&ACTIONS)).unwrap();
    let effect = |state: &str| format!("{:?}", definition.states[state].on["x"][0].effect);
    assert!(effect("A").starts_with("Refuse"));
    assert!(effect("B").starts_with("Move"));
}

#[test]
fn loading_any_text_finishes_with_a_result() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pieces = prop::sample::select(vec![
        "machine: m\n",
        "initial: A\n",
        "states:\n",
        "  A:\n",
        "    on:\n",
        "      x: A\n",
        "events: ",
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "&a ",
        "*a",
        "!!int ",
        "|\n",
        "if: ",
        "\"",
        "'",
        "\t",
        "  ",
        "\n",
        "\u{0}",
        "é",
        "<<: ",
        "? ",
        "$args.x",
        "#",
        ",",
        "always: A",
        "1e999",
    ]);
    let text =
        prop_oneof![any::<String>(), prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())];
    runner
        .run(&text, |text| {
            let _ = load(&text, &vocabulary(&ACTIONS));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_damaged_board_definition_is_refused_or_loads() {
    // Fewer cases than elsewhere: each reads the whole file.
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let words: Vec<(usize, &str)> = BOARD
        .split(|c: char| !(c.is_alphanumeric() || "-_$*.".contains(c)))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - BOARD.as_ptr() as usize, word))
        .collect();
    let replacement = prop::sample::select(vec![
        "",
        "x",
        "é",
        "-1",
        "~",
        "[]",
        "{}",
        "[[]]",
        "$",
        "1e999",
        "99999999999999999999",
        "*",
        "&a x",
        "on",
        "Ready",
        "if",
        "counters",
        "\"\"",
        "\"\\n\"",
        "|\n",
        "[x, é]",
        "{x: y}",
    ]);
    let damage = (0..words.len(), replacement);
    runner
        .run(&prop::collection::vec(damage, 1..6), |mut damages| {
            let mut text = BOARD.to_owned();
            // From the end, so that earlier positions stay valid.
            damages.sort_by_key(|(word, _)| std::cmp::Reverse(*word));
            damages.dedup_by_key(|(word, _)| *word);
            for (word, replacement) in damages {
                let (at, word) = words[word];
                text.replace_range(at..at + word.len(), replacement);
            }
            if let Err(faults) = load(&text, &vocabulary(&ACTIONS)) {
                let lines = text.lines().count() as u64 + 1;
                prop_assert!(faults.iter().count() > 0);
                prop_assert!(
                    faults.iter().all(|fault| (1..=lines).contains(&fault.line) && fault.column > 0)
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn threads_share_a_definition() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&load(BOARD, &vocabulary(&ACTIONS)).unwrap());
}

#[test]
fn the_content_of_an_alias_is_checked_at_the_alias() {
    let text = with("about: &a dat.n == 1\non: { go: { if: *a, target: There } }");
    assert_eq!(
        faults(&text),
        "f:7:21: error[unknown-variable]: unknown variable `dat`; did you mean `data`?"
    );
}

#[test]
fn huge_and_deep_texts_are_refused_quickly() {
    let lines = |count: usize, line: fn(usize) -> String| (1..count).map(line).collect::<Vec<_>>().join("\n");
    let laughs = lines(30, |level| format!("l{level}: &l{level} [*l{0}, *l{0}]", level - 1));
    let many = lines(5000, |index| format!("  S{index}: {{ on: {{ go: T{index} }} }}"));
    for (text, expected) in [
        ("[".repeat(100_000), "f:1:25: error[yaml]: recursion limit exceeded"),
        ("{a: ".repeat(60), "f:1:"),
        ("- ".repeat(100_000), "f:1:"),
        (format!("l0: &l0 [x]\n{laughs}"), "f:"),
        (
            format!("machine: m\ninitial: S1\nstates:\n{many}"),
            "f:4:15: error[unknown-event]: unknown event `go`; there is none",
        ),
        (" ".repeat(5 << 20), "f:1:1: error[yaml]: a definition has at most 4 MiB"),
    ] {
        let found = faults(&text);
        assert!(found.starts_with(expected), "{}", &found[..found.len().min(300)]);
        assert!(found.lines().count() <= 100);
    }
}

#[test]
fn months_are_not_minutes() {
    let reported = |after: &str| {
        let text = with(&format!("about: x\ntimeout: {{ after: {after}, target: There }}"));
        let checked = super::check(&text, &vocabulary(&ACTIONS));
        let reported = checked.faults.iter().map(|fault| format!("{}: {}", fault.rule, fault.message));
        reported.filter(|reported| reported.contains(after)).collect::<Vec<_>>().join("; ")
    };
    for after in ["5M", "1M", "1h 5M"] {
        let expected = format!(
            "form: bad duration `{after}`: `M` is months; minutes are `m`; write it like `60s`, `5m` or `1h 30m`"
        );
        assert_eq!(reported(after), expected);
    }
    for (after, days) in [("1month", 30), ("1y", 365), ("2years", 730)] {
        let expected = format!(
            "long-duration: `{after}` is {days} days and some hours: months and years are averages; write it in days"
        );
        assert_eq!(reported(after), expected);
    }
    assert_eq!(reported("5m"), "");
}

#[test]
fn a_file_of_another_program_is_named() {
    let state_service = "current_state: a\nstates:\n  - name: a\n    func: increment\n";
    let x_state =
        r#"{"id": "toggle", "initial": "off", "states": {"off": {"on": {"TOGGLE": "on"}}, "on": {}}}"#;
    let x_state_script =
        "import { createMachine } from 'xstate';\nexport const m = createMachine({ id: 'toggle' });\n";
    let smc = "%{\n// Turnstile\n%}\n%start Main::Locked\n%class Turnstile\n%map Main\n%%\nLocked { coin Unlocked {} }\n%%\n";
    let transitions = "states: [solid, liquid]\ninitial: solid\ntransitions:\n  - [melt, solid, liquid]\n";
    let scxml = "<?xml version=\"1.0\"?><scxml xmlns=\"http://www.w3.org/2005/07/scxml\" initial=\"a\"/>";
    let amazon = r#"{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}"#;
    for (text, format) in [
        (state_service, "a StateService file: `lifeguard machine import FILE` translates it"),
        (x_state, "an XState machine: it cannot be imported"),
        (x_state_script, "an XState machine: it cannot be imported"),
        (smc, "a State Machine Compiler (SMC) file: it cannot be imported"),
        (transitions, "a state machine of Python's `transitions` package: it cannot be imported"),
        (scxml, "an SCXML file: it cannot be imported"),
        (amazon, "an Amazon States Language file: it cannot be imported"),
    ] {
        let faults = super::check(text, &vocabulary(&ACTIONS)).faults;
        let reported: Vec<String> = faults.iter().map(|fault| fault.display("f").to_string()).collect();
        assert!(
            reported.len() == 1 && reported[0].starts_with(&format!("f:1:1: error[form]: this is {format}")),
            "{reported:?}"
        );
    }
    // The result for a definition does not matter.
    let text = "machine: m\ninitial: A\nstates: { A: { resting: true, about: what createMachine() made } }\n";
    assert_eq!(super::check(text, &vocabulary(&ACTIONS)).faults, []);
}

#[test]
fn an_event_may_have_the_name_of_an_operation() {
    for event in ["set", "count", "clear"] {
        let text = format!(
            "machine: m\ninitial: Here\nevents: {{ {event}: {{ from: board }} }}\nstates:\n  Here:\n    on:\n      \
             {event}: [{{ if: counters.tries < 3, do: {{ count: tries }} }}, There]\n  There: {{}}\n"
        );
        assert_eq!(faults(&text), "no fault", "{event}");
    }
}

#[test]
fn faults_of_links_and_raised_events_are_reported_with_their_positions() {
    let linked = |body: &str| {
        format!(
            "machine: m\ninitial: Here\nlinks: {{ lease: lease }}\nevents: {{ go: {{ from: {{ machine: lease }} }} }}\n\
             states:\n  Here:\n    {body}\n  There: {{}}\n"
        )
    };
    let table = [
        (
            "entry: { raise: { event: done, to: lease, args: { a: $args.b, c: 1 }, visit: linked } }",
            "no fault",
        ),
        ("entry: { link: { lease: { name: $args.by, visit: $args.visit } } }", "no fault"),
        (
            "on: { go: { do: [{ link: { lease: $args.by } }, { unlink: [lease] }] }, done-refused: There }",
            "f:7:77: error[unknown-event]: unknown event `done-refused`; known: go",
        ),
        ("entry: { raise: { event: done, to: lease } }\n    on: { done-refused: There }", "no fault"),
        (
            "entry: { raise: { event: done, to: leese } }",
            "f:7:40: error[unknown-link]: unknown link `leese`; did you mean `lease`?",
        ),
        (
            "entry: { raise: { event: do ne, to: lease, visit: all } }",
            "f:7:30: error[name]: `do ne` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter\nf:7:55: error[form]: unknown visit `all`; known: any, linked",
        ),
        ("entry: { raise: { to: lease } }", "f:7:21: error[form]: `event` is missing"),
        (
            "entry: { link: { leese: $args.by } }",
            "f:7:22: error[unknown-link]: unknown link `leese`; did you mean `lease`?",
        ),
        ("entry: { link: { lease: { name: l-1.b, visit: 3 } } }", "no fault"),
        (
            "entry: { link: { lease: 5 } }",
            "f:7:29: error[form]: 5 is not the name of an instance: a text of 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`",
        ),
        (
            "entry: { link: { lease: { name: '' } } }",
            "f:7:37: error[form]: \"\" is not the name of an instance: a text of 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`",
        ),
        (
            "entry: { link: { lease: ../b } }",
            "f:7:29: error[form]: \"../b\" is not the name of an instance: a text of 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`",
        ),
        (
            "entry: { unlink: leese }",
            "f:7:22: error[unknown-link]: unknown link `leese`; did you mean `lease`?",
        ),
        (
            "on: { go: { if: 'predict(\"m\", args.x) == \"a\"', target: There } }",
            "f:7:29: error[guard-form]: no model is asked when another machine raises an event; ask it when one is sent",
        ),
    ];
    let table = table.map(|(body, expected)| (linked(body), expected));
    check_table(&table);
}

#[test]
fn a_refusal_needs_no_declaration() {
    let text = "machine: m\ninitial: Here\nlinks: { lease: lease }\nevents:\n  go: { from: board }\n  \
                done-refused: { from: board }\nstates:\n  Here:\n    on: { go: { do: { raise: { event: done, to: lease } } } }\n";
    assert_eq!(
        faults(text),
        "f:6:3: error[form]: `done-refused` is the refusal of what is raised: it needs no declaration"
    );
}

#[test]
fn faults_of_resources_are_reported_with_their_positions() {
    let holding = |resources: &str, hold: &str| {
        format!(
            "machine: m\ninitial: Here\nresources: {resources}\nevents: {{ go: {{ from: board }} }}\n\
             states:\n  Here:\n    hold: {hold}\n  There: {{}}\n"
        )
    };
    let table = [
        ("{ installations: 8 }", "{ installations: 2 }", "no fault"),
        ("{ installations: {} }", "{ installations: 2 }", "no fault"),
        ("{ installations: 0 }", "{ installations: 2 }", "no fault"),
        (
            "{ worker: { any: idle-workers, gap: 2s, settle: 1m 30s, about: who does it } }",
            "{ worker: 1 }",
            "no fault",
        ),
        (
            "{ installations: { capacity: 8 } }",
            "{ installations: 9 }",
            "f:7:28: error[form]: 9 units of `installations` are held, but its capacity is 8",
        ),
        (
            "{ worker: { any: idle-workers } }",
            "{ worker: 2 }",
            "f:7:21: error[form]: 2 units of `worker` are held, but its capacity is 1",
        ),
        (
            "{ installations: 8 }",
            "{ instalations: 0 }",
            "f:7:13: error[unknown-resource]: unknown resource `instalations`; did you mean `installations`?\n\
             f:7:27: error[form]: a state holds 1 to 2147483647 units of a resource",
        ),
        (
            "{ installations: 3000000000 }",
            "{ installations: 1 }",
            "f:3:29: error[form]: the capacity of a resource is 0 to 2147483647 units",
        ),
        (
            "{ worker: { any: idel-workers, gap: 2 } }",
            "{ worker: 1 }",
            "f:3:29: error[unknown-resource]: unknown selector `idel-workers`; did you mean `idle-workers`?\n\
             f:3:48: error[form]: the duration `2` has no unit; write it like `60s`, `5m` or `1h 30m`",
        ),
        (
            "{ a b: 1, worker: { most: 3 } }",
            "{ worker: 1 }",
            "f:3:14: error[name]: `a b` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter\n\
             f:3:32: error[form]: unknown key `most`; known: any, capacity, gap, settle, about",
        ),
    ];
    let table = table.map(|(resources, hold, expected)| (holding(resources, hold), expected));
    check_table(&table);
}

#[test]
fn a_label_fits_into_a_line_and_the_definitions_that_are_stored_with_another_one_still_load() {
    let text = |label: &str| {
        format!(
            "machine: m\ninitial: Here\nstates:\n  Here: {{ label: {label}, about: nothing is done, resting: true }}\n"
        )
    };
    let longest = "é".repeat(200);
    for label in ["here and now", &longest, "\"\"", "\"no-break\\u00a0space\""] {
        assert!(load(&text(label), &vocabulary(&[])).is_ok(), "{label}");
    }
    for label in [&format!("{longest}é"), "\"two\\nlines\"", "\"\\x1b[2J\"", "\"\\x7f\""] {
        let faults = load(&text(label), &vocabulary(&[])).unwrap_err();
        assert_eq!(
            faults.display("f").to_string(),
            "f:4:18: error[label]: a label has at most 200 characters, and no control characters"
        );
        let (definition, stored) = load_stored(&text(label), &vocabulary(&[])).unwrap();
        assert_eq!(stored.unwrap().0[0].rule, Rule::Label);
        assert!(definition.explicit_label("Here").is_some());
    }
    let other = text("\"two\\nlines\"").replace("initial: Here", "initial: Her");
    assert!(load_stored(&other, &vocabulary(&[])).is_err(), "other faults are not tolerated");
}

#[test]
fn a_state_is_found_by_its_label_before_another_one_by_its_name() {
    let text = "machine: m
initial: First
states:
  First: { label: Second, about: nothing is done, resting: true, on: {} }
  Second: { label: third, about: nothing is done, resting: true }
";
    let definition = load_unproved(text, &vocabulary(&[])).unwrap();
    let state = |name: &str| definition.states.get_key_value(name).unwrap().0;
    for (text, found) in
        [("Second", Some("First")), ("third", Some("Second")), ("First", Some("First")), ("fourth", None)]
    {
        assert_eq!(definition.find_by_label(text), found.map(state), "{text}");
        for name in definition.states.keys() {
            assert_eq!(definition.is_called(name, text), found == Some(name.as_str()), "{text} {name}");
        }
    }
}
