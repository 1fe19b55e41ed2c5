//! Declarations of resources: `resources:`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::duration;
use crate::fault::FaultCollector;
use crate::names::{ResourceName, SelectorName};
use crate::parse_helpers::{about_text, required_name, valid_name};
use crate::resource::ResourceDeclaration;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceNode};
use crate::vocabulary::Vocabulary;

/// Parses the declared resources.
pub(super) fn declared(
    node: &SourceNode,
    vocabulary: &Vocabulary,
    faults: &mut FaultCollector,
) -> BTreeMap<ResourceName, ResourceDeclaration> {
    let mut resources = BTreeMap::new();
    for (key, node) in node.entries("a mapping from resources to their limits", faults) {
        let resource = valid_name(key.at, ResourceName::new(&key.text), faults);
        let declaration = declaration(node, vocabulary, faults);
        resources.extend(resource.map(|resource| (resource, declaration)));
    }
    resources
}

/// Parses a declaration: a capacity alone, or a mapping.
fn declaration(
    node: &SourceNode,
    vocabulary: &Vocabulary,
    faults: &mut FaultCollector,
) -> ResourceDeclaration {
    let mut declared = ResourceDeclaration {
        any: None,
        capacity: None,
        gap: Duration::ZERO,
        settle: Duration::ZERO,
        about: String::new(),
    };
    if matches!(node.content, SourceContent::Number(_)) {
        declared.capacity = capacity(node, faults);
        return declared;
    }
    let keys = ["any", "capacity", "gap", "settle", "about"];
    let fields = node.fields("a resource, or its capacity alone", &keys, faults);
    let mut span = |key| fields.get(key).and_then(|node| duration(node, faults)).unwrap_or_default();
    (declared.gap, declared.settle) = (span("gap"), span("settle"));
    declared.any = fields.get("any").and_then(|node| selector(node, vocabulary, faults));
    declared.capacity = match fields.get("capacity") {
        Some(node) => capacity(node, faults),
        // A choice among several resources is for exclusive use.
        None => fields.get("any").map(|_| 1),
    };
    declared.about = about_text(fields, faults);
    declared
}

fn capacity(node: &SourceNode, faults: &mut FaultCollector) -> Option<u32> {
    let capacity = match &node.content {
        SourceContent::Number(number) => {
            number.as_u64().and_then(|units| i32::try_from(units).ok()?.try_into().ok())
        }
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => None,
    };
    if capacity.is_none() {
        faults.add(node.at, Rule::Form, "the capacity of a resource is 0 to 2147483647 units");
    }
    capacity
}

fn selector(node: &SourceNode, vocabulary: &Vocabulary, faults: &mut FaultCollector) -> Option<SelectorName> {
    let selector: SelectorName = required_name(node, "a selector", faults)?;
    if vocabulary.selectors().contains(&selector) {
        return Some(selector);
    }
    let known = vocabulary.selectors().iter().map(SelectorName::as_str);
    faults.add_unknown(node.at, Rule::UnknownResource, "selector", selector.as_str(), known);
    None
}
