//! Entity tags: conditions of requests, and answers that a client has already.

use std::hash::{DefaultHasher, Hasher};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headers::{ETag, Header, HeaderMapExt, IfMatch, IfNoneMatch};
use serde::Serialize;

use super::problem::internal_error;
use crate::engine::TagCondition;

/// The tags of the answers that the client has: `If-None-Match` (Source: RFC 9110 §13.1.2).
pub(super) struct KnownTags(Option<IfNoneMatch>);

impl KnownTags {
    /// Reads them from a request's headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(decode(headers))
    }

    /// Whether the client has the answer with this tag.
    pub(super) fn contain(&self, tag: &str) -> bool {
        let Self(condition) = self;
        condition.as_ref().zip(entity_tag(tag)).is_some_and(|(known, tag)| !known.precondition_passes(&tag))
    }

    /// Whether they are `*`, which stands for any tag.
    pub(super) fn is_any(&self) -> bool {
        self.0.as_ref() == Some(&IfNoneMatch::any())
    }

    /// Lists those that begin with `prefix`.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<String> {
        let mut values: Vec<HeaderValue> = Vec::new();
        if let Self(Some(condition)) = self {
            condition.encode(&mut values);
        }
        let parts = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split('"'));
        parts.filter(|part| part.starts_with(prefix)).map(str::to_owned).collect()
    }
}

/// The condition `If-Match`; nothing where it is absent or `*` (Source: RFC 9110 §13.1.1: tags are compared strongly, so a
/// weak one matches none).
pub(super) fn tag_condition(headers: &HeaderMap) -> Option<TagCondition> {
    if !headers.contains_key(header::IF_MATCH) {
        return None;
    }
    let condition: Option<IfMatch> = decode(headers);
    if condition.as_ref().is_some_and(IfMatch::is_any) {
        return None;
    }
    Some(TagCondition::new(move |tag| {
        condition
            .as_ref()
            .zip(entity_tag(tag))
            .is_some_and(|(expected, tag)| expected.precondition_passes(&tag))
    }))
}

/// Decodes a condition; nothing where it is absent or has a tag with a space in it, which no tag has (Source: RFC 9110
/// §8.8.3) and which the `headers` crate answers by a failed assertion in debug builds.
fn decode<H: Header>(headers: &HeaderMap) -> Option<H> {
    let is_valid = |value: &HeaderValue| {
        let parts: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b'"').collect();
        let has_space = |tag: &&[u8]| tag.iter().any(u8::is_ascii_whitespace);
        // An unpaired quotation mark would join this value with the next one.
        !parts.len().is_multiple_of(2) && !parts.iter().skip(1).step_by(2).any(has_space)
    };
    headers.get_all(H::name()).iter().all(is_valid).then(|| headers.typed_get()).flatten()
}

fn entity_tag(tag: &str) -> Option<ETag> {
    format!("\"{tag}\"").parse().ok()
}

/// Answers with JSON and an entity tag.
pub(super) fn json(tag: &str, body: impl Into<Body>) -> Response {
    with_tag(tag, ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response())
}

/// Answers that the client has the answer already.
pub(super) fn not_modified(tag: &str) -> Response {
    with_tag(tag, StatusCode::NOT_MODIFIED.into_response())
}

/// Adds an entity tag.
pub(super) fn with_tag(tag: &str, mut response: Response) -> Response {
    if let Some(tag) = entity_tag(tag) {
        response.headers_mut().typed_insert(tag);
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
    if KnownTags::of(headers).contain(&tag) { not_modified(&tag) } else { json(&tag, body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        let value = |text: &&str| (name.clone(), HeaderValue::from_str(text).unwrap());
        values.iter().map(value).collect()
    }

    #[test]
    fn a_client_has_an_answer_if_one_of_its_tags_names_it_even_a_weak_one() {
        for (values, is_known) in [
            (&[][..], false),
            (&["\"a\""], true),
            (&["W/\"a\""], true),
            (&["\"b\", W/\"c\",\"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["\"b\""], false),
            (&["a"], false),
            (&["\"a a\""], false),
            (&["\"a", "a\""], false),
            (&[""], false),
        ] {
            let known = KnownTags::of(&headers(&header::IF_NONE_MATCH, values));
            assert_eq!(known.contain("a"), is_known, "{values:?}");
            assert_eq!(known.is_any(), values == ["*"], "{values:?}");
        }
        let known = KnownTags::of(&headers(&header::IF_NONE_MATCH, &["\"x.1\", W/\"y.2\"", "\"x.3\""]));
        assert_eq!(known.with_prefix("x."), ["x.1", "x.3"]);
    }

    #[test]
    fn a_condition_is_met_by_one_of_its_strong_tags() {
        for (values, is_met) in [
            (&["\"b\", \"a\""][..], true),
            (&["\"b\"", "\"a\""], true),
            (&["W/\"a\""], false),
            (&["\"b\""], false),
            (&["a"], false),
            (&["\"a a\", \"a\""], false),
            (&[""], false),
        ] {
            let condition = tag_condition(&headers(&header::IF_MATCH, values)).unwrap();
            assert_eq!(condition.is_met_by("a"), is_met, "{values:?}");
        }
        for values in [&[][..], &["*"]] {
            assert!(tag_condition(&headers(&header::IF_MATCH, values)).is_none(), "{values:?}");
        }
    }
}
