//! Poll URLs: `tcp://host:port` or `http://host[:port]/path`.

use std::fmt;
use std::str::FromStr;

use device_io::address::{self, DeviceUrlError};
use url::Url;

const POLL_URL_FORM: &str = "`tcp://HOST:PORT` or `http://HOST[:PORT]/PATH`";

/// The address of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollUrl {
    /// The board is up if it accepts a TCP connection. An IPv6 host is without brackets.
    Tcp {
        /// The host name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The board is up if it answers with a status below 400.
    Http(Url),
}

impl PollUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let url = address::parse(text, POLL_URL_FORM)?;
        let host = address::host(&url)?;
        if url.port() == Some(0) {
            return Err("there is no port 0; a port is 1 to 65535".to_owned());
        }
        match url.scheme() {
            "tcp" => {
                let port = url.port().ok_or_else(|| format!("it needs a port; write {POLL_URL_FORM}"))?;
                if !matches!(url.path(), "" | "/") || url.query().is_some() {
                    return Err(format!("a TCP probe has no path; write {POLL_URL_FORM}"));
                }
                Ok(Self::Tcp { host, port })
            }
            "http" => Ok(Self::Http(url)),
            other => Err(format!("there is no scheme `{other}`; write {POLL_URL_FORM}")),
        }
    }
}

impl FromStr for PollUrl {
    type Err = DeviceUrlError;

    fn from_str(text: &str) -> Result<Self, DeviceUrlError> {
        Self::parse(text).map_err(|problem| DeviceUrlError::new(text, "poll", problem))
    }
}

impl fmt::Display for PollUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp://{}", address::authority(host, *port)),
            Self::Http(url) => write!(f, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_url_is_read_and_shown_in_one_spelling() {
        for (text, shown) in [
            ("tcp://Board-1.lab:2222", "tcp://board-1.lab:2222"),
            ("tcp://[0::1]:22/", "tcp://[::1]:22"),
            ("http://Board-1.lab", "http://board-1.lab/"),
            ("http://[::1]:8080/up?quick", "http://[::1]:8080/up?quick"),
        ] {
            assert_eq!(text.parse::<PollUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_bad_poll_url_is_refused_with_the_right_form() {
        for (text, right) in [
            ("board-1.lab", "tcp://HOST:PORT"),
            ("tcp://board-1.lab", "needs a port"),
            ("tcp://board-1.lab:0", "1 to 65535"),
            ("tcp://board-1.lab:22/path", "no path"),
            ("tcp://:22", "tcp://HOST:PORT"),
            ("https://board-1.lab/", "no scheme `https`"),
            ("http://me@board-1.lab/", "no user"),
        ] {
            let error = text.parse::<PollUrl>().unwrap_err().to_string();
            assert!(error.contains(right) && error.contains("is not a poll URL"), "{text}: {error}");
        }
    }
}
