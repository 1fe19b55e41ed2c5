//! The history of a board.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::read_history::{HistoryPageQuery, read_history};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::device_lookup::find_board;
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/devices/{name}/history", get(of_device))]
}

/// `GET /api/v1/devices/{name}/history?limit=&before=`: the history, newest entries first.
async fn of_device(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    QueryParameters(page): QueryParameters<HistoryPageQuery>,
) -> Result<Response, Problem> {
    let id = find_board(&api, &name).await?.id;
    let machine = api.machine.clone();
    read_history(api, machine, id, page).await
}
