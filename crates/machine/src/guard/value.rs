//! Conversion of JSON to CEL values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use serde_json::{Number, Value as Json};

use super::super::names::CounterName;
use super::super::prediction::Prediction;

/// Converts all counters.
pub(super) fn counters(all: &BTreeSet<CounterName>, values: &BTreeMap<CounterName, i64>) -> Value {
    map(all.iter().map(|name| (name.as_str(), Value::Int(values.get(name).copied().unwrap_or(0)))))
}

/// Converts an object.
pub(super) fn object(entries: &serde_json::Map<String, Json>) -> Value {
    map(entries.iter().map(|(key, value)| (key.as_str(), from_json(value))))
}

fn map<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let entries = entries.map(|(key, value)| (Key::String(Arc::new(key.to_owned())), value));
    Value::Map(Map { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        // Integers become `int` regardless of sign, because `data.n + 1` has no overload for `uint`. `3.0`
        // becomes `int` too, because a large one would be compared as a rounded double.
        Json::Number(number) => match whole(number) {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(elements) => Value::List(Arc::new(elements.iter().map(from_json).collect())),
        Json::Object(entries) => object(entries),
    }
}

/// Returns the integer value of a number, if it is one that fits: `3`, and `3.00` too.
fn whole(number: &Number) -> Option<i64> {
    let text = number.as_str();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|digit| digit == b'0') { whole.parse().ok() } else { None }
}

/// Converts a model's answer.
pub(super) fn prediction(answer: &Prediction) -> Value {
    let text = |state: &String| Value::String(Arc::new(state.clone()));
    match answer {
        Prediction::One(state) => text(state),
        Prediction::Each(states) => Value::List(Arc::new(states.iter().map(text).collect())),
    }
}

/// Whether `objects` have at most `max_values` values in all.
pub(super) fn has_at_most(max_values: usize, objects: [&serde_json::Map<String, Json>; 3]) -> bool {
    let mut remaining = max_values;
    objects.into_iter().all(|entries| entries.values().all(|value| fits(value, &mut remaining)))
}

fn fits(value: &Json, remaining: &mut usize) -> bool {
    if *remaining == 0 {
        return false;
    }
    *remaining -= 1;
    match value {
        Json::Array(elements) => elements.iter().all(|element| fits(element, remaining)),
        Json::Object(entries) => entries.values().all(|element| fits(element, remaining)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
    }
}
