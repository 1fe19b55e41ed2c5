//! What all pages have in common, and what browsers may do with them.

use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};

use crate::csp;
use crate::diagram::DIAGRAM_STYLE;
use crate::diagram::escape_xml;

/// The style of all pages.
const PAGE_STYLE: &str = concat!("\n", include_str!("page.css"));

/// What browsers may do with a page: they show it, with its style and that of the picture in it.
static PAGE_POLICY: LazyLock<Option<HeaderValue>> =
    LazyLock::new(|| HeaderValue::try_from(csp::with_styles(&[PAGE_STYLE, DIAGRAM_STYLE])).ok());

/// Says with an answer what browsers may do with it.
pub(super) async fn add_page_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(policy) = &*PAGE_POLICY {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// A whole page, which is loaded again after `refresh_s` seconds. `title` is a text, `main` is markup.
pub(super) fn full_page(title: &str, refresh_s: u32, main: &str, now: DateTime<Utc>) -> String {
    let at = now.format("%Y-%m-%d %H:%M:%S UTC");
    format!(
        include_str!("page.html"),
        title = escape_xml(title),
        refresh_s = refresh_s,
        style = PAGE_STYLE,
        at = at,
        main = main
    )
}

/// Answers with a page that nobody keeps.
pub(super) fn uncached(page: String) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}
