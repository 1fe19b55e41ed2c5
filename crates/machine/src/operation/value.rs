//! Values in operations: constants, or references that are evaluated when the operation is applied.

use std::fmt;

use serde_json::Value;

use crate::fault::FaultCollector;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceNode};

/// A value or a reference.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationValue {
    /// A constant from the definition.
    Value(Value),
    /// The event argument of this name (`$args.reason`); if it is missing, `set` removes the entry.
    Argument(String),
    /// The data entry of this name (`$data.failure`); if it is missing, `set` removes the entry.
    Datum(String),
    /// The instance's name (`$instance.name`).
    Name,
    /// The instance's visit (`$instance.visit`): in `entry:` the new visit, in `do:` the old one.
    Visit,
}

impl OperationValue {
    /// Parses a value or a reference.
    pub(crate) fn parse(node: &SourceNode, faults: &mut FaultCollector) -> Option<Self> {
        let SourceContent::Text(text) = &node.content else { return Some(Self::Value(node.to_json())) };
        let Some(reference) = text.strip_prefix('$') else {
            return Some(Self::Value(Value::String(text.clone())));
        };
        if reference.starts_with('$') {
            return Some(Self::Value(Value::String(reference.to_owned())));
        }
        match reference.split_once('.') {
            Some(("args", name)) if !name.is_empty() => Some(Self::Argument(name.to_owned())),
            Some(("data", name)) if !name.is_empty() => Some(Self::Datum(name.to_owned())),
            Some(("instance", "name")) => Some(Self::Name),
            Some(("instance", "visit")) => Some(Self::Visit),
            _ => {
                let message = format!(
                    "`{text}` is none of `$args.NAME`, `$data.NAME`, `$instance.name` and `$instance.visit`; \
                     `$${reference}` is the text itself"
                );
                faults.add(node.at, Rule::Form, message);
                None
            }
        }
    }
}

impl fmt::Display for OperationValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Argument(name) => write!(f, "$args.{name}"),
            Self::Datum(name) => write!(f, "$data.{name}"),
            Self::Name => f.write_str("$instance.name"),
            Self::Visit => f.write_str("$instance.visit"),
        }
    }
}
