//! The front of all routes: normalizes paths, refuses requests that pages of other sites make browsers send, and adds security
//! headers to every answer.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tower::Service;

use super::client::ConnectionInfo;
use super::problem::{Problem, as_problem};
use super::server_names::ServerNames;
use crate::csp;
use crate::store::Store;

/// Answers every HTTP request: checks it, passes it to the routes, and adds headers to the answer.
#[derive(Debug)]
pub(super) struct HttpFrontend {
    pub(super) routes: Router,
    pub(super) names: ServerNames,
    pub(super) store: Option<Store>,
}

impl HttpFrontend {
    /// Answers a request.
    pub(super) async fn answer(&self, mut request: Request) -> Result<Response, Infallible> {
        if let Some(normalized) = without_empty_segments(request.uri()) {
            *request.uri_mut() = normalized;
        }
        let mut response = if let Some(problem) = refusal(&request, &self.names) {
            problem.into_response()
        } else {
            let is_head = request.method() == Method::HEAD;
            let mut response = self.route(request).await?;
            let status = response.status();
            if status.is_client_error() || status.is_server_error() {
                match response.extensions_mut().remove::<Problem>() {
                    Some(problem) => problem.into_response(),
                    // Boxed: the future of every request would have to hold it.
                    None => Box::pin(as_problem(response, is_head)).await,
                }
            } else {
                response
            }
        };
        add_security_headers(response.headers_mut());
        Ok(response)
    }

    /// Passes a request to the routes; while the database is lost, a request that needs it is answered by 503.
    async fn route(&self, request: Request) -> Result<Response, Infallible> {
        let store = self.store.as_ref().filter(|_| needs_database(request.uri().path()));
        let answer = self.routes.clone().call(request);
        let Some(store) = store else { return answer.await };
        tokio::select! {
            biased;
            response = answer => response,
            error = store.lost() => Ok(Problem::from(error).into_response()),
        }
    }
}

/// Whether the route of the API at `path` needs the database. Pages check that themselves.
fn needs_database(path: &str) -> bool {
    path == "/state" || path.starts_with("/api/v1/") && !path.starts_with("/api/v1/models")
}

/// Removes empty segments of the path, where it has any: a base URL may end in a slash.
fn without_empty_segments(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path.len() < 2 || !(path.ends_with('/') || path.contains("//")) {
        return None;
    }
    let mut normalized = String::with_capacity(path.len() + uri.query().map_or(0, str::len) + 1);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        normalized.push('/');
        normalized.push_str(part);
    }
    if normalized.is_empty() {
        normalized.push('/');
    }
    if let Some(query) = uri.query() {
        normalized.push('?');
        normalized.push_str(query);
    }
    normalized.parse().ok()
}

/// The problem of a request that a page of another site makes a browser send (cross-site request forgery), or that names
/// another host.
///
/// Browsers name the page that sends a request, unless it only reads (Source: WHATWG Fetch, "Origin header"); other clients
/// do not. Boards may report by GET, so such a path changes something. The source of a GET is sent only to `https` and to
/// loopback addresses (Source: W3C Fetch Metadata §2.3, "potentially trustworthy URL"); elsewhere a page's `<img>` is
/// recognized by headers that browsers always send and wget, curl, iPXE and busybox do not.
fn refusal(request: &Request, names: &ServerNames) -> Option<Problem> {
    let headers = request.headers();
    // The target of a request in absolute form names the host (Source: RFC 9112 §3.2.2).
    let target = request.uri().authority().map(|authority| Cow::Borrowed(authority.as_str()));
    let hosts = headers.get_all(header::HOST);
    let mut hosts =
        target.into_iter().chain(hosts.iter().map(|host| String::from_utf8_lossy(host.as_bytes())));
    if let Some(foreign) = hosts.find(|host| !names.is_our_name(host)) {
        return Some(wrong_host(&foreign, request, names));
    }
    let changes = !request.method().is_safe() || request.uri().path().contains("/events/");
    if !changes {
        return None;
    }
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let host = text(&header::HOST);
    let is_foreign = matches!(site, Some("cross-site" | "same-site"))
        || text(&header::ORIGIN).is_some_and(|origin| !names.is_our_page(origin, host))
        || request.method().is_safe()
            && !matches!(site, Some("same-origin" | "none"))
            && (is_browser(headers)
                || text(&header::REFERER).is_some_and(|page| !names.is_our_page(origin_of(page), host)));
    let detail = "a page of another site sent this request";
    is_foreign.then(|| Problem::new(StatusCode::FORBIDDEN, "other_site", detail))
}

/// Whether a request has headers that only browsers send; pages cannot suppress them.
/// Source: Chromium 156, as captured for `<img>`, `<iframe>` and `fetch` with `no-cors` to `http` on another host.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCEPT_LANGUAGE) || headers.contains_key(header::UPGRADE_INSECURE_REQUESTS)
}

/// The origin of a page.
fn origin_of(page: &str) -> &str {
    let authority = page.find("://").map_or(0, |at| at + 3);
    let end = page.get(authority..).and_then(|rest| rest.find(['/', '?', '#']));
    end.and_then(|end| page.get(..authority + end)).unwrap_or(page)
}

fn wrong_host(host: &str, request: &Request, names: &ServerNames) -> Problem {
    let peer = request.extensions().get().map(|connection: &ConnectionInfo| connection.address.as_ref());
    names.log_foreign_name(host, peer);
    let shown: String = host.chars().take(100).collect();
    let detail = format!(
        "this server is not called {shown:?}; call it by an address or by one of its names: {} \
         (--server-name gives it another)",
        names.joined()
    );
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", detail)
}

/// Adds security headers to an answer; its own content security policy is kept.
fn add_security_headers(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp::DENY_ALL));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_segments_of_a_path_are_removed() {
        for (path, expected) in [
            ("/", None),
            ("/state", None),
            ("/a/b?c=//", None),
            ("//", Some("/")),
            ("//state", Some("/state")),
            ("/a//b/", Some("/a/b")),
            ("/a/?wait=1//2", Some("/a?wait=1//2")),
            ("///a///b///", Some("/a/b")),
            ("http://box1//a/", Some("/a")),
        ] {
            let normalized = without_empty_segments(&path.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(normalized.as_deref(), expected, "{path}");
        }
    }
}
