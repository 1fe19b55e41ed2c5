//! HTTP requests of actions. Errors distinguish local faults, unknown names and faults of the peer.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use device_io::{ConnectError, LocalTrouble, address, resolve};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use url::Url;

use super::trouble::Trouble;
use crate::clock::{Clock, time_after};
use crate::formatting;

/// The form of the URL of a request.
const HTTP_URL_FORM: &str = "`http://HOST[:PORT]/PATH`";

/// Reads the URL of a request.
///
/// # Errors
///
/// A text that says what is wrong, and the correct form.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let url = address::parse(text, HTTP_URL_FORM)?;
    if url.scheme() != "http" {
        return Err(format!("there is no scheme `{}`; write {HTTP_URL_FORM}", url.scheme()));
    }
    address::host(&url)?;
    Ok(url)
}

/// Reads the headers of a request.
///
/// # Errors
///
/// A text that names the header that cannot be sent.
pub fn parse_headers(texts: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        let key = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))?;
        let value = HeaderValue::try_from(value);
        headers.insert(key, value.map_err(|_| format!("`{name}` has a value that no header may have"))?);
    }
    Ok(headers)
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// A local fault prevented the request; it says nothing about the peer.
    #[error("{reason}")]
    Ours {
        /// The local fault.
        trouble: Trouble,
        /// The fault in the words of the system.
        reason: String,
    },
    /// The name does not resolve, the connection was refused or closed, or the answer is not HTTP.
    #[error("{0}")]
    Refused(String),
    /// No answer arrived in time.
    #[error("no answer within {}", formatting::duration(*.0))]
    Silent(Duration),
}

impl From<ConnectError> for NoAnswer {
    fn from(unreached: ConnectError) -> Self {
        match unreached {
            ConnectError::Local { trouble, reason } => Self::Ours { trouble: trouble.into(), reason },
            ConnectError::NoSuchName(host) => {
                let trouble = LocalTrouble::Name(host);
                Self::Ours { reason: trouble.to_string(), trouble: trouble.into() }
            }
            ConnectError::Refused(error) => Self::Refused(innermost_cause(&error)),
            ConnectError::TimedOut(limit) => Self::Silent(limit),
        }
    }
}

/// A URL with a client for it: each request uses its own connection, without proxies and redirects.
pub struct HttpTarget {
    client: Client,
    url: Url,
    host: String,
    resolved: PresetResolver,
}

/// The addresses for the client: resolved in advance, so that resolution and connection errors differ.
#[derive(Clone, Default)]
struct PresetResolver(Arc<Mutex<Vec<SocketAddr>>>);

impl PresetResolver {
    fn set(&self, addresses: Vec<SocketAddr>) {
        // A panic elsewhere cannot have left it half-written.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn get(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Resolve for PresetResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.get().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl HttpTarget {
    /// Prepares requests to `url`.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with its host, or with this process.
    pub fn new(url: Url) -> Result<Self, String> {
        let (host, resolved) = (address::host(&url)?, PresetResolver::default());
        // A new connection each time: an open one says little about a peer that restarts meanwhile.
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .dns_resolver(resolved.clone());
        let client = client.build().map_err(|error| format!("cannot make HTTP requests: {error}"))?;
        Ok(Self { client, url, host, resolved })
    }

    /// Sends the request that `build` makes, and returns the head of the answer within `limit`.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`] when there was none.
    pub async fn send(
        &self,
        clock: &dyn Clock,
        limit: Duration,
        build: impl FnOnce(&Client, Url) -> RequestBuilder,
    ) -> Result<Response, NoAnswer> {
        let ends_at = time_after(clock.now(), limit);
        let addresses = resolve(clock, &self.host, 0, limit).await?;
        let first = addresses.first().map(SocketAddr::ip);
        self.resolved.set(addresses);
        let left = (ends_at - clock.now()).to_std().unwrap_or_default();
        match clock.timeout(left, build(&self.client, self.url.clone()).send()).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                Err(match first.and_then(|address| LocalTrouble::of_socket(&error, address)) {
                    Some(trouble) => {
                        NoAnswer::Ours { trouble: trouble.into(), reason: innermost_cause(&error) }
                    }
                    None => NoAnswer::Refused(innermost_cause(&error)),
                })
            }
            None => Err(NoAnswer::Silent(limit)),
        }
    }
}

/// Finds the innermost cause of `error`: the outer ones only say that a request failed.
fn innermost_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        Some(_) | None => innermost.to_string(),
    }
}

/// Reads the first bytes of the body of an answer as text.
pub async fn read_beginning(mut answer: Response, max_bytes: usize) -> String {
    let mut beginning = Vec::new();
    while beginning.len() < max_bytes {
        let Ok(Some(chunk)) = answer.chunk().await else { break };
        beginning.extend(chunk.iter().take(max_bytes - beginning.len()));
    }
    String::from_utf8_lossy(&beginning).into_owned()
}
