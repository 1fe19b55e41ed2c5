//! The definition in force as a picture.

use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::csp;
use crate::diagram::DIAGRAM_STYLE;
use crate::engine::EngineError;
use crate::machine::MachineName;

/// What a browser lets the picture do: it has one style sheet of its own.
static DIAGRAM_POLICY: LazyLock<String> = LazyLock::new(|| csp::with_styles(&[DIAGRAM_STYLE]));

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/diagram.svg", get(diagram))]
}

/// What the picture is to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiagramQuery {
    /// The board whose state is lit; without one, the picture says how many boards are in each state.
    device: Option<String>,
}

/// `GET /api/v1/machines/{machine}/diagram.svg?device=`: the definition in force as a picture, with the state of one board
/// lit, or with the number of instances in each state.
async fn diagram(
    State(api): State<Arc<ApiContext>>,
    Path(machine): Path<String>,
    QueryParameters(DiagramQuery { device }): QueryParameters<DiagramQuery>,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| Problem::no_machine(&machine))?;
    let picture = match api.engine.draw_diagram(&name, device.as_deref()).await {
        Err(EngineError::NoMachine(_)) => return Err(Problem::no_machine(&machine)),
        picture => picture?,
    };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, DIAGRAM_POLICY.as_str()),
    ];
    Ok((headers, picture).into_response())
}
