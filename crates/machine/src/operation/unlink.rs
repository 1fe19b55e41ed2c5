//! `unlink: NAME` or `unlink: [NAME, NAME]`: removes links.

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::OperationKind;
use crate::fault::FaultCollector;
use crate::names::LinkName;
use crate::source::SourceNode;

/// Removes links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlinkOperation(pub Vec<LinkName>);

impl OperationKind for UnlinkOperation {
    const KEY: &'static str = "unlink";

    fn parse(node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let link = |node: &SourceNode| {
            let text = node.text("the name of a link", faults)?;
            names.link(node, text, faults).map(|(link, _)| link.clone())
        };
        Some(Self(node.one_or_many().iter().filter_map(link).collect()))
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        for link in &self.0 {
            change.instance.links.remove(link);
        }
    }

    fn describe(&self) -> String {
        let links: Vec<&str> = self.0.iter().map(LinkName::as_str).collect();
        format!("unlink {}", links.join(", "))
    }
}
