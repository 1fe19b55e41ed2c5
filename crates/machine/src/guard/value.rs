//! JSON as CEL sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use serde_json::{Number, Value as Json};

use super::super::names::CounterName;
use super::super::prediction::Prediction;

/// The counters `all`, with their values.
pub(super) fn counters(all: &BTreeSet<CounterName>, values: &BTreeMap<CounterName, i64>) -> Value {
    map(all.iter().map(|name| (name.as_str(), Value::Int(values.get(name).copied().unwrap_or(0)))))
}

/// An object.
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
        // Whole numbers are `int` whatever their sign, or else `data.n + 1` would have no overload; and however they are
        // written, or else a large one would be compared as the double next to it.
        Json::Number(number) => match whole(number) {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(elements) => Value::List(Arc::new(elements.iter().map(from_json).collect())),
        Json::Object(entries) => object(entries),
    }
}

/// A number that is whole, if `int` holds it: `3`, and `3.00` too.
fn whole(number: &Number) -> Option<i64> {
    let text = number.as_str();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|digit| digit == b'0') { whole.parse().ok() } else { None }
}

/// A model's answer.
pub(super) fn prediction(answer: &Prediction) -> Value {
    let text = |state: &String| Value::String(Arc::new(state.clone()));
    match answer {
        Prediction::One(state) => text(state),
        Prediction::Each(states) => Value::List(Arc::new(states.iter().map(text).collect())),
    }
}

/// Says whether `objects` have at most `most` values in all.
pub(super) fn at_most(most: usize, objects: [&serde_json::Map<String, Json>; 3]) -> bool {
    let mut left = most;
    objects.into_iter().all(|entries| entries.values().all(|value| fits(value, &mut left)))
}

fn fits(value: &Json, left: &mut usize) -> bool {
    if *left == 0 {
        return false;
    }
    *left -= 1;
    match value {
        Json::Array(elements) => elements.iter().all(|element| fits(element, left)),
        Json::Object(entries) => entries.values().all(|element| fits(element, left)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
    }
}
