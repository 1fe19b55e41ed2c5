//! The context in which operations change an instance.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::value::OperationValue;
use crate::instance::Instance;
use crate::names::CounterName;
use crate::raised_event::RaisedEvent;

/// An instance that is being changed, and what operations may read.
pub(crate) struct OperationContext<'a> {
    /// The instance.
    pub(crate) instance: &'a mut Instance,
    /// The initial values of counters that do not start at zero.
    pub(crate) initial_counts: &'a BTreeMap<CounterName, i64>,
    /// The arguments of the event, or none.
    pub(crate) args: &'a Map<String, Value>,
    /// The events raised so far.
    pub(crate) raised: &'a mut Vec<RaisedEvent>,
}

impl OperationContext<'_> {
    /// Adds one to a counter, and returns the new count.
    pub(crate) fn count(&mut self, counter: &CounterName) -> i64 {
        let initial = self.initial_counts.get(counter).copied().unwrap_or(0);
        let count = self.instance.counters.entry(counter.clone()).or_insert(initial);
        *count = count.saturating_add(1);
        *count
    }

    /// Evaluates a value; `None` if it refers to something missing.
    pub(crate) fn value(&self, setting: &OperationValue) -> Option<Value> {
        match setting {
            OperationValue::Value(value) => Some(value.clone()),
            OperationValue::Argument(name) => self.args.get(name).cloned(),
            OperationValue::Datum(name) => self.instance.data.get(name).cloned(),
            OperationValue::Name => Some(Value::from(self.instance.name.as_str())),
            OperationValue::Visit => Some(Value::from(self.instance.visit.0)),
        }
    }
}
