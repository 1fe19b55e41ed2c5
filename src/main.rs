//! Lifeguard's command line: see [`lifeguard::cli`].

use std::process::ExitCode;

use clap::Parser;
use lifeguard::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse()).await
}
