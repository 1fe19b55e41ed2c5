//! The resources that a state holds: `hold:`.

use std::collections::BTreeMap;

use crate::fault::Collector;
use crate::names::ResourceName;
use crate::reading::valid_name;
use crate::rule::Rule;
use crate::source::{Content, Node};

/// The units of each resource that `node` says.
pub(super) fn check(node: &Node, faults: &mut Collector) -> BTreeMap<ResourceName, u32> {
    let mut units = BTreeMap::new();
    for (key, node) in node.entries("a mapping from resources to how many units are held", faults) {
        let resource = valid_name(key.at, ResourceName::new(&key.text), faults);
        let count = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|count| u32::try_from(count).ok()),
            Content::Null | Content::Bool(_) | Content::Text(_) | Content::List(_) | Content::Map(_) => None,
        };
        match (resource, count) {
            (Some(resource), Some(count @ 1..)) => _ = units.insert(resource, count),
            (_, Some(1..)) => {}
            (_, Some(0) | None) => {
                faults.add(node.at, Rule::Form, "a state holds 1 to 4294967295 units of a resource");
            }
        }
    }
    units
}
