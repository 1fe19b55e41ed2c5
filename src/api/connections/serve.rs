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

/// How long open connections may take to end once the server stops, in real time. Whoever is not answered by then is cut
/// off; what was asked for may still be decided on.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How a server serves HTTP.
#[derive(Debug, Default)]
pub struct HttpOptions {
    /// How many connections there may be, and how long each may keep the server waiting.
    pub limits: HttpLimits,
    /// By which names clients may call it.
    pub server_names: ServerNames,
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
    let HttpOptions { limits, server_names: names } = options;
    let front = Arc::new(HttpFrontend { routes: routes.fallback(problem::no_such_path), names, store });
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
        let place = match registry.admit(client) {
            Admission::Admitted(place) => place,
            Admission::AdmittedAfterClosing(place) => {
                refusals.note_closed(peer.ip().to_canonical());
                place
            }
            Admission::Refused(full) => {
                refusals.refuse(stream, peer.ip().to_canonical(), full);
                continue;
            }
        };
        let address = peer.ip().to_canonical().to_string().into();
        let peer = ConnectionInfo { address, client_key: client, body_timeout: limits.body_timeout };
        open.spawn(connection::run(stream, peer, place, Arc::clone(&front), Arc::clone(&memory)));
    }
    // New clients are refused at once, and may find another server.
    drop(listener);
    registry.end_all();
    tokio::select! {
        () = async { while open.join_next().await.is_some() {} } => {}
        () = sleep_real_time(DRAIN_TIMEOUT) => {}
    }
}
