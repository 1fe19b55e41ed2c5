//! `POST /state`: what StateService's clients ask of a model and how they are answered, case by case.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::super::body::parse;
use super::super::large::Place;
use super::super::models::{MAX_VALUES, take_values};
use super::super::{Api, Problem};
use super::DETAIL;
use crate::model::{ModelError, Values};

/// What a client asks a model.
enum Asked {
    /// To judge.
    Model(String, Result<Values, ModelError>),
    /// Something that is answered with `{}`.
    Nothing(&'static str),
}

/// `POST /state`: the states that a model predicts.
pub(super) async fn predict(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let (place, bytes) = Place::read(request, MAX_VALUES).await?;
    if !is_json(&headers) {
        return Ok(nothing("the content type must be application/json"));
    }
    let (name, values) = match place.work(move || asked(parse(&bytes)?)).await? {
        Asked::Model(name, values) => (name, values),
        Asked::Nothing(why) => return Ok(nothing(why)),
    };
    let states = api.engine.models().judge(&name, values).await.map_err(as_recorded)?;
    place.answer(move || Ok(python(&states).into_bytes())).await
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
fn asked(body: Value) -> Result<Asked, Problem> {
    let lacks = |word: &str| match &body {
        Value::Object(members) => !members.contains_key(word),
        Value::Array(items) => !items.iter().any(|item| item == word),
        Value::String(text) => !text.contains(word),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    if lacks("name") {
        return Ok(Asked::Nothing("`name` is missing: which model?"));
    }
    if lacks("values") {
        return Ok(Asked::Nothing("`values` is missing: a row of numbers for each thing to judge"));
    }
    let Value::Object(mut body) = body else {
        return Err(refused("the body must be a JSON object with `name` and `values`"));
    };
    let Some(Value::String(name)) = body.remove("name") else {
        return Err(refused("`name` must be a text: the name of a model"));
    };
    let values = take_values(&mut body).unwrap_or_else(|| Err(ModelError::Values("missing".to_owned())));
    Ok(Asked::Model(name, values))
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
    headers.insert(DETAIL, HeaderValue::from_static(why));
    answer
}

/// `{"state": [...]}` to the byte as Python writes it: a space after each comma and colon, and nothing but ASCII.
/// Source: Python's `json.dumps`, "If `ensure_ascii` is true (the default), the output is guaranteed to have all incoming
/// non-ASCII and non-printable characters escaped".
fn python(states: &[String]) -> String {
    let mut text = r#"{"state": ["#.to_owned();
    for (index, state) in states.iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { ", \"" });
        for c in state.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                ' '..='~' => text.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing into a text cannot fail.
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
            }
        }
        text.push('"');
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_as_python_writes_them() {
        let written =
            |states: &[&str]| python(&states.iter().map(|state| (*state).to_owned()).collect::<Vec<_>>());
        assert_eq!(written(&[]), r#"{"state": []}"#);
        assert_eq!(written(&["green", "red"]), r#"{"state": ["green", "red"]}"#);
        assert_eq!(
            written(&["\u{e9}tat \u{1f600}", "a\"\\\n\t\r\u{8}\u{c}\u{1}\u{7f}/"]),
            r#"{"state": ["\u00e9tat \ud83d\ude00", "a\"\\\n\t\r\b\f\u0001\u007f/"]}"#
        );
    }

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
