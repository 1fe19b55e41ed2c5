//! `lifeguard bench`: how fast and how exact it is on this machine, each figure beside what it is compared with.
//!
//! A private Postgres at full durability, real `lifeguard serve` processes, real sockets; what is compared is measured
//! in the same run, the contestants taking turns, so that a noisy hour hits all of them. Figures are one file each.

mod client;
mod figures;
mod listener;
mod load;
mod postgres;
mod process;
mod report;
mod server;
mod sizes;
pub mod stats;

use std::error::Error;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde_json::{Value, json};
use tokio::process::Command;

use super::output;
use super::serve::{ServeOptions, asked_to_stop};
use crate::clock::{Clock, SystemClock, pause};
use crate::store::bench::Scratch;
use figures::Figure;
pub use load::LoadOptions;
use postgres::BenchPostgres;
use report::Report;
use server::ServerProcess;
use sizes::Sizes;

/// What the boards of most figures live by.
const DEFINITION: &str = include_str!("bench.yaml");

/// What `bench` can be told.
#[derive(Debug, Clone, Args)]
pub struct BenchOptions {
    /// All figures in under three minutes: smaller sizes, shorter runs, two repeats
    #[arg(long, env = "LIFEGUARD_BENCH_QUICK", value_parser = BoolishValueParser::new())]
    quick: bool,

    /// Sizes at which the figures mean nothing; for the tests
    #[arg(long, hide = true, conflicts_with = "quick")]
    tiny: bool,

    /// Only these figures, separated by commas [default: all but `day`]
    #[arg(long, env = "LIFEGUARD_BENCH_ONLY", value_name = "NAME", value_enum, value_delimiter = ',')]
    only: Vec<Figure>,

    /// How often each is measured, the contestants taking turns [default: 5, or 2 with --quick]
    #[arg(long, env = "LIFEGUARD_BENCH_REPEATS", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    repeats: Option<u8>,

    /// Where the JSON document goes: a file, or `-` for standard output, and then without the table
    #[arg(long, env = "LIFEGUARD_BENCH_JSON", value_name = "FILE")]
    json: Option<PathBuf>,

    /// The directory of PostgreSQL's programs, pgbench among them [default: where they are usually installed]
    #[arg(long, env = "LIFEGUARD_PG_BIN", value_name = "DIRECTORY")]
    pg_bin: Option<PathBuf>,

    /// On which disk it is measured: a directory in which a fresh one is made, and removed at the end [default: the
    /// system's directory for temporary files]
    #[arg(long, env = "LIFEGUARD_BENCH_DIR", value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

impl BenchOptions {
    fn figures(&self) -> Vec<Figure> {
        let is_asked = |figure: &Figure| {
            if self.only.is_empty() { *figure != Figure::Day } else { self.only.contains(figure) }
        };
        Figure::ALL.into_iter().filter(is_asked).collect()
    }

    fn sizes(&self) -> Sizes {
        if self.tiny {
            Sizes::TINY
        } else if self.quick {
            Sizes::QUICK
        } else {
            Sizes::FULL
        }
    }

    fn repeats(&self) -> usize {
        let usual = if self.tiny {
            1
        } else if self.quick {
            2
        } else {
            5
        };
        self.repeats.unwrap_or(usual).into()
    }
}

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
    repeats: usize,
    postgres: BenchPostgres,
    scratch: ScratchDir,
}

impl Bench {
    async fn start(options: &BenchOptions) -> Result<Self, Box<dyn Error>> {
        let scratch = ScratchDir::make(options.dir.as_deref())?;
        fs_err::write(scratch.path.join("bench.yaml"), DEFINITION)?;
        let postgres = BenchPostgres::start(&scratch.path, options.pg_bin.clone()).await?;
        Ok(Self { sizes: options.sizes(), repeats: options.repeats(), postgres, scratch })
    }

    /// What a server on a database is told.
    fn serve_options(&self, database: Scratch, lives: Lives) -> Result<ServeOptions, Box<dyn Error>> {
        Ok(ServeOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            insecure: false,
            tftp_listen: None,
            boot_root: Some(self.scratch.path.join("boot")),
            database_url: Some(self.postgres.url(database)?),
            data_dir: None,
            pg_bin: None,
            states: match lives {
                Lives::Bench => Some(self.scratch.path.join("bench.yaml")),
                Lives::Board => None,
            },
        })
    }

    /// Starts a server on a database, as a process of its own.
    async fn serve(&self, database: Scratch, lives: Lives) -> Result<ServerProcess, Box<dyn Error>> {
        let options = self.serve_options(database, lives)?;
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LIFEGUARD_") {
                command.env_remove(name);
            }
        }
        command.arg("serve");
        if let Some(url) = &options.database_url {
            command.args(["--database-url", url.as_str()]);
        }
        for (name, path) in [("--boot-root", &options.boot_root), ("--states", &options.states)] {
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
    tokio::pin!(signal);
    let bench = tokio::select! {
        started = Bench::start(&options) => started?,
        () = &mut signal => return Err("interrupted; nothing is left running".into()),
    };
    let mut about = about(&options, &bench);
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
fn about(options: &BenchOptions, bench: &Bench) -> Value {
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
        "size": if options.tiny { "tiny" } else if options.quick { "quick" } else { "full" },
        "sizes": bench.sizes,
        "repeats": bench.repeats,
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
        fs_err::create_dir(&path)?;
        let made = Self { path };
        // Root's Postgres runs as another user, who must be able to pass.
        fs_err::set_permissions(&made.path, Permissions::from_mode(0o711))?;
        Ok(made)
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
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn options(words: &str) -> Result<BenchOptions, String> {
        let command = BenchOptions::augment_args(Command::new("bench"));
        let words = std::iter::once("bench").chain(words.split_whitespace());
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        BenchOptions::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_all_but_the_day_is_measured_five_times() {
        let full = options("").unwrap();
        let all: Vec<Figure> = Figure::ALL.into_iter().filter(|figure| *figure != Figure::Day).collect();
        assert_eq!((full.figures(), full.repeats()), (all, 5));
        assert_eq!(full.sizes().armed, 1_000_000);
    }

    #[test]
    fn a_quick_run_is_smaller_and_says_so_in_its_sizes() {
        let quick = options("--quick").unwrap();
        assert_eq!((quick.repeats(), quick.sizes().armed), (2, 100_000));
        assert_eq!(options("--quick --repeats 3").unwrap().repeats(), 3);
    }

    #[test]
    fn figures_are_measured_once_and_in_their_own_order() {
        let only = options("--only day,http --only events,http").unwrap();
        assert_eq!(only.figures(), [Figure::Events, Figure::Http, Figure::Day]);
    }

    #[test]
    fn bad_options_are_refused_with_what_would_be_right() {
        for (words, right) in
            [("--only speed", "storm"), ("--repeats 0", "1..=100"), ("--repeats many", "invalid digit")]
        {
            let error = options(words).unwrap_err();
            assert!(error.contains(right), "{words}: {error}");
        }
    }

    #[test]
    fn the_boards_live_by_a_definition_that_is_one() {
        let loaded = crate::machine::load(DEFINITION, crate::action::ACTIONS);
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err().display("bench.yaml"));
    }
}
