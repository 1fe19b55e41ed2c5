//! Limits the number of large requests, and the time of each.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::read;
use super::client::ClientKey;
use super::fair_semaphore::{FairPermit, FairSemaphore};
use super::problem::{Problem, internal_error};
use crate::clock::sleep_real_time;
use crate::formatting::duration;

/// Bodies up to this size are processed without a permit, in bytes.
const MAX_SMALL_BODY_BYTES: usize = 64 * 1024;

/// How many larger requests there are at once, half of them of one client, from before the first byte is read until the
/// answer is written: each takes many times its size of memory meanwhile.
const MAX_LARGE_REQUESTS: usize = 4;

static LARGE_REQUEST_PERMITS: LazyLock<FairSemaphore> =
    LazyLock::new(|| FairSemaphore::new(MAX_LARGE_REQUESTS));

/// How long a large body may take to arrive, in real time: others wait for its permit.
const LARGE_BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a request waits for a permit, in real time.
pub(super) const PERMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The permit of a large request; a small one needs none.
#[derive(Debug, Clone)]
pub(super) struct LargeRequestPermit(Option<Arc<FairPermit>>);

impl LargeRequestPermit {
    /// Waits for a permit, where a body of this size is large or its size is unknown.
    async fn of(client: ClientKey, size: Option<u64>) -> Result<Self, Problem> {
        if size.is_some_and(|size| size <= MAX_SMALL_BODY_BYTES as u64) {
            return Ok(Self(None));
        }
        let permit = LARGE_REQUEST_PERMITS.acquire(client, PERMIT_TIMEOUT, "large requests").await?;
        Ok(Self(Some(Arc::new(permit))))
    }

    /// Reads a body of at most `max_bytes`, with a permit if it is large.
    pub(super) async fn read(request: Request, max_bytes: usize) -> Result<(Self, Vec<u8>), Problem> {
        let size = request.body().size_hint().upper();
        let permit = Self::of(ClientKey::of_request(request.extensions()), size).await?;
        if permit.0.is_none() {
            return Ok((permit, read(request, max_bytes).await?));
        }
        let bytes = read_within(LARGE_BODY_TIMEOUT, request, max_bytes).await?;
        Ok((permit, bytes))
    }

    /// Processes a request; a large one on another thread, so that it does not delay others. The permit is held until that is
    /// done, even after the client has disconnected.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if self.0.is_none() {
            return work();
        }
        let permit = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|error| internal_error(&error))?
    }

    /// Answers with the JSON that `write` returns; the permit is released once it is sent.
    pub(super) async fn answer(
        self,
        write: impl FnOnce() -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let bytes = self.work(write).await?;
        let body = Bytes::from_owner(LargeAnswer { bytes, _permit: self });
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }
}

/// Reads a body of at most `max_bytes` within `timeout`, regardless of its rate.
async fn read_within(timeout: Duration, request: Request, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    tokio::select! {
        bytes = read(request, max_bytes) => bytes,
        () = sleep_real_time(timeout) => {
            let detail = format!("the body did not arrive within {}", duration(timeout));
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail))
        }
    }
}

/// The bytes of an answer, with the permit of its request.
struct LargeAnswer {
    bytes: Vec<u8>,
    _permit: LargeRequestPermit,
}

impl AsRef<[u8]> for LargeAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::extract::FromRequest;
    use futures_util::FutureExt;

    use super::super::client::ConnectionInfo;
    use super::super::definition_text::DefinitionText;
    use super::*;

    fn client(number: u8) -> ClientKey {
        ClientKey::of([192, 0, 2, number].into())
    }

    /// A request with a body of `size` bytes.
    fn request(number: u8, size: usize) -> Request {
        let mut request = Request::new(Body::from(vec![b' '; size]));
        let connection = ConnectionInfo {
            address: "".into(),
            client_key: client(number),
            body_timeout: LARGE_BODY_TIMEOUT,
        };
        request.extensions_mut().insert(connection);
        request
    }

    #[tokio::test]
    async fn a_large_body_that_does_not_end_is_answered_408() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<String, Infallible>>());
        let slow = read_within(Duration::from_millis(10), Request::new(body), 10).await.unwrap_err();
        assert_eq!(slow.into_response().status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!((LARGE_BODY_TIMEOUT.as_secs(), PERMIT_TIMEOUT.as_secs()), (60, 30));
    }

    #[tokio::test]
    async fn a_large_request_keeps_its_permit_until_its_answer_is_written_and_small_ones_need_none() {
        let mut answers = Vec::new();
        for number in [1, 1, 2, 2] {
            let (permit, bytes) =
                LargeRequestPermit::read(request(number, MAX_SMALL_BODY_BYTES + 1), MAX_SMALL_BODY_BYTES * 2)
                    .await
                    .unwrap();
            assert_eq!(bytes.len(), MAX_SMALL_BODY_BYTES + 1);
            let shared = permit.work(|| Ok(1)).await.unwrap();
            answers.push(permit.answer(move || Ok(vec![b'0'; shared])).await.unwrap());
            if answers.len() == 2 {
                assert!(LargeRequestPermit::of(client(1), None).now_or_never().is_none(), "it has its half");
            }
        }
        for size in [Some(MAX_SMALL_BODY_BYTES as u64 + 1), None] {
            assert!(LargeRequestPermit::of(client(3), size).now_or_never().is_none());
        }
        let (small, _) = LargeRequestPermit::read(request(3, MAX_SMALL_BODY_BYTES), MAX_SMALL_BODY_BYTES)
            .now_or_never()
            .unwrap()
            .unwrap();
        assert!(small.0.is_none());
        // A definition needs a permit before any of it is read.
        let definition = DefinitionText::from_request(request(3, MAX_SMALL_BODY_BYTES + 1), &());
        assert!(definition.now_or_never().is_none());

        let body = answers.pop().unwrap().into_body();
        let bytes = axum::body::to_bytes(body, 10).await.unwrap();
        assert!(LargeRequestPermit::of(client(3), None).now_or_never().is_none(), "it is not written yet");
        drop(bytes);
        let definition =
            DefinitionText::from_request(request(3, MAX_SMALL_BODY_BYTES + 1), &()).await.unwrap();
        assert!(LargeRequestPermit::of(client(3), None).now_or_never().is_none(), "its text is in use");
        drop(definition);
        assert!(LargeRequestPermit::of(client(3), None).now_or_never().is_some());
    }
}
