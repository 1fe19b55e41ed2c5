//! JSON bodies.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::body::read;
use super::problem::Problem;
use crate::machine::{reword_library_error, storable};

/// The largest body of JSON, in bytes: a board's report is a few lines.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// A JSON object or an empty body: boards send an empty one, with any content type.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonObject(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, MAX_JSON_BYTES).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let Value::Object(object) = parse_storable(&bytes)? else {
            return Err(Problem::invalid("the body must be a JSON object, or empty"));
        };
        Ok(Self(object))
    }
}

/// A JSON body of a known type.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, MAX_JSON_BYTES).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            let detail = "the body is empty; a JSON object is needed";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail));
        }
        let value = parse_storable(&bytes)?;
        if !value.is_object() {
            // Serde would accept a list as the members in their order.
            return Err(Problem::invalid("the body must be a JSON object"));
        }
        serde_path_to_error::deserialize(value).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let what = reword_library_error(&error.into_inner().to_string());
            // The path is left out if it is the path of the whole body, or if the message names the member
            // already.
            Problem::invalid(if path == "." || what.contains(&format!("`{path}`")) {
                what
            } else {
                format!("{path}: {what}")
            })
        })
    }
}

/// Parses JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    // Some editors write a byte order mark before UTF-8 text.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, "bad_json", format!("the body is not JSON: {error}"))
            .with("line", line)
            .with("column", column)
    })
}

/// Parses JSON that can be stored and read back.
fn parse_storable(bytes: &[u8]) -> Result<Value, Problem> {
    let mut value = parse(bytes)?;
    storable::check(&mut value).map_err(|fault| Problem::invalid(fault.to_string()))?;
    Ok(value)
}
