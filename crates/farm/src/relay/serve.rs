//! The server task of a simulated relay board.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::behaviour::RelayBehaviour;
use super::coils::RelayState;
use super::frame::RelayFrame;

pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

pub(super) fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    bind(addr)?.listen(64)
}

/// Listens while the behaviour accepts connections. When it stops listening, all connections are closed.
pub(super) async fn serve(addr: SocketAddr, mut first: Option<TcpListener>, state: Arc<RelayState>) {
    let mut behaviour = state.behaviour.subscribe();
    loop {
        if behaviour.wait_for(|now| *now != RelayBehaviour::Refusing).await.is_err() {
            return;
        }
        let listener = match first.take().map_or_else(|| listener(addr), Ok) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "simulated relay board cannot bind its address");
                return;
            }
        };
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = behaviour.wait_for(|now| *now == RelayBehaviour::Refusing) => break,
                Some(_) = clients.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if let Some(client) = RelayClient::connected(&state) {
                            clients.spawn(client.serve(stream));
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "simulated relay board cannot accept a connection, listening again");
                        break;
                    }
                },
            }
        }
    }
}

/// One connection, counted while it is open.
struct RelayClient {
    state: Arc<RelayState>,
}

impl RelayClient {
    /// Accepts a connection, or refuses it if only one client is allowed and another one is connected.
    fn connected(state: &Arc<RelayState>) -> Option<Self> {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let before = state.clients.fetch_add(1, Ordering::SeqCst);
        let is_full = before > 0 && *state.behaviour.borrow() == RelayBehaviour::OneClientAtATime;
        let client = Self { state: Arc::clone(state) };
        (!is_full).then_some(client)
    }

    async fn serve(self, mut stream: TcpStream) {
        if let Err(error) = self.answer_all(&mut stream).await {
            tracing::debug!(%error, "connection to a simulated relay board failed");
        }
    }

    async fn answer_all(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        while let Some(frame) = self.next(stream).await? {
            let behaviour = *self.state.behaviour.borrow();
            let unit = *self.state.unit.borrow();
            if unit.is_some_and(|unit| unit != frame.unit) {
                continue;
            }
            if let RelayBehaviour::Slow { delay } = behaviour {
                self.state.clock.sleep(delay).await;
            }
            let Some(answer) = self.state.answer(&frame.request(), behaviour) else { continue };
            let is_rtu = behaviour == RelayBehaviour::Rtu;
            let bytes = if is_rtu { frame.rtu_answer(&answer) } else { frame.answer(&answer) };
            stream.write_all(&bytes).await?;
            if behaviour == RelayBehaviour::CloseAfterAnswer {
                break;
            }
        }
        Ok(())
    }

    /// Returns the next request; `None` if the client closed the connection or has been idle for too long.
    async fn next(&self, stream: &mut TcpStream) -> io::Result<Option<RelayFrame>> {
        let RelayBehaviour::IdleClose { after } = *self.state.behaviour.borrow() else {
            return RelayFrame::read(stream).await;
        };
        self.state.clock.timeout(after, RelayFrame::read(stream)).await.unwrap_or(Ok(None))
    }
}

impl Drop for RelayClient {
    fn drop(&mut self) {
        self.state.clients.fetch_sub(1, Ordering::SeqCst);
    }
}
