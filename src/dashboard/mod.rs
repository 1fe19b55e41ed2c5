//! The web pages: one, which lists the boards by state and refreshes itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};

use crate::engine::Engine;
use crate::machine::MachineName;
use crate::store::StoreError;
use crate::store::devices::{self, Board, Filter};

/// Makes the routes of the pages.
pub fn router(engine: Engine, machine: MachineName) -> Router {
    Router::new().route("/", get(farm)).with_state((engine, machine))
}

/// `GET /`: the boards by state, those that need hands first.
async fn farm(State((engine, machine)): State<(Engine, MachineName)>) -> Response {
    let boards = async {
        let mut db = engine.store().reader().await?;
        devices::list(&mut db, &machine, &Filter::default()).await
    };
    let now = engine.clock().now();
    match boards.await {
        Ok(boards) => ([(header::CACHE_CONTROL, "no-store")], Html(page(&boards, now))).into_response(),
        // A person reads this, so the reason is a page too, which refreshes until the boards are there again.
        Err(error) => without_boards(&error, now),
    }
}

/// Where a state stands on the page: what needs hands, what is under way, what rests.
fn rank(state: &str) -> u8 {
    match state {
        failed if failed.starts_with("Failed") => 0,
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
        let page = whole("database away", &format!("<p><em>{why}</em></p>"), now);
        let again = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, again, Html(page)).into_response();
    }
    tracing::error!(error = error as &dyn std::error::Error, "the page cannot be made");
    let why = "The server has a fault; its log says which. This page tries again by itself.";
    let page = whole("a fault", &format!("<p><em>{why}</em></p>"), now);
    (StatusCode::INTERNAL_SERVER_ERROR, Html(page)).into_response()
}

/// A whole page.
fn whole(title: &str, main: &str, now: DateTime<Utc>) -> String {
    format!(include_str!("farm.html"), title = title, at = now.format("%Y-%m-%d %H:%M:%S UTC"), main = main)
}

fn page(boards: &[Board], now: DateTime<Utc>) -> String {
    let mut by_state: BTreeMap<(u8, &str), Vec<&Board>> = BTreeMap::new();
    for board in boards {
        let state = board.instance.state.as_str();
        by_state.entry((rank(state), state)).or_default().push(board);
    }
    let mut main = String::new();
    for ((rank, state), boards) in &by_state {
        let _ = write!(
            main,
            "<section class=\"rank{rank}\"><h2>{} <small>{}</small></h2><ul>",
            escaped(state),
            boards.len()
        );
        for board in boards {
            let _ = write!(main, "<li>{}</li>", item(board, now));
        }
        main.push_str("</ul></section>");
    }
    if boards.is_empty() {
        main.push_str("<p>No boards yet: register one with <code>lifeguard device add</code>.</p>");
    }
    let title = match boards.len() {
        1 => "1 board".to_owned(),
        many => format!("{many} boards"),
    };
    whole(&title, &main, now)
}

fn item(board: &Board, now: DateTime<Utc>) -> String {
    let instance = &board.instance;
    let name = escaped(&instance.name);
    let text = |key: &str| instance.data.get(key).and_then(serde_json::Value::as_str).map(escaped);
    let mut item = format!(
        "<a href=\"/api/v1/devices/{name}\">{name}</a> <span>{}</span>",
        ago(now - instance.entered_at)
    );
    if let Some(next) = text("next_image") {
        let _ = write!(item, " <span>→ {next}</span>");
    } else if let Some(image) = text("image") {
        let _ = write!(item, " <span>{image}</span>");
    }
    if let Some(failure) = text("failure") {
        let _ = write!(item, " <em>{failure}</em>");
    }
    item
}

/// A span as people say it.
fn ago(span: chrono::TimeDelta) -> String {
    match span.num_seconds().max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_from_outside_cannot_become_markup() {
        assert_eq!(super::escaped("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }
}
