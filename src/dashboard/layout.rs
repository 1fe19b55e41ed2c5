//! What all pages have in common, and what browsers may do with them.

use std::sync::LazyLock;

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};

use crate::csp;
use crate::diagram::DIAGRAM_STYLE;
use crate::formatting::with_causes;

/// The style of all pages.
const PAGE_STYLE: &str = concat!("\n", include_str!("templates/page.css"));

/// Allows a page nothing but its own style and that of the diagram in it.
static PAGE_POLICY: LazyLock<Option<HeaderValue>> =
    LazyLock::new(|| HeaderValue::try_from(csp::with_styles(&[PAGE_STYLE, DIAGRAM_STYLE])).ok());

/// The values of `layout.html`, which all pages extend.
#[derive(Debug)]
pub(super) struct Layout {
    /// What follows the program's name in the title.
    pub(super) title: String,
    /// How often browsers load the page again, in seconds.
    pub(super) refresh_s: u32,
    /// When the page was rendered.
    pub(super) now: DateTime<Utc>,
}

impl Layout {
    /// The text between `<style>` and `</style>`, which [`PAGE_POLICY`] allows by its digest.
    #[expect(clippy::unused_self, reason = "the template reaches it through this struct")]
    pub(super) fn style(&self) -> &'static str {
        PAGE_STYLE
    }

    pub(super) fn rendered_at(&self) -> String {
        self.now.format("%Y-%m-%d %H:%M:%S UTC").to_string()
    }
}

/// Adds the content security policy of pages to an answer.
pub(super) async fn add_page_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(policy) = &*PAGE_POLICY {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// Answers with a page that is not cached.
pub(super) fn uncached(page: &impl Template) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], html(page)).into_response()
}

/// Answers with a page.
pub(super) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            tracing::error!(error = %with_causes(&error), "cannot render page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
