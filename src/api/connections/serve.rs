//! Accepts connections until the server stops.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer_memory::AnswerMemory;
use super::connection;
use super::limits::HttpLimits;
use super::listener::HttpListener;
use super::refusals::ConnectionRefusals;
use super::registry::{Admission, ConnectionRegistry};
use crate::api::client::{ClientKey, ConnectionInfo};
use crate::api::frontend::HttpFrontend;
use crate::api::problem;
use crate::api::server_names::ServerNames;
use crate::clock::sleep_real_time;
use crate::store::Store;

/// How long open connections may take to end once the server stops, in real time. Clients that have no answer
/// by then are disconnected; their requests may still be decided.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The options of an HTTP server.
#[derive(Debug, Default)]
pub struct HttpOptions {
    /// The limits of connections.
    pub limits: HttpLimits,
    /// The names that clients may call it by.
    pub server_names: ServerNames,
}

/// Serves `routes` on `listener` until `stop`; errors of the framework are answered as problem documents.
///
/// `store` is the database that requests wait for: once it is lost, they are answered by 503.
///
/// `axum::serve` is not used: it serves any version of HTTP, and choosing among them would slow down the small requests of
/// boards.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    store: Option<Store>,
    options: HttpOptions,
    stop: CancellationToken,
) {
    let HttpOptions { limits, server_names: names } = options;
    let frontend = Arc::new(HttpFrontend { routes: routes.fallback(problem::no_such_path), names, store });
    let (registry, memory) =
        (Arc::new(ConnectionRegistry::new(limits)), Arc::new(AnswerMemory::new(limits.max_answer_bytes)));
    let (mut open, mut refusals) = (JoinSet::new(), ConnectionRefusals::default());
    let mut listener = HttpListener::new(listener);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = open.join_next() => continue,
            () = refusals.shortage_ended() => continue,
            () = stop.cancelled() => break,
        };
        let client = ClientKey::of(peer.ip());
        let connection = match registry.admit(client) {
            Admission::Admitted(connection) => connection,
            Admission::AdmittedAfterClosing(connection) => {
                refusals.note_closed(peer.ip().to_canonical());
                connection
            }
            Admission::Refused(limit) => {
                refusals.refuse(stream, peer.ip().to_canonical(), limit);
                continue;
            }
        };
        let address = peer.ip().to_canonical().to_string().into();
        let info = ConnectionInfo { address, client_key: client, body_timeout: limits.body_timeout };
        open.spawn(connection::run(stream, info, connection, Arc::clone(&frontend), Arc::clone(&memory)));
    }
    // New clients are refused at once, and can try another server.
    drop(listener);
    registry.end_all();
    tokio::select! {
        () = async { while open.join_next().await.is_some() {} } => {}
        () = sleep_real_time(DRAIN_TIMEOUT) => {}
    }
}
