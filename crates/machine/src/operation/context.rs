//! An instance while operations change it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::value::OperationValue;
use crate::instance::Instance;
use crate::names::CounterName;
use crate::raised_event::RaisedEvent;

/// An instance that is being changed, and what the changes may look at.
pub(crate) struct OperationContext<'a> {
    /// The instance.
    pub(crate) instance: &'a mut Instance,
    /// Where counters begin that do not begin at zero.
    pub(crate) beginnings: &'a BTreeMap<CounterName, i64>,
    /// The arguments of the event, or nothing.
    pub(crate) args: &'a Map<String, Value>,
    /// What is raised.
    pub(crate) raised: &'a mut Vec<RaisedEvent>,
}

impl OperationContext<'_> {
    /// Adds one to a counter, and says what it is then.
    pub(crate) fn count(&mut self, counter: &CounterName) -> i64 {
        let beginning = self.beginnings.get(counter).copied().unwrap_or(0);
        let count = self.instance.counters.entry(counter.clone()).or_insert(beginning);
        *count = count.saturating_add(1);
        *count
    }

    /// What a setting is now; nothing where what it refers to is not there.
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
