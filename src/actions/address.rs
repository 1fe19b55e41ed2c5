//! What power and poll URLs have in common: how they are taken apart, and how they are refused.

use std::net::IpAddr;

use url::Url;

/// Says what is wrong with a URL and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} URL: {problem}")]
pub struct BadUrl {
    text: String,
    kind: &'static str,
    problem: String,
}

impl BadUrl {
    pub(super) fn new(text: &str, kind: &'static str, problem: impl Into<String>) -> Self {
        Self { text: text.chars().take(200).collect(), kind, problem: problem.into() }
    }
}

/// Takes `text` apart; refuses what none of our URLs may have.
pub(super) fn parse(text: &str, form: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write {form}"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!("it must have no user, password or `#…`; write {form}"));
    }
    Ok(url)
}

/// The host of `url` in one spelling: lower case, addresses in their short form, without brackets and final dot.
pub(super) fn host(url: &Url) -> Result<String, String> {
    let text = url.host_str().unwrap_or_default();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if name.is_empty() || name.len() > 253 || !is_name {
        return Err(format!("`{text}` is no host; a host is a name such as `relay-3.lab`, or an address"));
    }
    Ok(name)
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
