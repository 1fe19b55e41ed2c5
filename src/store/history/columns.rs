//! Entries as a statement takes them: an array for each column.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use sqlx::types::Json;

use super::entry::{NewEntry, Told};
use super::visits::visit_found;
use crate::machine::{Cause, Outcome, Predicted, Stimulus};
use crate::store::sparse::Sparse;

/// The columns that hold a stimulus.
#[derive(Default)]
struct Columns<'a> {
    kind: &'static str,
    event: Option<&'a str>,
    source: Option<Cow<'a, str>>,
    spoken_visit: Option<i64>,
    args: Option<Cow<'a, Map<String, Value>>>,
}

fn columns(told: &Told) -> Columns<'_> {
    let cause = match told {
        Told::Note(note) => return Columns { kind: "note", event: Some(note), ..Columns::default() },
        // It is read and never written; what is known of it would be lost.
        Told::Unreadable(_) => return Columns { kind: "unreadable", ..Columns::default() },
        Told::Stimulus(stimulus) => &stimulus.cause,
    };
    match cause {
        Cause::Created { links } => {
            let args = Map::from_iter([("links".to_owned(), json!(links))]);
            let args = (!links.is_empty()).then_some(Cow::Owned(args));
            Columns { kind: "created", args, ..Columns::default() }
        }
        Cause::Event { name, source, args, visit } => Columns {
            kind: "event",
            event: Some(name.as_str()),
            source: Some(source.text()),
            spoken_visit: visit.map(|visit| visit.0),
            args: (!args.is_empty()).then_some(Cow::Borrowed(args)),
        },
        Cause::Began { visit } => {
            Columns { kind: "began", spoken_visit: Some(visit.0), ..Columns::default() }
        }
        Cause::Suspend { visit } => {
            Columns { kind: "suspend", spoken_visit: Some(visit.0), ..Columns::default() }
        }
        Cause::Deadline { visit } => {
            Columns { kind: "deadline", spoken_visit: Some(visit.0), ..Columns::default() }
        }
        Cause::Force { expected, to, reason } => {
            let args = [("expected", expected.as_str()), ("to", to.as_str()), ("reason", reason)];
            let args = args.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
            Columns { kind: "force", args: Some(Cow::Owned(args)), ..Columns::default() }
        }
    }
}

/// Entries as a statement takes them: an array for each column but their time.
#[derive(Default)]
pub(in crate::store) struct Rows<'a> {
    pub(in crate::store) instances: Vec<i64>,
    pub(in crate::store) kinds: Vec<&'static str>,
    pub(in crate::store) events: Sparse<&'a str>,
    pub(in crate::store) sources: Sparse<Cow<'a, str>>,
    pub(in crate::store) senders: Sparse<&'a str>,
    pub(in crate::store) spoken_visits: Sparse<i64>,
    pub(in crate::store) args: Sparse<Json<Cow<'a, Map<String, Value>>>>,
    pub(in crate::store) facts: Sparse<Json<&'a Map<String, Value>>>,
    pub(in crate::store) outcomes: Sparse<&'static str>,
    pub(in crate::store) from_states: Vec<&'a str>,
    pub(in crate::store) to_states: Sparse<&'a str>,
    pub(in crate::store) visits: Vec<i64>,
    pub(in crate::store) reasons: Sparse<&'a str>,
    pub(in crate::store) evidence: Sparse<Json<&'a Map<String, Value>>>,
    pub(in crate::store) predicted: Sparse<Json<&'a Predicted>>,
}

impl<'a> Rows<'a> {
    /// Adds an entry.
    pub(in crate::store) fn push(&mut self, entry: &'a NewEntry) {
        let NewEntry { instance, at: _, told, sender, outcome, from, to, visit, reason, evidence } = entry;
        let Columns { kind, event, source, spoken_visit, args } = columns(told);
        let (facts, predicted) = match told {
            Told::Stimulus(Stimulus { cause: _, facts, predicted }) => {
                (Some(facts).filter(|facts| !facts.is_empty()), Some(predicted).filter(|all| !all.is_empty()))
            }
            Told::Note(_) | Told::Unreadable(_) => (None, None),
        };
        let outcome = match outcome {
            None => Some("noted"),
            Some(Outcome::Moved { .. }) => None,
            Some(Outcome::Stayed) => Some("stayed"),
            Some(Outcome::Ignored(_)) => Some("ignored"),
        };
        // NULL is what can be told from the rest; the migration says how.
        let is_clockwork = matches!(kind, "began" | "suspend" | "deadline");
        let found = visit_found(outcome.is_none(), *visit);
        let spoken_visit = spoken_visit.filter(|spoken| !is_clockwork || *spoken != found.0);
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
