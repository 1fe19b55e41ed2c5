//! `GET /`: the boards by state, those that need attention first.

use std::borrow::Cow;
use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::context::DashboardContext;
use super::error_pages::database_error_page;
use super::layout::{Layout, uncached};
use super::overview::FarmOverview;
use crate::boards::{BoardSummary, ImageName};
use crate::explain::ResourceIncident;
use crate::formatting::{count, elapsed};
use crate::machine::Definition;
use crate::store::incidents::Incident;
use crate::store::{Snapshot, StoreError};

/// How often the page refreshes itself, in seconds.
const FARM_REFRESH_S: u32 = 2;

/// The page.
#[derive(Debug, Template)]
#[template(path = "boards.html", config = "src/dashboard/askama.toml")]
struct BoardsPage<'a> {
    layout: Layout,
    incidents: Vec<String>,
    sections: Vec<StateSection<'a>>,
}

/// The boards in one state.
#[derive(Debug)]
struct StateSection<'a> {
    /// The number in the class of the section's colour.
    rank: u8,
    state: &'a str,
    /// The state's label, if it has one.
    label: Option<&'a str>,
    count: i64,
    /// The boards; nothing where there are too many to show.
    boards: Option<Vec<BoardItem<'a>>>,
}

/// A board of a section.
#[derive(Debug)]
struct BoardItem<'a> {
    name: &'a str,
    in_state_for: String,
    /// The image that is being installed, or else the installed one.
    image: Option<Cow<'a, str>>,
    /// The number of the present try, from the second one.
    try_number: Option<i64>,
    /// Whether one of its actions waits for resources.
    is_queued: bool,
    problem: Option<Cow<'a, str>>,
}

/// `GET /`: the boards by state, those that need attention first.
pub(super) async fn show(
    State(DashboardContext { engine, machine, overview, .. }): State<DashboardContext>,
) -> Response {
    let definition = engine.definition(&machine).ok();
    let read =
        async |snapshot: &mut Snapshot| FarmOverview::read(snapshot, &machine, definition.as_deref()).await;
    let farm = overview.get(engine.store(), read).await;
    let now = engine.clock().now();
    match farm {
        Ok(farm) => match boards_page(&farm.value, definition.as_deref(), now) {
            Ok(page) => uncached(&page),
            Err(error) => database_error_page(&error, now),
        },
        Err(error) => database_error_page(&error, now),
    }
}

fn boards_page<'a>(
    farm: &'a FarmOverview,
    definition: Option<&'a Definition>,
    now: DateTime<Utc>,
) -> Result<BoardsPage<'a>, StoreError> {
    let mut by_state: BTreeMap<&str, Vec<BoardItem<'a>>> = BTreeMap::new();
    for row in &farm.boards {
        let board = BoardSummary::of_listed(&row.read()?, definition);
        let is_queued = farm.queued.contains(board.name);
        by_state.entry(board.state).or_default().push(BoardItem::new(board, is_queued, now));
    }
    let section = |((rank, state), count): (&'a (u8, String), &i64)| StateSection {
        rank: *rank,
        state,
        label: definition.and_then(|definition| definition.explicit_label(state)),
        count: *count,
        boards: by_state.remove(state.as_str()),
    };
    let sections = farm.counts.iter().map(section).collect();
    let title = count(farm.counts.values().sum::<i64>(), "board");
    let incidents = farm.incidents.iter().map(|incident| describe_incident(incident, now)).collect();
    Ok(BoardsPage { layout: Layout { title, refresh_s: FARM_REFRESH_S, now }, incidents, sections })
}

/// Describes an open incident in one line.
fn describe_incident(incident: &Incident, now: DateTime<Utc>) -> String {
    let Incident { resource, opened_at, reason, waiting, next_probe_at, .. } = incident.clone();
    ResourceIncident { resource, opened_at, reason, waiting, next_probe_at }.describe("board", now)
}

impl<'a> BoardItem<'a> {
    fn new(board: BoardSummary<'a>, is_queued: bool, now: DateTime<Utc>) -> Self {
        let next_image = board.next_image.and_then(ImageName::text);
        let image = match next_image {
            Some(next) => Some(format!("→ {next}").into()),
            None => board.image.and_then(ImageName::text),
        };
        Self {
            name: board.name,
            in_state_for: elapsed(now - board.since),
            image,
            try_number: board.failed_tries.map(|tries| tries + 1),
            is_queued,
            problem: board.problem,
        }
    }
}
