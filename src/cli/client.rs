//! A client of a server's HTTP interface.

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

/// How long an answer may take, in real time.
const LONGEST: Duration = Duration::from_secs(30);

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
        value_parser = server,
        help_heading = "Server"
    )]
    server: Url,

    /// Print what the server answers as JSON
    #[arg(
        long,
        global = true,
        env = "LIFEGUARD_JSON",
        value_parser = BoolishValueParser::new(),
        help_heading = "Server"
    )]
    pub(super) json: bool,
}

/// Takes a server's URL, to which paths can be put.
fn server(text: &str) -> Result<Url, String> {
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
pub(super) enum ClientError {
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
pub(super) struct Client {
    server: Url,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(options: &ServerOptions) -> Result<Self, ClientError> {
        Self::of(options.server.clone())
    }

    pub(super) fn of(server: Url) -> Result<Self, ClientError> {
        // A server is on the farm's own network; what a proxy would answer is not the server's word.
        let http = reqwest::Client::builder().no_proxy().timeout(LONGEST).build();
        match http {
            Ok(http) => Ok(Self { server, http }),
            Err(source) => Err(ClientError::NoAnswer { server, source }),
        }
    }

    /// Calls the path made of `segments` and gives the answer's JSON, null where it has none.
    pub(super) async fn call(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let mut url = self.server.clone();
        // A path would lose them, and then mean something else.
        if let Some(bad) = segments.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(ClientError::BadName((*bad).to_owned()));
        }
        url.path_segments_mut()
            .map_err(|()| ClientError::BadUrl(self.server.clone()))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(segments);
        let mut request = self.http.request(method, url).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let no_answer = |source: reqwest::Error| {
            let source = source.without_url();
            ClientError::NoAnswer { server: self.server.clone(), source }
        };
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(no_answer)?;
        let answer = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
        if status.is_success() {
            return answer.map_err(|_| ClientError::NotLifeguard(self.server.clone()));
        }
        let answer = answer.unwrap_or_default();
        let detail = answer.get("detail").and_then(Value::as_str).map(str::to_owned);
        Err(ClientError::Refused { status, detail: detail.unwrap_or_else(|| status.to_string()) })
    }

    pub(super) async fn get(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, ClientError> {
        self.call(Method::GET, segments, query, None).await
    }

    pub(super) async fn post(&self, segments: &[&str], body: &Value) -> Result<Value, ClientError> {
        self.call(Method::POST, segments, &[], Some(body)).await
    }
}
