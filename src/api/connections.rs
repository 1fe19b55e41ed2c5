//! The connections of clients: they carry requests to the routes and answers back.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::problem;
use crate::clock::pause;

/// How long open connections may take to end once the server stops, in real time. Whoever is not answered by then is cut
/// off; what was asked for may still be decided on.
const DRAIN: Duration = Duration::from_secs(5);
/// How long nobody is let in where the machine has no room for another connection, unless one ends.
const FULL: Duration = Duration::from_secs(1);

/// The address that a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Arc<str>);

/// Serves `routes` on `listener` until `stop`; errors that the framework answers are made problem documents of.
///
/// Not by the framework's own way of serving, which is for any version of HTTP: we speak one, and each of boards' small
/// requests would pay for what chooses among them.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let routes = routes.fallback(problem::no_such_path);
    let (mut open, graceful) = (JoinSet::new(), GracefulShutdown::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
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
        let connection =
            graceful.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
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

/// Lets the next client in.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Or else the end of a long answer waits until the client acknowledges what went before it (RFC 896).
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(error = &error as &dyn Error, "answers may come late");
                }
                return (stream, from);
            }
            // A client that went away before its turn.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "no connection can be accepted");
                pause(FULL).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    async fn ask(at: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_server_that_stops_answers_whoever_has_asked_and_keeps_nobody_else() {
        let (asked, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (asked, told) = (Arc::clone(&asked), Arc::clone(&told));
            async move || {
                asked.notify_one();
                told.notified().await;
                "at last"
            }
        };
        let routes = Router::new().route("/slow", get(slow)).route("/", get(async || "at once"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let mut server = JoinSet::new();
        server.spawn(serve(listener, routes, stop.clone()));

        let mut idle = ask(at, "/").await;
        let mut answer = [0; 1000];
        assert!(idle.read(&mut answer).await.unwrap() > 0);
        let mut waiting = ask(at, "/slow").await;
        asked.notified().await;
        stop.cancel();
        // Kept for the next request, which nobody would answer.
        assert_eq!(idle.read(&mut answer).await.unwrap(), 0);
        told.notify_one();
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("at last"), "{answer}");
        server.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn connections_send_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(accept(&listener).await.0.nodelay().unwrap());
    }
}
