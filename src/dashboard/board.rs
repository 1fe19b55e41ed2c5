//! A board's page: why it is in its state, what can be requested, and its recent history.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::context::DashboardContext;
use super::error_pages::{engine_error_page, no_board_page};
use super::layout::{Layout, uncached};
use super::overview::page_rank;
use crate::engine::{EngineError, InstanceExplanation, describe_cause, describe_values};
use crate::explain::PendingAction;
use crate::formatting::{elapsed, time};
use crate::machine::Definition;
use crate::store::StoreError;
use crate::store::history::{self, HistoryEntry};
use crate::store::instances::InstanceId;

/// How often the page refreshes itself, in seconds: people read it for longer than the list.
const BOARD_REFRESH_S: u32 = 5;
/// The maximum number of history entries that the page shows.
const MAX_HISTORY_ENTRIES: i64 = 30;

/// The page.
#[derive(Debug, Template)]
#[template(path = "board.html", config = "src/dashboard/askama.toml")]
struct BoardPage {
    layout: Layout,
    /// The number in the class of the state's colour.
    rank: u8,
    why: InstanceExplanation,
    history: Vec<HistoryTableRow>,
    /// An SVG image.
    diagram: String,
}

/// A row of the history.
#[derive(Debug)]
struct HistoryTableRow {
    at: String,
    cause: String,
    /// The state that was entered.
    led_to: Option<String>,
    /// Its label, if it has one.
    label: Option<String>,
    observed: String,
}

/// `GET /devices/{name}`: a board.
pub(super) async fn show(State(pages): State<DashboardContext>, Path(name): Path<String>) -> Response {
    let now = pages.engine.clock().now();
    match read(&pages, &name, now).await {
        Ok(page) => uncached(&page),
        Err(EngineError::NoInstance(_)) => no_board_page(&name, now),
        Err(error) => engine_error_page(error, now),
    }
}

async fn read(pages: &DashboardContext, name: &str, now: DateTime<Utc>) -> Result<BoardPage, EngineError> {
    let why = pages.engine.why(&pages.machine, name).await?;
    let history = read_history(pages, why.id).await?;
    let definition = pages.engine.definition(&pages.machine)?;
    let diagram = pages.engine.draw_diagram(&pages.machine, Some(name)).await?;
    Ok(BoardPage {
        layout: Layout {
            title: format!("{}: {}", why.name, why.label.as_deref().unwrap_or(why.state.as_str())),
            refresh_s: BOARD_REFRESH_S,
            now,
        },
        rank: page_rank(why.kind),
        why,
        history: history.iter().map(|entry| HistoryTableRow::new(entry, &definition, now)).collect(),
        diagram,
    })
}

async fn read_history(pages: &DashboardContext, id: InstanceId) -> Result<Vec<HistoryEntry>, StoreError> {
    let mut db = pages.engine.store().reader().await?;
    history::list(&mut db, id, None, MAX_HISTORY_ENTRIES).await
}

impl BoardPage {
    /// Describes how far an action is.
    fn progress(&self, action: &PendingAction) -> String {
        let progress = match (action.started_at, action.requests_ahead, &action.holder) {
            _ if action.incident.is_some() => "waits for the end of the incident".to_owned(),
            _ if action.suspended_at.is_some() => "is suspended".to_owned(),
            (Some(started_at), ..) => format!("runs for {}", elapsed(self.layout.now - started_at)),
            (None, 0, _) => "is next".to_owned(),
            (None, ahead, None) => format!("waits, {ahead} before it"),
            (None, ahead, Some(holder)) => format!("waits, {ahead} before it, {holder} now"),
        };
        match &action.reason {
            Some(reason) => format!("{progress}: {reason}"),
            None => progress,
        }
    }
}

impl HistoryTableRow {
    fn new(entry: &HistoryEntry, definition: &Definition, now: DateTime<Utc>) -> Self {
        let led_to = (entry.outcome == "moved").then_some(&entry.to);
        Self {
            at: time(entry.at, now),
            cause: describe_cause(entry),
            led_to: led_to.map(ToString::to_string),
            label: led_to.and_then(|state| definition.explicit_label(state.as_str())).map(str::to_owned),
            observed: entry.evidence.as_ref().map(describe_values).unwrap_or_default(),
        }
    }
}
