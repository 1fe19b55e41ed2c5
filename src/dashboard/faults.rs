//! What stands where a page would that cannot be made. A person reads it, so it is a page too, which refreshes itself.

use std::error::Error;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::layout::whole;
use crate::diagram::escaped;
use crate::engine::EngineError;
use crate::store::StoreError;

/// How often such a page refreshes itself, in seconds: at first it is the database that is away, and soon back.
const AWAY_REFRESH_S: u32 = 2;
/// The same where a definition is missing.
const FAULT_REFRESH_S: u32 = 5;

/// What stands where a page would that could not be made.
pub(super) fn at_fault(error: EngineError, now: DateTime<Utc>) -> Response {
    if let EngineError::Store(error) = error {
        return without_boards(&error, now);
    }
    if let EngineError::NoMachine(machine) = &error {
        let main = format!(
            "<p><em>No definition of the machine {} is in force that this server can follow. \
             This page tries again by itself.</em></p>",
            escaped(machine.as_str())
        );
        let page = whole("no definition", FAULT_REFRESH_S, &main, now);
        return (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response();
    }
    tracing::error!(error = &error as &dyn Error, "the page cannot be made");
    let main = "<p><em>The server has a fault; its log says which. This page tries again by itself.</em></p>";
    (StatusCode::INTERNAL_SERVER_ERROR, Html(whole("a fault", FAULT_REFRESH_S, main, now))).into_response()
}

/// What stands where the boards would.
pub(super) fn without_boards(error: &StoreError, now: DateTime<Utc>) -> Response {
    if error.is_passing() {
        let why = "The database cannot be reached, so nothing can be said of the boards. \
                   This page tries again by itself.";
        let page = whole("database away", AWAY_REFRESH_S, &format!("<p><em>{why}</em></p>"), now);
        let again = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, again, Html(page)).into_response();
    }
    tracing::error!(error = error as &dyn Error, "the page cannot be made");
    let why = "The server has a fault; its log says which. This page tries again by itself.";
    let page = whole("a fault", AWAY_REFRESH_S, &format!("<p><em>{why}</em></p>"), now);
    (StatusCode::INTERNAL_SERVER_ERROR, Html(page)).into_response()
}
