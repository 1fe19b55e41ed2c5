//! Request bodies: how many bytes are read, and for how long.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use futures_util::StreamExt;

use super::client::ConnectionInfo;
use super::connections::MIN_BYTES_PER_SECOND;
use super::problem::Problem;
use crate::clock::sleep_real_time;

/// How much of a body that is too large is still read, in bytes: a client that sends on into a closed connection never
/// sees the answer.
pub(super) const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;

/// Reads a body, of which there may be `most` bytes, and which may take as long as its client's connection says.
pub(super) async fn read(request: Request, most: usize) -> Result<Vec<u8>, Problem> {
    let longest = request.extensions().get().map(|peer: &ConnectionInfo| peer.body_timeout);
    let begun = Instant::now();
    let mut body = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut size: usize = 0;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.next() => chunk,
            // Nothing is waited for where all of it is there already, as it mostly is.
            Some(longest) = body_timeout(longest, begun, size) => return Err(too_slow(longest)),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the body broke off before its end")
        })?;
        size += chunk.len();
        if size > MAX_DRAINED_BYTES {
            break;
        }
        if size <= most {
            bytes.extend_from_slice(&chunk);
        }
    }
    if size > most {
        let detail = format!("a body may have at most {most} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    Ok(bytes)
}

/// Ends when a body of which `size` bytes have come has taken too long, and says how long that is.
async fn body_timeout(longest: Option<Duration>, begun: Instant, size: usize) -> Option<Duration> {
    let longest = allowed_time(longest?, size);
    sleep_real_time(longest.saturating_sub(begun.elapsed())).await;
    Some(longest)
}

/// How long a body may take of which `size` bytes have come.
fn allowed_time(longest: Duration, size: usize) -> Duration {
    longest + Duration::from_millis(size as u64 * 1000 / u64::from(MIN_BYTES_PER_SECOND))
}

fn too_slow(longest: Duration) -> Problem {
    let detail = format!("the body did not come within {} s", longest.as_secs());
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
