//! `lifeguard-bench`: measures how fast and how exact Lifeguard is on this machine, each figure beside a comparison.
//!
//! It uses a private Postgres at full durability, servers in separate processes and real sockets. Comparisons are measured in
//! the same run, alternating with the figures, so that noise affects both. Each figure is a file.
//!
//! The servers are this program, which contains the product: the measured build is the one at hand.

mod bench;
mod client;
mod database;
mod figure;
mod figures;
mod listener;
mod load;
mod numbers;
mod options;
mod postgres;
mod process;
mod report;
mod run;
mod scratch;
mod server;
mod sizes;
mod timeouts;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use lifeguard::cli::log::{LogArgs, ProcessLog};
use lifeguard::cli::{self, output};
use tokio::runtime::Builder;

// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The default log filter: progress of the bench.
const DEFAULT_LOG_FILTER: &str = "error,lifeguard_bench=info";

/// The first argument that passes the others on to the product: `lifeguard-bench lifeguard serve …`.
const PRODUCT_ARGUMENT: &str = "lifeguard";

/// Arguments of the bench.
#[derive(Debug, Parser)]
#[command(
    name = "lifeguard-bench",
    version,
    about,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct BenchArguments {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    options: options::BenchOptions,

    #[command(subcommand)]
    command: Option<BenchCommand>,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// The second process of a load
    #[command(hide = true)]
    Load(load::LoadProcessOptions),
}

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let is_product = arguments.next_if(|argument| argument == PRODUCT_ARGUMENT).is_some();
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    if !is_product {
        let command = cli::without_empty_variables(BenchArguments::command());
        let arguments =
            BenchArguments::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
        return Ok(runtime.block_on(measure(arguments)));
    }
    match cli::parse_from(arguments) {
        Ok(cli) => Ok(runtime.block_on(cli::run(cli))),
        Err(code) => Ok(code),
    }
}

async fn measure(arguments: BenchArguments) -> ExitCode {
    let BenchArguments { log, options, command } = arguments;
    let log = match ProcessLog::start(&log, DEFAULT_LOG_FILTER) {
        Ok(log) => log,
        Err(error) => return output::fail(&error.to_string()),
    };
    let result: Result<(), Box<dyn Error>> = match command {
        Some(BenchCommand::Load(options)) => load::run(options).await,
        None => Box::pin(run::run(options)).await,
    };
    log.flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&output::with_causes(&*error)),
    }
}
