//! `POST /state`: what StateService's clients ask of a model and how they are answered, case by case.

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

/// What a client asks a model.
enum PredictRequest {
    /// To judge.
    Model(String, Result<Values, ModelError>),
    /// Something that is answered with `{}`.
    Nothing(&'static str),
}

/// `POST /state`: the states that a model predicts.
async fn predict(
    State(api): State<Arc<ApiContext>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let (permit, bytes) = LargeRequestPermit::read(request, MAX_VALUES_BYTES).await?;
    if !is_json(&headers) {
        return Ok(nothing("the content type must be application/json"));
    }
    let (name, values) = match permit.work(move || parse_predict_request(parse(&bytes)?)).await? {
        PredictRequest::Model(name, values) => (name, values),
        PredictRequest::Nothing(why) => return Ok(nothing(why)),
    };
    let states = api.engine.models().predict_values(&name, values).await.map_err(as_recorded)?;
    permit.answer(move || Ok(python_json(&states).into_bytes())).await
}

/// Whether a body is taken for JSON. What curl says of a body when it is told nothing is, because the original's
/// documentation sends it so.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/json", "application/x-www-form-urlencoded"].contains(&kind.as_str())
        || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// What a body asks. The original looks for the two words in whatever JSON it is.
fn parse_predict_request(body: Value) -> Result<PredictRequest, Problem> {
    let lacks = |word: &str| match &body {
        Value::Object(members) => !members.contains_key(word),
        Value::Array(items) => !items.iter().any(|item| item == word),
        Value::String(text) => !text.contains(word),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    if lacks("name") {
        return Ok(PredictRequest::Nothing("`name` is missing: which model?"));
    }
    if lacks("values") {
        return Ok(PredictRequest::Nothing("`values` is missing: a row of numbers for each thing to judge"));
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

/// The original has one status for all that goes wrong; that a runtime is missing, or a model does not answer in time,
/// is nothing that it could have.
fn as_recorded(error: ModelError) -> Problem {
    let is_ours = matches!(error, ModelError::Runtime(_) | ModelError::Busy(_) | ModelError::Stuck { .. });
    let problem = Problem::from(error);
    if is_ours { problem } else { problem.with_status(StatusCode::INTERNAL_SERVER_ERROR) }
}

fn nothing(why: &'static str) -> Response {
    let mut answer = (StatusCode::INTERNAL_SERVER_ERROR, "{}").into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(DETAIL_HEADER, HeaderValue::from_static(why));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_those_of_json_and_the_one_that_curl_makes_up() {
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
