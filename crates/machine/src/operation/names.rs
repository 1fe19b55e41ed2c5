//! Names that operations may use.

use std::collections::BTreeMap;

use crate::fault::FaultCollector;
use crate::link::LinkDeclaration;
use crate::names::LinkName;
use crate::rule::Rule;
use crate::source::SourceNode;

/// The names of a definition that operations may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperationNames<'a> {
    /// The declared links.
    pub(crate) links: &'a BTreeMap<LinkName, LinkDeclaration>,
}

impl<'a> OperationNames<'a> {
    /// Finds the declared link named `text`, or adds a fault at `node`.
    pub(super) fn link(
        self,
        node: &SourceNode,
        text: &str,
        faults: &mut FaultCollector,
    ) -> Option<(&'a LinkName, &'a LinkDeclaration)> {
        let found = self.links.get_key_value(text);
        if found.is_none() {
            let known = self.links.keys().map(LinkName::as_str);
            faults.add_unknown(node.at, Rule::UnknownLink, "link", text, known);
        }
        found
    }
}
