//! The options of the HTTP server: names and limits.

use std::time::Duration;

use clap::Args;
use nix::unistd::gethostname;

use super::parsers::{number_from, span};
use crate::api::{HttpLimits, HttpOptions, ServerNames};

/// The minimum of `--http-answer-memory`: a quarter of it holds one answer that is made while it is sent.
const MIN_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// The options of the HTTP server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// A host name that clients use for the server, such as boards.lab; may be given several times. Addresses, `localhost` and
    /// the machine's own name are always accepted
    #[arg(long = "server-name", env = "LIFEGUARD_SERVER_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub server_names: Vec<String>,

    /// The maximum number of connections [default: 4096, or fewer if the process may open few files]
    #[arg(long, env = "LIFEGUARD_HTTP_CONNECTIONS", value_name = "NUMBER", value_parser = count)]
    pub http_connections: Option<usize>,

    /// The maximum number of connections from one address [default: half of all]
    #[arg(long, env = "LIFEGUARD_HTTP_CONNECTIONS_PER_CLIENT", value_name = "NUMBER", value_parser = count)]
    pub http_connections_per_client: Option<usize>,

    /// How long a client may take to send the header of a request
    #[arg(long, env = "LIFEGUARD_HTTP_HEADER_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = span)]
    pub http_header_timeout: Duration,

    /// How long a client may take to send the body of a request, plus one second for each 4096 bytes
    #[arg(long, env = "LIFEGUARD_HTTP_BODY_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = span)]
    pub http_body_timeout: Duration,

    /// How long a connection may be idle
    #[arg(long, env = "LIFEGUARD_HTTP_IDLE_TIMEOUT", value_name = "DURATION", default_value = "1min", value_parser = span)]
    pub http_idle_timeout: Duration,

    /// How long an answer may wait for a client to read it, plus one second for each 4096 bytes that are read
    #[arg(long, env = "LIFEGUARD_HTTP_ANSWER_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = span)]
    pub http_answer_timeout: Duration,

    /// The maximum size in bytes of all unread answers above 64 KiB; one client may have a quarter of it
    #[arg(long, alias = "http-answer-bytes", env = "LIFEGUARD_HTTP_ANSWER_MEMORY", value_name = "BYTES", default_value_t = HttpLimits::default().max_answer_bytes, value_parser = bytes)]
    pub http_answer_memory: u64,

    /// The maximum number of long polls (requests with `wait=`); one client may have half of them
    #[arg(long, alias = "http-waits", env = "LIFEGUARD_HTTP_LONG_POLLS", value_name = "NUMBER", default_value_t = HttpLimits::default().max_long_polls, value_parser = count)]
    pub http_long_polls: usize,
}

impl Default for HttpArgs {
    fn default() -> Self {
        let HttpLimits {
            max_connections: _,
            max_connections_per_client: _,
            header_timeout: header,
            body_timeout: body,
            idle_timeout: idle,
            unread_timeout: unread,
            max_answer_bytes: answer_memory,
            max_long_polls: long_polls,
        } = HttpLimits::default();
        Self {
            server_names: Vec::new(),
            http_connections: None,
            http_connections_per_client: None,
            http_header_timeout: header,
            http_body_timeout: body,
            http_idle_timeout: idle,
            http_answer_timeout: unread,
            http_answer_memory: answer_memory,
            http_long_polls: long_polls,
        }
    }
}

fn count(text: &str) -> Result<usize, String> {
    number_from(text, 1)
}

fn bytes(text: &str) -> Result<u64, &'static str> {
    text.parse()
        .ok()
        .filter(|bytes| *bytes >= MIN_ANSWER_BYTES)
        .ok_or("a number of bytes is needed, 4194304 or more")
}

impl HttpArgs {
    /// The options of the HTTP server with at most `connections` connections.
    pub(super) fn options(&self, connections: usize) -> HttpOptions {
        let limits = HttpLimits::with_max_connections(connections);
        let host = gethostname().ok().and_then(|name| name.into_string().ok());
        HttpOptions {
            limits: HttpLimits {
                max_connections_per_client: self
                    .http_connections_per_client
                    .unwrap_or(limits.max_connections_per_client),
                header_timeout: self.http_header_timeout,
                body_timeout: self.http_body_timeout,
                idle_timeout: self.http_idle_timeout,
                unread_timeout: self.http_answer_timeout,
                max_answer_bytes: self.http_answer_memory,
                max_long_polls: self.http_long_polls,
                max_connections: connections,
            },
            server_names: ServerNames::new(&self.server_names, host.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestArgs {
        #[command(flatten)]
        http: HttpArgs,
    }

    #[test]
    fn defaults_are_the_limits_of_the_server() {
        let line = TestArgs::parse_from(["serve"]);
        assert_eq!(line.http.options(HttpLimits::DEFAULT_MAX_CONNECTIONS).limits, HttpLimits::default());
        let line = TestArgs::parse_from([
            "serve",
            "--server-name=a.lab",
            "--server-name=b.lab",
            "--http-idle-timeout=5s",
            "--http-connections-per-client=7",
            "--http-answer-memory=4194304",
            "--http-long-polls=9",
        ]);
        let all = TestArgs::parse_from(["serve"]).http.options(100).limits;
        assert_eq!((all.max_connections, all.max_connections_per_client), (100, 50));
        let limits = line.http.options(100).limits;
        assert_eq!(
            (limits.max_connections, limits.max_connections_per_client, limits.idle_timeout),
            (100, 7, Duration::from_secs(5))
        );
        assert_eq!((limits.max_answer_bytes, limits.max_long_polls), (4_194_304, 9));
        assert_eq!(line.http.server_names, ["a.lab", "b.lab"]);
        for bad in [
            "--http-connections=0",
            "--http-idle-timeout=0s",
            "--http-header-timeout=5",
            "--http-idle-timeout=5M",
            "--http-answer-memory=4194303",
            "--http-long-polls=0",
        ] {
            assert!(TestArgs::try_parse_from(["serve", bad]).is_err(), "{bad}");
        }
    }
}
