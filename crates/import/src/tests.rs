use insta::assert_snapshot;

use machine::testing::vocabulary;
use machine::{Cause, EventSource, Instance, Outcome, StateName, Stimulus, check};

use super::*;

fn name() -> MachineName {
    MachineName::new("states").unwrap()
}

/// A wall clock two hours ahead of UTC.
fn local(shown: NaiveDateTime) -> DateTime<Utc> {
    shown.and_utc() - chrono::TimeDelta::hours(2)
}

fn imported(text: &str) -> ImportedDefinition {
    import(text, &name(), &local, &vocabulary(&["power-cycle"])).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults, one a line.
fn refused(text: &str) -> String {
    import(text, &name(), &local, &vocabulary(&[])).unwrap_err().display("states.yaml").to_string()
}

fn definition(text: &str) -> machine::Definition {
    imported(text).definition
}

/// Sends the event of the current state `times` times; returns the state and the count after each.
fn put(definition: &machine::Definition, times: usize) -> Vec<(String, i64)> {
    let now = DateTime::UNIX_EPOCH;
    let mut instance = machine::create(definition, "shared", serde_json::Map::new(), now).instance;
    let mut course = Vec::new();
    for _ in 0..times {
        let state = instance.state.clone();
        let moved = send(definition, &instance, state.as_str());
        assert!(!matches!(moved.outcome, Outcome::Ignored(_)), "{:?}", moved.outcome);
        instance = moved.instance;
        let count = instance.counters.get(state.as_str()).copied().unwrap_or_default();
        course.push((definition.label(&instance.state).to_owned(), count));
    }
    course
}

fn send(definition: &machine::Definition, instance: &Instance, event: &str) -> machine::Decision {
    let cause = Cause::Event {
        name: machine::EventName::new(event).unwrap(),
        source: EventSource::Operator,
        args: serde_json::Map::new(),
        visit: None,
    };
    let stimulus = Stimulus::new(cause);
    machine::decide(definition, instance, &stimulus, DateTime::UNIX_EPOCH)
}

fn counting(from: &str, until: &str) -> String {
    format!(
        "current_state: a\nstates:\n- {{name: a, func: increment, current: {{key: n, value: {from}}}, \
         target: {{name: b, when: {{key: n, value: {until}}}}}}}\n- {{name: b}}\n"
    )
}

#[test]
fn a_file_of_another_format_is_named() {
    let x_state =
        r#"{"id": "toggle", "initial": "off", "states": {"off": {"on": {"TOGGLE": "on"}}, "on": {}}}"#;
    let scxml =
        "<scxml xmlns=\"http://www.w3.org/2005/07/scxml\" initial=\"a\">\n  <state id=\"a\"/>\n</scxml>\n";
    let smc = "%start Main::Locked\n%map Main\n%%\nLocked { coin Unlocked {} }\n%%\n";
    for (text, format) in [
        (x_state, "an XState machine: it cannot be imported; write a definition"),
        (scxml, "an SCXML file: it cannot be imported; write a definition"),
        (smc, "a State Machine Compiler (SMC) file: it cannot be imported; write a definition"),
        (
            "machine: m\ninitial: A\nstates: { A: {} }\n",
            "a machine definition already: nothing has to be imported",
        ),
    ] {
        let reported = refused(text);
        let expected = format!("states.yaml:1:1: error[form]: this is {format}");
        assert!(reported.starts_with(&expected) && reported.lines().count() == 1, "{reported}");
    }
}

#[test]
fn a_file_becomes_a_definition() {
    let text = "\
current_state: wait for all
states:
- name: wait for all
  func: increment
  current: {key: count, value: 1}
  target: {name: night, when: {key: count, value: 3}}
- name: night
  func: time
  target: {name: done, when: {key: clock, value: '2026-07-01T22:00:00'}}
- name: dawn
  func: time
  target: {name: done, when: {key: clock, value: 2026-07-02T05:00:00.5+01:00}}
- name: done
- name: given up
";
    let ImportedDefinition { source, current, notes, definition: _ } = imported(text);
    assert_eq!((current.as_str(), notes.len()), ("wait for all", 0));
    assert_snapshot!(source, @r#"
    # Translated from a StateService file.
    #
    # Each state that counts takes the event of its own name; the counter of that name says how often it has come,
    # and is not cleared when the state is entered again.

    machine: "states"
    initial: s-wait-for-all-c5e0ccac

    events:
      s-wait-for-all-c5e0ccac: { from: operator, about: "something that belongs to wait for all is done" }

    # Where counters begin that do not begin at zero.
    counters:
      s-wait-for-all-c5e0ccac: 1

    states:
      s-wait-for-all-c5e0ccac:
        label: "wait for all"
        about: "waits until 2 things that belong to it are done"
        resting: true
        on:
          s-wait-for-all-c5e0ccac:
            - { if: 'counters["s-wait-for-all-c5e0ccac"] == 2', target: night, do: { count: s-wait-for-all-c5e0ccac } }
            - do: { count: s-wait-for-all-c5e0ccac }
      night:
        about: waits for its time
        resting: true
        timeout: { at: 2026-07-01T20:00:00Z, target: done }
      dawn:
        about: waits for its time
        resting: true
        timeout: { at: 2026-07-02T04:00:00.500Z, target: done }
      done:
        about: the end
        final: true
      s-given-up-6d45e59f:
        label: "given up"
        about: the end, which only force leads to
        resting: true
    "#);
    let checked = check(&source, &vocabulary(&[]));
    assert!(checked.definition.is_some() && checked.faults.is_empty(), "{:?}", checked.faults);
}

#[test]
fn a_state_counts_from_its_initial_value_until_it_equals_the_target_value() {
    let course = |from, until, times| {
        let states = put(&definition(&counting(from, until)), times);
        states.into_iter().map(|(state, count)| format!("{state}{count}")).collect::<Vec<_>>().join(" ")
    };
    for (from, until, moves_after) in [
        ("0", "1", 1),
        ("0", "3", 3),
        ("2", "3", 1),
        ("-2", "0", 2),
        ("0", "1.0", 1),
        ("0.1", "2.1", 2),
        ("false", "true", 1),
        ("9223372036854775806", "9223372036854775808", 2),
    ] {
        // Counters hold neither fractions nor negative or very large numbers; then they count the requests.
        let begins: u32 = from.parse().unwrap_or(0);
        let states = (1..=moves_after).map(|put| if put == moves_after { "b" } else { "a" });
        let expected: Vec<String> =
            states.zip(begins + 1..).map(|(state, count)| format!("{state}{count}")).collect();
        assert_eq!(course(from, until, expected.len()), expected.join(" "), "{from} {until}");
    }
    for (from, until) in [("5", "1"), ("1", "1"), ("0", "0.5"), ("0", "-1")] {
        let begins: u32 = from.parse().unwrap_or(0);
        let expected = format!("a{} a{} a{}", begins + 1, begins + 2, begins + 3);
        assert_eq!(course(from, until, 3), expected, "{from} {until}");
        let notes = imported(&counting(from, until)).notes;
        assert!(notes.len() == 1 && notes[0].message.contains("never left"), "{notes:?}");
    }
    assert!(refused(&counting("0.5", "1e300")).contains("too far"));
}

#[test]
fn a_state_that_is_entered_again_goes_on_counting() {
    let text = "\
current_state: a
states:
- {name: a, func: increment, current: {key: n, value: 0}, target: {name: b, when: {key: n, value: 1}}}
- {name: b, func: increment, current: {key: n, value: 0}, target: {name: a, when: {key: n, value: 1}}}
";
    let course = put(&definition(text), 4);
    let course: Vec<String> = course.into_iter().map(|(state, count)| format!("{state}{count}")).collect();
    assert_eq!(course, ["b1", "a1", "a2", "a3"]);
}

#[test]
fn only_the_current_state_s_event_counts() {
    let definition = definition(&counting("0", "1"));
    let fresh = machine::create(&definition, "shared", serde_json::Map::new(), DateTime::UNIX_EPOCH).instance;
    assert!(matches!(send(&definition, &fresh, "b").outcome, Outcome::Ignored(_)));
    let over = send(&definition, &fresh, "a").instance;
    assert_eq!(over.state, StateName::new("b").unwrap());
    assert!(matches!(send(&definition, &over, "a").outcome, Outcome::Ignored(_)));
}

#[test]
fn invalid_names_become_labels() {
    for label in ["<b>x", "état", "1", "power-cycle-ok", "on", "a b", "a.b", "failed-wait", "Failed", ""] {
        let text = counting("0", "1").replace("name: a,", &format!("name: {label:?},"));
        let text = text.replace("current_state: a", &format!("current_state: {label:?}"));
        let definition = definition(&text);
        assert_eq!(definition.label(&definition.initial), label);
        assert_eq!(definition.find_by_label(label), Some(&definition.initial));
        assert_ne!(definition.initial.as_str(), label);
        assert_eq!(put(&definition, 1), [("b".to_owned(), 1)]);
    }
}

#[test]
fn parts_without_effect_are_noted() {
    let text = "\
current_state: a
states:
- {name: a, func: increment, current: {key: n, value: 0, note: x}, target: {name: b, when: {key: n, value: 1}}, colour: red}
- {name: b, func: increment, current: {key: n, value: 0}, target: {name: c, when: {key: n, value: 1}}}
- {name: b, target: {name: a}}
- {name: c}
comment: x
";
    let notes: Vec<String> = imported(text).notes.iter().map(|note| note.display("states.yaml")).collect();
    assert_snapshot!(notes.join("\n"), @r"
    states.yaml:3:58: note: `note` has no effect; known: key, value
    states.yaml:3:113: note: `colour` has no effect; known: name, func, current, target
    states.yaml:4:3: note: `b` is declared again below; the last declaration counts
    states.yaml:5:13: note: a state without `func` is an end: its `target` has no effect
    states.yaml:7:1: note: `comment` has no effect; known: current_state, states
    ");
}

#[test]
fn faults_have_their_position() {
    let found = [
        "",
        "- a\n- b\n",
        "states:\n- name: a\n",
        "current_state: a\n",
        "current_state: a\nstates: {a: {name: a}}\n",
        "current_state: a\nstates: []\n",
        "current_state: ghost\nstates:\n- name: host\n",
        "current_state: 1\nstates:\n- name: 1\n- {}\n- b\n",
        "a: [1,\n b: }\n",
        &counting("'0'", "[1]"),
        &counting("0", "1").replace("increment", "decrement"),
        &counting("0", "1").replace("func: increment", "func:"),
        &counting("0", "1").replace("current: {key: n, value: 0},", ""),
        &counting("0", "1").replace("name: b, when", "name: ghost, when"),
        &counting("0", "1").replace(", target: {name: b, when: {key: n, value: 1}}", ""),
        &counting("0", "'noon'").replace("increment", "time"),
        &counting("0", "1").replace("increment", "time"),
        "current_state: a\nstates:\n- {name: a, func: time, target: {name: b, when: {value: '2000-01-01T00:00:00'}}}\n\
         - {name: b, func: time, target: {name: a, when: {value: '2000-01-01T00:00:00'}}}\n",
        "current_state: a\nstates:\n- {name: a, func: time, target: {name: a, when: {value: '10001-01-01T00:00:00'}}}\n",
        "current_state: \"\\t\"\nstates:\n- {name: \"\\x7f\"}\n",
        "current_state: a\ncurrent_state: b\nstates:\n- {name: a}\n- {name: b}\n",
    ]
    .map(refused);
    assert_snapshot!(found.join("\n"), @r"
    states.yaml:1:1: error[form]: expected a mapping with `current_state` and `states`, found nothing
    states.yaml:1:1: error[form]: expected a mapping with `current_state` and `states`, found a list
    states.yaml:1:1: error[form]: `current_state` is missing
    states.yaml:1:1: error[form]: `states` is missing
    states.yaml:2:9: error[form]: expected a list of states, found a mapping
    states.yaml:2:9: error[form]: a machine has from 1 to 5000 states, and this one 0
    states.yaml:1:16: error[unknown-target]: unknown state `ghost`; did you mean `host`?
    states.yaml:3:9: error[form]: expected the name of a state, in quotes where YAML would take it for something else, found a number
    states.yaml:4:3: error[form]: `name` is missing
    states.yaml:5:3: error[form]: expected a state: a mapping with a `name`, found a text
    states.yaml:1:4: error[yaml]: mismatched bracket '[' closed by '}'
    states.yaml:3:55: error[form]: expected a number, found a text
    states.yaml:3:101: error[form]: expected a number, found a list
    states.yaml:3:19: error[form]: unknown func `decrement`; did you mean `increment`?
    states.yaml:3:17: error[form]: expected `increment` or `time`; a state that is an end has no `func` at all, found nothing
    states.yaml:3:3: error[form]: `current` is missing
    states.yaml:3:74: error[unknown-target]: unknown target `ghost`; known: a, b
    states.yaml:3:3: error[form]: `target` is missing
    states.yaml:3:94: error[form]: bad time `noon`; write it like '3000-01-01T12:00:00', by this server's clock, or like '3000-01-01T12:00:00+01:00'
    states.yaml:3:94: error[form]: expected a time such as '3000-01-01T12:00:00', found a number
    states.yaml:3:3: error[endless-loop]: these states follow one another without end, by time alone: a → b → a
    states.yaml:3:57: error[form]: bad time `10001-01-01T00:00:00`; write it like '3000-01-01T12:00:00', by this server's clock, or like '3000-01-01T12:00:00+01:00'
    states.yaml:3:10: error[name]: a name has at most 200 characters, and no control characters
    states.yaml:2:1: error[form]: `current_state` is present twice
    ");
}

#[test]
fn the_first_and_the_last_year_can_be_named() {
    for (text, year) in [
        ("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00Z"),
    ] {
        let states = counting("0", &format!("'{text}'")).replace("increment", "time");
        let source = imported(&states).source;
        assert!(source.contains(&format!("timeout: {{ at: {year}, target: b }}")), "{source}");
    }
}

#[test]
fn equal_derived_names_are_made_unique() {
    let real = imported("current_state: a b\nstates:\n- {name: a b}\n").source;
    let derived = real.lines().find_map(|line| line.strip_prefix("initial: ")).unwrap().to_owned();
    let text = format!(
        "current_state: a b\nstates:\n- {{name: a b, func: time, target: {{name: {derived}, when: {{value: '2000-01-01T00:00:00'}}}}}}\n- {{name: {derived}}}\n"
    );
    let definition = definition(&text);
    assert_eq!(definition.initial.as_str(), format!("{derived}-2"));
    assert_eq!(definition.find_by_label(&derived).unwrap().as_str(), derived);
}

#[test]
fn faults_that_only_the_definition_check_finds_are_reported_at_the_state() {
    let states: Vec<String> = (0..5000)
        .map(|number| {
            let name = format!("{number} {}", "é".repeat(190));
            format!("- {{name: {name}, func: increment, current: {{value: 0}}, target: {{name: {name}, when: {{value: 1}}}}}}\n")
        })
        .collect();
    let faults = refused(&format!("current_state: 0 {}\nstates:\n{}", "é".repeat(190), states.concat()));
    assert!(
        faults.starts_with("states.yaml:1:1: error[yaml]: a definition has at most 4 MiB"),
        "{faults:.200}"
    );
}
