//! The connections of clients, and what carries requests to the routes and answers back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::problem;
use crate::clock::pause;

/// How long open connections may take to end once the server stops, in real time.
const DRAIN: Duration = Duration::from_secs(5);

/// The address that a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Arc<str>);

/// Serves `routes` on `listener` until `stop`; errors that the framework answers are made problem documents of.
///
/// The framework's own way of serving asks of each connection which version of HTTP it speaks, and tells the kernel of
/// head and body apart: with boards' small requests that took a tenth of the server's time.
pub async fn serve(mut listener: TcpListener, routes: Router, stop: CancellationToken) {
    let routes = routes.fallback(problem::no_such_path);
    let (mut open, graceful) = (JoinSet::new(), GracefulShutdown::new());
    let mut http = http1::Builder::new();
    http.writev(false);
    loop {
        let (stream, peer) = tokio::select! {
            // Waits a moment where the machine has no room for another connection.
            accepted = Listener::accept(&mut listener) => accepted,
            Some(_ended) = open.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let (routes, peer) = (routes.clone(), Peer(peer.ip().to_canonical().to_string().into()));
        // Around all routes: a layer would stand around each, and every request would pay for copies of it.
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            problem::answer(request, routes.clone())
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        open.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn Error, "a connection broke");
            }
        });
    }
    // Nobody is to knock in vain.
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = pause(DRAIN) => {}
    }
}
