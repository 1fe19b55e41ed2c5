//! `POST /state`: predictions of hosted models, with the answers of StateService for each kind of request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;

use super::answer::DETAIL_HEADER;
use super::python_json::python_json;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::json_body::parse;
use crate::api::large_requests::LargeRequestPermit;
use crate::api::models::{MAX_VALUES_BYTES, take_values};
use crate::api::problem::Problem;
use crate::model::{ModelError, Values};

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/state", post(predict))]
}

/// A request to predict.
enum PredictRequest {
    /// Values for a model.
    Model(String, Result<Values, ModelError>),
    /// An incomplete request, which is answered with `{}`, and the reason.
    Incomplete(&'static str),
}

/// `POST /state`: the states that a model predicts.
async fn predict(
    State(api): State<Arc<ApiContext>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let (permit, bytes) = LargeRequestPermit::read(request, MAX_VALUES_BYTES).await?;
    if !is_json(&headers) {
        return Ok(incomplete("the content type must be application/json"));
    }
    let (name, values) = match permit.work(move || parse_predict_request(parse(&bytes)?)).await? {
        PredictRequest::Model(name, values) => (name, values),
        PredictRequest::Incomplete(reason) => return Ok(incomplete(reason)),
    };
    let states = api.engine.models().predict_values(&name, values).await.map_err(as_recorded)?;
    permit.answer(move || Ok(python_json(&states).into_bytes())).await
}

/// Whether a body is parsed as JSON. The default content type of curl counts as JSON: the examples of the original's
/// documentation send it.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/json", "application/x-www-form-urlencoded"].contains(&kind.as_str())
        || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Parses a request. The original looks for the words `name` and `values` in JSON of any type.
fn parse_predict_request(body: Value) -> Result<PredictRequest, Problem> {
    let lacks = |word: &str| match &body {
        Value::Object(members) => !members.contains_key(word),
        Value::Array(items) => !items.iter().any(|item| item == word),
        Value::String(text) => !text.contains(word),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    if lacks("name") {
        return Ok(PredictRequest::Incomplete("`name` is missing: which model?"));
    }
    if lacks("values") {
        return Ok(PredictRequest::Incomplete("`values` is missing: a row of numbers for each prediction"));
    }
    let Value::Object(mut body) = body else {
        return Err(refused("the body must be a JSON object with `name` and `values`"));
    };
    let Some(Value::String(name)) = body.remove("name") else {
        return Err(refused("`name` must be a text: the name of a model"));
    };
    let values = take_values(&mut body).unwrap_or_else(|| Err(ModelError::Values("missing".to_owned())));
    Ok(PredictRequest::Model(name, values))
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid", detail)
}

/// The problem with the status of the original, which uses one status for all errors. The original has no
/// status for a missing runtime or for a model that does not answer in time.
fn as_recorded(error: ModelError) -> Problem {
    let is_own_status =
        matches!(error, ModelError::Runtime(_) | ModelError::Busy(_) | ModelError::Stuck { .. });
    let problem = Problem::from(error);
    if is_own_status { problem } else { problem.with_status(StatusCode::INTERNAL_SERVER_ERROR) }
}

fn incomplete(reason: &'static str) -> Response {
    let mut answer = (StatusCode::INTERNAL_SERVER_ERROR, "{}").into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(DETAIL_HEADER, HeaderValue::from_static(reason));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_content_types_and_the_default_of_curl_are_parsed_as_json() {
        let is_json = |kind: Option<&'static str>| {
            let pair = kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            is_json(&pair.into_iter().collect())
        };
        for kind in [
            "application/json",
            "APPLICATION/JSON",
            "application/json; charset=utf-8",
            "application/vnd.x+json",
            "application/x-www-form-urlencoded",
        ] {
            assert!(is_json(Some(kind)), "{kind}");
        }
        for kind in [None, Some("text/plain"), Some("application/jsonx"), Some("text/x+json")] {
            assert!(!is_json(kind), "{kind:?}");
        }
    }
}
