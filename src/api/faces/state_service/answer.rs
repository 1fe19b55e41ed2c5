//! Answers in the form of `StateService`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Explains a status without a body.
pub(super) const DETAIL_HEADER: &str = "lifeguard-detail";

/// Answers as the original does. The content type is HTML, so its content security policy allows nothing.
pub(super) fn plain(status: StatusCode, body: &str, detail: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = (status, headers, body.to_owned()).into_response();
    if let Some(detail) = HeaderValue::from_str(detail).ok().filter(|detail| !detail.is_empty()) {
        response.headers_mut().insert(DETAIL_HEADER, detail);
    }
    response
}
