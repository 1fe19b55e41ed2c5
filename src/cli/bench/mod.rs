//! `lifeguard bench`: how fast and how exact it is on this machine, each figure beside what it is compared with.
//!
//! A private Postgres at full durability, real `lifeguard serve` processes, real sockets; what is compared is measured
//! in the same run, the contestants taking turns, so that a noisy hour hits all of them. Figures are one file each.

mod client;
mod figures;
mod listener;
mod load;
mod options;
mod postgres;
mod process;
mod report;
mod server;
mod sizes;
pub mod stats;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use super::output;
use super::serve::{HttpArgs, ModelArgs, ServeOptions, TftpArgs, asked_to_stop};
use crate::clock::{Clock, SystemClock, pause};
use crate::engine::{Engine, Retention};
use crate::store::Connections;
use crate::store::bench::Scratch;
pub use load::LoadOptions;
pub use options::BenchOptions;
use postgres::BenchPostgres;
use report::Report;
use server::ServerProcess;
use sizes::Sizes;

/// What the boards of most figures live by.
const DEFINITION: &str = include_str!("bench.yaml");

/// By which definition boards live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lives {
    /// By that of the bench.
    Bench,
    /// By the built-in one, `states/board.yaml`.
    Board,
}

/// What figures work with.
struct Bench {
    sizes: Sizes,
    /// ONNX Runtime's library, if it is not where servers find it.
    onnxruntime: Option<PathBuf>,
    /// Where an original StateService serves.
    state_service: Option<SocketAddr>,
    postgres: BenchPostgres,
    scratch: ScratchDir,
}

impl Bench {
    async fn start(options: &BenchOptions) -> Result<Self, Box<dyn Error>> {
        let scratch = ScratchDir::make(options.dir.as_deref())?;
        fs_err::write(scratch.path.join("bench.yaml"), DEFINITION)?;
        fs_err::create_dir(scratch.path.join("boot"))?;
        let postgres = BenchPostgres::start(&scratch.path, options.pg_bin.clone()).await?;
        let (onnxruntime, state_service) = (options.onnxruntime.clone(), options.state_service);
        Ok(Self { sizes: options.sizes(), onnxruntime, state_service, postgres, scratch })
    }

    /// What a server on a database is told.
    fn serve_options(&self, database: Scratch, lives: Lives) -> Result<ServeOptions, Box<dyn Error>> {
        Ok(ServeOptions {
            machine: None,
            listen: ([127, 0, 0, 1], 0).into(),
            insecure: false,
            tftp_listen: None,
            tftp: TftpArgs::default(),
            boot_root: Some(self.scratch.path.join("boot")),
            database_url: Some(self.postgres.url(database)?.into()),
            database_url_file: None,
            database_connections: Connections::DEFAULT,
            event_timeout: Engine::EVENT_TIMEOUT,
            data_dir: None,
            pg_bin: None,
            states: match lives {
                Lives::Bench => Some(self.scratch.path.join("bench.yaml")),
                Lives::Board => None,
            },
            history_retention: Retention::Forever,
            http: HttpArgs::default(),
            models: ModelArgs::default(),
        })
    }

    /// Starts a server on a database, as a process of its own.
    async fn serve(&self, database: Scratch, lives: Lives) -> Result<ServerProcess, Box<dyn Error>> {
        self.serve_with(&self.serve_options(database, lives)?).await
    }

    /// Starts a server with these options, as far as figures differ in them, as a process of its own.
    async fn serve_with(&self, options: &ServeOptions) -> Result<ServerProcess, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
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

/// Runs the command.
pub(super) async fn run(options: BenchOptions) -> Result<(), Box<dyn Error>> {
    let signal = asked_to_stop()?;
    let (began, began_at) = (Instant::now(), SystemClock.now());
    if cfg!(debug_assertions) && !options.tiny {
        output::complain("this is a debug build: its figures say nothing of a release");
    }
    if let Some(file) = options.json.as_ref().filter(|file| file.as_os_str() != "-") {
        // What could not be written would be known only at the very end.
        fs_err::OpenOptions::new().append(true).create(true).open(file)?;
    }
    tokio::pin!(signal);
    let bench = tokio::select! {
        started = Bench::start(&options) => started?,
        () = &mut signal => return Err("interrupted; nothing is left running".into()),
    };
    let mut about = about(&bench);
    let mut report = Report::default();
    let figures = options.figures();
    let ended = tokio::select! {
        failed = figures::run(&bench, &figures, &mut report) => Some(failed),
        () = signal => None,
    };
    // In order, whatever came before: nothing is left running, and no directory.
    let Bench { postgres, scratch, .. } = bench;
    let stopped = postgres.stop().await;
    drop(scratch);
    if let Some(about) = about.as_object_mut() {
        about.insert("began_at".to_owned(), json!(began_at));
        about.insert("seconds".to_owned(), json!(began.elapsed().as_secs()));
    }
    let document = serde_json::to_string_pretty(&report.json(&about))?;
    match &options.json {
        Some(path) if path.as_os_str() == "-" => output::print(&document)?,
        Some(path) => {
            fs_err::write(path, document + "\n")?;
            output::print(&report.table())?;
        }
        None => output::print(&report.table())?,
    }
    stopped?;
    match ended {
        Some(failed) if failed.is_empty() => Ok(()),
        Some(failed) => Err(format!("failed: {}", failed.join(", ")).into()),
        None => Err("interrupted; the rest was not measured, and nothing is left running".into()),
    }
}

/// Runs the second process of a load.
pub(super) async fn run_load(options: LoadOptions) -> Result<(), Box<dyn Error>> {
    load::run(options).await
}

/// What ran where.
fn about(bench: &Bench) -> Value {
    let read = |path| fs_err::read_to_string(path).unwrap_or_default();
    let find = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let settings: serde_json::Map<String, Value> =
        bench.postgres.durability.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "is_debug_build": cfg!(debug_assertions),
        "command": std::env::args().skip(1).collect::<Vec<_>>(),
        "sizes": bench.sizes,
        "server_log": server::LOG,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": find(&read("/proc/cpuinfo"), "model name"),
        "memory": find(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "postgres": { "version": bench.postgres.durability.version, "settings": settings },
    })
}

/// Does `work` for at most `limit` of real time; `None` when the time ran out.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = pause(limit) => None,
    }
}

/// Waits until it is so, asking often enough; false when it was not within `limit` of real time.
async fn until(
    limit: Duration,
    mut is_so: impl AsyncFnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let give_up_at = Instant::now() + limit;
    loop {
        if is_so().await? {
            return Ok(true);
        }
        if Instant::now() >= give_up_at {
            return Ok(false);
        }
        pause(Duration::from_millis(200)).await;
    }
}

/// The directory of everything; it goes with the bench.
#[derive(Debug)]
struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    fn make(parent: Option<&std::path::Path>) -> Result<Self, Box<dyn Error>> {
        let parent = parent.map_or_else(std::env::temp_dir, ToOwned::to_owned);
        if !parent.is_dir() {
            return Err(format!("--dir: {} is not a directory", parent.display()).into());
        }
        let path = fs_err::canonicalize(parent)?.join(format!("lifeguard-bench-{}", std::process::id()));
        // Root's Postgres runs as another user, who must be able to pass.
        crate::directories::make(&path, 0o711)?;
        Ok(Self { path })
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A Postgres that was told to stop in the middle of its start may write for a moment yet.
        let give_up_at = Instant::now() + Duration::from_secs(5);
        while let Err(error) = fs_err::remove_dir_all(&self.path) {
            if Instant::now() >= give_up_at {
                return tracing::warn!(error = &error as &dyn Error, "the bench's directory is left");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DEFINITION;

    #[test]
    fn the_boards_live_by_a_definition_that_is_one() {
        let loaded = crate::machine::load(DEFINITION, crate::boards::vocabulary());
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err().display("bench.yaml"));
    }
}
