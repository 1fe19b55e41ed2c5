//! Lifeguard's command line: see [`lifeguard::cli`].

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use lifeguard::cli;
use tokio::runtime::Builder;

// The many short-lived allocations of a request took a quarter of the server's time with the C library's allocator.
// Version 2, because version 3 does not return freed memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long blocking tasks may take to end after an orderly shutdown. A model that does not return would never end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> io::Result<ExitCode> {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return Ok(code),
    };
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(cli::run(cli));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(code)
}
