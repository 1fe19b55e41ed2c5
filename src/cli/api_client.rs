//! A client of a server's HTTP interface.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

/// How long an answer may take, in real time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Which server a command speaks to.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerOptions {
    /// The server's URL
    #[arg(
        long,
        global = true,
        env = "LIFEGUARD_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = parse_server,
        help_heading = "Server"
    )]
    server: Url,

    /// Print what the server answers as JSON
    #[arg(long, global = true, help_heading = "Server")]
    pub(super) json: bool,
}

/// Takes a server's URL, to which paths can be put.
fn parse_server(text: &str) -> Result<Url, String> {
    const FORM: &str = "http://HOST:PORT is needed";
    let url: Url = text.parse().map_err(|_| FORM.to_owned())?;
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "https" => Err(format!("Lifeguard does not speak TLS; {FORM}, or a tunnel to it")),
        _ => Err(FORM.to_owned()),
    }
}

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiClientError {
    /// The server could not be reached, or did not speak HTTP.
    #[error("no answer from {server} (is `lifeguard serve` running there?)")]
    NoAnswer {
        /// Its URL.
        server: Url,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// Something else answered.
    #[error("what answers at {0} is not Lifeguard")]
    NotLifeguard(Url),
    /// The server refused.
    #[error("{detail}")]
    Refused {
        /// Its status code.
        status: StatusCode,
        /// What it says.
        detail: String,
    },
    /// The server's URL cannot have a path put to it.
    #[error("{0} is not a URL that paths can be put to")]
    BadUrl(Url),
    /// What should name a board or an image is no part of a path.
    #[error("{0:?} is not a name")]
    BadName(String),
}

/// Speaks to one server.
#[derive(Debug, Clone)]
pub(super) struct ApiClient {
    server: Url,
    http: reqwest::Client,
    timeout: Duration,
}

impl ApiClient {
    pub(super) fn new(options: &ServerOptions) -> Result<Self, ApiClientError> {
        Self::of(options.server.clone())
    }

    pub(super) fn of(server: Url) -> Result<Self, ApiClientError> {
        // A server is on the farm's own network; what a proxy would answer is not the server's word.
        let http = reqwest::Client::builder().no_proxy().build();
        match http {
            Ok(http) => Ok(Self { server, http, timeout: REQUEST_TIMEOUT }),
            Err(source) => Err(ApiClientError::NoAnswer { server, source }),
        }
    }

    /// Waits for answers as long as they take.
    pub(super) fn with_long_timeout(self) -> Self {
        Self { timeout: Duration::from_hours(24), ..self }
    }

    /// Calls the path made of `segments` and gives the answer's JSON, null where it has none.
    pub(super) async fn call(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, ApiClientError> {
        let mut request = self.http.request(method, self.url(segments)?).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.json(&self.answer(request).await?)
    }

    /// Sends a text, and gives the answer's JSON.
    pub(super) async fn send_text(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        text: String,
    ) -> Result<Value, ApiClientError> {
        let request = self.http.request(method, self.url(segments)?).query(query).body(text);
        self.json(&self.answer(request).await?)
    }

    /// Gets a text.
    pub(super) async fn get_text(&self, segments: &[&str]) -> Result<String, ApiClientError> {
        let bytes = self.answer(self.http.get(self.url(segments)?)).await?;
        String::from_utf8(bytes).map_err(|_| ApiClientError::NotLifeguard(self.server.clone()))
    }

    fn url(&self, segments: &[&str]) -> Result<Url, ApiClientError> {
        let mut url = self.server.clone();
        // A path would lose them, and then mean something else.
        if let Some(bad) = segments.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(ApiClientError::BadName((*bad).to_owned()));
        }
        url.path_segments_mut()
            .map_err(|()| ApiClientError::BadUrl(self.server.clone()))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(segments);
        Ok(url)
    }

    /// The body of what the server answers, if it does not refuse.
    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, ApiClientError> {
        let no_answer = |source: reqwest::Error| {
            let source = source.without_url();
            ApiClientError::NoAnswer { server: self.server.clone(), source }
        };
        let response = request.timeout(self.timeout).send().await.map_err(no_answer)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(no_answer)?;
        if status.is_success() {
            return Ok(bytes.into());
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let detail = answer.get("detail").and_then(Value::as_str).map(str::to_owned);
        Err(ApiClientError::Refused { status, detail: detail.unwrap_or_else(|| status.to_string()) })
    }

    fn json(&self, bytes: &[u8]) -> Result<Value, ApiClientError> {
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(bytes).map_err(|_| ApiClientError::NotLifeguard(self.server.clone()))
    }

    pub(super) async fn get(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, ApiClientError> {
        self.call(Method::GET, segments, query, None).await
    }

    pub(super) async fn post(&self, segments: &[&str], body: &Value) -> Result<Value, ApiClientError> {
        self.call(Method::POST, segments, &[], Some(body)).await
    }
}
