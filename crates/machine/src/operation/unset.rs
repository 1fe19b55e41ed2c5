//! `unset: NAME` or `unset: [NAME, NAME]`: removes entries of the instance's data.

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::OperationKind;
use crate::fault::FaultCollector;
use crate::source::SourceNode;

/// Removes data entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsetOperation(pub Vec<String>);

impl OperationKind for UnsetOperation {
    const KEY: &'static str = "unset";

    fn parse(node: &SourceNode, _: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let keys = node.one_or_many().iter();
        Some(Self(keys.filter_map(|key| key.text("what to unset", faults).map(str::to_owned)).collect()))
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        for key in &self.0 {
            change.instance.data.remove(key);
        }
    }

    fn describe(&self) -> String {
        format!("unset {}", self.0.join(", "))
    }
}
