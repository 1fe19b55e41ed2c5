//! Changes to the instance: `entry:` and `do:`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::definition::{Operation, Setting};
use super::super::fault::Collector;
use super::super::rule::Rule;
use super::super::source::{Content, Key, Node};

const OPERATIONS: [&str; 4] = ["clear", "count", "set", "unset"];

/// Checks a list of operations.
pub(super) fn check_all(node: &Node, faults: &mut Collector) -> Vec<Operation> {
    node.one_or_many().iter().filter_map(|element| check(element, faults)).collect()
}

fn check(node: &Node, faults: &mut Collector) -> Option<Operation> {
    let fields = node.fields("an operation such as `{ clear: counters }`", &OPERATIONS, faults);
    let [(key, value)] = fields.entries() else {
        if matches!(node.content, Content::Map(_)) {
            faults.add(node.at, Rule::Form, format!("an operation is one of: {}", OPERATIONS.join(", ")));
        }
        return None;
    };
    match (key.text.as_str(), &value.content) {
        ("clear", Content::Text(all)) if all == "counters" => Some(Operation::ClearCounters),
        ("clear", _) => super::name(value, "a counter, or `counters` for all", faults).map(Operation::Clear),
        ("count", Content::Text(all)) if all == "counters" => {
            faults.add(value.at, Rule::Form, "`counters` means all of them: name the one to count");
            None
        }
        ("count", _) => super::name(value, "a counter", faults).map(Operation::Count),
        ("set", _) => {
            let entries = value.entries("a mapping of what to set", faults);
            let setting = |(key, node): &(Key, Node)| Some((key.text.clone(), setting(node, faults)?));
            Some(Operation::Set(entries.iter().filter_map(setting).collect::<BTreeMap<_, _>>()))
        }
        ("unset", _) => {
            let keys = value.one_or_many().iter();
            let keys = keys.filter_map(|key| key.text("what to unset", faults).map(str::to_owned));
            Some(Operation::Unset(keys.collect()))
        }
        _ => None,
    }
}

/// A value, or where to take it from.
fn setting(node: &Node, faults: &mut Collector) -> Option<Setting> {
    let Content::Text(text) = &node.content else { return Some(Setting::Value(node.to_json())) };
    let Some(reference) = text.strip_prefix('$') else {
        return Some(Setting::Value(Value::String(text.clone())));
    };
    if reference.starts_with('$') {
        return Some(Setting::Value(Value::String(reference.to_owned())));
    }
    match reference.split_once('.') {
        Some(("args", name)) if !name.is_empty() => Some(Setting::Argument(name.to_owned())),
        Some(("data", name)) if !name.is_empty() => Some(Setting::Datum(name.to_owned())),
        _ => {
            let message = format!(
                "`{text}` is neither `$args.NAME` nor `$data.NAME`; `$${reference}` is the text itself"
            );
            faults.add(node.at, Rule::Form, message);
            None
        }
    }
}
