//! The names by which clients may call this server.
//!
//! A site can let its own name resolve to the address of this server; browsers then send it requests as if it were that site
//! (DNS rebinding). So a `Host` that is a name must be one of the server's names; an address cannot be redirected.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// The maximum number of unknown names that are logged.
const MAX_LOGGED_NAMES: usize = 16;
/// The maximum number of characters of an unknown name that are logged.
const MAX_SHOWN_CHARS: usize = 100;

/// The names of a server, in lower case.
#[derive(Debug)]
pub struct ServerNames {
    /// The configured ones, among them those of a proxy in front of the server.
    configured: Vec<String>,
    /// Those of the machine.
    own: Vec<String>,
    logged: Mutex<BTreeSet<String>>,
}

impl Default for ServerNames {
    fn default() -> Self {
        Self::new(&[], None)
    }
}

impl ServerNames {
    /// The configured names, with `localhost` and the name `host` of the machine, whole or up to the first dot.
    #[must_use]
    pub fn new(configured: &[String], host: Option<&str>) -> Self {
        let host = host.map(str::to_ascii_lowercase).filter(|host| !host.is_empty());
        let short = host.as_deref().and_then(|host| host.split_once('.')).map(|(short, _)| short.to_owned());
        let own = ["localhost".to_owned()].into_iter().chain(short).chain(host).collect();
        let configured = configured.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { configured, own, logged: Mutex::default() }
    }

    /// Whether a `Host` is an address or one of the names.
    pub(super) fn is_our_name(&self, authority: &str) -> bool {
        let (host, _) = split_port(authority);
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bracketed {
            Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
            None if host.parse::<IpAddr>().is_ok() => true,
            None => {
                let host = host.strip_suffix('.').unwrap_or(host);
                // A configured name may have a port, which is that of a proxy.
                let mut names = self.own.iter().chain(&self.configured);
                names.any(|name| split_port(name).0.eq_ignore_ascii_case(host))
            }
        }
    }

    /// Whether a page of `origin` belongs to this server, if the request was sent to `host`.
    pub(super) fn is_our_page(&self, origin: &str, host: Option<&str>) -> bool {
        let http = origin.strip_prefix("http://").map(|authority| (authority, "80"));
        let https = || origin.strip_prefix("https://").map(|authority| (authority, "443"));
        let Some((authority, default_port)) = http.or_else(https) else { return false };
        let bare = |authority: &str| match split_port(authority) {
            (host, Some(port)) if port == default_port => host.to_ascii_lowercase(),
            _ => authority.to_ascii_lowercase(),
        };
        let origin = bare(authority);
        host.is_some_and(|host| bare(host) == origin)
            || self.configured.iter().any(|name| bare(name) == origin)
    }

    /// The names as a list, for messages.
    pub(super) fn joined(&self) -> String {
        self.own.iter().chain(&self.configured).map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Logs an unknown name, once per name.
    pub(super) fn log_foreign_name(&self, host: &str, peer: Option<&str>) {
        let shown: String = host.chars().take(MAX_SHOWN_CHARS).collect();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < MAX_LOGGED_NAMES && logged.insert(shown.clone()) {
            tracing::warn!(host = shown, peer, "HTTP requests refused: unknown Host, see --server-name");
        }
    }
}

/// Splits an authority into host and port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let split = authority.rsplit_once(':').filter(|(host, port)| is_port(port) && !host.ends_with(':'));
    split.map_or((authority, None), |(host, port)| (host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ServerNames {
        let configured = ["boards.lab".to_owned(), "lab.example:8443".to_owned()];
        ServerNames::new(&configured, Some("Box1.lab"))
    }

    #[test]
    fn addresses_and_names_of_the_server_are_accepted_as_host() {
        for host in [
            "192.0.2.1",
            "192.0.2.1:8080",
            "[::1]",
            "[2001:db8::1]:80",
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "box1",
            "box1.lab:8080",
            "boards.lab",
            "Boards.Lab.",
            "lab.example",
            "lab.example:1",
        ] {
            assert!(names().is_our_name(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "192.0.2.1.evil.example",
            "box1.evil.example",
            "lab",
            "[evil]",
            "[::1",
            "a@192.0.2.1",
            "192.0.2.1:80:80",
            "0x7f.1",
            "boards.lab:x",
        ] {
            assert!(!names().is_our_name(host), "{host}");
        }
    }

    #[test]
    fn a_page_is_of_this_server_if_its_origin_is_the_host_or_a_configured_name() {
        for (origin, host) in [
            ("http://192.0.2.1:8080", Some("192.0.2.1:8080")),
            ("http://192.0.2.1", Some("192.0.2.1:80")),
            ("https://box1", Some("box1")),
            ("https://boards.lab", Some("127.0.0.1:8080")),
            ("https://lab.example:8443", None),
        ] {
            assert!(names().is_our_page(origin, host), "{origin} {host:?}");
        }
        for (origin, host) in [
            ("null", Some("192.0.2.1")),
            ("http://evil", Some("192.0.2.1:8080")),
            ("http://192.0.2.1:3000", Some("192.0.2.1:8080")),
            ("http://localhost", Some("127.0.0.1")),
            ("https://boards.lab:3000", Some("boards.lab")),
            ("https://lab.example", Some("127.0.0.1")),
            ("ftp://192.0.2.1", Some("192.0.2.1")),
            ("", Some("")),
        ] {
            assert!(!names().is_our_page(origin, host), "{origin} {host:?}");
        }
    }
}
