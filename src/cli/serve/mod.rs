//! `lifeguard serve`: opens the parts, runs them, and stops them in turn.

mod boot_root;
mod boot_watch;
mod definitions;
mod descriptors;
mod http;
mod models;
mod secrets;
mod tftp_options;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::actions::{ActionOptions, Registry};
use crate::api::{self, Api, HttpOptions, LongPolls};
use crate::boot_tree::BootTree;
use crate::clock::{Clock, SystemClock};
use crate::dashboard;
use crate::engine::{Engine, Retention};
use crate::machine::{MachineName, parse_span};
use crate::model::Models;
use crate::store::private::{Options, PrivatePostgres};
use crate::store::{ConnectOptions, Connections, DatabaseUrl, Store};
use crate::tftp;
use crate::worker::Worker;
use boot_watch::BootWatch;
use definitions::Given;
use descriptors::Budget;

pub use http::HttpArgs;
pub use models::ModelArgs;
pub use tftp_options::TftpArgs;

/// The machine whose instances are boards.
pub const BOARD: &str = "board";

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
        default_value_t = Connections::DEFAULT,
        value_parser = clap::value_parser!(u32).range(i64::from(Connections::LEAST)..=1000)
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
    pub(super) fn with_secrets(mut self) -> Result<Self, Box<dyn Error>> {
        if let Some(file) = self.database_url_file.take() {
            self.database_url = Some(secrets::read_url(&file)?);
        } else if let Some(url) = &self.database_url {
            secrets::warn_of_argument(url.secret());
        }
        Ok(self)
    }
}

/// Reads a span that is not empty.
fn span(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| format!("{error}; say `30s` or `10m`"))?;
    if span.is_zero() {
        Err("it must be longer than nothing; say `30s` or `10m`".to_owned())
    } else {
        Ok(span)
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080")
}

/// A server that runs.
pub struct Server {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where TFTP is served.
    pub tftp: Option<SocketAddr>,
    /// The engine.
    pub engine: Engine,
    /// The boot tree.
    pub boot_root: PathBuf,
    /// What others speak to: HTTP and TFTP.
    faces: JoinSet<()>,
    driver: JoinSet<()>,
    stop_faces: CancellationToken,
    stop_driver: CancellationToken,
    postgres: Option<PrivatePostgres>,
}

impl Server {
    /// Opens the database, loads the definitions, binds the addresses, and begins to drive.
    ///
    /// # Errors
    ///
    /// Whatever keeps a part from starting, with what would mend it; nothing is left running then.
    pub async fn start(options: ServeOptions, clock: Arc<dyn Clock>) -> Result<Self, Box<dyn Error>> {
        if !options.listen.ip().to_canonical().is_loopback() && !options.insecure {
            return Err(format!(
                "{} can be reached by others, and nobody is asked who they are: \
                 listen on 127.0.0.1, or say --insecure if the network is trusted",
                options.listen
            )
            .into());
        }
        let budget = Budget::new(
            options.http.http_connections,
            options.tftp.tftp_transfers,
            options.database_connections,
        )?;
        let loaded = definitions::load(options.states.as_deref(), options.machine.as_deref())?;
        let http = bind(options.listen).await?;
        let data_dir = options.data_dir.clone().map_or_else(default_data_dir, Ok)?;
        let (connect, postgres) = if let Some(url) = &options.database_url {
            (url.parse().map_err(|error| format!("--database-url: {error}"))?, None)
        } else {
            let postgres =
                PrivatePostgres::start(Options { bin_dir: options.pg_bin, ..Options::new(&data_dir) })
                    .await?;
            (postgres.connect_options().into(), Some(postgres))
        };
        let boot_root = boot_root::find(options.boot_root, &data_dir)?;
        let Budget { limit, reserved, http_connections, tftp_transfers } = budget;
        tracing::info!(limit, reserved, http_connections, tftp_transfers, "file descriptors budgeted");
        let parts = Parts {
            http,
            http_options: options.http.options(http_connections),
            tftp_transfers,
            tftp_listen: options.tftp_listen,
            tftp: options.tftp,
            boot_root,
            history_retention: options.history_retention,
            database_connections: options.database_connections,
            event_timeout: options.event_timeout,
            models: Models::new(options.models.options(&data_dir), Arc::clone(&clock)),
            clock,
        };
        // A private Postgres is stopped in order also when a later part fails to start.
        match parts.start(connect, loaded).await {
            Ok(server) => Ok(Self { postgres, ..server }),
            Err(error) => {
                if let Some(postgres) = postgres
                    && let Err(error) = postgres.stop().await
                {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "the private PostgreSQL did not stop in order"
                    );
                }
                Err(error)
            }
        }
    }

    /// Waits until `signal` ends, then stops the parts in turn: nothing new is taken, what runs is ended or handed back.
    ///
    /// # Errors
    ///
    /// When a part ended by itself, and when the private Postgres could not be stopped in order; what was committed is
    /// kept.
    pub async fn run(mut self, signal: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
        let ended = tokio::select! {
            () = signal => None,
            ended = self.faces.join_next() => Some(ended),
            ended = self.driver.join_next() => Some(ended),
        };
        self.stop().await?;
        match ended {
            None => Ok(()),
            Some(Some(Err(fault))) => Err(Box::new(fault)),
            Some(_) => Err("a part of the server ended by itself; the log says which".into()),
        }
    }

    /// Stops the parts in turn.
    ///
    /// # Errors
    ///
    /// When the private Postgres could not be stopped in order; what was committed is kept.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        // Before boards find nobody: what they could not report is not held against them.
        self.engine.hold_deadlines();
        // Whoever asked for something while we still listened is answered, which takes the engine.
        self.stop_faces.cancel();
        while self.faces.join_next().await.is_some() {}
        self.stop_driver.cancel();
        while self.driver.join_next().await.is_some() {}
        self.engine.store().close().await;
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await?;
        }
        Ok(())
    }
}

/// The parts that need no database to be made.
struct Parts {
    http: TcpListener,
    http_options: HttpOptions,
    tftp_listen: Option<SocketAddr>,
    tftp: TftpArgs,
    tftp_transfers: usize,
    boot_root: PathBuf,
    history_retention: Retention,
    database_connections: u32,
    event_timeout: Duration,
    models: Models,
    clock: Arc<dyn Clock>,
}

impl Parts {
    async fn start(
        self,
        connect: ConnectOptions,
        Given { loaded, shared }: Given,
    ) -> Result<Server, Box<dyn Error>> {
        let Self {
            http,
            http_options,
            tftp_listen,
            tftp,
            tftp_transfers,
            boot_root,
            history_retention,
            database_connections,
            event_timeout,
            models,
            clock,
        } = self;
        let store = Store::open_with(connect, Connections::of(database_connections)).await?;
        let kinds = Registry::standard(&ActionOptions { boot_root: boot_root.clone() });
        let worker = Worker::new(Arc::new(kinds), Arc::clone(&clock));
        let engine =
            Engine::new(store, loaded, clock, worker, models, history_retention, event_timeout).await;
        let engine = engine.map_err(|error| definitions::explained(error, shared.as_ref()))?;
        let shared = match shared {
            Some(shared) => Some(shared.begin(&engine).await?),
            None => None,
        };
        let mut lookout = boot_root::Lookout::new(BootTree::new(boot_root.clone()), engine.clone());
        lookout.look().await;
        let (stop_faces, stop_driver) = (CancellationToken::new(), CancellationToken::new());
        let (mut faces, mut driver) = (JoinSet::new(), JoinSet::new());
        faces.spawn(lookout.run(stop_faces.clone()));
        let tftp = match tftp_listen {
            None => None,
            Some(listen) => {
                let watch = Arc::new(BootWatch::new(engine.clone()));
                let observer: Arc<dyn tftp::Observer> = Arc::<BootWatch>::clone(&watch);
                let server = tftp::Server::bind(listen, boot_root.clone(), observer).await?;
                let server = server
                    .limited(tftp::Limits { transfers: tftp_transfers, ..tftp.limits() })
                    .answering_from(tftp.ports());
                let address = server.local_addr();
                faces.spawn(server.run(stop_faces.clone()));
                let until = stop_faces.clone();
                faces.spawn(async move { watch.run(until).await });
                Some(address)
            }
        };
        let address = http.local_addr()?;
        let machine = MachineName::new(BOARD)?;
        let api = Api {
            engine: engine.clone(),
            machine: machine.clone(),
            shared,
            stopping: stop_faces.clone(),
            long_polls: LongPolls::new(http_options.limits.waits),
            list_timeouts: api::ListTimeouts::default(),
            reports: api::ReportPace::default(),
            snapshots: api::SnapshotPermits::of(engine.store().connections()),
        };
        let pages = dashboard::router(engine.clone(), machine);
        let routes = api::router(api).merge(pages);
        let store = Some(engine.store().clone());
        faces.spawn(api::serve(http, routes, store, http_options, stop_faces.clone()));
        let driven = engine.clone();
        let until = stop_driver.clone();
        driver.spawn(async move { driven.run(until).await });
        let postgres = None;
        Ok(Server {
            http: address,
            tftp,
            engine,
            boot_root,
            faces,
            driver,
            stop_faces,
            stop_driver,
            postgres,
        })
    }
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}").into())
}

/// The directory for what programs keep of their state: root's is the system's, others have their own.
fn default_data_dir() -> Result<PathBuf, Box<dyn Error>> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/lifeguard"));
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")));
    state
        .map(|state| state.join("lifeguard"))
        .ok_or_else(|| "there is no home directory: say where data goes with --data-dir".into())
}

/// Ends when the process is asked to stop: by Ctrl-C, or by SIGTERM.
///
/// # Errors
///
/// When signals cannot be listened to.
pub fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Runs the command.
pub(super) async fn run(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    let signal = asked_to_stop()?;
    let options = options.with_secrets()?;
    let mut signal = std::pin::pin!(signal);
    // A start waits for the database for as long as it takes, but not for whoever asks to stop.
    let server = tokio::select! {
        server = Server::start(options, Arc::new(SystemClock)) => server?,
        () = &mut signal => {
            tracing::info!("stopped before it served");
            return Ok(());
        }
    };
    if let Some(tftp) = server.tftp {
        tracing::info!(%tftp, "serving the boot tree by TFTP");
    }
    tracing::info!(http = %server.http, boot_root = %server.boot_root.display(), "serving");
    server.run(signal).await?;
    tracing::info!("stopped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: ServeOptions,
    }

    #[test]
    fn a_server_has_from_eight_to_a_thousand_database_connections() {
        for (number, is_taken) in [("7", false), ("8", true), ("1000", true), ("1001", false)] {
            let line = Line::try_parse_from(["serve", "--database-connections", number]);
            assert_eq!(line.is_ok(), is_taken, "{number}");
        }
    }
}
