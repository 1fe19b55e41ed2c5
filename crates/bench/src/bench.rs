//! The environment of figures: a private Postgres and servers on it.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use lifeguard::actions::PowerSettings;
use lifeguard::cli::serve::{HttpArgs, ModelArgs, ServeOptions, TftpArgs};
use lifeguard::engine::{Engine, Retention};
use lifeguard::store::ConnectionBudget;
use tokio::process::Command;

use crate::database::ScratchDatabase;
use crate::options::BenchOptions;
use crate::postgres::BenchPostgres;
use crate::scratch::ScratchDir;
use crate::server::ServerProcess;
use crate::sizes::BenchSizes;

/// The definition for most figures.
const BENCH_YAML: &str = include_str!("bench.yaml");

/// The definition of the boards of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoardDefinition {
    /// The bench's definition.
    Bench,
    /// The built-in definition, `states/board.yaml`.
    Board,
}

/// The environment of figures.
pub(crate) struct Bench {
    /// Sizes of the figures.
    pub(crate) sizes: BenchSizes,
    /// ONNX Runtime's library; `None` where servers find it themselves.
    pub(crate) onnxruntime: Option<PathBuf>,
    /// The program to start as server; `None` for this program.
    server: Option<PathBuf>,
    /// Address of an original StateService.
    pub(crate) state_service: Option<SocketAddr>,
    /// The Postgres server of all figures.
    pub(crate) postgres: BenchPostgres,
    /// The temporary directory.
    pub(crate) scratch: ScratchDir,
}

impl Bench {
    /// Creates the directory and starts Postgres in it.
    pub(crate) async fn start(options: &BenchOptions) -> Result<Self, Box<dyn Error>> {
        if let Some(program) = options.server.as_ref().filter(|program| !program.is_file()) {
            return Err(format!("--server: {} is not a file", program.display()).into());
        }
        let scratch = ScratchDir::make(options.dir.as_deref())?;
        fs_err::write(scratch.path.join("bench.yaml"), BENCH_YAML)?;
        fs_err::create_dir(scratch.path.join("boot"))?;
        let postgres = BenchPostgres::start(&scratch.path, options.pg_bin.clone()).await?;
        let (onnxruntime, state_service) = (options.onnxruntime.clone(), options.state_service);
        let server = options.server.clone();
        Ok(Self { sizes: options.sizes(), onnxruntime, server, state_service, postgres, scratch })
    }

    /// The options of a server on a database.
    pub(crate) fn serve_options(
        &self,
        database: ScratchDatabase,
        definition: BoardDefinition,
    ) -> Result<ServeOptions, Box<dyn Error>> {
        Ok(ServeOptions {
            machine: None,
            listen: ([127, 0, 0, 1], 0).into(),
            insecure: false,
            tftp_listen: None,
            tftp: TftpArgs::default(),
            boot_root: Some(self.scratch.path.join("boot")),
            database_url: Some(self.postgres.url(database)?.into()),
            database_url_file: None,
            database_connections: ConnectionBudget::DEFAULT_TOTAL,
            event_timeout: Engine::EVENT_TIMEOUT,
            data_dir: None,
            pg_bin: None,
            states: match definition {
                BoardDefinition::Bench => Some(self.scratch.path.join("bench.yaml")),
                BoardDefinition::Board => None,
            },
            allow_commands: false,
            operators_url: None,
            history_retention: Retention::Forever,
            http: HttpArgs::default(),
            models: ModelArgs::default(),
            power: PowerSettings::default(),
        })
    }

    /// Starts a server on a database, as a separate process.
    pub(crate) async fn serve(
        &self,
        database: ScratchDatabase,
        definition: BoardDefinition,
    ) -> Result<ServerProcess, Box<dyn Error>> {
        self.serve_with(&self.serve_options(database, definition)?).await
    }

    /// Starts a server as a separate process; only the options in which figures differ are passed.
    pub(crate) async fn serve_with(&self, options: &ServeOptions) -> Result<ServerProcess, Box<dyn Error>> {
        let mut command = Command::new(self.server.clone().map_or_else(std::env::current_exe, Ok)?);
        if self.server.is_none() {
            command.arg(crate::PRODUCT_ARGUMENT);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LIFEGUARD_") {
                command.env_remove(name);
            }
        }
        command.arg("serve");
        if let Some(url) = &options.database_url {
            command.args(["--database-url", url.secret()]);
        }
        for (name, path) in [
            ("--boot-root", &options.boot_root),
            ("--states", &options.states),
            ("--config", &options.models.config),
            ("--models", &options.models.models),
            ("--onnxruntime", &options.models.onnxruntime),
        ] {
            if let Some(path) = path {
                command.arg(name).arg(path);
            }
        }
        ServerProcess::start(command).await
    }
}

#[cfg(test)]
mod tests {
    use super::BENCH_YAML;

    #[test]
    fn the_definition_of_the_bench_is_valid() {
        let loaded = machine::load(BENCH_YAML, lifeguard::boards::vocabulary());
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err().display("bench.yaml"));
    }
}
