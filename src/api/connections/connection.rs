//! One connection: it carries requests and answers until either side ends it.

use std::convert::Infallible;
use std::error::Error;
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

/// How much of a request's header, and of an answer, a connection keeps in memory, in bytes.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Carries requests and answers over one connection, until either side ends it.
pub(super) async fn run(
    stream: TcpStream,
    peer: ConnectionInfo,
    open: OpenConnection,
    front: Arc<HttpFrontend>,
    memory: Arc<AnswerMemory>,
) {
    let watch = &open.watch;
    let (front, memory) = (&front, &memory);
    let client = open.client;
    let address = Arc::clone(&peer.address);
    // Around all routes: a layer would stand around each, and every request would pay for copies of it.
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = RequestUnderWay::new(watch);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let answer = front.answer(request);
        async move {
            let answer = answer.await?;
            let (answer, share) = match counted_size(&answer) {
                None => (answer, None),
                // In a box: every request would have to carry room for it.
                Some(size) => Box::pin(with_memory_share(answer, memory, client, size)).await,
            };
            Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, under_way, share)))
        }
    });
    let stream = TokioIo::new(WatchedStream { stream, watch: Arc::clone(watch) });
    let connection = http1::Builder::new().max_buf_size(MAX_BUFFER_BYTES).serve_connection(stream, service);
    let mut connection = pin!(connection);
    let mut is_to_end = false;
    let mut to_end = pin!(watch.end_requested());
    let mut overdue = pin!(watch.timed_out());
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %address, error = &error as &dyn Error, "HTTP connection broke");
                }
                break;
            }
            // A request that has come meanwhile is answered first.
            () = to_end.as_mut(), if !is_to_end => {
                if watch.is_idle() {
                    break;
                }
                is_to_end = true;
                connection.as_mut().graceful_shutdown();
            }
            limit = overdue.as_mut() => {
                tracing::debug!(peer = %address, ?limit, "HTTP connection closed: the client is too slow");
                break;
            }
        }
    }
}

/// How large an answer is, if that counts.
pub(super) fn counted_size(answer: &Response) -> Option<u64> {
    let size = answer.body().size_hint().exact().unwrap_or(STREAMED_ANSWER_BYTES);
    (size > MAX_UNCOUNTED_BYTES).then_some(size)
}

/// An answer with its share of the memory, or the problem that there is none.
async fn with_memory_share(
    answer: Response,
    memory: &Arc<AnswerMemory>,
    client: ClientKey,
    size: u64,
) -> (Response, Option<AnswerMemoryShare>) {
    if let Some(share) = memory.take(client, size).await {
        return (answer, Some(share));
    }
    let detail = "too many large answers wait to be read; try again shortly";
    (Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).into_response(), None)
}
