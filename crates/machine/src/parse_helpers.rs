//! Parsing shared by all parts of a definition.

use crate::fault::{FaultCollector, SourcePosition};
use crate::names::BadName;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceFields, SourceNode};

/// Returns the value of the required `key`.
pub(crate) fn required<'a>(
    parent: &SourceNode,
    fields: SourceFields<'a>,
    key: &str,
    faults: &mut FaultCollector,
) -> Option<&'a SourceNode> {
    let node = fields.get(key);
    if node.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    node
}

/// Returns the name, or adds a fault.
pub(crate) fn valid_name<T>(
    at: SourcePosition,
    name: Result<T, BadName>,
    faults: &mut FaultCollector,
) -> Option<T> {
    name.inspect_err(|bad| faults.add(at, Rule::Name, bad.to_string())).ok()
}

/// Parses a name.
pub(crate) fn required_name<T: TryFrom<String, Error = BadName>>(
    node: &SourceNode,
    kind: &str,
    faults: &mut FaultCollector,
) -> Option<T> {
    let text = node.text(&format!("the name of {kind}"), faults)?;
    valid_name(node.at, T::try_from(text.to_owned()), faults)
}

/// Returns the description (`about`), or an empty text.
pub(crate) fn about_text(fields: SourceFields<'_>, faults: &mut FaultCollector) -> String {
    let text = fields.get("about").and_then(|node| node.text("a description of one line", faults));
    text.unwrap_or_default().trim().to_owned()
}

/// Whether `node` is `true`, the only accepted value.
pub(crate) fn is_true(node: &SourceNode, faults: &mut FaultCollector) -> bool {
    if matches!(node.content, SourceContent::Bool(true)) {
        return true;
    }
    faults.add(node.at, Rule::Form, format!("expected `true`, found {}; leave it out for no", node.kind()));
    false
}
