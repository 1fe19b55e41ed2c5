//! The web pages: one lists the boards by state, one says of a board why it stands where it stands. They refresh
//! themselves.

mod board;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde_json::value::RawValue;

use crate::csp;
use crate::engine::{Engine, EngineError, Kept};
use crate::machine::words::escaped;
use crate::machine::{self, Definition, MachineName, says_failed};
use crate::store::lists::{self, Filter, Listed, Shown};
use crate::store::{Snapshot, StoreError, instances};

/// How often the farm's page refreshes itself, in seconds.
const FARM_REFRESH_S: u32 = 2;

/// How often the picture of the lifecycle does.
const LIFECYCLE_REFRESH_S: u32 = 5;

/// How many boards the page shows at most; of a farm that has more, those that need hands come first.
const MOST: i64 = 1000;

/// What the page shows.
struct Farm {
    counts: BTreeMap<(u8, String), i64>,
    shown: Vec<Listed>,
}

#[derive(Clone)]
struct Pages {
    engine: Engine,
    machine: MachineName,
    farm: Arc<Kept<Farm>>,
}

/// Makes the routes of the pages.
pub fn router(engine: Engine, machine: MachineName) -> Router {
    let pages = Pages { engine, machine, farm: Arc::default() };
    Router::new()
        .route("/", get(farm))
        .route("/devices/{name}", get(board::show))
        .route("/lifecycle", get(lifecycle))
        .layer(middleware::from_fn_with_state(pages.clone(), until_lost))
        .layer(middleware::from_fn(protect))
        .with_state(pages)
}

/// Shows that the database is away as soon as that is found, to whoever waits for it.
async fn until_lost(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let now = pages.engine.clock().now();
    tokio::select! {
        biased;
        page = next.run(request) => page,
        error = pages.engine.store().lost() => without_boards(&error, now),
    }
}

/// `GET /`: the boards by state, those that need hands first.
async fn farm(State(Pages { engine, machine, farm }): State<Pages>) -> Response {
    let farm = farm.get(engine.store(), async |snapshot: &mut Snapshot| read(snapshot, &machine).await).await;
    let now = engine.clock().now();
    let definition = engine.definition(&machine).ok();
    match farm.and_then(|farm| page(&farm.value, definition.as_deref(), now)) {
        Ok(page) => fresh(page),
        // A person reads this, so the reason is a page too, which refreshes until the boards are there again.
        Err(error) => without_boards(&error, now),
    }
}

/// `GET /lifecycle`: the machine, with the number of boards in each state.
async fn lifecycle(State(Pages { engine, machine, .. }): State<Pages>) -> Response {
    let now = engine.clock().now();
    match engine.picture(&machine, None).await {
        Ok(picture) => {
            let main = format!("<nav><a href=\"/\">All boards</a></nav><div class=\"wide\">{picture}</div>");
            fresh(whole("the lifecycle", LIFECYCLE_REFRESH_S, &main, now))
        }
        Err(error) => at_fault(error, now),
    }
}

/// What stands where a page would that could not be made.
fn at_fault(error: EngineError, now: DateTime<Utc>) -> Response {
    if let EngineError::Store(error) = error {
        return without_boards(&error, now);
    }
    if let EngineError::NoMachine(machine) = &error {
        let main = format!(
            "<p><em>No definition of the machine {} is in force that this server can follow. \
             This page tries again by itself.</em></p>",
            escaped(machine.as_str())
        );
        let page = whole("no definition", LIFECYCLE_REFRESH_S, &main, now);
        return (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response();
    }
    tracing::error!(error = &error as &dyn std::error::Error, "the page cannot be made");
    let main = "<p><em>The server has a fault; its log says which. This page tries again by itself.</em></p>";
    (StatusCode::INTERNAL_SERVER_ERROR, Html(whole("a fault", LIFECYCLE_REFRESH_S, main, now)))
        .into_response()
}

/// Answers with a page that nobody keeps.
fn fresh(page: String) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}

/// Reads how many boards there are in each state, and those that are shown.
async fn read(snapshot: &mut Snapshot, machine: &MachineName) -> Result<Farm, StoreError> {
    let counts = instances::count_by_state(snapshot, machine).await?;
    let counts: BTreeMap<_, _> =
        counts.into_iter().map(|(state, count)| ((rank(&state), state), count)).collect();
    let mut left = MOST;
    let mut states = Vec::new();
    for ((_, state), count) in &counts {
        // Whole states, or else one could not tell whether a board is missing.
        if *count <= left {
            left -= count;
            states.push(state.clone());
        }
    }
    if states.is_empty() {
        return Ok(Farm { counts, shown: Vec::new() });
    }
    let filter = Filter { states, ..Filter::default() };
    let shown = lists::read(snapshot, machine, &filter, "", MOST).try_collect().await?;
    Ok(Farm { counts, shown })
}

/// Where a state stands on the page: what needs hands, what is under way, what rests.
fn rank(state: &str) -> u8 {
    match state {
        failed if says_failed(failed) => 0,
        "Ready" => 3,
        "New" | "Maintenance" | "LockedOut" => 2,
        _ => 1,
    }
}

/// What stands where the boards would.
fn without_boards(error: &StoreError, now: DateTime<Utc>) -> Response {
    if error.is_passing() {
        let why = "The database cannot be reached, so nothing can be said of the boards. \
                   This page tries again by itself.";
        let page = whole("database away", FARM_REFRESH_S, &format!("<p><em>{why}</em></p>"), now);
        let again = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, again, Html(page)).into_response();
    }
    tracing::error!(error = error as &dyn std::error::Error, "the page cannot be made");
    let why = "The server has a fault; its log says which. This page tries again by itself.";
    let page = whole("a fault", FARM_REFRESH_S, &format!("<p><em>{why}</em></p>"), now);
    (StatusCode::INTERNAL_SERVER_ERROR, Html(page)).into_response()
}

/// The style of all pages.
const STYLE: &str = concat!("\n", include_str!("page.css"));

/// What browsers may do with a page: they show it, with its style and that of the picture in it.
static POLICY: LazyLock<Option<HeaderValue>> =
    LazyLock::new(|| HeaderValue::try_from(csp::with_styles(&[STYLE, machine::DIAGRAM_STYLE])).ok());

/// Says with an answer what browsers may do with it.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(policy) = &*POLICY {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// A whole page, which is loaded again after `refresh_s` seconds. `title` is a text, `main` is markup.
fn whole(title: &str, refresh_s: u32, main: &str, now: DateTime<Utc>) -> String {
    let at = now.format("%Y-%m-%d %H:%M:%S UTC");
    format!(
        include_str!("page.html"),
        title = escaped(title),
        refresh_s = refresh_s,
        style = STYLE,
        at = at,
        main = main
    )
}

fn page(farm: &Farm, definition: Option<&Definition>, now: DateTime<Utc>) -> Result<String, StoreError> {
    let mut by_state: BTreeMap<&str, Vec<Shown<'_>>> = BTreeMap::new();
    for listed in &farm.shown {
        let board = listed.read()?;
        by_state.entry(board.state).or_default().push(board);
    }
    let mut main = String::from("<nav><a href=\"/lifecycle\">The lifecycle</a></nav>");
    for ((rank, state), count) in &farm.counts {
        let _ =
            write!(main, "<section class=\"rank{rank}\"><h2>{} <small>{count}</small></h2>", escaped(state));
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
    let title = match farm.counts.values().sum() {
        1_i64 => "1 board".to_owned(),
        many => format!("{many} boards"),
    };
    Ok(whole(&title, FARM_REFRESH_S, &main, now))
}

fn item(board: &Shown<'_>, tries: Option<i64>, now: DateTime<Utc>) -> String {
    let name = escaped(board.name);
    let mut item = format!("<a href=\"/devices/{name}\">{name}</a> <span>{}</span>", ago(now - board.since));
    let text = |json: &RawValue| serde_json::from_str::<String>(json.get()).ok().map(|text| escaped(&text));
    if let Some(next) = board.next_image.and_then(text) {
        let _ = write!(item, " <span>→ {next}</span>");
    } else if let Some(image) = board.image.and_then(text) {
        let _ = write!(item, " <span>{image}</span>");
    }
    if let Some(tries) = tries {
        let _ = write!(item, " <span>try {}</span>", tries + 1);
    }
    if let Some(failure) = board.failure {
        let _ = write!(item, " <em>{}</em>", escaped(failure));
    }
    if let Some(reason) = board.lock_reason {
        let _ = write!(item, " <em>locked out: {}</em>", escaped(reason));
    }
    item
}

/// How often the time limit of the board's state has passed without success.
fn failed_tries(definition: Option<&Definition>, board: &Shown<'_>) -> Option<i64> {
    definition?.failed_tries(board.state, &serde_json::from_str(board.counters.get()).ok()?)
}

/// A span as people say it.
fn ago(span: chrono::TimeDelta) -> String {
    match span.num_seconds().max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}
