//! Reads request bodies within limits of size and time.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use futures_util::StreamExt;

use super::client::ConnectionInfo;
use super::connections::MIN_BYTES_PER_SECOND;
use super::problem::Problem;
use crate::clock::sleep_real_time;
use crate::formatting::duration;

/// How much of a body that is too large is still read, in bytes: a client that goes on sending into a closed connection
/// never sees the answer.
pub(super) const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;

/// Reads a body of at most `max_bytes`, within the body timeout of its connection.
pub(super) async fn read(request: Request, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    let timeout = request.extensions().get().map(|connection: &ConnectionInfo| connection.body_timeout);
    let started = Instant::now();
    let mut body = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut size: usize = 0;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.next() => chunk,
            Some(timeout) = body_timeout(timeout, started, size) => return Err(too_slow(timeout)),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "the connection ended before the body was complete",
            )
        })?;
        size += chunk.len();
        if size > MAX_DRAINED_BYTES {
            break;
        }
        if size <= max_bytes {
            bytes.extend_from_slice(&chunk);
        }
    }
    if size > max_bytes {
        let detail = format!("a body may have at most {max_bytes} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    Ok(bytes)
}

/// Waits until the timeout of a body of which `size` bytes have arrived; returns the time that was allowed.
async fn body_timeout(timeout: Option<Duration>, started: Instant, size: usize) -> Option<Duration> {
    let allowed = allowed_time(timeout?, size);
    sleep_real_time(allowed.saturating_sub(started.elapsed())).await;
    Some(allowed)
}

/// How long a body may take when `size` bytes of it have arrived.
fn allowed_time(timeout: Duration, size: usize) -> Duration {
    timeout + Duration::from_millis(size as u64 * 1000 / u64::from(MIN_BYTES_PER_SECOND))
}

fn too_slow(allowed: Duration) -> Problem {
    let detail =
        format!("the body did not arrive within {}", duration(Duration::from_secs(allowed.as_secs())));
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_second_more_for_each_4096_bytes_of_it() {
        let of_size = |size| allowed_time(Duration::from_secs(10), size).as_secs();
        assert_eq!([0, 4095, 4096, 20 * 4096].map(of_size), [10, 10, 11, 30]);
    }
}
