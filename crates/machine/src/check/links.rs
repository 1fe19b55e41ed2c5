//! The links that instances may have: `links:`.

use std::collections::BTreeMap;

use crate::fault::FaultCollector;
use crate::link::LinkDeclaration;
use crate::names::LinkName;
use crate::parse_helpers::{about_text, required, required_name, valid_name};
use crate::source::{SourceContent, SourceNode};

/// The links that `node` declares.
pub(super) fn declared(
    node: &SourceNode,
    faults: &mut FaultCollector,
) -> BTreeMap<LinkName, LinkDeclaration> {
    let mut links = BTreeMap::new();
    for (key, node) in node.entries("a mapping from links to machines", faults) {
        let link = valid_name(key.at, LinkName::new(&key.text), faults);
        let (machine, about) = if matches!(node.content, SourceContent::Map(_)) {
            let fields = node.fields("a link", &["machine", "about"], faults);
            (required(node, fields, "machine", faults), about_text(fields, faults))
        } else {
            (Some(node), String::new())
        };
        let machine = machine.and_then(|node| required_name(node, "a machine", faults));
        if let Some((link, machine)) = link.zip(machine) {
            links.insert(link, LinkDeclaration { machine, about });
        }
    }
    links
}
