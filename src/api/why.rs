//! Why a board stands where it stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::{Api, Problem};
use crate::engine::Why;

/// `GET /api/v1/devices/{name}/why`: what it waits for, until when and what then, in parts and in sentences.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<Why>, Problem> {
    Ok(Json(api.engine.why(&api.machine, &name).await?))
}
