use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::check::FUNCTIONS;
use super::{Guard, Variables};
use crate::machine::CounterName;

fn counters() -> BTreeSet<CounterName> {
    ["tries", "other"].iter().filter_map(|name| CounterName::new(name).ok()).collect()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(entries) = value else { panic!("not an object: {value}") };
    entries
}

fn holds_with(text: &str, args: &Map<String, Value>) -> bool {
    let guard = Guard::new(text, &counters()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    let variables = Variables {
        counters: &[(CounterName::new("tries").unwrap(), 3)].into_iter().collect(),
        data: &object(json!({ "image": "debian", "n": 5, "list": [1, 2, 3], "deep": { "a": true } })),
        args,
        device: &object(json!({ "name": "b1", "images": ["debian", "self-test"], "power": true })),
    };
    guard.holds(&counters(), variables)
}

fn holds(text: &str) -> bool {
    holds_with(text, &object(json!({ "image": "debian", "fault": "board" })))
}

fn fault(text: &str) -> String {
    let faults = Guard::new(text, &counters()).err().unwrap_or_else(|| panic!("accepted: {text}"));
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
fn what_cannot_be_evaluated_does_not_hold() {
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
fn faults_say_where_and_what_would_be_right() {
    for (text, expected) in [
        (
            "data.n ==",
            "9: this condition is not CEL: mismatched input '<EOF>'; write it like `args.fault == 'image' && counters.Booting < 3`",
        ),
        ("counter.tries > 1", "0: unknown variable `counter`; did you mean `counters`?"),
        ("x == 1", "0: unknown variable `x`; known: args, counters, data, device"),
        ("counters.trys > 1", "8: unknown counter `trys`; did you mean `tries`?"),
        ("1 > counters['trys']", "12: unknown counter `trys`; did you mean `tries`?"),
        ("device.image == 'x'", "6: unknown field of `device` `image`; did you mean `images`?"),
        ("siz(data.list) == 1", "3: unknown function `siz`; did you mean `size`?"),
        (
            "has(data)",
            "4: this condition is not CEL: invalid argument to has() macro; write it like `args.fault == 'image' && counters.Booting < 3`",
        ),
        ("1", "0: a condition is true or false, and this is a number; compare it with something"),
        (
            "counters.tries",
            "8: a condition is true or false, and this is a number; compare it with something",
        ),
        ("true && 'x'", "8: a condition is true or false, and this is a text; compare it with something"),
        ("data.n + 1", "7: a condition is true or false, and this is a sum; compare it with something"),
        ("device.images", "6: a condition is true or false, and this is a list; compare it with something"),
        (
            "size(data.list.map(x, x)) > 0",
            "18: `map` and `filter` have no place in a condition; say `exists` or `all`",
        ),
        ("data.l.exists(x, x.exists(y, y))", "25: a macro (`exists`, `all`) cannot stand inside another"),
        ("{'a': 1} == data", "0: a condition has no use for `{…}`"),
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
    for name in FUNCTIONS {
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
    // As small as the stacks that threads get by default.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            if let Ok(guard) = Guard::new(&text, &counters()) {
                let none = Map::new();
                let counted = std::collections::BTreeMap::new();
                let variables = Variables { counters: &counted, data: &none, args: &none, device: &none };
                let _ = guard.holds(&counters(), variables);
            }
        }
    });
    worker.unwrap().join().unwrap();
}
