//! Parsing and errors common to all device URLs.

use std::net::IpAddr;

use url::{ParseError, Url};

/// The longest part of a bad URL, in characters, shown in errors.
const MAX_SHOWN_CHARS: usize = 200;
/// Ends of the names of parameters whose values are always secret.
const SECRET_ENDINGS: &[&str] = &["password", "passwd", "passphrase", "secret", "token", "apikey"];
/// Whole names, or last words of names, of such parameters.
const SECRET_WORDS: &[&str] = &["pass", "pwd", "pw", "key"];

/// A URL that cannot be used, with the reason and the right form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} URL: {problem}")]
pub struct DeviceUrlError {
    text: String,
    kind: &'static str,
    problem: String,
}

impl DeviceUrlError {
    /// Creates the error for `text`. Passwords in it are redacted.
    #[must_use]
    pub fn new(text: &str, kind: &'static str, problem: impl Into<String>) -> Self {
        let text = without_secrets(&text.chars().take(MAX_SHOWN_CHARS).collect::<String>());
        Self { text, kind, problem: problem.into() }
    }
}

/// Returns `text` without the user and password before its host and without the values of secret parameters.
fn without_secrets(text: &str) -> String {
    let (rest, query) = text.split_once('?').map_or((text, None), |(rest, query)| (rest, Some(query)));
    let rest = match rest.split_once("//") {
        Some((scheme, rest)) => {
            // Up to the last `@`: a password may contain one too.
            let host = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("…@{host}"));
            let shown = match host.split_once('/') {
                Some((host, path)) if secret_name(path).is_some() => format!("{host}/…"),
                _ => host,
            };
            format!("{scheme}//{shown}")
        }
        None => rest.to_owned(),
    };
    let Some(query) = query else { return rest };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if secret_name(pair).is_some() => format!("{name}=…"),
        _ => pair.to_owned(),
    });
    format!("{rest}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// Returns the name that is followed by a secret in `text`, which may be a path, a query, a form or JSON: `password=` or
/// `"password": `. Percent-encoding does not hide it.
#[must_use]
pub fn secret_name(text: &str) -> Option<&'static str> {
    let find = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let is_named = |name: &str, has_word: fn(&str) -> bool| {
            lower.match_indices(name).any(|(start, _)| {
                let after = lower[start + name.len()..].trim_start_matches(['"', '\'', ' ']);
                has_word(&lower[..start]) && after.starts_with(['=', ':'])
            })
        };
        let ending = SECRET_ENDINGS.iter().find(|name| is_named(name, |_| true));
        let word = || {
            let begins = |before: &str| !before.ends_with(|c: char| c.is_ascii_alphanumeric());
            SECRET_WORDS.iter().find(|name| is_named(name, begins))
        };
        ending.or_else(word).copied()
    };
    find(text).or_else(|| find(&decoded(text)))
}

/// A path or a part of a query without percent-encoding, also of a query within its value.
fn decoded(pair: &str) -> String {
    let once = |text: &str| -> String {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    };
    once(&once(pair))
}

/// Parses `text`; refuses parts that no device URL may have. `form` is quoted in errors.
///
/// # Errors
///
/// The reason, and `form`.
pub fn parse(text: &str, form: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        if error == ParseError::RelativeUrlWithoutBase {
            format!("it has no scheme; write {form}")
        } else {
            format!("{error}; write {form}")
        }
    })?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!("it must have no user, password or `#…`; write {form}"));
    }
    Ok(url)
}

/// Returns the host of `url` in canonical spelling: lower case, addresses in their short form, without brackets and
/// final dot.
///
/// # Errors
///
/// The reason, and what a host looks like.
pub fn host(url: &Url) -> Result<String, String> {
    canonical_host(url.host_str().unwrap_or_default())
}

/// Returns a host in canonical spelling, as [`host`] does.
///
/// # Errors
///
/// The reason, and what a host looks like.
pub fn canonical_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if name.is_empty() || name.len() > 253 || !is_name {
        return Err(format!("`{text}` is not a host; a host is a name such as `relay-3.lab`, or an address"));
    }
    Ok(name)
}

/// Formats `host:port`, with brackets around an IPv6 address.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_found_in_queries_forms_and_json() {
        for (text, name) in [
            ("/on?pwd=x", Some("pwd")),
            ("/on?user=me&PW=x", Some("pw")),
            ("passphrase=x", Some("passphrase")),
            ("/on?apikey=x", Some("apikey")),
            ("/on?api_key=x", Some("key")),
            ("{\"accessToken\": \"x\"}", Some("token")),
            ("adminpassword=x", Some("password")),
            ("/on%3Fpwd%3Dx", Some("pwd")),
            ("/on?monkey=x", None),
            ("/on?bypass=1", None),
            ("/tokens/3", None),
            ("/pw/on?outlet=3", None),
        ] {
            assert_eq!(secret_name(text), name, "{text}");
        }
    }

    #[test]
    fn a_refused_url_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("tasmota://me:se@cret@plug.lab/1", "tasmota://…@plug.lab/1"),
            (
                "tasmota://plug.lab/1?user=me&Password=secret&off=2s",
                "tasmota://plug.lab/1?user=me&Password=…&off=2s",
            ),
            ("tasmota://plug.lab/1?credential=plugs", "tasmota://plug.lab/1?credential=plugs"),
            ("http://pdu.lab?on-path=/on%3Fpass%3Dx&off=2s", "http://pdu.lab?on-path=…&off=2s"),
            ("http://pdu.lab?on-path=/on%253Fpass%253Dx", "http://pdu.lab?on-path=…"),
            ("http://pdu.lab?on-body={\"token\": \"x\"}", "http://pdu.lab?on-body=…"),
            ("http://pdu.lab?on-path=/monkey%3Dx", "http://pdu.lab?on-path=/monkey%3Dx"),
            ("http://pdu.lab?on-path=/on%3Fpwd%3Dx&off=2s", "http://pdu.lab?on-path=…&off=2s"),
            ("http://pdu.lab?on-path=/on%3Fapikey%3Dx", "http://pdu.lab?on-path=…"),
            ("http://pdu.lab/a/on;adminPassword=x/b?off=2s", "http://pdu.lab/…?off=2s"),
            ("http://pdu.lab/on%3Bpw%3Dx", "http://pdu.lab/…"),
            ("relay/5", "relay/5"),
        ] {
            let error = DeviceUrlError::new(text, "power", "it is not").to_string();
            assert_eq!(error, format!("`{shown}` is not a power URL: it is not"));
        }
    }
}
