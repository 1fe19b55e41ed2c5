//! `GET /resources`: the resources in use, and the actions that wait for them.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::context::DashboardContext;
use super::error_pages::engine_error_page;
use super::layout::{Layout, uncached};
use crate::engine::{EngineError, HolderView, QueuedActionView, ResourceView, WaiterView};
use crate::formatting::{count, elapsed, since};
use crate::machine::MachineName;

/// How often the page refreshes itself, in seconds.
const RESOURCES_REFRESH_S: u32 = 5;
/// The maximum number of rows of a table.
const MAX_ROWS: usize = 500;
/// The maximum number of holders that are named.
const MAX_NAMED_HOLDERS: usize = 5;

/// The page.
#[derive(Debug, Template)]
#[template(path = "resources.html", config = "src/dashboard/askama.toml")]
struct ResourcesPage {
    layout: Layout,
    /// How many actions wait, and for how long the last of them.
    queue_summary: String,
    queue: Vec<QueueLine>,
    resources: Vec<ResourceLine>,
    /// The number of resources that are not shown.
    hidden_resources: usize,
}

/// An action that waits.
#[derive(Debug)]
struct QueueLine {
    name: String,
    /// Whether the instance has a page.
    is_board: bool,
    action: String,
    resources: String,
    requests_ahead: usize,
    waits: String,
    expected: String,
}

/// A resource.
#[derive(Debug)]
struct ResourceLine {
    name: String,
    about: Option<String>,
    within: Option<String>,
    in_use: String,
    load: Option<String>,
    holders: String,
    waiting: usize,
    incident: Option<String>,
}

/// `GET /resources`: the resources in use, and the actions that wait for them.
pub(super) async fn show(State(pages): State<DashboardContext>) -> Response {
    let now = pages.engine.clock().now();
    match read(&pages, now).await {
        Ok(page) => uncached(&page),
        Err(error) => engine_error_page(error, now),
    }
}

async fn read(pages: &DashboardContext, now: DateTime<Utc>) -> Result<ResourcesPage, EngineError> {
    // One at a time: the forecast of a long queue takes a while, and each open page asks for it again and again.
    let _turn = pages.resource_reading.lock().await;
    let (mut resources, queued) = pages.engine.resources_and_queue().await?;
    resources.sort_by_key(|resource| {
        (resource.incident.is_none(), resource.queue.is_empty(), resource.in_use == 0)
    });
    let hidden_resources = resources.len().saturating_sub(MAX_ROWS);
    Ok(ResourcesPage {
        layout: Layout { title: "resources".to_owned(), refresh_s: RESOURCES_REFRESH_S, now },
        queue_summary: summarize_queue(&queued, now),
        queue: queued
            .into_iter()
            .take(MAX_ROWS)
            .map(|row| QueueLine::new(row, &pages.machine, now))
            .collect(),
        resources: resources.into_iter().take(MAX_ROWS).map(|row| ResourceLine::new(row, now)).collect(),
        hidden_resources,
    })
}

/// Says how many actions wait, and when the last of them may start.
fn summarize_queue(queued: &[QueuedActionView], now: DateTime<Utc>) -> String {
    if queued.is_empty() {
        return "Nothing waits.".to_owned();
    }
    let verb = if queued.len() == 1 { "waits" } else { "wait" };
    let all = format!("{} {verb}", count(queued.len(), "action"));
    let last_of = if queued.len() == 1 { "it is" } else { "all are" };
    let shown =
        if queued.len() > MAX_ROWS { format!(" The first {MAX_ROWS} are shown.") } else { String::new() };
    let last: Option<Vec<DateTime<Utc>>> = queued.iter().map(|row| row.waiter.expected_at).collect();
    match last.and_then(|expected| expected.into_iter().max()) {
        Some(at) => format!("{all}; {last_of} expected to have started in {}.{shown}", elapsed(at - now)),
        None => format!("{all}; when the last of them starts is not known yet.{shown}"),
    }
}

impl QueueLine {
    fn new(queued: QueuedActionView, boards: &MachineName, now: DateTime<Utc>) -> Self {
        let QueuedActionView { waiter, resources } = queued;
        let WaiterView { machine, name, action, requests_ahead, since: waits_since, expected_at, incident } =
            waiter;
        let expected = match (incident, expected_at) {
            (Some(incident), _) => format!("when the incident at {} ends", incident.resource),
            (None, Some(at)) => format!("in {}", elapsed(at - now)),
            (None, None) => "not known yet".to_owned(),
        };
        Self {
            is_board: machine == boards.as_str(),
            name,
            action,
            resources: resources.join(", "),
            requests_ahead,
            waits: since(waits_since, now),
            expected,
        }
    }
}

impl ResourceLine {
    fn new(resource: ResourceView, now: DateTime<Utc>) -> Self {
        let ResourceView { name, about, within, capacity, in_use, budget_a, load_a, cooling, .. } = resource;
        let limit = capacity.map(|capacity| format!(" of {capacity}")).unwrap_or_default();
        let cooling = Some(cooling.units).filter(|units| *units > 0);
        let cooling = cooling.map(|units| format!(", {units} cooling")).unwrap_or_default();
        Self {
            incident: resource.incident.map(|incident| incident.describe("board", now)),
            load: budget_a.map(|budget| format!("{load_a} of {budget} A")),
            holders: name_holders(&resource.holders),
            waiting: resource.queue.len(),
            name,
            about,
            within,
            in_use: format!("{in_use}{limit}{cooling}"),
        }
    }
}

/// Names the first holders, and counts the others.
fn name_holders(holders: &[HolderView]) -> String {
    let mut named: Vec<&str> =
        holders.iter().take(MAX_NAMED_HOLDERS).map(|holder| holder.name.as_str()).collect();
    let others = holders.len().saturating_sub(MAX_NAMED_HOLDERS);
    let others = (others > 0).then(|| format!("{others} more"));
    named.extend(others.as_deref());
    named.join(", ")
}
