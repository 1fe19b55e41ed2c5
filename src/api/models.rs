//! Hosted models: list, show, load, predict.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body::MAX_DRAINED_BYTES;
use super::context::{ApiContext, ApiRoutes};
use super::etag::tagged;
use super::json_body::parse;
use super::large_requests::LargeRequestPermit;
use super::problem::{Problem, internal_error};
use crate::model::{ModelError, ModelView, Values};

/// The largest body with values, in bytes.
pub(super) const MAX_VALUES_BYTES: usize = 8 * 1024 * 1024;

const _: () =
    assert!(MAX_VALUES_BYTES < MAX_DRAINED_BYTES, "a body that is a little too large is still answered");

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/models", get(list)),
        ("/api/v1/models/{name}", get(show)),
        ("/api/v1/models/{name}/load", post(load)),
        ("/api/v1/models/{name}/predictions", post(predict)),
    ]
}

/// `GET /api/v1/models`: all models, and the runtime.
async fn list(State(api): State<Arc<ApiContext>>, headers: HeaderMap) -> Response {
    let models = api.engine.models();
    tagged(&headers, &json!({ "models": models.list(), "runtime": models.runtime() }))
}

/// `GET /api/v1/models/{name}`: one model.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &api.engine.models().show(&name)?))
}

/// `POST /api/v1/models/{name}/load`: reads the configs again, and loads the model from its file.
async fn load(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
) -> Result<Json<ModelView>, Problem> {
    Ok(Json(api.engine.models().load(&name).await?))
}

/// `POST /api/v1/models/{name}/predictions`: predicts the state of each row.
async fn predict(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (permit, bytes) = LargeRequestPermit::read(request, MAX_VALUES_BYTES).await?;
    let parsed = permit.work(move || {
        let Value::Object(mut body) = parse(&bytes)? else {
            return Err(Problem::invalid("the body must be a JSON object"));
        };
        let values = take_values(&mut body).ok_or_else(|| Problem::invalid("`values` is missing"))?;
        Ok((body.keys().next().cloned(), values))
    });
    let (extra, values) = parsed.await?;
    if let Some(key) = extra {
        return Err(Problem::invalid(format!("unknown field `{key}`, expected `values`")));
    }
    let states = api.engine.models().predict_values(&name, values).await?;
    permit
        .answer(move || {
            serde_json::to_vec(&PredictionsView { states }).map_err(|error| internal_error(&error))
        })
        .await
}

/// The predicted states.
#[derive(Serialize)]
struct PredictionsView {
    states: Vec<String>,
}

/// Removes the values from a body.
pub(super) fn take_values(body: &mut Map<String, Value>) -> Option<Result<Values, ModelError>> {
    body.remove("values").map(|values| Values::read(&values))
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        let (status, code) = match &error {
            ModelError::Unknown(_) => (StatusCode::NOT_FOUND, "no_model"),
            ModelError::Values(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ModelError::Runtime(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_runtime"),
            ModelError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "model_busy"),
            ModelError::Stuck { .. } => (StatusCode::SERVICE_UNAVAILABLE, "model_stuck"),
            // The client did nothing wrong, and gets what the administrator needs to know.
            ModelError::Config { .. } | ModelError::Folder(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "bad_config")
            }
            ModelError::File { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "bad_model"),
            ModelError::Fault(_) => return internal_error(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
