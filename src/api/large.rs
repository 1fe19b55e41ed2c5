//! Large requests: what keeps all of them together within bounds, and each from keeping others waiting.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Problem;
use super::body::read;
use super::problem::fault;
use crate::clock::pause;

/// Bodies up to so many bytes are worked on where they arrive.
const MAX_SMALL: usize = 64 * 1024;

/// How many larger ones there are at once, from before the first byte is read until the answer is written: each takes many
/// times its size of memory meanwhile.
const PLACES: usize = 4;

static LARGE: Semaphore = Semaphore::const_new(PLACES);

/// How long a large body may take to come, in real time: others wait for its place.
const LONGEST_READ: Duration = Duration::from_mins(1);

/// How long a request waits for its turn, in real time.
pub(super) const LONGEST_TURN: Duration = Duration::from_secs(30);

/// Waits for a turn among `others`, but not for ever.
pub(super) async fn take_turn(
    turns: &'static Semaphore,
    longest: Duration,
    others: &str,
) -> Result<SemaphorePermit<'static>, Problem> {
    tokio::select! {
        biased;
        turn = turns.acquire() => turn.map_err(|error| fault(&error)),
        () = pause(longest) => {
            let detail = format!("other {others} take longer than {} s; try again shortly", longest.as_secs());
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail))
        }
    }
}

/// The place of a large request; a small one needs none.
#[derive(Debug, Clone)]
pub(super) struct Place(Option<Arc<SemaphorePermit<'static>>>);

impl Place {
    /// Waits for a place, if a body of this size is larger than a small one, or does not say how large it is.
    async fn of(size: Option<u64>) -> Result<Self, Problem> {
        if size.is_some_and(|size| size <= MAX_SMALL as u64) {
            return Ok(Self(None));
        }
        let permit = take_turn(&LARGE, LONGEST_TURN, "large requests").await?;
        Ok(Self(Some(Arc::new(permit))))
    }

    /// Reads a body, of which there may be `most` bytes, in its place.
    pub(super) async fn read(request: Request, most: usize) -> Result<(Self, Vec<u8>), Problem> {
        let size = request.body().size_hint().upper();
        let place = Self::of(size).await?;
        if place.0.is_none() {
            return Ok((place, read(request, most).await?));
        }
        tokio::select! {
            bytes = read(request, most) => Ok((place, bytes?)),
            () = pause(LONGEST_READ) => {
                let detail = format!("the body did not come within {} s", LONGEST_READ.as_secs());
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail))
            }
        }
    }

    /// Does some work on a request; on a large one aside, so that it keeps no other waiting. The place is kept until it is
    /// done, also when the client has gone.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if self.0.is_none() {
            return work();
        }
        let place = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|error| fault(&error))?
    }

    /// Answers with the JSON that `write` gives; the place is free once that is sent.
    pub(super) async fn answer(
        self,
        write: impl FnOnce() -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let bytes = self.work(write).await?;
        let body = Bytes::from_owner(Written { bytes, _place: self });
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }
}

/// An answer on its way.
struct Written {
    bytes: Vec<u8>,
    _place: Place,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_large_request_keeps_its_place_until_its_answer_is_written_and_small_ones_need_none() {
        let request = |size: usize| Request::new(Body::from(vec![b' '; size]));
        let mut answers = Vec::new();
        for _ in 0..PLACES {
            let (place, bytes) = Place::read(request(MAX_SMALL + 1), MAX_SMALL * 2).await.unwrap();
            assert_eq!(bytes.len(), MAX_SMALL + 1);
            let shared = place.work(|| Ok(1)).await.unwrap();
            answers.push(place.answer(move || Ok(vec![b'0'; shared])).await.unwrap());
        }
        for size in [Some(MAX_SMALL as u64 + 1), None] {
            assert!(Place::of(size).now_or_never().is_none());
        }
        let (small, _) = Place::read(request(MAX_SMALL), MAX_SMALL).now_or_never().unwrap().unwrap();
        assert!(small.0.is_none());

        let body = answers.pop().unwrap().into_body();
        let bytes = axum::body::to_bytes(body, 10).await.unwrap();
        assert!(Place::of(None).now_or_never().is_none(), "it is not written yet");
        drop(bytes);
        assert!(Place::of(None).now_or_never().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_turn_for_ever() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let short = Duration::from_millis(10);
        let turn = take_turn(&ONE, short, "tests").await.unwrap();
        let refused = take_turn(&ONE, short, "tests").await.unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(turn);
        assert!(take_turn(&ONE, short, "tests").await.is_ok());
    }
}
