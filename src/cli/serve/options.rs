//! The options of `lifeguard serve`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::http::HttpArgs;
use super::models::ModelArgs;
use super::parsers::{address, span};
use super::secrets;
use super::tftp_options::TftpArgs;
use crate::engine::Retention;
use crate::store::{ConnectionBudget, DatabaseUrl};

/// What `serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Where HTTP is served
    #[arg(long, env = "LIFEGUARD_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,

    /// Serve HTTP on an address that others can reach although nobody is asked who they are
    #[arg(long, env = "LIFEGUARD_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,

    /// Where the boot tree is served by TFTP, such as 0.0.0.0:69; if not given, it is not served
    #[arg(long, env = "LIFEGUARD_TFTP_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    pub tftp_listen: Option<SocketAddr>,

    /// How that is done
    #[command(flatten)]
    pub tftp: TftpArgs,

    /// The boot tree: `pxelinux.cfg` and `configs` are in it [default: `boot` in the data directory]
    #[arg(long, env = "LIFEGUARD_BOOT_ROOT", value_name = "DIRECTORY")]
    pub boot_root: Option<PathBuf>,

    /// The PostgreSQL database (14 or newer) to use; several servers may share one. Where the URL names several hosts, the
    /// first that can be written to is taken: `postgres://USER@HOST1,HOST2/DATABASE`
    #[arg(
        long,
        env = "LIFEGUARD_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        conflicts_with = "data_dir"
    )]
    pub database_url: Option<DatabaseUrl>,

    /// How many connections to the database this server may have
    #[arg(
        long,
        env = "LIFEGUARD_DATABASE_CONNECTIONS",
        value_name = "NUMBER",
        default_value_t = ConnectionBudget::DEFAULT_TOTAL,
        value_parser = clap::value_parser!(u32).range(i64::from(ConnectionBudget::MIN_TOTAL)..=1000)
    )]
    pub database_connections: u32,

    /// How long an event may wait for its answer
    #[arg(
        long,
        env = "LIFEGUARD_EVENT_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        value_parser = span
    )]
    pub event_timeout: Duration,

    /// A file that holds the database's URL, for one with a password: arguments can be seen by everybody on this machine
    #[arg(
        long,
        env = "LIFEGUARD_DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with_all = ["database_url", "data_dir"]
    )]
    pub database_url_file: Option<PathBuf>,

    /// Where a private PostgreSQL keeps its data [default: the user's state directory]
    #[arg(long, env = "LIFEGUARD_DATA_DIR", value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,

    /// The directory of PostgreSQL's programs [default: where they are usually installed]
    #[arg(long, env = "LIFEGUARD_PG_BIN", value_name = "DIRECTORY")]
    pub pg_bin: Option<PathBuf>,

    /// A machine definition, or a directory of them [default: the board lifecycle that is built in]
    #[arg(long, env = "LIFEGUARD_STATES", value_name = "PATH")]
    pub states: Option<PathBuf>,

    /// A machine that is shared at /state, as StateService does: its file of states, or a definition of ours
    #[arg(long, env = "LIFEGUARD_MACHINE_FILE", value_name = "FILE")]
    pub machine: Option<PathBuf>,

    /// Run the programs that machine definitions name in actions (`notify` with `command:`), as this server's user: whoever
    /// may load a definition can then run any program
    #[arg(long, env = "LIFEGUARD_ALLOW_COMMANDS", value_parser = BoolishValueParser::new())]
    pub allow_commands: bool,

    /// How long history is kept: `90d`, or `forever`; it goes by whole days
    #[arg(long, env = "LIFEGUARD_HISTORY_RETENTION", value_name = "TIME", default_value = "90d")]
    pub history_retention: Retention,

    /// Names and limits of HTTP
    #[command(flatten)]
    pub http: HttpArgs,

    /// Hosted models
    #[command(flatten)]
    pub models: ModelArgs,
}

impl ServeOptions {
    /// Reads the database's URL where a file holds it, and warns where its password can be seen.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no URL.
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
