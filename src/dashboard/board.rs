//! A board's page: why it is where it is, and what happened to it lately.

use std::fmt::Write;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::context::DashboardContext;
use super::error_pages::engine_error_page;
use super::layout::{full_page, uncached};
use super::overview::page_rank;
use crate::diagram::escape_xml;
use crate::engine::{EngineError, InstanceExplanation, describe_cause, describe_values};
use crate::explain::PossibleRequest;
use crate::formatting::{elapsed, time};
use crate::machine::StateName;
use crate::store::StoreError;
use crate::store::history::{self, HistoryEntry};
use crate::store::instances::InstanceId;

/// How often the page refreshes itself, in seconds: it is read, not watched.
const BOARD_REFRESH_S: u32 = 5;
/// How many entries of its history it shows.
const MAX_HISTORY_ENTRIES: i64 = 30;

/// `GET /devices/{name}`: a board.
pub(super) async fn show(State(pages): State<DashboardContext>, Path(name): Path<String>) -> Response {
    let now = pages.engine.clock().now();
    match read(&pages, &name).await {
        Ok((why, timeline, picture)) => {
            let title = format!("{}: {}", why.name, why.state);
            uncached(full_page(&title, BOARD_REFRESH_S, &page_main(&why, &timeline, &picture, now), now))
        }
        Err(EngineError::NoInstance(_)) => {
            let main = format!(
                "<p><em>There is no board {}.</em></p><p><a href=\"/\">All boards</a></p>",
                escape_xml(&name)
            );
            (StatusCode::NOT_FOUND, Html(full_page("no such board", BOARD_REFRESH_S, &main, now)))
                .into_response()
        }
        Err(error) => engine_error_page(error, now),
    }
}

async fn read(
    pages: &DashboardContext,
    name: &str,
) -> Result<(InstanceExplanation, Vec<HistoryEntry>, String), EngineError> {
    let why = pages.engine.why(&pages.machine, name).await?;
    let timeline = read_timeline(pages, why.id).await?;
    let picture = pages.engine.draw_diagram(&pages.machine, Some(name)).await?;
    Ok((why, timeline, picture))
}

async fn read_timeline(pages: &DashboardContext, id: InstanceId) -> Result<Vec<HistoryEntry>, StoreError> {
    let mut db = pages.engine.store().reader().await?;
    history::list(&mut db, id, None, MAX_HISTORY_ENTRIES).await
}

fn page_main(
    why: &InstanceExplanation,
    timeline: &[HistoryEntry],
    picture: &str,
    now: DateTime<Utc>,
) -> String {
    let mut main = String::from("<nav><a href=\"/\">All boards</a></nav>");
    let rank = page_rank(why.kind);
    let (name, state) = (escape_xml(&why.name), escape_xml(why.state.as_str()));
    let _ = write!(main, "<section class=\"why rank{rank}\"><h2>{name} <small>{state}</small></h2>");
    for sentence in &why.sentences {
        let _ = write!(main, "<p>{}</p>", escape_xml(sentence));
    }
    main.push_str("</section>");
    main.push_str(&open_actions(why, now));
    main.push_str(&requests(&why.may));
    main.push_str(&recent_history(timeline, now));
    let _ = write!(main, "<h2>Where it is</h2><div class=\"wide\">{picture}</div>");
    let api = format!("/api/v1/devices/{name}");
    let _ = write!(
        main,
        "<p><small>As JSON: <a href=\"{api}/why\">why</a>, <a href=\"{api}\">all that is known</a>, \
         <a href=\"{api}/history\">history</a>. Definition {} is in force.</small></p>",
        why.definition
    );
    main
}

/// What it still has to do.
fn open_actions(why: &InstanceExplanation, now: DateTime<Utc>) -> String {
    if why.doing.is_empty() {
        return String::new();
    }
    let mut table = String::from("<h2>Under way and to do</h2><div class=\"wide\"><table><tbody>");
    for doing in &why.doing {
        let how = match (doing.began_at, doing.ahead, &doing.holder) {
            _ if doing.suspended_at.is_some() => "is suspended".to_owned(),
            (Some(began_at), ..) => format!("runs for {}", elapsed(now - began_at)),
            (None, 0, _) => "is next".to_owned(),
            (None, ahead, None) => format!("waits, {ahead} before it"),
            (None, ahead, Some(holder)) => format!("waits, {ahead} before it, {holder} now"),
        };
        let how = match &doing.reason {
            Some(reason) => format!("{how}: {reason}"),
            None => how,
        };
        let resource = doing.resource.as_deref().unwrap_or_default();
        let _ = write!(
            table,
            "<tr><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
            escape_xml(&doing.action),
            escape_xml(&how),
            escape_xml(resource)
        );
    }
    table + "</tbody></table></div>"
}

/// What an operator may ask for.
fn requests(may: &[PossibleRequest]) -> String {
    if may.is_empty() {
        return String::new();
    }
    let mut table = String::from("<h2>An operator may ask for</h2><table class=\"stacked\"><tbody>");
    for request in may {
        let to: Vec<&str> = request.to.iter().map(StateName::as_str).collect();
        let note = match &request.refused {
            Some(refused) => format!("<em>refused now: {}</em>", escape_xml(refused)),
            None if request.needs.is_empty() => String::new(),
            None => format!("<span>needs {}</span>", escape_xml(&request.needs.join(", "))),
        };
        let _ = write!(
            table,
            "<tr><td><code>{}</code></td><td>{} {note}</td><td class=\"state\">→&nbsp;{}</td></tr>",
            escape_xml(request.event.as_str()),
            escape_xml(&request.about),
            escape_xml(&to.join(", "))
        );
    }
    table + "</tbody></table>"
}

/// What happened to it lately, the newest first.
fn recent_history(timeline: &[HistoryEntry], now: DateTime<Utc>) -> String {
    let mut table = String::from(
        "<h2>Lately</h2><table class=\"stacked\"><thead><tr><th>when<th>what<th>led to<th>observed</thead><tbody>",
    );
    for entry in timeline {
        let to = if entry.outcome == "moved" { format!("→\u{a0}{}", entry.to) } else { String::new() };
        let observed = entry.evidence.as_ref().map(describe_values).unwrap_or_default();
        let _ = write!(
            table,
            "<tr><td><time>{}</time></td><td>{}</td><td class=\"state\">{}</td><td><small>{}</small></td></tr>",
            time(entry.at, now),
            escape_xml(&describe_cause(entry)),
            escape_xml(&to),
            escape_xml(&observed)
        );
    }
    table + "</tbody></table>"
}
