//! How to reach the database.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// How to reach a database: one server or several, of which one can be written to.
#[derive(Clone)]
pub struct ConnectOptions {
    pub(super) hosts: Vec<PgConnectOptions>,
    /// How long one host may take to let us in.
    pub(super) connect_timeout: Duration,
    /// How long a connection of a pool is used at most: its server process gives its memory back.
    pub(super) lifetime: Duration,
}

/// How long one host may take to let us in, if nothing else is said.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection of a pool is used at most, if nothing else is said.
pub(super) const CONNECTION_LIFETIME: Duration = Duration::from_mins(30);

impl ConnectOptions {
    /// The same with connections of pools that are used for no longer than `lifetime`; it is 30 min where nothing else is
    /// said.
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
        f.debug_list().entries(self.hosts.iter().map(|one| display_host(one).to_string())).finish()
    }
}

/// A host as logs and errors show it.
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
