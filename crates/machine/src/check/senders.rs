//! Senders of events: `from:`.

use super::super::fault::FaultCollector;
use super::super::rule::Rule;
use super::super::sender::{OPERATOR_SENDER, Sender, SenderName};
use super::super::source::{SourceContent, SourceNode};
use super::super::vocabulary::Vocabulary;
use crate::parse_helpers::{required, required_name};

/// Parses a sender.
pub(super) fn check(
    node: &SourceNode,
    vocabulary: &Vocabulary,
    faults: &mut FaultCollector,
) -> Option<Sender> {
    if matches!(node.content, SourceContent::Map(_)) {
        let fields = node.fields("a sender", &["machine"], faults);
        let machine = required(node, fields, "machine", faults)?;
        return required_name(machine, "a machine", faults).map(Sender::Machine);
    }
    let text = node.text(&format!("{} or `{{ machine: … }}`", choice(vocabulary, "`", "`")), faults)?;
    if text == OPERATOR_SENDER {
        return Some(Sender::Operator);
    }
    let registered = vocabulary.senders().iter().find(|sender| sender.as_str() == text);
    if registered.is_none() {
        faults.add_unknown(node.at, Rule::Form, "sender", text, names(vocabulary));
    }
    registered.cloned().map(Sender::Face)
}

/// Lists the known senders, each between `before` and `after`.
pub(super) fn choice(vocabulary: &Vocabulary, before: &str, after: &str) -> String {
    let all: Vec<String> = names(vocabulary).map(|name| format!("{before}{name}{after}")).collect();
    all.join(" or ")
}

fn names(vocabulary: &Vocabulary) -> impl Iterator<Item = &str> {
    vocabulary.senders().iter().map(SenderName::as_str).chain([OPERATOR_SENDER])
}
