//! What is read alike in all parts of a definition's text.

use crate::fault::{Collector, Position};
use crate::names::BadName;
use crate::rule::Rule;
use crate::source::{Content, Fields, Node};

/// The value of `key`, which must be there.
pub(crate) fn required<'a>(
    parent: &Node,
    fields: Fields<'a>,
    key: &str,
    faults: &mut Collector,
) -> Option<&'a Node> {
    let node = fields.get(key);
    if node.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    node
}

/// The name, or a note of why it is none.
pub(crate) fn valid_name<T>(at: Position, name: Result<T, BadName>, faults: &mut Collector) -> Option<T> {
    name.inspect_err(|bad| faults.add(at, Rule::Name, bad.to_string())).ok()
}

/// The name that `node` is.
pub(crate) fn name<T: TryFrom<String, Error = BadName>>(
    node: &Node,
    kind: &str,
    faults: &mut Collector,
) -> Option<T> {
    let text = node.text(&format!("the name of {kind}"), faults)?;
    valid_name(node.at, T::try_from(text.to_owned()), faults)
}

/// The line for people, or nothing.
pub(crate) fn about(fields: Fields<'_>, faults: &mut Collector) -> String {
    let text = fields.get("about").and_then(|node| node.text("a line for people", faults));
    text.unwrap_or_default().trim().to_owned()
}

/// Whether `node` says yes: `true` is all that can be said.
pub(crate) fn yes(node: &Node, faults: &mut Collector) -> bool {
    if matches!(node.content, Content::Bool(true)) {
        return true;
    }
    faults.add(node.at, Rule::Form, format!("expected `true`, found {}; leave it out for no", node.kind()));
    false
}
