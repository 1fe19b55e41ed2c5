//! What stands where a page would that cannot be made. A person reads it, so it is a page too, which refreshes itself.

use std::error::Error;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::layout::full_page;
use crate::diagram::escape_xml;
use crate::engine::EngineError;
use crate::store::StoreError;

/// How often such a page refreshes itself, in seconds: at first it is the database that is away, and soon back.
const DATABASE_AWAY_REFRESH_S: u32 = 2;
/// The same where a definition is missing.
const ERROR_REFRESH_S: u32 = 5;

/// What stands where a page would that could not be made.
pub(super) fn engine_error_page(error: EngineError, now: DateTime<Utc>) -> Response {
    if let EngineError::Store(error) = error {
        return database_error_page(&error, now);
    }
    if let EngineError::NoMachine(machine) = &error {
        let main = format!(
            "<p><em>No definition of the machine {} is in force that this server can follow. \
             This page tries again by itself.</em></p>",
            escape_xml(machine.as_str())
        );
        let page = full_page("no definition", ERROR_REFRESH_S, &main, now);
        return (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response();
    }
    tracing::error!(error = &error as &dyn Error, "the page cannot be made");
    let main = "<p><em>The server has a fault; its log says which. This page tries again by itself.</em></p>";
    (StatusCode::INTERNAL_SERVER_ERROR, Html(full_page("a fault", ERROR_REFRESH_S, main, now)))
        .into_response()
}

/// What stands where the boards would.
pub(super) fn database_error_page(error: &StoreError, now: DateTime<Utc>) -> Response {
    if error.is_transient() {
        let why = "The database cannot be reached, so nothing can be said of the boards. \
                   This page tries again by itself.";
        let page =
            full_page("database away", DATABASE_AWAY_REFRESH_S, &format!("<p><em>{why}</em></p>"), now);
        let again = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, again, Html(page)).into_response();
    }
    tracing::error!(error = error as &dyn Error, "the page cannot be made");
    let why = "The server has a fault; its log says which. This page tries again by itself.";
    let page = full_page("a fault", DATABASE_AWAY_REFRESH_S, &format!("<p><em>{why}</em></p>"), now);
    (StatusCode::INTERNAL_SERVER_ERROR, Html(page)).into_response()
}
