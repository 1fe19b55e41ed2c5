//! One connection, from its first request to its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer_body::{AnswerBody, RequestUnderWay};
use super::answer_memory::{AnswerMemory, AnswerMemoryShare, MAX_UNCOUNTED_BYTES, STREAMED_ANSWER_BYTES};
use super::registry::OpenConnection;
use super::watched_stream::WatchedStream;
use crate::api::client::{ClientKey, ConnectionInfo};
use crate::api::frontend::HttpFrontend;
use crate::api::problem::Problem;
use crate::formatting::with_causes;

/// The size of a connection's buffers for the header of a request and for an answer, in bytes.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Serves one connection until either side ends it.
pub(super) async fn run(
    stream: TcpStream,
    info: ConnectionInfo,
    open: OpenConnection,
    frontend: Arc<HttpFrontend>,
    memory: Arc<AnswerMemory>,
) {
    let watch = &open.watch;
    let (frontend, memory) = (&frontend, &memory);
    let client = open.client;
    let address = Arc::clone(&info.address);
    // One service around all routes: a layer would wrap each route, and every request would copy it.
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = RequestUnderWay::new(watch);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(info.clone());
        let answer = frontend.answer(request);
        async move {
            let answer = answer.await?;
            let (answer, share) = match counted_size(&answer) {
                None => (answer, None),
                // Boxed: the future of every request would have to hold it.
                Some(size) => Box::pin(with_memory_share(answer, memory, client, size)).await,
            };
            Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, under_way, share)))
        }
    });
    let stream = TokioIo::new(WatchedStream { stream, watch: Arc::clone(watch) });
    let connection = http1::Builder::new().max_buf_size(MAX_BUFFER_BYTES).serve_connection(stream, service);
    let mut connection = pin!(connection);
    let mut is_ending = false;
    let mut end_requested = pin!(watch.end_requested());
    let mut timed_out = pin!(watch.timed_out());
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %address, error = %with_causes(&error), "HTTP connection failed");
                }
                break;
            }
            // A request in progress is answered first.
            () = end_requested.as_mut(), if !is_ending => {
                if watch.is_idle() {
                    break;
                }
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            limit = timed_out.as_mut() => {
                tracing::debug!(peer = %address, ?limit, "HTTP client timed out, connection closed");
                break;
            }
        }
    }
}

/// The size at which an answer is counted; nothing where it is small.
pub(super) fn counted_size(answer: &Response) -> Option<u64> {
    let size = answer.body().size_hint().exact().unwrap_or(STREAMED_ANSWER_BYTES);
    (size > MAX_UNCOUNTED_BYTES).then_some(size)
}

/// Returns an answer with its share of the memory, or a problem where no memory is available.
async fn with_memory_share(
    answer: Response,
    memory: &Arc<AnswerMemory>,
    client: ClientKey,
    size: u64,
) -> (Response, Option<AnswerMemoryShare>) {
    if let Some(share) = memory.take(client, size).await {
        return (answer, Some(share));
    }
    let detail = "too many large answers are waiting to be read; try again shortly";
    (Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).into_response(), None)
}
