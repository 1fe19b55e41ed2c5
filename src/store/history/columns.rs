//! Entries as parameters of a statement: one array for each column.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use sqlx::types::Json;

use super::entry::{HistoryContent, NewHistoryEntry};
use super::visits::visit_before;
use crate::machine::{Cause, ModelAnswers, Outcome, Stimulus};
use crate::store::sparse::SparseColumn;

/// The columns of a stimulus.
#[derive(Default)]
struct StimulusColumns<'a> {
    kind: &'static str,
    event: Option<&'a str>,
    source: Option<Cow<'a, str>>,
    spoken_visit: Option<i64>,
    args: Option<Cow<'a, Map<String, Value>>>,
}

fn stimulus_columns(content: &HistoryContent) -> StimulusColumns<'_> {
    let cause = match content {
        HistoryContent::Note(note) => {
            return StimulusColumns { kind: "note", event: Some(note), ..StimulusColumns::default() };
        }
        // Such an entry is only read, never written.
        HistoryContent::Unreadable(_) => {
            return StimulusColumns { kind: "unreadable", ..StimulusColumns::default() };
        }
        HistoryContent::Stimulus(stimulus) => &stimulus.cause,
    };
    match cause {
        Cause::Created { links } => {
            let args = Map::from_iter([("links".to_owned(), json!(links))]);
            let args = (!links.is_empty()).then_some(Cow::Owned(args));
            StimulusColumns { kind: "created", args, ..StimulusColumns::default() }
        }
        Cause::Event { name, source, args, visit } => StimulusColumns {
            kind: "event",
            event: Some(name.as_str()),
            source: Some(source.text()),
            spoken_visit: visit.map(|visit| visit.0),
            args: (!args.is_empty()).then_some(Cow::Borrowed(args)),
        },
        Cause::Began { visit } => {
            StimulusColumns { kind: "began", spoken_visit: Some(visit.0), ..StimulusColumns::default() }
        }
        Cause::Suspend { visit } => {
            StimulusColumns { kind: "suspend", spoken_visit: Some(visit.0), ..StimulusColumns::default() }
        }
        Cause::Retry { visit, action } => StimulusColumns {
            kind: "retry",
            event: Some(action.as_str()),
            spoken_visit: Some(visit.0),
            ..StimulusColumns::default()
        },
        Cause::Deadline { visit } => {
            StimulusColumns { kind: "deadline", spoken_visit: Some(visit.0), ..StimulusColumns::default() }
        }
        Cause::Force { expected, to, reason } => {
            let args = [("expected", expected.as_str()), ("to", to.as_str()), ("reason", reason)];
            let args = args.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
            StimulusColumns { kind: "force", args: Some(Cow::Owned(args)), ..StimulusColumns::default() }
        }
    }
}

/// Entries as parameters of a statement: one array for each column except the time.
#[derive(Default)]
pub(in crate::store) struct HistoryColumns<'a> {
    pub(in crate::store) instances: Vec<i64>,
    pub(in crate::store) kinds: Vec<&'static str>,
    pub(in crate::store) events: SparseColumn<&'a str>,
    pub(in crate::store) sources: SparseColumn<Cow<'a, str>>,
    pub(in crate::store) senders: SparseColumn<&'a str>,
    pub(in crate::store) spoken_visits: SparseColumn<i64>,
    pub(in crate::store) args: SparseColumn<Json<Cow<'a, Map<String, Value>>>>,
    pub(in crate::store) facts: SparseColumn<Json<&'a Map<String, Value>>>,
    pub(in crate::store) outcomes: SparseColumn<&'static str>,
    pub(in crate::store) from_states: Vec<&'a str>,
    pub(in crate::store) to_states: SparseColumn<&'a str>,
    pub(in crate::store) visits: Vec<i64>,
    pub(in crate::store) reasons: SparseColumn<&'a str>,
    pub(in crate::store) evidence: SparseColumn<Json<&'a Map<String, Value>>>,
    pub(in crate::store) predicted: SparseColumn<Json<&'a ModelAnswers>>,
}

impl<'a> HistoryColumns<'a> {
    /// Adds an entry.
    pub(in crate::store) fn push(&mut self, entry: &'a NewHistoryEntry) {
        let NewHistoryEntry { instance, at: _, content, sender, outcome, from, to, visit, reason, evidence } =
            entry;
        let StimulusColumns { kind, event, source, spoken_visit, args } = stimulus_columns(content);
        let (facts, predicted) = match content {
            HistoryContent::Stimulus(Stimulus { cause: _, facts, predicted }) => {
                (Some(facts).filter(|facts| !facts.is_empty()), Some(predicted).filter(|all| !all.is_empty()))
            }
            HistoryContent::Note(_) | HistoryContent::Unreadable(_) => (None, None),
        };
        let outcome = match outcome {
            None => Some("noted"),
            Some(Outcome::Moved { .. }) => None,
            Some(Outcome::Stayed) => Some("stayed"),
            Some(Outcome::Ignored(_)) => Some("ignored"),
        };
        // NULL stands for a visit that follows from the other columns: see the migration of history.
        let is_internal = matches!(kind, "began" | "suspend" | "retry" | "deadline");
        let before = visit_before(outcome.is_none(), *visit);
        let spoken_visit = spoken_visit.filter(|spoken| !is_internal || *spoken != before.0);
        self.instances.push(instance.0);
        self.kinds.push(kind);
        self.events.push(event);
        self.sources.push(source);
        self.senders.push(sender.as_deref());
        self.spoken_visits.push(spoken_visit);
        self.args.push(args.map(Json));
        self.facts.push(facts.map(Json));
        self.outcomes.push(outcome);
        self.from_states.push(from.as_str());
        self.to_states.push((to != from).then(|| to.as_str()));
        self.visits.push(visit.0);
        self.reasons.push(reason.as_deref());
        self.evidence.push(evidence.as_ref().map(Json));
        self.predicted.push(predicted.map(Json));
    }
}
