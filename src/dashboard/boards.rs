//! `GET /`: the boards by state, those that need hands first.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::context::DashboardContext;
use super::error_pages::database_error_page;
use super::layout::{full_page, uncached};
use super::overview::FarmOverview;
use crate::boards::store::lists::BoardSummary;
use crate::diagram::escape_xml;
use crate::formatting::{count, elapsed};
use crate::machine::Definition;
use crate::store::{Snapshot, StoreError};

/// How often the farm's page refreshes itself, in seconds.
const FARM_REFRESH_S: u32 = 2;

/// `GET /`: the boards by state, those that need hands first.
pub(super) async fn show(
    State(DashboardContext { engine, machine, overview: farm }): State<DashboardContext>,
) -> Response {
    let definition = engine.definition(&machine).ok();
    let read =
        async |snapshot: &mut Snapshot| FarmOverview::read(snapshot, &machine, definition.as_deref()).await;
    let farm = farm.get(engine.store(), read).await;
    let now = engine.clock().now();
    match farm.and_then(|farm| page(&farm.value, definition.as_deref(), now)) {
        Ok(page) => uncached(page),
        Err(error) => database_error_page(&error, now),
    }
}

fn page(
    farm: &FarmOverview,
    definition: Option<&Definition>,
    now: DateTime<Utc>,
) -> Result<String, StoreError> {
    let mut by_state: BTreeMap<&str, Vec<BoardSummary<'_>>> = BTreeMap::new();
    for listed in &farm.boards {
        let board = listed.read()?;
        by_state.entry(board.state).or_default().push(board);
    }
    let mut main = String::from("<nav><a href=\"/lifecycle\">The lifecycle</a></nav>");
    for ((rank, state), count) in &farm.counts {
        let _ = write!(
            main,
            "<section class=\"rank{rank}\"><h2>{} <small>{count}</small></h2>",
            escape_xml(state)
        );
        match by_state.get(state.as_str()) {
            Some(boards) => {
                main.push_str("<ul>");
                for board in boards {
                    let tries = failed_tries(definition, board);
                    let _ = write!(main, "<li>{}</li>", item(board, tries, now));
                }
                main.push_str("</ul></section>");
            }
            None => main.push_str("<p>Too many to show here.</p></section>"),
        }
    }
    if farm.counts.is_empty() {
        main.push_str("<p>No boards yet: register one with <code>lifeguard device add</code>.</p>");
    }
    let title = count(farm.counts.values().sum::<i64>(), "board");
    Ok(full_page(&title, FARM_REFRESH_S, &main, now))
}

fn item(board: &BoardSummary<'_>, tries: Option<i64>, now: DateTime<Utc>) -> String {
    let name = escape_xml(board.name);
    let mut item =
        format!("<a href=\"/devices/{name}\">{name}</a> <span>{}</span>", elapsed(now - board.since));
    let text =
        |json: &RawValue| serde_json::from_str::<String>(json.get()).ok().map(|text| escape_xml(&text));
    if let Some(next) = board.next_image.and_then(text) {
        let _ = write!(item, " <span>→ {next}</span>");
    } else if let Some(image) = board.image.and_then(text) {
        let _ = write!(item, " <span>{image}</span>");
    }
    if let Some(tries) = tries {
        let _ = write!(item, " <span>try {}</span>", tries + 1);
    }
    if let Some(failure) = board.failure {
        let _ = write!(item, " <em>{}</em>", escape_xml(failure));
    }
    if let Some(reason) = board.lock_reason {
        let _ = write!(item, " <em>locked out: {}</em>", escape_xml(reason));
    }
    item
}

/// How often the time limit of the board's state has passed without success.
fn failed_tries(definition: Option<&Definition>, board: &BoardSummary<'_>) -> Option<i64> {
    definition?.failed_tries(board.state, &serde_json::from_str(board.counters.get()).ok()?)
}
