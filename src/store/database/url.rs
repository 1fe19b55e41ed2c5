//! Parsing of database URLs.
//!
//! The syntax is that of libpq: `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?PARAMETER=VALUE`. Each new connection
//! tries the hosts in order and uses the first writable one. Parameters that would be ignored are refused. Neither the debug
//! output of a URL nor an error about it contains the password.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use url::form_urlencoded;

use super::connect_options::{CONNECT_TIMEOUT, CONNECTION_LIFETIME, ConnectOptions};

/// The parameters that are passed on unchanged.
const SUPPORTED_PARAMETERS: [&str; 15] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl-mode",
    "ssl-root-cert",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// A database URL as given. It may contain a password, so its debug output is hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Returns the text, including the password.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Parses the URL.
    ///
    /// # Errors
    ///
    /// [`BadDatabaseUrl`], which contains no secrets.
    pub fn parse(&self) -> Result<ConnectOptions, BadDatabaseUrl> {
        parse(&self.0)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<url::Url> for DatabaseUrl {
    fn from(url: url::Url) -> Self {
        Self(url.into())
    }
}

/// An error in a database URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDatabaseUrl {
    /// The scheme is not that of a PostgreSQL URL.
    #[error("it must begin with postgres:// or postgresql://")]
    Scheme,
    /// The syntax is invalid.
    #[error("{0}; write it like postgres://USER@HOST:5432/DATABASE, with special characters percent-encoded")]
    Form(String),
    /// A parameter is not supported.
    #[error("unknown parameter `{0}`: it would be ignored, so remove it{1}")]
    Unknown(String, &'static str),
    /// The value of a parameter is invalid.
    #[error("parameter `{name}`: {reason}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What is expected.
        reason: &'static str,
    },
    /// The numbers of hosts and ports do not match.
    #[error("{hosts} hosts and {ports} ports: give one port for all hosts, or one for each")]
    Ports {
        /// The number of hosts.
        hosts: usize,
        /// The number of ports.
        ports: usize,
    },
}

fn parse(text: &str) -> Result<ConnectOptions, BadDatabaseUrl> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or(BadDatabaseUrl::Scheme)?;
    if rest.contains('#') {
        return Err(BadDatabaseUrl::Form("a `#` must be percent-encoded".to_owned()));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if query.contains('@') && !authority.contains('@') {
        let reason = "`@` after `?`: a `?` in the password must be percent-encoded";
        return Err(BadDatabaseUrl::Form(reason.to_owned()));
    }
    let (login, endpoints) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (hosts, ports) = endpoints_of(endpoints)?;
    let parameters =
        UrlParameters { hosts, ports, connect_timeout: CONNECT_TIMEOUT, passed_on: String::new() };
    let UrlParameters { mut hosts, ports, connect_timeout, passed_on } = parameters.read(query)?;
    if hosts.is_empty() {
        hosts = vec![None];
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(BadDatabaseUrl::Ports { hosts: hosts.len(), ports: ports.len() });
    }
    let at = if login.is_empty() { "" } else { "@" };
    let hosts = hosts.iter().enumerate().map(|(number, host)| {
        let mut parameters = form_urlencoded::Serializer::new(passed_on.clone());
        if let Some(host) = host.as_deref().filter(|host| !host.is_empty()) {
            parameters.append_pair("host", host.trim_start_matches('[').trim_end_matches(']'));
        }
        let port = if ports.len() == 1 { ports.first() } else { ports.get(number) };
        if let Some(port) = port.and_then(Option::as_deref).filter(|port| !port.is_empty()) {
            let reason = "expected a number up to 65535";
            port.parse::<u16>().map_err(|_| BadDatabaseUrl::Value { name: "port", reason })?;
            parameters.append_pair("port", port);
        }
        let has_host = host.as_deref().is_some_and(|host| !host.is_empty());
        parse_host(&format!("postgres://{login}{at}localhost/{path}?{}", parameters.finish()), has_host)
    });
    let hosts = hosts.collect::<Result<_, BadDatabaseUrl>>()?;
    Ok(ConnectOptions { hosts, connect_timeout, lifetime: CONNECTION_LIFETIME })
}

/// The parameters of a URL.
struct UrlParameters {
    hosts: Vec<Option<String>>,
    ports: Vec<Option<String>>,
    connect_timeout: Duration,
    /// Those that are passed on, as a query.
    passed_on: String,
}

impl UrlParameters {
    /// Reads the parameters of the query, which override what was read before.
    fn read(mut self, query: &str) -> Result<Self, BadDatabaseUrl> {
        let mut is_host_given = false;
        let mut passed_on = form_urlencoded::Serializer::new(String::new());
        let list = |value: &str| value.split(',').map(|item| Some(item.to_owned())).collect::<Vec<_>>();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "host" | "hostaddr" => {
                    if std::mem::replace(&mut is_host_given, true) {
                        let reason = "`host` or `hostaddr` is given more than once, and one would be ignored";
                        return Err(BadDatabaseUrl::Form(reason.to_owned()));
                    }
                    self.hosts = list(&value);
                }
                "port" => self.ports = list(&value),
                "connect_timeout" => {
                    let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                    let reason = "expected a number of seconds";
                    let seconds = seconds.ok_or(BadDatabaseUrl::Value { name: "connect_timeout", reason })?;
                    self.connect_timeout = Duration::from_secs(seconds);
                }
                // A writable server is selected in any case.
                "target_session_attrs" => {
                    if !matches!(&*value, "any" | "read-write" | "primary") {
                        let reason =
                            "Lifeguard needs a writable server: use `read-write`, `primary` or `any`";
                        return Err(BadDatabaseUrl::Value { name: "target_session_attrs", reason });
                    }
                }
                known if SUPPORTED_PARAMETERS.contains(&known) || is_option(known) => {
                    passed_on.append_pair(&name, &value);
                }
                // The name may be part of a password: it is not shown.
                unknown if !is_name(unknown) || query.contains('@') => {
                    return Err(BadDatabaseUrl::Form("invalid parameter name".to_owned()));
                }
                unknown => {
                    return Err(BadDatabaseUrl::Unknown(unknown.chars().take(80).collect(), hint(unknown)));
                }
            }
        }
        self.passed_on = passed_on.finish();
        Ok(self)
    }
}

/// Parses the URL of one host. Errors of libraries are replaced, as they may contain parts of the URL.
fn parse_host(url: &str, has_host: bool) -> Result<PgConnectOptions, BadDatabaseUrl> {
    let options: PgConnectOptions = url.parse().map_err(|error| {
        BadDatabaseUrl::Form(
            if let sqlx::Error::Configuration(error) = error
                && error.is::<url::ParseError>()
            {
                error.to_string()
            } else {
                "invalid parameter value (sslmode?)".to_owned()
            },
        )
    })?;
    if has_host {
        return Ok(options);
    }
    // The default of libpq if no host is given.
    let default = PgConnectOptions::new_without_pgpass();
    Ok(match default.get_socket() {
        Some(folder) => options.socket(folder),
        None => options.host(default.get_host()),
    })
}

type Endpoints = (Vec<Option<String>>, Vec<Option<String>>);

/// Splits `HOST:PORT,HOST:PORT`.
fn endpoints_of(text: &str) -> Result<Endpoints, BadDatabaseUrl> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    if text.is_empty() {
        return Ok((hosts, ports));
    }
    for endpoint in text.split(',') {
        // An IPv6 address is in brackets because of its colons.
        let end = endpoint.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match endpoint.get(end..).and_then(|rest| rest.split_once(':')) {
            Some((more, port)) => {
                (format!("{}{more}", endpoint.get(..end).unwrap_or_default()), Some(port.to_owned()))
            }
            None => (endpoint.to_owned(), None),
        };
        let host = percent_decoded(&host)?;
        hosts.push((!host.is_empty()).then_some(host));
        ports.push(port);
    }
    Ok((hosts, ports))
}

fn percent_decoded(host: &str) -> Result<String, BadDatabaseUrl> {
    if !host.contains('%') {
        return Ok(host.to_owned());
    }
    // The decoder of forms would turn a plus into a space.
    let pair = format!("h={}", host.replace('+', "%2B"));
    let decoded = form_urlencoded::parse(pair.as_bytes()).next().map(|(_, host)| host.into_owned());
    decoded.ok_or_else(|| BadDatabaseUrl::Form("invalid host".to_owned()))
}

/// Whether `name` is a valid parameter name.
fn is_name(name: &str) -> bool {
    let may_be = |character: char| character.is_ascii_alphanumeric() || "_-.[]".contains(character);
    !name.is_empty() && name.chars().all(may_be)
}

fn is_option(name: &str) -> bool {
    name.starts_with("options[") && name.ends_with(']')
}

/// Returns advice for a parameter of libpq that is not supported.
fn hint(name: &str) -> &'static str {
    match name {
        "keepalives"
        | "keepalives_idle"
        | "keepalives_interval"
        | "keepalives_count"
        | "tcp_user_timeout" => "; Lifeguard limits the time of each answer itself",
        "service" | "servicefile" | "passfile" => "; use PGPASSFILE or the URL",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect_options::display_host;
    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        parse(text).unwrap().hosts.iter().map(|host| display_host(host).to_string()).collect()
    }

    #[test]
    fn one_host_or_several_are_read_in_order() {
        assert_eq!(hosts("postgres://u@db/l"), ["db:5432"]);
        assert_eq!(
            hosts("postgresql://u:p@h1:1,h2:2,h3/l?target_session_attrs=read-write"),
            ["h1:1", "h2:2", "h3:5432"]
        );
        assert_eq!(hosts("postgres://[::1]:7,10.0.0.1/l"), ["::1:7", "10.0.0.1:5432"]);
        assert_eq!(hosts("postgres:///l?host=/run/a,/run/b&port=5433"), ["/run/a:5433", "/run/b:5433"]);
        assert_eq!(hosts("postgres://u@%2Frun%2Fpg/l"), ["/run/pg:5432"]);
        assert_eq!(hosts("postgres:///l?host=a,b&port=1,2"), ["a:1", "b:2"]);
        let options = parse("postgres://u:p%40ss@h1,h2:99/l?connect_timeout=7").unwrap();
        assert_eq!(options.connect_timeout, Duration::from_secs(7));
        let default = parse("postgres://u@db/l").unwrap();
        assert_eq!(
            (default.connect_timeout, default.lifetime),
            (Duration::from_secs(3), Duration::from_mins(30))
        );
        assert!(
            options.hosts.iter().all(|host| host.get_username() == "u" && host.get_database() == Some("l"))
        );
    }

    #[test]
    fn parameters_that_would_be_ignored_are_refused_by_name() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert!(refused("postgres://h/l?target_session_attrz=x").contains("`target_session_attrz`"));
        assert!(refused("postgres://h/l?gssencmode=disable").contains("`gssencmode`"));
        assert!(refused("postgres://h/l?keepalives_idle=5").contains("limits the time"));
        assert!(refused("postgres://h/l?target_session_attrs=standby").contains("read-write"));
        assert!(refused("postgres://h/l?connect_timeout=soon").contains("seconds"));
        assert!(refused("postgres://h:x/l").contains("port"));
        assert!(refused("postgres:///l?host=a,b,c&port=1,2").contains("3 hosts and 2 ports"));
        assert!(refused("postgres:///l?host=a&hostaddr=10.0.0.1").contains("ignored"));
        assert!(refused("postgres://u:pa?ssword@h/l").contains("`?`"));
        assert!(refused("mysql://h/l").contains("postgres://"));
    }

    #[test]
    fn no_error_and_no_debug_output_shows_the_password() {
        for text in [
            "postgres://u:sesam@h:x/l",
            "postgres://u:sesam#x@h/l",
            "postgres://u:sesam@h/l?nonsense=1",
            "postgres://u:sesam@h/l?sslmode=sesam",
            "http://u:sesam@h/l",
            "postgres://u:ses/am@h/l",
            "postgres://u:x?sesam@h/l",
            "postgres://u:x?sesam=1@h/l",
            "postgres://u:x@y?sesam&1@h/l",
            "postgres://u:x?ses/am@h/l",
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            let shown = format!("{url:?} {:?}", url.parse().map_err(|error| error.to_string()));
            assert!(!shown.contains("sesam") && !shown.contains("ses/am"), "{shown}");
        }
        let good: DatabaseUrl = "postgres://u:sesam@h/l?password=sesam".parse().unwrap();
        assert!(!format!("{good:?} {:?}", good.parse().unwrap()).contains("sesam"));
    }
}
