//! The supervisor task: restarts the server until it is told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use formatting::with_causes;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::error::PrivatePostgresError;
use super::postmaster::{Postmaster, pause};

/// A server that ran for less than this counts as a quick failure.
const QUICK_FAILURE_TIME: Duration = Duration::from_secs(10);
/// The first and the longest delay after a quick failure; it doubles in between.
const MIN_MAX_BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Tries of the first start.
const MAX_FIRST_START_TRIES: u32 = 5;

/// How often a running server's log and socket are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a stop waits for a pending start, which usually takes milliseconds.
const PENDING_START_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the first server. Processes of a killed server may use the cluster for a moment, so a failed start is retried
/// a few times.
///
/// # Errors
///
/// As [`Cluster::launch`].
pub(super) async fn start_first(cluster: &Cluster) -> Result<Postmaster, PrivatePostgresError> {
    let mut back_off = MIN_MAX_BACK_OFF.0;
    for _ in 1..MAX_FIRST_START_TRIES {
        match cluster.launch().await {
            Err(PrivatePostgresError::ExitedAtStart { .. }) => pause(back_off).await,
            Ok(postmaster) => return Ok(postmaster),
            Err(error) => return Err(error),
        }
        back_off = next_back_off(back_off);
    }
    cluster.launch().await
}

/// Supervises `postmaster`: restarts it when it exits, and stops it on `stop`.
///
/// # Errors
///
/// As [`Postmaster::stop`]; a failed start is retried without limit.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    postmaster: Postmaster,
    stop: CancellationToken,
) -> Result<(), PrivatePostgresError> {
    let mut current = Some(postmaster);
    let mut back_off = Duration::ZERO;
    let mut is_reported = false;
    loop {
        if let Some(mut running) = current.take() {
            let started_at = Instant::now();
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return running.stop().await,
                ended = running.wait() => Some(ended),
                () = watch_socket_and_log(&cluster) => None,
            };
            let Some(ended) = ended else {
                tracing::warn!(
                    directory = %cluster.socket_dir.display(),
                    "socket of the private PostgreSQL missing, restarting"
                );
                if let Err(error) = running.stop().await {
                    tracing::warn!(
                        error = %with_causes(&error),
                        "cannot stop the private PostgreSQL in order"
                    );
                }
                back_off = Duration::ZERO;
                continue;
            };
            if started_at.elapsed() >= QUICK_FAILURE_TIME {
                (back_off, is_reported) = (Duration::ZERO, false);
            }
            if !is_reported {
                let log_tail = cluster.log_tail();
                tracing::error!(?ended, log_tail, "private PostgreSQL exited unexpectedly, restarting");
                is_reported = true;
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = pause(back_off) => {}
        }
        back_off = next_back_off(back_off);
        let mut launch = std::pin::pin!(cluster.launch());
        let launched = tokio::select! {
            biased;
            launched = &mut launch => launched,
            () = stop.cancelled() => return stop_pending_start(launch).await,
        };
        match launched {
            Ok(postmaster) => {
                tracing::info!("private PostgreSQL accepts connections again");
                current = Some(postmaster);
            }
            Err(error) if !is_reported => {
                tracing::error!(
                    error = %with_causes(&error),
                    "cannot start the private PostgreSQL, retrying"
                );
                is_reported = true;
            }
            Err(error) => {
                tracing::debug!(
                    error = %with_causes(&error),
                    "cannot start the private PostgreSQL, retrying"
                );
            }
        }
    }
}

/// Rotates the log while the server has its socket; returns when the socket is missing, for example because its
/// directory was cleaned up: a server creates it only at its start.
async fn watch_socket_and_log(cluster: &Cluster) {
    let mut is_log_ok = true;
    while cluster.has_socket() {
        let rotated = cluster.layout.rotate_long_log();
        if let Err(error) = &rotated
            && is_log_ok
        {
            tracing::warn!(error = %with_causes(error), "cannot rotate the private PostgreSQL's log");
        }
        is_log_ok = rotated.is_ok();
        pause(CHECK_INTERVAL).await;
    }
}

/// Stops the server of a pending start: in order if it is ready soon, otherwise by dropping the start.
///
/// # Errors
///
/// As [`Postmaster::stop`].
async fn stop_pending_start(
    start: impl Future<Output = Result<Postmaster, PrivatePostgresError>>,
) -> Result<(), PrivatePostgresError> {
    tokio::select! {
        started = start => match started {
            Ok(postmaster) => postmaster.stop().await,
            Err(_) => Ok(()),
        },
        () = pause(PENDING_START_TIMEOUT) => Ok(()),
    }
}

/// Returns the delay after `back_off`.
fn next_back_off(back_off: Duration) -> Duration {
    (back_off * 2).clamp(MIN_MAX_BACK_OFF.0, MIN_MAX_BACK_OFF.1)
}
