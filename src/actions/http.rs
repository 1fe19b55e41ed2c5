//! One HTTP request to an address of ours, with what stood in its way told apart: us, the name, or whoever is there.

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

/// How such a URL is written.
const HTTP_URL_FORM: &str = "`http://HOST[:PORT]/PATH`";

/// Reads the URL of something to ask.
///
/// # Errors
///
/// What is wrong with it, and what would be right.
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
/// The one that cannot be sent.
pub fn parse_headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let key = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))?;
        let value = HeaderValue::try_from(value);
        headers.insert(key, value.map_err(|_| format!("`{name}` has a value that no header may have"))?);
    }
    Ok(headers)
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It could not be asked, which says nothing about whoever should answer.
    #[error("{reason}")]
    Ours {
        /// What stands in the way.
        trouble: Trouble,
        /// The same with the system's words.
        reason: String,
    },
    /// The name does not resolve, the connection was refused or cut, or what came was no HTTP.
    #[error("{0}")]
    Refused(String),
    /// Nothing came in time.
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

/// A URL, with what is needed to ask it: each request on a connection of its own, without proxies and redirects.
pub struct HttpTarget {
    client: Client,
    url: Url,
    host: String,
    resolved: PresetResolver,
}

/// The addresses that the client is to use, so that resolving and connecting are told apart.
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
    /// Prepares to ask `url`.
    ///
    /// # Errors
    ///
    /// What is wrong with its host, or with this process.
    pub fn new(url: Url) -> Result<Self, String> {
        let (host, resolved) = (address::host(&url)?, PresetResolver::default());
        // A fresh connection each time: an open one says little about whoever boots or restarts meanwhile.
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .dns_resolver(resolved.clone());
        let client = client.build().map_err(|error| format!("cannot make HTTP requests: {error}"))?;
        Ok(Self { client, url, host, resolved })
    }

    /// Sends the request that `build` makes, and gives the head of the answer, within `limit`.
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

/// The innermost cause of `error`: what lies around it says only that a request failed.
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

/// The first bytes of an answer's body, as text.
pub async fn read_beginning(mut answer: Response, most: usize) -> String {
    let mut kept = Vec::new();
    while kept.len() < most {
        let Ok(Some(chunk)) = answer.chunk().await else { break };
        kept.extend(chunk.iter().take(most - kept.len()));
    }
    String::from_utf8_lossy(&kept).into_owned()
}
