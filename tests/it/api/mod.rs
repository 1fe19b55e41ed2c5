//! Tests of the HTTP API as recorded contracts: answers are compared word by word.

mod devices;
mod events;
mod front;
mod images;
mod instances;
mod labels;
mod list;
mod machines;
mod page;
mod problems;
mod requests;
mod show;
mod version;
mod why;

use std::net::SocketAddr;
use std::sync::Arc;

use lifeguard::api::{
    self, ApiContext, HttpOptions, ListTimeouts, LongPolls, ReportRateLimiter, SnapshotPermits,
};
use lifeguard::boards::{BoardFace, BoardService};
use lifeguard::engine::Engine;
use lifeguard::machine::MachineName;
use lifeguard::outlets::{OUTLET_MACHINE, OutletService};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use sqlx::types::Json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A server's answer.
pub(crate) struct ApiAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl ApiAnswer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and the body. A problem, whose form is checked, is shown as `STATUS CODE: DETAIL MORE`.
    pub(crate) fn status_and_body(&self) -> String {
        let status = self.status;
        if status < 400 {
            let body = if self.text.is_empty() { String::new() } else { pretty_json(&self.json()) };
            return format!("{status} {body}").trim_end().to_owned();
        }
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(self.header("retry-after"), if status == 503 { "1" } else { "" });
        let Value::Object(mut problem) = self.json() else { panic!("{}", self.text) };
        let title = reqwest::StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
        assert_eq!(problem.remove("type").unwrap(), "about:blank");
        assert_eq!(problem.remove("status").unwrap(), status);
        assert_eq!(problem.remove("title").unwrap(), title);
        let [code, detail] = ["code", "detail"].map(|member| match problem.remove(member) {
            Some(Value::String(text)) if !text.is_empty() => text,
            other => panic!("{member}: {other:?}"),
        });
        let more = if problem.is_empty() { String::new() } else { format!("\n{}", Value::from(problem)) };
        format!("{status} {code}: {detail}{more}")
    }
}

/// Formats JSON on one line if it is short.
pub(crate) fn pretty_json(value: &Value) -> String {
    let line = value.to_string();
    if line.len() <= 160 { line } else { format!("{value:#}") }
}

/// The API on an engine that a test has created, or shares with a server.
pub(crate) fn api_over(engine: Engine) -> ApiContext {
    let machine = MachineName::new("board").unwrap();
    ApiContext {
        boards: BoardService::new(engine.clone(), Arc::new(BoardFace::new(machine.clone()))),
        outlets: OutletService::new(engine.clone(), MachineName::new(OUTLET_MACHINE).unwrap()),
        machine,
        shared_instance: None,
        stopping: CancellationToken::new(),
        long_polls: LongPolls::new(16),
        list_timeouts: ListTimeouts::default(),
        report_rates: ReportRateLimiter::default(),
        snapshot_permits: SnapshotPermits::of(engine.store().connections()),
        engine,
    }
}

/// Serves the API; returns its address and its tasks.
pub(crate) async fn serve(api: ApiContext) -> (SocketAddr, JoinSet<()>) {
    let store = Some(api.engine.store().clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    let routes = api::router(api);
    server.spawn(api::serve(listener, routes, store, HttpOptions::default(), CancellationToken::new()));
    (address, server)
}

/// Sends a request: `line` is its method and its path.
pub(crate) async fn send_to(
    server: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> ApiAnswer {
    let (method, path) = line.split_once(' ').unwrap();
    let url = format!("http://{server}{path}");
    let mut request = reqwest::Client::new().request(method.parse().unwrap(), url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap_or_else(|error| panic!("{line:.100}: {error}"));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    ApiAnswer { status, headers, text: response.text().await.unwrap() }
}

/// Sends a request with a body, or an empty one, like tools without JSON support.
pub(crate) async fn send(world: &World, line: &str, body: impl Into<reqwest::Body>) -> ApiAnswer {
    let form = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
    send_to(world.server.http, line, &form, body).await
}

/// Sends each of `requests`, a line and a body, in sequence; returns the answers.
pub(crate) async fn contract<B: Into<reqwest::Body>>(
    world: &World,
    requests: impl IntoIterator<Item = (&str, B)>,
) -> String {
    let mut answers = Vec::new();
    for (line, body) in requests {
        answers.push(format!("{line}\n{}", send(world, line, body).await.status_and_body()));
    }
    answers.join("\n\n")
}

/// All stored tables except history.
pub(crate) async fn dump_tables(world: &World) -> Value {
    let pool = world.database.pool().await;
    let all = sqlx::query_scalar::<_, Json<Value>>(
        "SELECT jsonb_build_object(
            'instance', (SELECT jsonb_agg(t ORDER BY t.instance_id) FROM instance t),
            'device', (SELECT jsonb_agg(t ORDER BY t.instance_id) FROM device t),
            'action', (SELECT jsonb_agg(t ORDER BY t.action_id) FROM action t),
            'image', (SELECT jsonb_agg(t ORDER BY t.name) FROM image t),
            'boot_config', (SELECT jsonb_agg(t ORDER BY t.image, t.hardware) FROM boot_config t))",
    );
    let Json(all) = all.fetch_one(&pool).await.unwrap();
    pool.close().await;
    all
}
