//! Entity tags: conditions of requests, and answers that a client has already.

use std::hash::{DefaultHasher, Hasher};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::internal_error;

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
        Err(error) => return internal_error(&error).into_response(),
    };
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("{:016x}", hasher.finish());
    let has_it = known_tags(headers).any(|known| known == "*" || known == tag);
    if has_it { not_modified(&tag) } else { json(&tag, body) }
}
