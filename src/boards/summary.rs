//! What lists, pages and single views show of a board.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::device::Board;
use super::store::lists::ListedBoard;
use crate::machine::{CounterName, Definition};

/// What lists, pages and single views show of a board. Its texts are borrowed: lists are long.
#[derive(Debug, Serialize)]
pub struct BoardSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of its state.
    pub state: &'a str,
    /// The label of its state, if that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    /// When it entered the state from another one.
    pub since: DateTime<Utc>,
    /// The number of the present visit.
    pub visit: i64,
    /// When the state's timeout passes.
    #[serde(rename = "deadline")]
    pub deadline_at: Option<DateTime<Utc>>,
    /// The installed image.
    pub image: Option<ImageName<'a>>,
    /// The image that is being installed.
    pub next_image: Option<ImageName<'a>>,
    /// How often the state's time limit has passed without success, if such failures are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_tries: Option<i64>,
    /// The last recorded reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'a str>,
    /// Why it is locked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_reason: Option<&'a str>,
    /// The most important problem, for views that show only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Cow<'a, str>>,
}

/// The name of an image, as JSON.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum ImageName<'a> {
    /// As the database sent it.
    Raw(&'a RawValue),
    /// From an instance's data.
    Value(&'a Value),
}

/// What a summary is made of.
struct SummarySource<'a> {
    name: &'a str,
    state: &'a str,
    since: DateTime<Utc>,
    visit: i64,
    deadline_at: Option<DateTime<Utc>>,
    image: Option<ImageName<'a>>,
    next_image: Option<ImageName<'a>>,
    counters: Option<Cow<'a, BTreeMap<CounterName, i64>>>,
    failure: Option<&'a str>,
    lock_reason: Option<&'a str>,
}

impl<'a> BoardSummary<'a> {
    /// Summarizes a board of a list, by its machine's active definition.
    #[must_use]
    pub fn of_listed(board: &ListedBoard<'a>, definition: Option<&'a Definition>) -> Self {
        // Counters are parsed only where there are some; a board whose counters are invalid is listed without them.
        let counters = Some(board.counters.get()).filter(|counters| *counters != "{}");
        Self::new(
            SummarySource {
                name: board.name,
                state: board.state,
                since: board.since,
                visit: board.visit,
                deadline_at: board.deadline_at,
                image: board.image.map(ImageName::Raw),
                next_image: board.next_image.map(ImageName::Raw),
                counters: counters.and_then(|counters| serde_json::from_str(counters).ok()).map(Cow::Owned),
                failure: board.failure,
                lock_reason: board.lock_reason,
            },
            definition,
        )
    }

    /// Summarizes a single board by its machine's active definition.
    #[must_use]
    pub fn of_board(board: &'a Board, definition: Option<&'a Definition>) -> Self {
        let instance = &board.instance;
        let text = |key| instance.data.get(key).and_then(Value::as_str);
        Self::new(
            SummarySource {
                name: &instance.name,
                state: instance.state.as_str(),
                since: instance.since,
                visit: instance.visit.0,
                deadline_at: instance.deadline_at,
                image: instance.data.get("image").map(ImageName::Value),
                next_image: instance.data.get("next_image").map(ImageName::Value),
                counters: Some(Cow::Borrowed(&instance.counters)),
                failure: text("failure"),
                lock_reason: text("lock_reason"),
            },
            definition,
        )
    }

    fn new(source: SummarySource<'a>, definition: Option<&'a Definition>) -> Self {
        let SummarySource {
            name,
            state,
            since,
            visit,
            deadline_at,
            image,
            next_image,
            counters,
            failure,
            lock_reason,
        } = source;
        let failed_tries = definition
            .zip(counters)
            .and_then(|(definition, counters)| definition.failed_tries(state, &counters));
        let problem = problem(lock_reason, failure);
        Self {
            name,
            state,
            label: definition.and_then(|definition| definition.explicit_label(state)),
            since,
            visit,
            deadline_at,
            image,
            next_image,
            failed_tries,
            failure,
            lock_reason,
            problem,
        }
    }
}

/// The problem of a board that is shown: a lock-out was decided by a person, who has seen the failure.
fn problem<'a>(lock_reason: Option<&'a str>, failure: Option<&'a str>) -> Option<Cow<'a, str>> {
    match lock_reason {
        Some(reason) => Some(format!("locked out: {reason}").into()),
        None => failure.map(Cow::Borrowed),
    }
}

impl<'a> ImageName<'a> {
    /// The name as a text; nothing where it is null.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Raw(json) => serde_json::from_str(json.get()).ok(),
            Self::Value(value) => value.as_str().map(Cow::Borrowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn a_locked_out_board_shows_why_it_is_locked_out_and_not_its_failure() {
        assert_eq!(problem(Some("smells"), Some("no power")).as_deref(), Some("locked out: smells"));
        assert_eq!(problem(None, Some("no power")).as_deref(), Some("no power"));
        assert_eq!(problem(None, None), None);
    }
}
