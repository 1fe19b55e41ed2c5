//! A board as required by the lifecycle of `board.yaml`.
//!
//! Written independently of the kernel, in order to contradict it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::rows::{FinalInstance, StoredEntry};

/// Time limit of Hurried, in milliseconds.
const HURRIED_MS: i64 = 150;
/// Time limit of Clearing's action, in milliseconds.
const CLEARING_MS: i64 = 400;
/// How often Hurried times out before the board is released.
const HURRIES: i64 = 2;
/// The smallest number of hits that can be spent.
const MIN_SPENT: i64 = 3;

/// A board's lifecycle state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReferenceModel {
    pub(super) state: String,
    pub(super) visit: i64,
    counters: BTreeMap<String, i64>,
    /// The mark of the last hit.
    last: Option<String>,
    pub(super) due: Option<DateTime<Utc>>,
}

impl ReferenceModel {
    /// A new board.
    pub(super) fn new() -> Self {
        Self { state: "New".to_owned(), visit: 1, counters: BTreeMap::new(), last: None, due: None }
    }

    /// Applies the event of `row`; returns the outcome that it must have.
    pub(super) fn follow(&mut self, row: &StoredEntry) -> &'static str {
        let speaks_of_now = row.spoken_visit.is_none_or(|spoken| spoken == self.visit);
        match row.kind.as_str() {
            "note" => "noted",
            _ if !speaks_of_now => "ignored",
            "event" => self.event(row),
            "began" if self.state == "Clearing" && self.due.is_none() => {
                self.due = Some(row.at + TimeDelta::milliseconds(CLEARING_MS));
                "stayed"
            }
            "deadline" if self.due.is_some_and(|due| due <= row.at) => self.time_out(row),
            "force" if row.argument("expected") == Some(&self.state) => {
                let to = row.argument("to").unwrap_or_default().to_owned();
                self.enter(&to, row)
            }
            _ => "ignored",
        }
    }

    fn event(&mut self, row: &StoredEntry) -> &'static str {
        let event = row.event.as_deref().unwrap_or_default();
        let next = match self.state.as_str() {
            "New" | "West" => "North",
            "North" => "East",
            "East" => "South",
            "South" => "West",
            "Hurried" if event == "go" => "East",
            "Hurried" if ["hit", "rq-hit", "spend"].contains(&event) => "",
            "Clearing" if event == "clear-pxe-ok" => return self.enter("New", row),
            _ => return "ignored",
        };
        match event {
            "go" | "rq-go" => self.enter(next, row),
            "hurry" => self.enter("Hurried", row),
            "rq-clear" => self.enter("Clearing", row),
            "hit" | "rq-hit" => {
                self.count("hits");
                self.last = row.mark().map(str::to_owned);
                "stayed"
            }
            "spend" if self.counters.get("hits").is_some_and(|hits| *hits >= MIN_SPENT) => {
                self.counters.remove("hits");
                "stayed"
            }
            _ => "ignored",
        }
    }

    fn time_out(&mut self, row: &StoredEntry) -> &'static str {
        if self.state == "Clearing" {
            return self.enter("Clearing", row);
        }
        let is_enough = self.count("Hurried") > HURRIES;
        self.enter(if is_enough { "North" } else { "Hurried" }, row)
    }

    fn enter(&mut self, state: &str, row: &StoredEntry) -> &'static str {
        state.clone_into(&mut self.state);
        self.visit += 1;
        self.due = (state == "Hurried").then(|| row.at + TimeDelta::milliseconds(HURRIED_MS));
        if state == "Clearing" {
            self.counters.clear();
        }
        "moved"
    }

    fn count(&mut self, counter: &str) -> i64 {
        let count = self.counters.entry(counter.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// The expected row of the instance.
    pub(super) fn instance(&self) -> FinalInstance {
        FinalInstance {
            state: self.state.clone(),
            visit: self.visit,
            deadline_at: self.due,
            counters: self.counters.clone(),
            last: self.last.clone(),
        }
    }
}
