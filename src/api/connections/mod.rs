//! The connections of clients: they carry requests to the routes and answers back.
//!
//! | file | what |
//! |---|---|
//! | `limits` | how many there may be, and how long each may keep the server waiting |
//! | `registry` | which are open, who may open another, and whose gives way |
//! | `watch` | what a connection waits for, and until when |
//! | `memory` | how much of answers may wait to be read |
//! | `refusals` | what those are told for whom there is no room |

mod limits;
mod memory;
mod refusals;
mod registry;
mod watch;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::limits::Limits;
use self::memory::{IN_PARTS, Memory, SMALL, Share};
use self::refusals::Refusals;
use self::registry::{Admission, Place, Registry};
use self::watch::{Answer, UnderWay, Watched};
use super::front::Front;
use super::names::ServerNames;
use super::{Problem, problem};
use crate::clock::pause;
use crate::store::Store;

pub(super) use self::limits::MIN_RATE;
pub(super) use self::registry::Client;

/// How long open connections may take to end once the server stops, in real time. Whoever is not answered by then is cut
/// off; what was asked for may still be decided on.
const DRAIN: Duration = Duration::from_secs(5);
/// How long nobody is let in where the machine has no room for another connection, unless one ends.
const FULL: Duration = Duration::from_secs(1);
/// How much of a request's header, and of an answer, a connection keeps in memory, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// When a connection on which nothing comes is asked for a sign of life, how often, and how many times: a client that went
/// away without a word is noticed after two minutes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(15), 4);

/// The client of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: Arc<str>,
    /// As whom it is counted.
    pub(super) client: Client,
    /// How long it may take to send a body.
    pub(super) body_time: Duration,
}

/// How a server serves HTTP.
#[derive(Debug, Default)]
pub struct HttpOptions {
    /// How many connections there may be, and how long each may keep the server waiting.
    pub limits: Limits,
    /// By which names clients may call it.
    pub names: ServerNames,
}

/// Serves `routes` on `listener` until `stop`; errors that the framework answers are made problem documents of.
///
/// `store` is the database that requests wait for: as soon as it is lost, they are answered 503.
///
/// Not by the framework's own way of serving, which is for any version of HTTP: we speak one, and each of boards' small
/// requests would pay for what chooses among them.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    store: Option<Store>,
    options: HttpOptions,
    stop: CancellationToken,
) {
    let HttpOptions { limits, names } = options;
    let front = Arc::new(Front { routes: routes.fallback(problem::no_such_path), names, store });
    let (registry, memory) = (Arc::new(Registry::new(limits)), Arc::new(Memory::new(limits.answer_bytes)));
    let (mut open, mut refusals) = (JoinSet::new(), Refusals::default());
    let mut door = Door::new(listener);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = door.accept() => accepted,
            Some(_ended) = open.join_next() => continue,
            () = refusals.over() => continue,
            () = stop.cancelled() => break,
        };
        let client = Client::of(peer.ip());
        let place = match registry.admit(client) {
            Admission::Free(place) => place,
            Admission::Instead(place) => {
                refusals.note_closed(peer.ip().to_canonical());
                place
            }
            Admission::Refused(full) => {
                refusals.refuse(stream, peer.ip().to_canonical(), full);
                continue;
            }
        };
        let address = peer.ip().to_canonical().to_string().into();
        let peer = Peer { address, client, body_time: limits.body };
        open.spawn(carry(stream, peer, place, Arc::clone(&front), Arc::clone(&memory)));
    }
    // Nobody is to knock in vain.
    drop(door);
    registry.end_all();
    tokio::select! {
        () = async { while open.join_next().await.is_some() {} } => {}
        () = pause(DRAIN) => {}
    }
}

/// Carries requests and answers over one connection, until either side ends it.
async fn carry(stream: TcpStream, peer: Peer, place: Place, front: Arc<Front>, memory: Arc<Memory>) {
    let watch = &place.watch;
    let (front, memory) = (&front, &memory);
    let client = place.client;
    let address = Arc::clone(&peer.address);
    // Around all routes: a layer would stand around each, and every request would pay for copies of it.
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = UnderWay::new(watch);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let answer = front.answer(request);
        async move {
            let answer = answer.await?;
            let (answer, share) = match size_to_count(&answer) {
                None => (answer, None),
                // In a box: every request would have to carry room for it.
                Some(size) => Box::pin(counted(answer, memory, client, size)).await,
            };
            Ok::<_, Infallible>(answer.map(|body| Answer::new(body, under_way, share)))
        }
    });
    let stream = TokioIo::new(Watched { stream, watch: Arc::clone(watch) });
    let connection = http1::Builder::new().max_buf_size(MAX_BUFFER).serve_connection(stream, service);
    let mut connection = pin!(connection);
    let mut is_to_end = false;
    let mut to_end = pin!(watch.until_to_end());
    let mut overdue = pin!(watch.overdue());
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
                if watch.waits() {
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
fn size_to_count(answer: &Response) -> Option<u64> {
    let size = answer.body().size_hint().exact().unwrap_or(IN_PARTS);
    (size > SMALL).then_some(size)
}

/// An answer with its share of the memory, or what is told where there is none.
async fn counted(
    answer: Response,
    memory: &Arc<Memory>,
    client: Client,
    size: u64,
) -> (Response, Option<Share>) {
    if let Some(share) = memory.take(client, size).await {
        return (answer, Some(share));
    }
    let detail = "too many large answers wait to be read; try again shortly";
    (Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).into_response(), None)
}

/// Where clients come in.
struct Door {
    listener: TcpListener,
    /// Whether the last of them could not be let in.
    is_shut: bool,
}

impl Door {
    fn new(listener: TcpListener) -> Self {
        // What is accepted has it from the listener.
        let (time, interval, retries) = KEEPALIVE;
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
        let socket = SockRef::from(&listener);
        // Or else the end of a long answer waits until the client acknowledges what went before it (RFC 896).
        let set = socket.set_tcp_keepalive(&keepalive).and_then(|()| socket.set_tcp_nodelay(true));
        if let Err(error) = set {
            tracing::warn!(error = &error as &dyn Error, "cannot set options of HTTP connections");
        }
        Self { listener, is_shut: false }
    }

    /// Lets the next client in.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    if std::mem::take(&mut self.is_shut) {
                        tracing::info!("HTTP connections accepted again");
                    }
                    return accepted;
                }
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.is_shut, true) {
                        tracing::warn!(error = &error as &dyn Error, "cannot accept HTTP connections");
                    }
                    pause(FULL).await;
                }
            }
        }
    }
}

/// Whether a client went away before its turn.
fn is_clients(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests;
