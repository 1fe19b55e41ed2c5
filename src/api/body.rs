//! Request bodies and cheap answers: what several resources read and write alike.

use std::hash::{DefaultHasher, Hasher};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::connections::{Client, MIN_RATE, Peer};
use super::large::Place;
use super::problem::fault;
use super::{MAX_BODY, Problem};
use crate::clock::pause;
use crate::machine::{MAX_SIZE_BYTES, plain, storable};

/// How much of a body that is too large is still read, in bytes: a client that sends on into a closed connection never
/// sees the answer.
pub(super) const MAX_DRAINED: usize = 16 * 1024 * 1024;

/// A JSON object, or nothing at all: boards send an empty body, with whatever content type their tool makes up.
#[derive(Debug, Clone, Default)]
pub(super) struct Object(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, MAX_BODY).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let Value::Object(object) = parse_storable(&bytes)? else {
            return Err(Problem::invalid("the body must be a JSON object, or empty"));
        };
        Ok(Self(object))
    }
}

/// A JSON body of a known shape.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, MAX_BODY).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            let detail = "the body is empty; a JSON object is needed";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail));
        }
        let value = parse_storable(&bytes)?;
        if !value.is_object() {
            // Or else serde takes a list for an object without keys.
            return Err(Problem::invalid("the body must be a JSON object"));
        }
        serde_path_to_error::deserialize(value).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let what = plain(&error.into_inner().to_string());
            // Where the message names the member already, the path is that of the whole or of the member.
            Problem::invalid(if path == "." || what.contains(&format!("`{path}`")) {
                what
            } else {
                format!("{path}: {what}")
            })
        })
    }
}

/// The text of a machine definition, of whatever content type.
#[derive(Debug)]
pub(super) struct DefinitionText {
    pub(super) text: String,
    /// Kept for as long as the text is worked on.
    pub(super) place: Place,
}

impl<S: Send + Sync> FromRequest<S> for DefinitionText {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (place, bytes) = Place::read(request, MAX_SIZE_BYTES).await?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let detail = format!("the body is not UTF-8 text: byte {at} is none");
            Problem::new(StatusCode::BAD_REQUEST, "bad_text", detail)
        })?;
        if text.contains('\0') {
            return Err(Problem::invalid("the text holds the character U+0000, which cannot be stored"));
        }
        Ok(Self { text, place })
    }
}

/// Reads a body, of which there may be `most` bytes, and which may take as long as its client's connection says.
pub(super) async fn read(request: Request, most: usize) -> Result<Vec<u8>, Problem> {
    let longest = request.extensions().get().map(|peer: &Peer| peer.body_time);
    let begun = Instant::now();
    let mut body = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut size: usize = 0;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.next() => chunk,
            // Nothing is waited for where all of it is there already, as it mostly is.
            Some(longest) = too_long(longest, begun, size) => return Err(too_slow(longest)),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the body broke off before its end")
        })?;
        size += chunk.len();
        if size > MAX_DRAINED {
            break;
        }
        if size <= most {
            bytes.extend_from_slice(&chunk);
        }
    }
    if size > most {
        let detail = format!("a body may have at most {most} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    Ok(bytes)
}

/// Ends when a body of which `size` bytes have come has taken too long, and says how long that is.
async fn too_long(longest: Option<Duration>, begun: Instant, size: usize) -> Option<Duration> {
    let longest = with_earned(longest?, size);
    pause(longest.saturating_sub(begun.elapsed())).await;
    Some(longest)
}

/// How long a body may take of which `size` bytes have come.
fn with_earned(longest: Duration, size: usize) -> Duration {
    longest + Duration::from_millis(size as u64 * 1000 / u64::from(MIN_RATE))
}

fn too_slow(longest: Duration) -> Problem {
    let detail = format!("the body did not come within {} s", longest.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
}

/// Parses JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    // Some editors put a byte order mark before UTF-8 text.
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

/// Query parameters of a known shape.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(parameters)| Self(parameters)).map_err(|rejection| {
            let text = rejection.body_text();
            let what = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::invalid(format!("query: {}", plain(what)))
        })
    }
}

/// Who sends a request, as far as can be told: its address.
#[derive(Debug, Clone)]
pub(super) struct Sender(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Sender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get().map(|peer: &Peer| peer.address.as_ref().to_owned())))
    }
}

impl Client {
    /// The client that sends a request. Those that come over no connection, as in tests, count as one.
    pub(super) fn of_request(extensions: &Extensions) -> Self {
        extensions.get().map_or_else(|| Self::of(Ipv4Addr::UNSPECIFIED.into()), |peer: &Peer| peer.client)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of_request(&parts.extensions))
    }
}

/// The entity tags of what the client has, without their quotes; `*` stands for any (Source: RFC 9110 §13.1.2).
pub(super) fn known_tags(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
}

/// The entity tags one of which must still be so (Source: RFC 9110 §13.1.1: compared strongly, so a weak one never is);
/// nothing where there is no such condition.
pub(super) fn expected_tags(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    values.peek()?;
    let tags: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if tags.contains(&"*") {
        return None;
    }
    let strong = tags.into_iter().filter_map(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
    Some(strong.map(str::to_owned).collect())
}

/// Answers with JSON and an entity tag.
pub(super) fn json(tag: &str, body: impl Into<axum::body::Body>) -> Response {
    with_tag(tag, ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response())
}

/// Answers that the client has it already.
pub(super) fn not_modified(tag: &str) -> Response {
    with_tag(tag, StatusCode::NOT_MODIFIED.into_response())
}

/// Adds an entity tag.
pub(super) fn with_tag(tag: &str, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Answers with JSON and a tag made of it, or with 304 where the client has it already.
pub(super) fn tagged(headers: &HeaderMap, value: &impl Serialize) -> Response {
    let body = match serde_json::to_vec(value) {
        Ok(body) => body,
        Err(error) => return fault(&error).into_response(),
    };
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("{:016x}", hasher.finish());
    let has_it = known_tags(headers).any(|known| known == "*" || known == tag);
    if has_it { not_modified(&tag) } else { json(&tag, body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_second_more_for_each_4096_bytes_of_it() {
        let of_size = |size| with_earned(Duration::from_secs(10), size).as_secs();
        assert_eq!([0, 4095, 4096, 20 * 4096].map(of_size), [10, 10, 11, 30]);
    }
}
