//! The operations of the language: changes that `entry:` and `do:` make to the instance, in the transaction of the
//! transition.
//!
//! Each operation is a file of its own with its syntax, its effect and what the proofs need to know. To add one, add a
//! file and a line in the table below.

mod cleared_counters;
mod context;
mod names;
mod operation_kind;
mod table;
mod value;

pub(crate) use cleared_counters::ClearedCounters;
pub(crate) use context::OperationContext;
pub(crate) use names::OperationNames;
pub use operation_kind::{CounterEffect, DeclaredRaise};
pub use raise::Fence;
pub(crate) use raise::refusal;
pub use value::OperationValue;

use crate::fault::FaultCollector;
use crate::names::LinkName;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceNode};
use operation_kind::OperationKind;
use table::operations;

operations! {
    append: Append(AppendOperation),
    clear: Clear(ClearOperation),
    count: Count(CountOperation),
    link: Link(LinkOperation),
    raise: Raise(RaiseOperation),
    set: Set(SetOperation),
    unlink: Unlink(UnlinkOperation),
    unset: Unset(UnsetOperation),
}

impl Operation {
    /// Parses the operations of `entry:` or `do:`: one, or a list.
    pub(crate) fn parse_all(
        node: &SourceNode,
        names: OperationNames<'_>,
        faults: &mut FaultCollector,
    ) -> Vec<Self> {
        node.one_or_many().iter().filter_map(|element| Self::parse(element, names, faults)).collect()
    }

    fn parse(node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let fields = node.fields("an operation such as `{ clear: counters }`", KEYS, faults);
        let [(key, value)] = fields.entries() else {
            if matches!(node.content, SourceContent::Map(_)) {
                faults.add(node.at, Rule::Form, format!("an operation is one of: {}", KEYS.join(", ")));
            }
            return None;
        };
        Self::parse_one(&key.text, value, names, faults)
    }
}

#[cfg(test)]
mod tests {
    use super::KEYS;

    #[test]
    fn every_operation_is_in_the_page_for_authors() {
        let page = include_str!("../../../../docs/operations.md");
        for key in KEYS {
            assert!(page.contains(&format!("\n| `{key}: ")), "{key}");
        }
    }
}
