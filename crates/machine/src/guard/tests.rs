use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::check::GUARD_FUNCTIONS;
use super::{Guard, GuardEvaluation, GuardFault, GuardScope, GuardVariables};
use crate::testing::vocabulary;
use crate::{CounterName, ModelAnswers, ModelQuestion, Prediction};

fn counters() -> BTreeSet<CounterName> {
    ["tries", "other"].iter().filter_map(|name| CounterName::new(name).ok()).collect()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(entries) = value else { panic!("not an object: {value}") };
    entries
}

fn read(text: &str) -> Result<Guard, Vec<GuardFault>> {
    read_on(GuardEvaluation::Event, text)
}

fn read_on(occasion: GuardEvaluation, text: &str) -> Result<Guard, Vec<GuardFault>> {
    Guard::new(
        text,
        GuardScope { counters: &counters(), facts: vocabulary(&[]).facts(), evaluated_on: occasion },
    )
}

fn holds_with(text: &str, args: &Map<String, Value>) -> bool {
    holds_where(text, args, &ModelAnswers::default())
}

fn holds_where(text: &str, args: &Map<String, Value>, predicted: &ModelAnswers) -> bool {
    let guard = read(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    let variables = GuardVariables {
        counters: &[(CounterName::new("tries").unwrap(), 3)].into_iter().collect(),
        data: &object(json!({ "image": "debian", "n": 5, "list": [1, 2, 3], "deep": { "a": true } })),
        args,
        facts: &object(json!({ "name": "b1", "images": ["debian", "self-test"], "power": true })),
        predicted,
    };
    guard.holds(&counters(), variables)
}

fn holds(text: &str) -> bool {
    holds_with(text, &object(json!({ "image": "debian", "fault": "board" })))
}

/// Variables with counters only.
fn variables<'a>(
    counters: &'a BTreeMap<CounterName, i64>,
    none: &'a Map<String, Value>,
) -> GuardVariables<'a> {
    static UNASKED: LazyLock<ModelAnswers> = LazyLock::new(ModelAnswers::default);
    GuardVariables { counters, data: none, args: none, facts: none, predicted: &UNASKED }
}

fn fault(text: &str) -> String {
    fault_on(GuardEvaluation::Event, text)
}

fn fault_on(occasion: GuardEvaluation, text: &str) -> String {
    let faults = read_on(occasion, text).err().unwrap_or_else(|| panic!("accepted: {text}"));
    faults.iter().map(|fault| format!("{}: {}", fault.offset, fault.message)).collect::<Vec<_>>().join("\n")
}

#[test]
fn conditions_hold_or_do_not() {
    for (text, expected) in [
        ("true", true),
        ("false", false),
        ("counters.tries == 3", true),
        ("counters.other == 0", true),
        ("counters['tries'] > 3", false),
        ("data.n + 1 == 6", true),
        ("data.image == args.image && args.fault != 'image'", true),
        ("args.image in device.images", true),
        ("!('maintenance' in device.images)", true),
        ("device.power", true),
        ("has(data.image) && !has(data.next_image)", true),
        ("data.deep.a ? size(data.list) == 3 : false", true),
        ("data.list.exists(x, x > 2)", true),
        ("data.list.all(x, x > 2)", false),
        ("data.list.exists_one(x, x == data.n - 3)", true),
        ("data.image.startsWith('deb')", true),
        ("double(data.n) / 2.0 > 2.4", true),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn a_condition_that_cannot_be_evaluated_does_not_hold() {
    for text in [
        "data.missing == 1",
        "data.missing != 1",
        "!data.image",
        "args.image < 3",
        "data.n / 0 == 1",
        "data.n % 0 == 1",
        "9223372036854775807 + data.n > 0",
        "-9223372036854775808 - data.n < 0",
        "9223372036854775807 * data.n != 0",
        "data.list[7] == 1",
        "data.list[-1] == 1",
        "int(data.image) == 1",
        "uint(-1) == 1u",
        "int(1e300) == 1",
        "data.image",
        "data.deep",
        "data.n.exists(x, x)",
        "size(data.n) == 1",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn faults_have_positions_and_suggestions() {
    for (text, expected) in [
        (
            "data.n ==",
            "9: this condition is not CEL: mismatched input '<EOF>'; write it like `args.fault == 'network' && counters.Booting < 3`",
        ),
        ("counter.tries > 1", "0: unknown variable `counter`; did you mean `counters`?"),
        ("x == 1", "0: unknown variable `x`; known: args, counters, data, device"),
        ("counters.trys > 1", "8: unknown counter `trys`; did you mean `tries`?"),
        ("1 > counters['trys']", "12: unknown counter `trys`; did you mean `tries`?"),
        ("device.image == 'x'", "6: unknown field of `device` `image`; did you mean `images`?"),
        ("siz(data.list) == 1", "3: unknown function `siz`; did you mean `size`?"),
        (
            "has(data)",
            "4: this condition is not CEL: invalid argument to has() macro; write it like `args.fault == 'network' && counters.Booting < 3`",
        ),
        ("1", "0: a condition is true or false, and this is a number; compare it with something"),
        (
            "counters.tries",
            "8: a condition is true or false, and this is a number; compare it with something",
        ),
        ("true && 'x'", "8: a condition is true or false, and this is a text; compare it with something"),
        ("data.n + 1", "7: a condition is true or false, and this is a number; compare it with something"),
        ("device.images", "6: a condition is true or false, and this is a list; compare it with something"),
        (
            "size(data.list.map(x, x)) > 0",
            "18: `map` and `filter` are not allowed in a condition; use `exists` or `all`",
        ),
        ("data.l.exists(x, x.exists(y, y))", "25: a macro (`exists`, `all`) cannot stand inside another"),
        ("{'a': 1} == data", "0: a condition cannot contain `{…}`"),
        (
            "predict.x(1)",
            "9: unknown function `x`\n0: unknown variable `predict`; known: args, counters, data, device",
        ),
        ("[1, 2]", "0: a condition is true or false, and this is a list; compare it with something"),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn every_known_function_is_one_of_the_environment() {
    for name in GUARD_FUNCTIONS {
        let text = match name {
            "size" => "size('abc') == 3".to_owned(),
            "contains" | "startsWith" | "endsWith" => format!("data.image.{name}('debian')"),
            "bool" => "bool('true')".to_owned(),
            "string" => "string(1) == '1'".to_owned(),
            "double" => "double(1) == 1.0".to_owned(),
            _ => format!("{name}('1') == 1"),
        };
        assert!(holds(&text), "{text}");
    }
}

#[test]
fn a_macro_does_not_run_over_thousands_of_values() {
    let args = |length: usize| object(json!({ "list": vec![1; length] }));
    assert!(holds_with("args.list.all(x, x == 1)", &args(900)));
    assert!(!holds_with("args.list.all(x, x == 1)", &args(1001)));
    assert!(holds_with("args.list.all(x, x in args.list)", &args(900)));
    assert!(holds_with("size(args.list) == 5000", &args(5000)));
}

#[test]
fn long_and_deep_conditions_need_no_deep_stack() {
    let repeat = |piece: &str| piece.repeat(999 / piece.len());
    let pieces = [
        "(", "[", "{", "!", "-", "a?", "1+", "data.", "data[", "!(", "true||", "true&&", "a?b:", "'", "\\",
        "size(",
    ];
    let texts: Vec<String> = pieces
        .iter()
        .flat_map(|piece| [repeat(piece), format!("{}1", repeat(piece)), format!("1=={}1", repeat(piece))])
        .chain([
            format!("(((((1{}) == 1) == 1) == 1) == 1)", "+1".repeat(42)),
            format!("{}1{} == 1", "(".repeat(6), ")".repeat(6)),
            format!("data{} == 1", ".a".repeat(47)),
            format!("1{} == 1", "+1".repeat(47)),
            format!("data{} == 1", "[0]".repeat(47)),
            format!("true{}", "?true:true".repeat(6)),
            "x".repeat(1001),
        ])
        .collect();
    // As small as the default stack of a thread.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            if let Ok(guard) = read(&text) {
                let none = Map::new();
                let counted = BTreeMap::new();
                let variables = variables(&counted, &none);
                let _ = guard.holds(&counters(), variables);
            }
        }
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn values_of_another_type_are_refused() {
    for (text, expected) in [
        ("counters.tries == 'x'", "15: `==` stands between a number and a text: it cannot hold"),
        ("device.name > 3", "12: `>` stands between a text and a number: it cannot hold"),
        ("counters.tries != null", "15: `!=` stands between a number and nothing: it cannot hold"),
        ("device.images < 3", "6: `<` takes a number or a text, and this is a list"),
        (
            "true < false",
            "0: `<` takes a number or a text, and this is a truth value\n7: `<` takes a number or a text, and this is a truth value",
        ),
        ("'x' in device.name", "13: `in` takes a list or a mapping, and this is a text"),
        ("1 in counters.tries", "13: `in` takes a list or a mapping, and this is a number"),
        (
            "data.x || (data.y && counters.tries)",
            "29: a condition is true or false, and this is a number; compare it with something",
        ),
        ("!device.name", "7: a condition is true or false, and this is a text; compare it with something"),
        (
            "(device.name ? 1 : 2) == 1",
            "7: a condition is true or false, and this is a text; compare it with something",
        ),
        ("data.n - 'x' == 1", "9: `-` takes a number, and this is a text"),
        ("'x' + 1 == data.n", "4: `+` stands between a text and a number: it cannot hold"),
        ("data.n + 'x' > 3", "13: `>` stands between a text and a number: it cannot hold"),
        ("counters.tries.more == 1", "14: a number has no `more`"),
        ("device.images['x'] == 1", "14: a list's index takes a number, and this is a text"),
        ("size(counters.tries) == 1", "13: `size` takes a text or a list or a mapping, and this is a number"),
        ("size() == 1", "4: write it like `size(x)`"),
        ("device.name.startsWith(3)", "23: `startsWith` takes a text, and this is a number"),
        ("size(data.list) == '3'", "16: `==` stands between a number and a text: it cannot hold"),
        ("counters.tries.exists(x, x)", "8: a macro takes a list or a mapping, and this is a number"),
        (
            "data.l.exists(x, x > 1) == 3",
            "24: `==` stands between a truth value and a number: it cannot hold",
        ),
        (
            "data.l.all(x, 'x')",
            "14: a condition is true or false, and this is a text; compare it with something",
        ),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
    for text in [
        "data.n == null",
        "device['name'] == 'b1'",
        "data['n'] > counters['tries']",
        "'a' + 'b' == data.x",
        "data.l.exists(counters, counters.x == 'a')",
        "(data.x ? 1 : 'a') == 1",
        "data.l.exists_one(x, x == 1)",
        "1.5 < counters.tries",
        "[1, 2] + data.l == data.l",
    ] {
        assert!(read(text).is_ok(), "{text}: {}", fault(text));
    }
}

#[test]
fn a_condition_holds_only_in_its_ranges_and_fails_only_in_the_others() {
    let within = |ranges: &super::CounterRanges, tries: i64| {
        let exact = read(&format!("counters.tries == {tries}")).unwrap().ranges();
        !exact.intersect(ranges).is_impossible()
    };
    let exact = [
        "counters.tries < 3",
        "3 >= counters.tries",
        "counters['tries'] > 1 && counters.tries <= 4",
        "counters.tries == 2",
        "counters.tries == 0",
        "counters.tries < 2 || counters.tries < 4",
        "!(counters.tries < 2)",
        "!(counters.tries < 2 || !(counters.tries < 5))",
        "true",
        "!true",
    ];
    let rough = [
        "counters.tries != 2",
        "counters.tries < 1 || counters.tries > 3",
        "counters.tries < 3 && data.missing == 1",
        "data.missing == 1 || counters.tries > 3",
        "!(data.missing == 1 && counters.tries > 3)",
        "!(counters.tries > 3 || data.missing == 1)",
        "counters.tries < 3 ? true : data.missing",
        "counters.tries < size(data)",
    ];
    for (text, is_exact) in
        exact.iter().map(|text| (text, true)).chain(rough.iter().map(|text| (text, false)))
    {
        let guard = read(text).unwrap();
        for tries in 0..7 {
            let counted = [(CounterName::new("tries").unwrap(), tries)].into_iter().collect();
            let none = Map::new();
            let variables = variables(&counted, &none);
            let holds = guard.holds(&counters(), variables);
            let (may_hold, may_fail) =
                (within(&guard.ranges(), tries), within(&guard.ranges_otherwise(), tries));
            assert!(if holds { may_hold } else { may_fail }, "{text} at {tries}");
            assert!(!(is_exact || guard.is_ranges_only()) || may_hold == holds, "{text} at {tries}");
        }
    }
}

/// The answer of the model `m` about the argument `v`.
fn says(answer: Prediction) -> ModelAnswers {
    let mut predicted = ModelAnswers::default();
    predicted.insert(ModelQuestion { model: "m".to_owned(), argument: "v".to_owned() }, answer);
    predicted
}

fn one(state: &str) -> ModelAnswers {
    says(Prediction::of(&json!([1, 2]), vec![state.to_owned()]))
}

#[test]
fn a_models_answer_is_a_text_or_one_for_each_row() {
    let args = object(json!({ "v": [1, 2], "bad": "failing" }));
    let holds = |text: &str, predicted: &ModelAnswers| holds_where(text, &args, predicted);
    for (text, expected) in [
        (r#"predict("m", args.v) == "failing""#, true),
        ("'failing' == predict('m', args['v'])", true),
        ("predict('m', args.v) == args.bad", true),
        ("predict('m', args.v) != 'failing'", false),
        ("predict('m', args.v) in ['worn', 'failing'] && counters.tries > 2", true),
        ("predict('m', args.v).startsWith('fail')", true),
        ("predict('m', args.v) == 'failing' ? counters.tries == 3 : true", true),
        ("['failing', 'worn'].exists(state, predict('m', args.v) == state)", true),
        ("size(predict('m', args.v)) == 7", true),
        // Another model, and another argument.
        ("predict('n', args.v) == 'failing'", false),
        ("predict('m', args.w) == 'failing'", false),
        ("predict('n', args.v) != 'failing'", false),
        ("predict('n', args.v) == 'failing' || predict('m', args.v) == 'failing'", true),
    ] {
        assert_eq!(holds(text, &one("failing")), expected, "{text}");
    }
    let single = says(Prediction::of(&json!([[1, 2]]), vec!["failing".to_owned()]));
    for (text, expected) in [
        ("'failing' in predict('m', args.v)", true),
        ("predict('m', args.v).all(state, state == 'failing')", true),
        ("predict('m', args.v) == ['failing']", true),
        ("size(predict('m', args.v)) == 1", true),
        ("predict('m', args.v) == 'failing'", false),
    ] {
        assert_eq!(holds(text, &single), expected, "one row: {text}");
    }
    let states = ["healthy", "failing", "healthy"].map(str::to_owned).to_vec();
    let rows = says(Prediction::of(&json!([[1], [2], [3]]), states));
    for (text, expected) in [
        ("predict('m', args.v) == 'failing'", false),
        ("predict('m', args.v).exists(state, state == 'failing')", true),
        ("predict('m', args.v).all(state, state == 'healthy')", false),
        ("'failing' in predict('m', args.v)", true),
        ("predict('m', args.v)[1] == 'failing'", true),
        ("size(predict('m', args.v)) == 3", true),
    ] {
        assert_eq!(holds(text, &rows), expected, "{text}");
    }
}

#[test]
fn a_condition_without_the_models_answer_does_not_hold() {
    let args = object(json!({ "v": [1, 2] }));
    for (text, expected) in [
        ("predict('m', args.v) == 'failing'", false),
        ("predict('m', args.v) != 'failing'", false),
        ("!(predict('m', args.v) == 'failing')", false),
        ("predict('m', args.v) == predict('m', args.v)", false),
        ("predict('m', args.v) == 'failing' || counters.tries == 3", true),
    ] {
        assert_eq!(holds_where(text, &args, &ModelAnswers::default()), expected, "{text}");
    }
}

#[test]
fn a_condition_knows_what_it_asks() {
    let guard =
        read("predict('m', args.v) == 'a' || predict(\"m\", args['v']) == predict('n', args.w)").unwrap();
    let asked: Vec<String> = guard.questions().iter().map(ModelQuestion::to_string).collect();
    assert_eq!(asked, [r#"predict("m", args.v)"#, r#"predict("n", args.w)"#]);
    assert!(read("counters.tries == 3").unwrap().questions().is_empty());
}

#[test]
fn questions_to_models_must_be_known_before_the_decision() {
    let example = r#"write it like `predict("health", args.values)`"#;
    let model = r#"the model is named by a text, such as `"health"`"#;
    let argument = "a model judges an argument of the event, such as `args.values`";
    for (text, offset, expected) in [
        ("predict() == 'a'", 7, example),
        ("predict('m') == 'a'", 7, example),
        ("predict('m', args.v, 1) == 'a'", 7, example),
        ("args.predict('m', args.v) == 'a'", 12, example),
        ("predict(args.m, args.v) == 'a'", 12, model),
        ("predict('', args.v) == 'a'", 8, model),
        ("predict('m' + 'n', args.v) == 'a'", 12, model),
        ("predict('m', data.v) == 'a'", 17, argument),
        ("predict('m', args) == 'a'", 13, argument),
        ("predict('m', args.v.w) == 'a'", 19, argument),
        ("predict('m', args.v[0]) == 'a'", 19, argument),
        ("predict('m', [args.v, args.w]) == 'a'", 13, argument),
        ("predict('m', args[data.x]) == 'a'", 17, argument),
        ("predict('m', has(args.v)) == 'a'", 16, argument),
        ("data.l.exists(args, predict('m', args.v) == 'a')", 37, argument),
    ] {
        assert_eq!(fault(text), format!("{offset}: {expected}"), "{text}");
    }
    assert_eq!(
        fault("predicted('m', args.v) == 'a'"),
        "9: unknown function `predicted`; did you mean `predict`?"
    );
    assert_eq!(
        fault_on(GuardEvaluation::Entry, "has(data.x) && predict('m', args.v) == 'a'"),
        "22: no model is asked in `always`; ask it in `on`, when an event comes"
    );
    assert_eq!(
        fault_on(GuardEvaluation::ActionEnd, "predict('m', args.v) == 'a'"),
        "7: no model is asked when an action ends; ask it when an event comes"
    );
}

#[test]
fn a_models_answer_has_a_type_of_its_own() {
    for (text, expected) in [
        (
            "predict('m', args.v)",
            "7: a condition is true or false, and this is a model's answer; compare it with something",
        ),
        (
            "predict('m', args.v) == 1",
            "21: `==` stands between a model's answer and a number: it cannot hold",
        ),
        (
            "predict('m', args.v) != true",
            "21: `!=` stands between a model's answer and a truth value: it cannot hold",
        ),
        ("predict('m', args.v) - 1 == 0", "7: `-` takes a number, and this is a model's answer"),
        ("predict('m', args.v).state == 'a'", "20: a model's answer has no `state`"),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}
