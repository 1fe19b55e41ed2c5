//! The active definition as a diagram.

use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::instances::lookup::no_machine;
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::csp;
use crate::diagram::DIAGRAM_STYLE;
use crate::engine::EngineError;
use crate::machine::MachineName;

/// Allows the diagram nothing but its own style.
static DIAGRAM_POLICY: LazyLock<String> = LazyLock::new(|| csp::with_styles(&[DIAGRAM_STYLE]));

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/diagram.svg", get(diagram))]
}

/// The query of `diagram`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiagramQuery {
    /// The instance whose state is highlighted; without one, the diagram shows the number of instances in each state.
    instance: Option<String>,
}

/// `GET /api/v1/machines/{machine}/diagram.svg?instance=`: the active definition as a diagram, with the state of one
/// instance highlighted, or with the number of instances in each state.
async fn diagram(
    State(api): State<Arc<ApiContext>>,
    Path(machine): Path<String>,
    QueryParameters(DiagramQuery { instance }): QueryParameters<DiagramQuery>,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| Problem::no_machine(&machine))?;
    let diagram = match api.engine.draw_diagram(&name, instance.as_deref()).await {
        Err(EngineError::NoMachine(_)) => return Err(no_machine(&api, &machine)),
        diagram => diagram?,
    };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, DIAGRAM_POLICY.as_str()),
    ];
    Ok((headers, diagram).into_response())
}
