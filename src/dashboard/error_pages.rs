//! Pages that say why another one cannot be shown. They refresh themselves until it can.

use std::error::Error;

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::layout::{Layout, html};
use crate::engine::EngineError;
use crate::store::StoreError;

/// How often a page refreshes itself while the database is unavailable, in seconds: it is usually back soon.
const DATABASE_UNAVAILABLE_REFRESH_S: u32 = 2;
/// How often other error pages refresh themselves, in seconds.
const ERROR_REFRESH_S: u32 = 5;

/// A page with one message.
#[derive(Debug, Template)]
#[template(path = "error.html", config = "src/dashboard/askama.toml")]
struct ErrorPage {
    layout: Layout,
    message: String,
    has_link_to_boards: bool,
}

/// Answers that there is no such board.
pub(super) fn no_board_page(name: &str, now: DateTime<Utc>) -> Response {
    let page = ErrorPage {
        layout: Layout { title: "no such board".to_owned(), refresh_s: ERROR_REFRESH_S, now },
        message: format!("There is no board {name}."),
        has_link_to_boards: true,
    };
    (StatusCode::NOT_FOUND, html(&page)).into_response()
}

/// Answers with the reason why the engine cannot give what a page shows.
pub(super) fn engine_error_page(error: EngineError, now: DateTime<Utc>) -> Response {
    if let EngineError::Store(error) = error {
        return database_error_page(&error, now);
    }
    if let EngineError::NoMachine(machine) = &error {
        let message = format!(
            "This server has no active definition of the machine {machine} that it can follow. \
             This page refreshes itself."
        );
        return error_page(StatusCode::SERVICE_UNAVAILABLE, "no definition", ERROR_REFRESH_S, message, now);
    }
    server_error_page(&error, ERROR_REFRESH_S, now)
}

/// Answers with the reason why the database cannot give what a page shows.
pub(super) fn database_error_page(error: &StoreError, now: DateTime<Utc>) -> Response {
    if !error.is_transient() {
        return server_error_page(error, DATABASE_UNAVAILABLE_REFRESH_S, now);
    }
    let message =
        "The database is unavailable, so the states of the boards are unknown. This page refreshes itself.";
    let (status, refresh_s) = (StatusCode::SERVICE_UNAVAILABLE, DATABASE_UNAVAILABLE_REFRESH_S);
    let page = error_page(status, "database unavailable", refresh_s, message.to_owned(), now);
    ([(header::RETRY_AFTER, "1")], page).into_response()
}

fn server_error_page(error: &(dyn Error + 'static), refresh_s: u32, now: DateTime<Utc>) -> Response {
    tracing::error!(error, "cannot render page");
    let message = "Internal server error; see the server's log. This page refreshes itself.";
    error_page(StatusCode::INTERNAL_SERVER_ERROR, "server error", refresh_s, message.to_owned(), now)
}

fn error_page(
    status: StatusCode,
    title: &str,
    refresh_s: u32,
    message: String,
    now: DateTime<Utc>,
) -> Response {
    let layout = Layout { title: title.to_owned(), refresh_s, now };
    (status, html(&ErrorPage { layout, message, has_link_to_boards: false })).into_response()
}
