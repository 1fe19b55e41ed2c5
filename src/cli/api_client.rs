//! The client of a server's HTTP interface.

use std::time::Duration;

use clap::Args;
use device_io::system_code;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use crate::formatting::duration;

/// The timeout of a request, in real time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of every command that asks a server.
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

    /// Print the server's answer as JSON
    #[arg(long, global = true, help_heading = "Server")]
    pub(super) json: bool,
}

/// Parses the base URL of a server.
pub(super) fn parse_server(text: &str) -> Result<Url, String> {
    const FORM: &str = "a URL such as http://HOST:PORT is needed";
    let url: Url = text.parse().map_err(|_| FORM.to_owned())?;
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "https" => Err(format!("Lifeguard has no TLS; {FORM}, or a tunnel to it")),
        _ => Err(FORM.to_owned()),
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiClientError {
    /// The server cannot be reached, or its answer is not HTTP.
    #[error("cannot reach {server}: {reason} (is `lifeguard serve` running there?)")]
    NoAnswer {
        /// Its URL.
        server: Url,
        /// The cause, for people.
        reason: String,
    },
    /// The answer is not that of a Lifeguard server.
    #[error("the server at {0} is not Lifeguard")]
    NotLifeguard(Url),
    /// The server refused the request.
    #[error("{detail}")]
    Refused {
        /// Its status code.
        status: StatusCode,
        /// The detail of its answer.
        detail: String,
        /// Its answer; null if that is not JSON.
        answer: Value,
    },
    /// No path can be appended to the server's URL.
    #[error("not a base URL: {0}")]
    BadUrl(Url),
    /// A name cannot be a segment of a path.
    #[error("{0:?} is not a name")]
    BadName(String),
}

/// A client of one server.
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
        // The server is on the local network; requests must not go through a proxy.
        let http = reqwest::Client::builder().no_proxy().build();
        match http {
            Ok(http) => Ok(Self { server, http, timeout: REQUEST_TIMEOUT }),
            Err(error) => Err(ApiClientError::NoAnswer { server, reason: error.to_string() }),
        }
    }

    /// Waits for answers for up to a day.
    pub(super) fn with_long_timeout(self) -> Self {
        Self { timeout: Duration::from_hours(24), ..self }
    }

    /// Sends a request to the path made of `segments`, and returns the JSON of the answer; null if its body is empty.
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

    /// Sends a text, and returns the JSON of the answer.
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

    /// Reads a text.
    pub(super) async fn get_text(&self, segments: &[&str]) -> Result<String, ApiClientError> {
        self.get_text_with(segments, &[]).await
    }

    /// Reads a text, with a query.
    pub(super) async fn get_text_with(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<String, ApiClientError> {
        let bytes = self.answer(self.http.get(self.url(segments)?).query(query)).await?;
        String::from_utf8(bytes).map_err(|_| ApiClientError::NotLifeguard(self.server.clone()))
    }

    fn url(&self, segments: &[&str]) -> Result<Url, ApiClientError> {
        let mut url = self.server.clone();
        // These segments would be dropped from the path, which would then name something else.
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

    /// Sends a request, and returns the body of the answer.
    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, ApiClientError> {
        let no_answer = |error: reqwest::Error| {
            let reason = self.describe_failure(&error);
            ApiClientError::NoAnswer { server: self.server.clone(), reason }
        };
        let response = request.timeout(self.timeout).send().await.map_err(no_answer)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(no_answer)?;
        if status.is_success() {
            return Ok(bytes.into());
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let detail = answer.get("detail").and_then(Value::as_str).map(str::to_owned);
        Err(ApiClientError::Refused { status, detail: detail.unwrap_or_else(|| status.to_string()), answer })
    }

    /// Describes why there was no answer.
    fn describe_failure(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {}", duration(self.timeout));
        }
        match system_code(error) {
            Some(code) => code.desc().to_lowercase(),
            // The resolver has codes of its own.
            None if error.is_connect() => {
                format!("the name {} cannot be resolved", self.server.host_str().unwrap_or_default())
            }
            None => "it closed the connection, or its answer is not HTTP".to_owned(),
        }
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
