//! Running a server until the process is asked to stop.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;

use super::options::ServeOptions;
use super::server::LifeguardServer;
use crate::clock::SystemClock;

/// Completes when the process is asked to stop, by Ctrl-C or SIGTERM.
///
/// # Errors
///
/// When no signal handler can be installed.
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
pub(in crate::cli) async fn run(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    let signal = asked_to_stop()?;
    let options = options.with_secrets()?;
    let mut signal = pin!(signal);
    // A start waits for the database as long as necessary, unless the process is asked to stop.
    let server = tokio::select! {
        server = LifeguardServer::start(options, Arc::new(SystemClock)) => server?,
        () = &mut signal => {
            tracing::info!("stopped during start");
            return Ok(());
        }
    };
    if let Some(tftp) = server.tftp {
        tracing::info!(%tftp, "TFTP server listening");
    }
    tracing::info!(http = %server.http, boot_root = %server.boot_root.display(), "serving");
    server.run(signal).await?;
    tracing::info!("stopped");
    Ok(())
}
