//! The options of `lifeguard serve`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::http::HttpArgs;
use super::models::ModelArgs;
use super::parsers::{address, boolean, database_url, number_between, retention, span};
use super::tftp_options::TftpArgs;
use super::{secrets, server_definitions};
use crate::actions::{OperatorsUrl, PowerSettings};
use crate::engine::Retention;
use crate::store::{ConnectionBudget, DatabaseUrl};

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// The address of the HTTP server
    #[arg(long, env = "LIFEGUARD_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,

    /// Serve HTTP beyond loopback although Lifeguard has no authentication: every client may do everything
    #[arg(long, env = "LIFEGUARD_INSECURE", value_name = "true|false", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub insecure: bool,

    /// The address of the TFTP server for the boot tree, such as 0.0.0.0:69 [default: no TFTP server]
    #[arg(long, env = "LIFEGUARD_TFTP_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    pub tftp_listen: Option<SocketAddr>,

    /// Options of the TFTP server
    #[command(flatten)]
    pub tftp: TftpArgs,

    /// The boot tree, with the folders `pxelinux.cfg` and `configs` [default: `boot` in the data directory]
    #[arg(long, env = "LIFEGUARD_BOOT_ROOT", value_name = "DIRECTORY")]
    pub boot_root: Option<PathBuf>,

    /// The PostgreSQL database (14 or newer) to use; several servers may share it. Of several hosts the first writable one is
    /// used: `postgres://USER@HOST1,HOST2/DATABASE` [default: a private PostgreSQL]
    #[arg(
        long,
        env = "LIFEGUARD_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        value_parser = database_url,
        conflicts_with = "data_dir"
    )]
    pub database_url: Option<DatabaseUrl>,

    /// The maximum number of connections to the database
    #[arg(
        long,
        env = "LIFEGUARD_DATABASE_CONNECTIONS",
        value_name = "NUMBER",
        default_value_t = ConnectionBudget::DEFAULT_TOTAL,
        value_parser = |text: &str| number_between(text, ConnectionBudget::MIN_TOTAL, 1000)
    )]
    pub database_connections: u32,

    /// How long an event may wait until it is committed; then it is answered 503
    #[arg(
        long,
        env = "LIFEGUARD_EVENT_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = span
    )]
    pub event_timeout: Duration,

    /// A file with the URL of the database, for URLs with a password: every user of the machine can read arguments
    #[arg(
        long,
        env = "LIFEGUARD_DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with_all = ["database_url", "data_dir"]
    )]
    pub database_url_file: Option<PathBuf>,

    /// The directory of the private PostgreSQL and the boot tree [default: /var/lib/lifeguard for root, or else `lifeguard`
    /// in the user's state directory]
    #[arg(long, env = "LIFEGUARD_DATA_DIR", value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,

    /// The directory of PostgreSQL's server programs [default: the newest installed version]
    #[arg(long, env = "LIFEGUARD_PG_BIN", value_name = "DIRECTORY")]
    pub pg_bin: Option<PathBuf>,

    /// A machine definition, or a directory of them [default: the built-in board lifecycle]
    #[arg(long, env = "LIFEGUARD_STATES", value_name = "PATH")]
    pub states: Option<PathBuf>,

    /// The shared machine at /state, as in StateService: a StateService file, or a machine definition [default: none]
    #[arg(long, env = "LIFEGUARD_MACHINE_FILE", value_name = "FILE")]
    pub machine: Option<PathBuf>,

    /// Run the programs that machine definitions name in actions (`notify` with `command:`), as the server's user. Every client
    /// that can load a definition can then run any program
    #[arg(long, env = "LIFEGUARD_ALLOW_COMMANDS", value_name = "true|false", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub allow_commands: bool,

    /// Where messages to the operators are sent, by POST and plain HTTP, such as `http://chat.lab/hook`: that an incident has
    /// opened, and what definitions send by `notify` with `to: operators` [default: nowhere]
    #[arg(long, env = "LIFEGUARD_OPERATORS_URL", value_name = "URL", hide_env_values = true, value_parser = OperatorsUrl::new)]
    pub operators_url: Option<OperatorsUrl>,

    /// How long history is stored, in whole days: `90d`, or `forever`
    #[arg(long, env = "LIFEGUARD_HISTORY_RETENTION", value_name = "DURATION", default_value = "90d", value_parser = retention)]
    pub history_retention: Retention,

    /// Names and limits of the HTTP server
    #[command(flatten)]
    pub http: HttpArgs,

    /// Hosted models
    #[command(flatten)]
    pub models: ModelArgs,

    /// What power URLs name, of the configuration file: no options
    #[arg(skip)]
    pub power: PowerSettings,
}

impl ServeOptions {
    /// What keeps a server with these options from starting, as far as files and options show it: the option, and the reason.
    pub(in crate::cli) fn refusals(&self) -> Vec<(&'static str, String)> {
        let url =
            self.database_url_file.as_deref().map_or(Ok(()), |file| secrets::read_url(file).map(|_| ()));
        let states = server_definitions::load(self.states.as_deref(), None).map(|_| ());
        // The shared machine must not be one of the states.
        let machine = match (&states, &self.machine) {
            (Ok(()), Some(machine)) => {
                server_definitions::load(self.states.as_deref(), Some(machine)).map(|_| ())
            }
            (Ok(()), None) | (Err(_), _) => Ok(()),
        };
        let checks = [
            ("listen", self.check_listen()),
            ("database-url-file", url),
            ("states", states),
            ("machine", machine),
        ];
        let refused =
            checks.into_iter().filter_map(|(option, check)| Some((option, check.err()?.to_string())));
        refused.collect()
    }

    /// Checks that HTTP is served beyond loopback only where that was asked for.
    ///
    /// # Errors
    ///
    /// What would help.
    pub(super) fn check_listen(&self) -> Result<(), Box<dyn Error>> {
        if self.listen.ip().to_canonical().is_loopback() || self.insecure {
            return Ok(());
        }
        Err(format!(
            "listening beyond loopback without authentication on {}: \
             listen on 127.0.0.1, or use --insecure if the network is trusted",
            self.listen
        )
        .into())
    }

    /// Reads the database's URL from its file if one is given, and warns if a password is visible as an argument.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or contains no database URL.
    pub(in crate::cli) fn with_secrets(mut self) -> Result<Self, Box<dyn Error>> {
        if let Some(file) = self.database_url_file.take() {
            self.database_url = Some(secrets::read_url(&file)?);
        } else if let Some(url) = &self.database_url {
            secrets::warn_of_argument(url.secret());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestArgs {
        #[command(flatten)]
        options: ServeOptions,
    }

    #[test]
    fn a_server_has_from_eight_to_a_thousand_database_connections() {
        for (number, is_taken) in [("7", false), ("8", true), ("1000", true), ("1001", false)] {
            let line = TestArgs::try_parse_from(["serve", "--database-connections", number]);
            assert_eq!(line.is_ok(), is_taken, "{number}");
        }
    }
}
