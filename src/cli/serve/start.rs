//! Starting a server: its parts are started in order.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::faces;
use super::boot_root;
use super::boot_watch::BootWatch;
use super::descriptors::DescriptorBudget;
use super::options::ServeOptions;
use super::server::LifeguardServer;
use super::server_definitions::{self, BOARD_MACHINE, ServerDefinitions};
use super::tftp_options::TftpArgs;
use crate::actions::{CommandPolicy, NotifyPolicy, PowerSettings};
use crate::api::{self, ApiContext, HttpOptions, LongPolls};
use crate::boards::{BoardFace, BoardService};
use crate::boot_tree::BootTree;
use crate::clock::Clock;
use crate::dashboard;
use crate::engine::{self, Engine, Retention};
use crate::formatting::with_causes;
use crate::machine::MachineName;
use crate::model::Models;
use crate::outlets::{OUTLET_MACHINE, OutletService};
use crate::store::private::{PrivatePostgres, PrivatePostgresOptions};
use crate::store::{ConnectOptions, ConnectionBudget, Store};
use crate::tftp;
use crate::worker::Worker;

impl LifeguardServer {
    /// Opens the database, loads the definitions, binds the addresses, and starts the engine.
    ///
    /// # Errors
    ///
    /// Why a part cannot be started, and what would help. Nothing is left running then.
    pub async fn start(options: ServeOptions, clock: Arc<dyn Clock>) -> Result<Self, Box<dyn Error>> {
        options.check_listen()?;
        let budget = DescriptorBudget::new(
            options.http.http_connections,
            options.tftp.tftp_transfers,
            options.database_connections,
        )?;
        let loaded = server_definitions::load(options.states.as_deref(), options.machine.as_deref())?;
        let http = bind(options.listen).await?;
        // What is refused before is refused in one line.
        tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting");
        let data_dir = options.data_dir.clone().map_or_else(default_data_dir, Ok)?;
        let (connect, postgres) = if let Some(url) = &options.database_url {
            (url.parse().map_err(|error| format!("--database-url: {error}"))?, None)
        } else {
            let postgres = PrivatePostgres::start(PrivatePostgresOptions {
                bin_dir: options.pg_bin,
                ..PrivatePostgresOptions::new(&data_dir)
            })
            .await?;
            (postgres.connect_options().into(), Some(postgres))
        };
        let boot_root = boot_root::find(options.boot_root, &data_dir)?;
        let DescriptorBudget { limit, reserved, http_connections, tftp_transfers } = budget;
        tracing::info!(limit, reserved, http_connections, tftp_transfers, "file descriptors budgeted");
        // No reason not to start: the files may change at any time, and other boards do not need them.
        for (credential, error) in options.power.credentials.list_unreadable().await {
            tracing::warn!(%credential, error = %with_causes(&error), "credential cannot be read");
        }
        let parts = ServerParts {
            http,
            http_options: options.http.options(http_connections),
            tftp_transfers,
            tftp_listen: options.tftp_listen,
            tftp: options.tftp,
            boot_root,
            history_retention: options.history_retention,
            notify: NotifyPolicy {
                commands: if options.allow_commands {
                    CommandPolicy::Allowed
                } else {
                    CommandPolicy::Refused
                },
                operators_url: options.operators_url,
            },
            database_connections: options.database_connections,
            event_timeout: options.event_timeout,
            power: options.power,
            models: Models::new(options.models.options(&data_dir), Arc::clone(&clock)),
            clock,
        };
        // A private Postgres is stopped in order even if a later part fails to start.
        match parts.start(connect, loaded).await {
            Ok(server) => Ok(Self { postgres, ..server }),
            Err(error) => {
                if let Some(postgres) = postgres
                    && let Err(error) = postgres.stop().await
                {
                    tracing::warn!(
                        error = %with_causes(&error),
                        "cannot stop the private PostgreSQL in order"
                    );
                }
                Err(error)
            }
        }
    }
}

/// The parts that can be made without a database.
struct ServerParts {
    http: TcpListener,
    http_options: HttpOptions,
    tftp_listen: Option<SocketAddr>,
    tftp: TftpArgs,
    tftp_transfers: usize,
    boot_root: PathBuf,
    history_retention: Retention,
    notify: NotifyPolicy,
    database_connections: u32,
    event_timeout: Duration,
    models: Models,
    power: PowerSettings,
    clock: Arc<dyn Clock>,
}

/// The engine, and the parts started with it.
struct StartedEngine {
    engine: Engine,
    boards: BoardService,
    /// The shared instance at `/state`.
    shared: Option<(MachineName, String)>,
}

impl ServerParts {
    async fn start(
        self,
        connect: ConnectOptions,
        given: ServerDefinitions,
    ) -> Result<LifeguardServer, Box<dyn Error>> {
        let machine = MachineName::new(BOARD_MACHINE)?;
        let StartedEngine { engine, boards, shared } = self.start_engine(connect, given, &machine).await?;
        let mut monitor =
            boot_root::BootRootMonitor::new(BootTree::new(self.boot_root.clone()), boards.clone());
        monitor.check().await;
        let (stop_faces, stop_driver) = (CancellationToken::new(), CancellationToken::new());
        let (mut faces, mut driver) = (JoinSet::new(), JoinSet::new());
        faces.spawn(monitor.run(stop_faces.clone()));
        let tftp = self.serve_tftp(&boards, &mut faces, &stop_faces).await?;
        let address = self.http.local_addr()?;
        let api = ApiContext {
            engine: engine.clone(),
            boards: boards.clone(),
            outlets: OutletService::new(engine.clone(), MachineName::new(OUTLET_MACHINE)?),
            machine: machine.clone(),
            shared_instance: shared,
            stopping: stop_faces.clone(),
            long_polls: LongPolls::new(self.http_options.limits.max_long_polls),
            list_timeouts: api::ListTimeouts::default(),
            report_rates: api::ReportRateLimiter::default(),
            snapshot_permits: api::SnapshotPermits::of(engine.store().connections()),
        };
        let pages = dashboard::router(engine.clone(), machine);
        let routes = api::router(api).merge(pages);
        let store = Some(engine.store().clone());
        faces.spawn(api::serve(self.http, routes, store, self.http_options, stop_faces.clone()));
        let (running, stop) = (engine.clone(), stop_driver.clone());
        driver.spawn(async move { running.run(stop).await });
        Ok(LifeguardServer {
            http: address,
            tftp,
            engine,
            boards,
            boot_root: self.boot_root,
            faces,
            driver,
            stop_faces,
            stop_driver,
            postgres: None,
        })
    }

    /// Opens the database, and activates the definitions.
    async fn start_engine(
        &self,
        connect: ConnectOptions,
        ServerDefinitions { loaded, outdated, shared }: ServerDefinitions,
        machine: &MachineName,
    ) -> Result<StartedEngine, Box<dyn Error>> {
        let clock = Arc::clone(&self.clock);
        let store = Store::open_with(connect, ConnectionBudget::of(self.database_connections)).await?;
        for definition in &outdated {
            definition.confirm_active(&store).await?;
        }
        let kinds = faces::action_kinds(&self.boot_root, self.notify.clone(), &self.power);
        let worker = Worker::new(Arc::new(kinds), Arc::clone(&clock));
        let face = Arc::new(BoardFace::new(machine.clone()));
        let parts = engine::EngineParts {
            store,
            clock,
            worker,
            models: self.models.clone(),
            vocabulary: Arc::new(faces::vocabulary().clone()),
            faces: faces::faces(Arc::clone(&face)),
        };
        let options =
            engine::EngineOptions { retention: self.history_retention, event_timeout: self.event_timeout };
        let engine = Engine::new(parts, loaded, options).await;
        let engine = engine.map_err(|error| server_definitions::with_advice(error, shared.as_ref()))?;
        let boards = BoardService::new(engine.clone(), face).with_power_settings(self.power.clone());
        let shared = match shared {
            Some(shared) => Some(shared.create_instance(&engine).await?),
            None => None,
        };
        Ok(StartedEngine { engine, boards, shared })
    }

    /// Starts the TFTP server if an address is configured, and returns its address.
    async fn serve_tftp(
        &self,
        boards: &BoardService,
        faces: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<Option<SocketAddr>, Box<dyn Error>> {
        let Some(listen) = self.tftp_listen else { return Ok(None) };
        let watch = Arc::new(BootWatch::new(boards.clone()));
        let observer: Arc<dyn tftp::TftpObserver> = Arc::<BootWatch>::clone(&watch);
        let server = tftp::TftpServer::bind(listen, self.boot_root.clone(), observer).await?;
        let server = server
            .with_limits(tftp::TftpLimits { max_transfers: self.tftp_transfers, ..self.tftp.limits() })
            .with_port_mode(self.tftp.ports());
        let address = server.local_addr();
        faces.spawn(server.run(stop.clone()));
        let stop = stop.clone();
        faces.spawn(async move { watch.run(stop).await });
        Ok(Some(address))
    }
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}").into())
}

/// The default data directory: the system's for root, the user's state directory for others.
fn default_data_dir() -> Result<PathBuf, Box<dyn Error>> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/lifeguard"));
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")));
    state
        .map(|state| state.join("lifeguard"))
        .ok_or_else(|| "no home directory: give a directory for data with --data-dir".into())
}
