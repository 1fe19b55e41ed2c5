//! What happened to a board.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::page::{Page, read};
use crate::api::context::{Api, Routes};
use crate::api::device_lookup::find;
use crate::api::problem::Problem;
use crate::api::query::Parameters;

/// The routes of this file.
pub(in crate::api) fn routes() -> Routes {
    vec![("/api/v1/devices/{name}/history", get(of_device))]
}

/// `GET /api/v1/devices/{name}/history?limit=&before=`: what happened, the newest first.
async fn of_device(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
) -> Result<Response, Problem> {
    let id = find(&api, &name).await?.id;
    let machine = api.machine.clone();
    read(api, machine, id, page).await
}
