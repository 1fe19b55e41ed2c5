//! Checks a definition's text, and builds the [`Definition`]. All faults are reported at once.
//!
//! First the text is parsed; its errors are reported alone, because proofs would be meaningless. Then the graph of
//! states is checked ([`proofs`]).

mod action_outcomes;
mod always_loops;
mod counters;
mod events;
mod groups;
mod hold;
mod known_names;
mod labels;
mod links;
mod positions;
mod proofs;
mod resources;
mod senders;
mod state;
mod transition;
mod written_operations;

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::{Definition, State, Transition};
use crate::fault::{FaultCollector, SourceFault, SourceFaults};
use crate::foreign_format::ForeignFormat;
use crate::guard::Guard;
use crate::names::{EventName, StateName};
use crate::parse_helpers::{required, required_name, valid_name};
use crate::prediction::ModelQuestion;
use crate::rule::Rule;
use crate::source::{self, SourceContent, SourceNode};
use crate::vocabulary::Vocabulary;
use known_names::KnownNames;
use positions::DefinitionPositions;
pub(crate) use proofs::{HoldWait, hold_extensions, hold_wait_cycles};

/// The result of a check.
#[derive(Debug)]
pub struct CheckReport {
    /// The definition, if there is no error.
    pub definition: Option<Definition>,
    /// The errors and warnings in text order: at most a hundred of each.
    pub faults: Vec<SourceFault>,
}

/// Checks a definition's text against every [`Rule`]; it may use the names in `vocabulary`.
#[must_use]
pub fn check(text: &str, vocabulary: &Vocabulary) -> CheckReport {
    check_into(FaultCollector::default(), text, vocabulary)
}

fn check_into(mut faults: FaultCollector, text: &str, vocabulary: &Vocabulary) -> CheckReport {
    let root = source::read(text, &mut faults);
    if let Some(format) = ForeignFormat::recognize(text, root.as_ref()) {
        // Other faults would only distract.
        return CheckReport {
            definition: None,
            faults: FaultCollector::of_foreign_file(format.to_string()).finish(),
        };
    }
    let definition = root.as_ref().and_then(|root| read(root, vocabulary, &mut faults));
    if let (Some(root), Some(definition), false) = (&root, &definition, faults.has_errors()) {
        proofs::prove(definition, &DefinitionPositions::new(root), &mut faults);
    }
    CheckReport { definition: definition.filter(|_| !faults.has_errors()), faults: faults.finish() }
}

/// Parses and checks a definition; it may use the names in `vocabulary`.
///
/// # Errors
///
/// [`SourceFaults`], with all errors and their positions.
pub fn load(text: &str, vocabulary: &Vocabulary) -> Result<Definition, SourceFaults> {
    let CheckReport { definition, faults } = check(text, vocabulary);
    definition.ok_or_else(|| SourceFaults(faults.into_iter().filter(SourceFault::is_error).collect()))
}

/// Parses a definition that was accepted before. Outdated settings of actions and labels do not disable it; their
/// faults are returned with it.
///
/// # Errors
///
/// [`SourceFaults`] for any other error.
pub fn load_stored(
    text: &str,
    vocabulary: &Vocabulary,
) -> Result<(Definition, Option<SourceFaults>), SourceFaults> {
    match load(text, vocabulary) {
        Ok(definition) => Ok((definition, None)),
        Err(faults) if faults.iter().all(|fault| matches!(fault.rule, Rule::Settings | Rule::Label)) => {
            let tolerant = FaultCollector::tolerating(&[Rule::Label]);
            match check_into(tolerant, text, &vocabulary.with_any_settings()).definition {
                Some(definition) => Ok((definition, Some(faults))),
                None => {
                    load(text, &vocabulary.with_any_settings()).map(|definition| (definition, Some(faults)))
                }
            }
        }
        Err(faults) => Err(faults),
    }
}

/// Parses a definition without proofs, for tests of decisions, which must work for any definition.
///
/// # Errors
///
/// [`SourceFaults`], with the errors of parsing.
#[cfg(any(test, feature = "testing"))]
pub fn load_unproved(text: &str, vocabulary: &Vocabulary) -> Result<Definition, SourceFaults> {
    let mut faults = FaultCollector::default();
    let root = source::read(text, &mut faults);
    let definition = root.and_then(|root| read(&root, vocabulary, &mut faults));
    let definition = definition.filter(|_| !faults.has_errors());
    definition.ok_or_else(|| SourceFaults(faults.finish()))
}

/// The maximum number of states. It bounds the time of the proofs, which also run on definitions that clients send.
const MAX_STATES: usize = 5000;
/// Builds the definition from parsed YAML.
fn read(root: &SourceNode, vocabulary: &Vocabulary, faults: &mut FaultCollector) -> Option<Definition> {
    let keys =
        ["machine", "initial", "renamed", "counters", "links", "resources", "events", "groups", "states"];
    let fields = root.fields("a machine definition", &keys, faults);
    if !matches!(root.content, SourceContent::Map(_) | SourceContent::Null) {
        return None;
    }
    let machine =
        required(root, fields, "machine", faults).and_then(|node| required_name(node, "a machine", faults));
    let states = required(root, fields, "states", faults);
    let initial = required(root, fields, "initial", faults);
    let states = states.map_or(&[][..], |node| node.entries("a mapping of states", faults));
    if states.is_empty() {
        // Without states every reference would be a fault.
        if let Some(node) = fields
            .get("states")
            .filter(|node| matches!(node.content, SourceContent::Map(_) | SourceContent::Null))
        {
            faults.add(node.at, Rule::Form, "a machine has at least one state");
        }
        return None;
    }

    if states.len() > MAX_STATES {
        let message = format!("{} states are too many: a machine has at most {MAX_STATES}", states.len());
        faults.add(root.at, Rule::Form, message);
        return None;
    }

    let links = fields.get("links").map(|node| links::declared(node, faults)).unwrap_or_default();
    let mut known = KnownNames::collect(states, fields.get("groups"), links, vocabulary);
    if let Some(node) = fields.get("resources") {
        known.resources = resources::declared(node, vocabulary, faults);
    }
    if let Some(node) = fields.get("events") {
        events::declare(node, &mut known, faults);
    }
    let initial = initial.and_then(|node| known.state(node, "state", faults));

    let mut checked = BTreeMap::new();
    for (key, node) in states {
        let state = state::check(key, node, &known, faults);
        if let Some(name) = valid_name(key.at, StateName::new(&key.text), faults) {
            checked.insert(name, state);
        }
    }
    if let Some(node) = fields.get("groups") {
        groups::write(node, &mut checked, &known, faults);
    }
    labels::refuse_equal(states, &checked, faults);
    hold::refuse_different(states, &checked, faults);
    always_loops::refuse(states, &checked, faults);
    let renamed = fields.get("renamed").map(|node| labels::renamed(node, &known, faults)).unwrap_or_default();
    let initial_counts =
        fields.get("counters").map(|node| counters::initial_counts(node, &known, faults)).unwrap_or_default();
    let KnownNames { events, counters, links, resources, .. } = known;
    Some(Definition {
        machine: machine?,
        initial: initial?,
        events,
        counters,
        initial_counts,
        links,
        resources,
        facts: vocabulary.facts().to_vec(),
        questions: questions(&checked),
        reads_facts_on_entry: checked.values().flat_map(|state| &state.always).any(Transition::reads_facts),
        states: checked,
        renamed,
    })
}

/// Returns the questions that guards ask models on each event, in any state.
fn questions(states: &BTreeMap<StateName, State>) -> BTreeMap<EventName, BTreeSet<ModelQuestion>> {
    let mut questions: BTreeMap<EventName, BTreeSet<ModelQuestion>> = BTreeMap::new();
    for (event, transitions) in states.values().flat_map(|state| &state.on) {
        let guards = transitions.iter().filter_map(|transition| transition.guard.as_ref());
        for question in guards.flat_map(Guard::questions) {
            questions.entry(event.clone()).or_default().insert(question.clone());
        }
    }
    questions
}

#[cfg(test)]
mod tests;
