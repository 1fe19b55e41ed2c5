//! `raise: { event: NAME, to: LINK, args: { … }, visit: linked }`: raises an event at the linked instance, which
//! decides on it in the same transaction.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::{OperationKind, DeclaredRaise};
use super::value::OperationValue;
use crate::fault::FaultCollector;
use crate::visit::Visit;
use crate::names::{EventName, LinkName, MachineName};
use crate::parse_helpers::{required_name, required, valid_name};
use crate::rule::Rule;
use crate::source::{SourceKey, SourceNode};
use crate::raised_event::RaisedEvent;

/// Raises an event. If the link is not set, nothing is raised.
#[derive(Debug, Clone, PartialEq)]
pub struct RaiseOperation {
    /// The event.
    pub event: EventName,
    /// The link to the receiving instance.
    pub to: LinkName,
    /// The machine of the receiving instance.
    pub machine: MachineName,
    /// The arguments; those that refer to something missing are omitted.
    pub args: BTreeMap<String, OperationValue>,
    /// The visit that the event refers to.
    pub fence: Fence,
}

/// The visit of the linked instance that an event refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// Its visit at the time of linking. If that is unknown, the event is refused.
    Linked,
    /// Any visit.
    Any,
}

/// Returns the event that reports the refusal of `event` to the instance that raised it.
pub(crate) fn refusal(event: &EventName) -> Option<EventName> {
    EventName::new(&format!("{event}-refused")).ok()
}

impl OperationKind for RaiseOperation {
    const KEY: &'static str = "raise";

    fn parse(node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let fields =
            node.fields("an event such as `{ event: …, to: LINK }`", &["event", "to", "args", "visit"], faults);
        let event = required(node, fields, "event", faults);
        let event: Option<EventName> = event.and_then(|node| {
            let event = required_name(node, "an event", faults)?;
            valid_name(node.at, EventName::new(&format!("{event}-refused")), faults)?;
            Some(event)
        });
        let to = required(node, fields, "to", faults).and_then(|node| {
            let text = node.text("the name of a link", faults)?;
            names.link(node, text, faults)
        });
        let args = fields.get("args").map_or(&[][..], |node| node.entries("a mapping of arguments", faults));
        let arg = |(key, node): &(SourceKey, SourceNode)| Some((key.text.clone(), OperationValue::parse(node, faults)?));
        let args = args.iter().filter_map(arg).collect();
        let fence = fields.get("visit").map_or(Some(Fence::Any), |node| fence(node, faults));
        let (to, declared) = to?;
        Some(Self { event: event?, to: to.clone(), machine: declared.machine.clone(), args, fence: fence? })
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        let Some(link) = change.instance.links.get(&self.to) else { return };
        let visit = match self.fence {
            Fence::Any => None,
            // No instance is ever in visit 0.
            Fence::Linked => Some(link.visit.unwrap_or(Visit(0))),
        };
        let to = link.to.clone();
        let args = self.args.iter().filter_map(|(key, setting)| Some((key.clone(), change.value(setting)?)));
        let args = args.collect();
        change.raised.push(RaisedEvent { to, event: self.event.clone(), args, visit });
    }

    fn describe(&self) -> String {
        let mut text = format!("raise {} to {}", self.event, self.to);
        for (index, (key, setting)) in self.args.iter().enumerate() {
            let joint = if index == 0 { " with" } else { "," };
            _ = write!(text, "{joint} {key} = {setting}");
        }
        if self.fence == Fence::Linked {
            text += " in its linked visit";
        }
        text
    }

    fn declared_raise(&self) -> Option<DeclaredRaise<'_>> {
        let args = self.args.keys().map(String::as_str).collect();
        Some(DeclaredRaise { event: &self.event, to: &self.to, machine: &self.machine, args })
    }
}

fn fence(node: &SourceNode, faults: &mut FaultCollector) -> Option<Fence> {
    match node.text("`linked` or `any`", faults)? {
        "linked" => Some(Fence::Linked),
        "any" => Some(Fence::Any),
        other => {
            faults.add_unknown(node.at, Rule::Form, "visit", other, ["any", "linked"]);
            None
        }
    }
}
