//! `link: { NAME: $args.x }` and `link: { NAME: { name: $args.x, visit: $args.y } }`: links the instance to others.

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::OperationKind;
use super::value::OperationValue;
use crate::fault::FaultCollector;
use crate::visit::Visit;
use crate::link::{InstanceAddress, Link};
use crate::names::{LinkName, MachineName, is_instance_name};
use crate::parse_helpers::required;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceKey, SourceNode};

/// Sets links.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkOperation(pub Vec<LinkAssignment>);

/// A link to set.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkAssignment {
    /// The link.
    pub link: LinkName,
    /// The machine of the linked instance.
    pub machine: MachineName,
    /// The name of the linked instance. If it is not a text, the link is removed.
    pub name: OperationValue,
    /// The linked instance's visit, if given.
    pub visit: Option<OperationValue>,
}

impl OperationKind for LinkOperation {
    const KEY: &'static str = "link";

    fn parse(node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let entries = node.entries("a mapping from links to instances", faults);
        Some(Self(entries.iter().filter_map(|entry| parse(entry, names, faults)).collect()))
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        for LinkAssignment { link, machine, name, visit } in &self.0 {
            let name = change.value(name).and_then(|name| Some(name.as_str()?.to_owned()));
            let visit = visit.as_ref().and_then(|visit| change.value(visit)?.as_i64()).map(Visit);
            let links = &mut change.instance.links;
            match name {
                Some(name) => {
                    let to = InstanceAddress { machine: machine.clone(), name };
                    links.insert(link.clone(), Link { to, visit });
                }
                None => _ = links.remove(link),
            }
        }
    }

    fn links_made(&self) -> Vec<&LinkName> {
        self.0.iter().map(|new| &new.link).collect()
    }

    fn describe(&self) -> String {
        let links = self.0.iter().map(|LinkAssignment { link, name, visit, .. }| {
            let visit = visit.as_ref().map(|visit| format!(" in visit {visit}")).unwrap_or_default();
            format!("{link} = {name}{visit}")
        });
        format!("link {}", links.collect::<Vec<_>>().join(", "))
    }
}

fn parse((key, node): &(SourceKey, SourceNode), names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<LinkAssignment> {
    let Some((link, declared)) = names.links.get_key_value(key.text.as_str()) else {
        let known = names.links.keys().map(LinkName::as_str);
        faults.add_unknown(key.at, Rule::UnknownLink, "link", &key.text, known);
        return None;
    };
    let (name, visit) = if matches!(node.content, SourceContent::Map(_)) {
        let fields = node.fields("the name of an instance, or `{ name, visit }`", &["name", "visit"], faults);
        (required(node, fields, "name", faults)?, fields.get("visit"))
    } else {
        (node, None)
    };
    let visit = match visit {
        Some(visit) => Some(OperationValue::parse(visit, faults)?),
        None => None,
    };
    let (link, machine) = (link.clone(), declared.machine.clone());
    Some(LinkAssignment { link, machine, name: instance(name, faults)?, visit })
}

/// Parses the name of an instance, or a reference to it.
fn instance(node: &SourceNode, faults: &mut FaultCollector) -> Option<OperationValue> {
    let name = OperationValue::parse(node, faults)?;
    if let OperationValue::Value(value) = &name
        && !value.as_str().is_some_and(is_instance_name)
    {
        let message = format!(
            "{value} is not the name of an instance: a text of 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or \
             digit first and after each `.`"
        );
        faults.add(node.at, Rule::Form, message);
        return None;
    }
    Some(name)
}
