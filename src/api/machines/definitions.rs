//! The active definitions, earlier ones, and their texts.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;

use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::tagged;
use crate::api::instances::lookup::no_machine;
use crate::api::problem::Problem;
use crate::engine::ActivatedDefinition;
use crate::machine::MachineName;
use crate::store::definitions;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/machines", get(list)),
        ("/api/v1/machines/{machine}", get(show)),
        // `check` is a valid name of a machine.
        ("/api/v1/machines/check", get(|api, headers| show(api, Path("check".to_owned()), headers))),
        ("/api/v1/machines/{machine}/definitions/{number}", get(text)),
    ]
}

/// An activation of a definition.
#[derive(Debug, Serialize)]
struct DefinitionView {
    machine: String,
    definition: i32,
    digest: String,
    activated_at: chrono::DateTime<chrono::Utc>,
    origin: String,
    sender: Option<String>,
}

impl From<ActivatedDefinition> for DefinitionView {
    fn from(activated: ActivatedDefinition) -> Self {
        let ActivatedDefinition { machine, number, digest, at, origin, sender, first_history: _ } = activated;
        Self { machine: machine.to_string(), definition: number, digest, activated_at: at, origin, sender }
    }
}

/// `GET /api/v1/machines`: the active definitions.
async fn list(State(api): State<Arc<ApiContext>>, headers: HeaderMap) -> Result<Response, Problem> {
    let active = definitions::read_active(&mut *api.engine.store().reader().await?).await?;
    let machines: Vec<DefinitionView> = active.definitions.into_iter().map(DefinitionView::from).collect();
    Ok(tagged(&headers, &json!({ "machines": machines })))
}

/// `GET /api/v1/machines/{machine}`: the active definition, and all activations, oldest first.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(machine): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| Problem::no_machine(&machine))?;
    let activated = definitions::list_activated(&mut *api.engine.store().reader().await?, &name).await?;
    let active =
        activated.last().cloned().map(DefinitionView::from).ok_or_else(|| no_machine(&api, &machine))?;
    let history: Vec<DefinitionView> = activated.into_iter().map(DefinitionView::from).collect();
    Ok(tagged(&headers, &json!({ "active": active, "history": history })))
}

/// `GET /api/v1/machines/{machine}/definitions/{number}`: a definition's text, as it was loaded.
async fn text(
    State(api): State<Arc<ApiContext>>,
    Path((machine, number)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| Problem::no_machine(&machine))?;
    let source = match number.parse() {
        Ok(number) => {
            definitions::read_source(&mut *api.engine.store().reader().await?, &name, number).await?
        }
        Err(_) => None,
    };
    let none = || {
        let detail = format!("the machine {machine:?} has no definition {number:?}");
        Problem::new(StatusCode::NOT_FOUND, "no_definition", detail)
    };
    Ok(([(header::CONTENT_TYPE, "application/yaml")], source.ok_or_else(none)?).into_response())
}
