//! The number of boards in each state.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::list_cursor::ListCursor;
use super::list_tags::{current_tag, query_hash};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::{json, not_modified};
use crate::api::problem::{Problem, internal_error};

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/states", get(states))]
}

/// The number of boards in each state.
#[derive(Serialize)]
struct StateCountsView<'a> {
    cursor: String,
    total: i64,
    states: &'a BTreeMap<String, i64>,
    /// What people see for the states that have a label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
}

/// `GET /api/v1/states`: the number of boards in each state.
async fn states(State(api): State<Arc<ApiContext>>, headers: HeaderMap) -> Result<Response, Problem> {
    // Labels are defined by the definition.
    let number = api.engine.definition_number(&api.machine);
    let kind = query_hash(&("states", number));
    let definition = api.engine.definition(&api.machine).ok();
    if let Some(tag) = current_tag(&api, &headers, &kind).await? {
        return Ok(not_modified(&tag));
    }
    let counts = api.engine.count_by_state(&api.machine).await?;
    let tag = format!("{kind}.{}", counts.cursor);
    let cursor = ListCursor { definition: number, changes: counts.cursor.clone() }.to_string();
    let states = counts.value.keys();
    let labels =
        states.filter_map(|state| Some((state.as_str(), definition.as_ref()?.explicit_label(state)?)));
    let labels = labels.collect();
    let view = StateCountsView { cursor, total: counts.value.values().sum(), states: &counts.value, labels };
    let body = serde_json::to_vec(&view).map_err(|error| internal_error(&error))?;
    Ok(json(&tag, body))
}
