//! The task that keeps a server running until it is told to stop.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::error::PrivatePostgresError;
use super::postmaster::{Postmaster, pause};

/// A server that ran for less than this has failed quickly.
const QUICK_FAILURE_TIME: Duration = Duration::from_secs(10);
/// The first and the longest wait after a quick failure; in between it doubles.
const MIN_MAX_BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often a first start is tried.
const MAX_FIRST_START_TRIES: u32 = 5;

/// How often a running server's log and socket are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a stop waits for a start that is under way: mostly it is a matter of milliseconds.
const PENDING_START_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the first server. The processes of one that was killed may hold on to the cluster for a moment, so a
/// server that dies is tried again a few times.
///
/// # Errors
///
/// As [`Cluster::launch`].
pub(super) async fn start_first(cluster: &Cluster) -> Result<Postmaster, PrivatePostgresError> {
    let mut wait = MIN_MAX_BACK_OFF.0;
    for _ in 1..MAX_FIRST_START_TRIES {
        match cluster.launch().await {
            Err(PrivatePostgresError::ExitedAtStart { .. }) => pause(wait).await,
            Ok(postmaster) => return Ok(postmaster),
            Err(error) => return Err(error),
        }
        wait = next_back_off(wait);
    }
    cluster.launch().await
}

/// Watches over `postmaster`, puts another in its place when it ends, and stops it when `stop` says so.
///
/// # Errors
///
/// As [`Postmaster::stop`]; only the stopping fails, for a start is tried again for ever.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    postmaster: Postmaster,
    stop: CancellationToken,
) -> Result<(), PrivatePostgresError> {
    let mut current = Some(postmaster);
    let mut wait = Duration::ZERO;
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
                    "the private PostgreSQL's socket is gone; it is started again to make it anew"
                );
                if let Err(error) = running.stop().await {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "the private PostgreSQL did not stop in order"
                    );
                }
                wait = Duration::ZERO;
                continue;
            };
            if started_at.elapsed() >= QUICK_FAILURE_TIME {
                (wait, is_reported) = (Duration::ZERO, false);
            }
            if !is_reported {
                let log_tail = cluster.log_tail();
                tracing::error!(?ended, log_tail, "Postgres ended unexpectedly and is started again");
                is_reported = true;
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = pause(wait) => {}
        }
        wait = next_back_off(wait);
        let mut launch = std::pin::pin!(cluster.launch());
        let launched = tokio::select! {
            biased;
            launched = &mut launch => launched,
            () = stop.cancelled() => return stop_pending_start(launch).await,
        };
        match launched {
            Ok(postmaster) => {
                tracing::info!("Postgres accepts connections again");
                current = Some(postmaster);
            }
            Err(error) if !is_reported => {
                tracing::error!(error = &error as &dyn Error, "Postgres does not start and is tried again");
                is_reported = true;
            }
            Err(error) => tracing::debug!(error = &error as &dyn Error, "Postgres does not start yet"),
        }
    }
}

/// Bounds the log for as long as the server has its socket; ends when that is gone, as where somebody tidied up the
/// directory that it was in: a server makes it at its start only.
async fn watch_socket_and_log(cluster: &Cluster) {
    let mut is_well = true;
    while cluster.has_socket() {
        let bounded = cluster.layout.rotate_long_log();
        if let Err(error) = &bounded
            && is_well
        {
            tracing::warn!(error = error as &dyn Error, "the private PostgreSQL's log cannot be bounded");
        }
        is_well = bounded.is_ok();
        pause(CHECK_INTERVAL).await;
    }
}

/// Stops the server that a start under way brings, in order if it comes up soon; otherwise it goes with the start.
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

/// The wait after `wait`.
fn next_back_off(wait: Duration) -> Duration {
    (wait * 2).clamp(MIN_MAX_BACK_OFF.0, MIN_MAX_BACK_OFF.1)
}
