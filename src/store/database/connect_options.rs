//! Options for connecting to the database.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// Options for connecting to a database: one server or several, one of which is writable.
#[derive(Clone)]
pub struct ConnectOptions {
    pub(super) hosts: Vec<PgConnectOptions>,
    /// The timeout for connecting to one host.
    pub(super) connect_timeout: Duration,
    /// The maximum age of pooled connections: closing one frees the memory of its server process.
    pub(super) lifetime: Duration,
}

/// The default timeout for connecting to one host.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The default maximum age of pooled connections.
pub(super) const CONNECTION_LIFETIME: Duration = Duration::from_mins(30);

impl ConnectOptions {
    /// Sets the maximum age of pooled connections; the default is 30 min.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }
}

impl From<PgConnectOptions> for ConnectOptions {
    fn from(options: PgConnectOptions) -> Self {
        Self { hosts: vec![options], connect_timeout: CONNECT_TIMEOUT, lifetime: CONNECTION_LIFETIME }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.hosts.iter().map(|host| display_host(host).to_string())).finish()
    }
}

/// Formats a host for logs and errors.
pub(super) fn display_host(options: &PgConnectOptions) -> impl fmt::Display + '_ {
    struct HostDisplay<'a>(&'a PgConnectOptions);
    impl fmt::Display for HostDisplay<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0.get_socket() {
                Some(folder) => write!(f, "{}:{}", folder.display(), self.0.get_port()),
                None => write!(f, "{}:{}", self.0.get_host(), self.0.get_port()),
            }
        }
    }
    HostDisplay(options)
}
