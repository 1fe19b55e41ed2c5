//! Lifeguard's command line: see [`lifeguard::cli`].

use std::process::ExitCode;

use clap::Parser;
use lifeguard::cli::{self, Cli};

// A request's many short-lived pieces took a quarter of the server's time with the C library's allocator. Version 2,
// because version 3 keeps what is freed instead of giving it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse()).await
}
