//! The history of an instance.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::lookup::{find, machine_of};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::history::read_history::{HistoryPageQuery, read_history};
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}/history", get(history))]
}

/// `GET /api/v1/machines/{machine}/{instance}/history?limit=&before=`: the history, newest entries first.
async fn history(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    QueryParameters(page): QueryParameters<HistoryPageQuery>,
) -> Result<Response, Problem> {
    let machine = machine_of(&api, &machine)?;
    let id = find(&api, &machine, &name).await?.id;
    read_history(api, machine, id, page).await
}
