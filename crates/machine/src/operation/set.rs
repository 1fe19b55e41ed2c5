//! `set: { NAME: VALUE }`: sets entries of the instance's data.

use std::collections::BTreeMap;

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::OperationKind;
use super::value::OperationValue;
use crate::fault::FaultCollector;
use crate::source::{SourceKey, SourceNode};

/// Sets data entries.
#[derive(Debug, Clone, PartialEq)]
pub struct SetOperation(pub BTreeMap<String, OperationValue>);

impl OperationKind for SetOperation {
    const KEY: &'static str = "set";

    fn parse(node: &SourceNode, _: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let entries = node.entries("a mapping from data entries to values", faults);
        let setting = |(key, node): &(SourceKey, SourceNode)| Some((key.text.clone(), OperationValue::parse(node, faults)?));
        Some(Self(entries.iter().filter_map(setting).collect()))
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        // All values are read before any is written, so that two entries can be swapped.
        let values: Vec<_> = self.0.iter().map(|(key, setting)| (key, change.value(setting))).collect();
        for (key, value) in values {
            match value {
                Some(value) => _ = change.instance.data.insert(key.clone(), value),
                None => _ = change.instance.data.remove(key),
            }
        }
    }

    fn describe(&self) -> String {
        let settings: Vec<String> = self.0.iter().map(|(key, setting)| format!("{key} = {setting}")).collect();
        format!("set {}", settings.join(", "))
    }
}
