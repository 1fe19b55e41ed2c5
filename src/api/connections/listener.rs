//! The socket on which connections are accepted.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::sleep_real_time;
use crate::formatting::with_causes;

/// The pause after a connection could not be accepted, for instance because the process has no free descriptor.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// TCP keep-alive: idle time, interval, retries. A client that has disappeared is detected after two minutes.
const TCP_KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(15), 4);

/// The socket on which connections are accepted.
pub(super) struct HttpListener {
    pub(super) socket: TcpListener,
    /// Whether the last connection could not be accepted.
    is_failing: bool,
}

impl HttpListener {
    pub(super) fn new(socket: TcpListener) -> Self {
        // Accepted sockets inherit the options.
        let (time, interval, retries) = TCP_KEEPALIVE;
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
        let options = SockRef::from(&socket);
        // Without TCP_NODELAY, the end of a long answer waits until the client acknowledges what precedes it (RFC 896).
        let set = options.set_tcp_keepalive(&keepalive).and_then(|()| options.set_tcp_nodelay(true));
        if let Err(error) = set {
            tracing::warn!(error = %with_causes(&error), "cannot set options of HTTP connections");
        }
        Self { socket, is_failing: false }
    }

    /// Accepts the next connection.
    pub(super) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("HTTP connections accepted again");
                    }
                    return accepted;
                }
                Err(error) if is_client_abort(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(error = %with_causes(&error), "cannot accept HTTP connections");
                    }
                    sleep_real_time(ACCEPT_RETRY_INTERVAL).await;
                }
            }
        }
    }
}

/// Whether a client disconnected before it was accepted.
fn is_client_abort(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
