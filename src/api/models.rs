//! Hosted models: which there are, how they are, loading them, and asking them.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::body::{MAX_DRAINED, read, tagged};
use super::problem::fault;
use super::{Api, Problem};
use crate::model::{ModelError, ModelView, Values};

/// The largest body with values, in bytes.
pub(super) const MAX_VALUES: usize = 8 * 1024 * 1024;

const _: () = assert!(MAX_VALUES < MAX_DRAINED, "a body that is a little too large is still answered");

/// Bodies up to so many bytes are parsed where they arrive; larger ones would keep others waiting.
const MAX_AT_ONCE: usize = 64 * 1024;

/// How many large bodies are parsed at once: each takes many times its size of memory meanwhile.
static LARGE: Semaphore = Semaphore::const_new(2);

/// `GET /api/v1/models`: all models, and what runs them.
pub(super) async fn list(State(api): State<Api>, headers: HeaderMap) -> Response {
    let models = api.engine.models();
    tagged(&headers, &json!({ "models": models.list(), "runtime": models.runtime() }))
}

/// `GET /api/v1/models/{name}`: one model.
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &api.engine.models().show(&name)?))
}

/// `POST /api/v1/models/{name}/load`: reads the configs anew, and loads the model from its file.
pub(super) async fn load(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ModelView>, Problem> {
    Ok(Json(api.engine.models().load(&name).await?))
}

/// `POST /api/v1/models/{name}/predictions`: the state of each row.
pub(super) async fn predict(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let bytes = read(request, MAX_VALUES).await?;
    let (extra, values) = aside(bytes, |body| {
        let Value::Object(mut body) = body else {
            return Err(Problem::invalid("the body must be a JSON object"));
        };
        let values = take_values(&mut body).ok_or_else(|| Problem::invalid("`values` is missing"))?;
        Ok((body.keys().next().cloned(), values))
    })
    .await?;
    if let Some(key) = extra {
        return Err(Problem::invalid(format!("unknown field `{key}`, expected `values`")));
    }
    let states = api.engine.models().judge(&name, values).await?;
    Ok(Json(json!({ "states": states })))
}

/// Takes the values out of a body.
pub(super) fn take_values(body: &mut Map<String, Value>) -> Option<Result<Values, ModelError>> {
    body.remove("values").map(|values| Values::read(&values))
}

/// Parses a body of JSON and makes something of it; where it is large, aside, so that it keeps no other request waiting.
pub(super) async fn aside<T: Send + 'static>(
    bytes: Vec<u8>,
    make: impl FnOnce(Value) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes.len() <= MAX_AT_ONCE {
        return make(parse(&bytes)?);
    }
    let place = LARGE.acquire().await.map_err(|error| fault(&error))?;
    let made = tokio::task::spawn_blocking(move || {
        let _place = place;
        make(parse(&bytes)?)
    });
    made.await.map_err(|error| fault(&error))?
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    // Some editors put a byte order mark before UTF-8 text.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, "bad_json", format!("the body is not JSON: {error}"))
            .with("line", line)
            .with("column", column)
    })
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        let (status, code) = match &error {
            ModelError::Unknown(_) => (StatusCode::NOT_FOUND, "no_model"),
            ModelError::Values(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ModelError::Runtime(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_runtime"),
            ModelError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "model_busy"),
            ModelError::Stuck { .. } => (StatusCode::SERVICE_UNAVAILABLE, "model_stuck"),
            // Whoever asks is not to blame, and is told what to pass on.
            ModelError::Config { .. } | ModelError::Folder(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "bad_config")
            }
            ModelError::File { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "bad_model"),
            ModelError::Fault(_) => return fault(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
