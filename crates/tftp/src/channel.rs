//! Channel to one client: its own socket, or the shared listening port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::listener::TftpListener;

/// Capacity of a transfer's inbox, in packets; further packets are dropped, like in a network.
pub(super) const INBOX_PACKETS: usize = 16;

/// The port that answers are sent from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PortMode {
    /// Each transfer has its own port (RFC 1350 §4).
    #[default]
    OnePerTransfer,
    /// All answers are sent from the listening port, which works through NAT and firewalls.
    ///
    /// With this mode, a client that forges another address can forge its ACKs too, so one ACK causes at most one
    /// block.
    Single,
}

/// Channel to one client; packets of other clients do not arrive here.
#[derive(Debug)]
pub(super) enum ClientChannel {
    /// A connected socket.
    Own(UdpSocket),
    /// The listening port; the client's packets arrive in the inbox.
    Shared {
        /// The port.
        listener: Arc<TftpListener>,
        /// The client.
        peer: SocketAddr,
        /// The local address that it sent the request to.
        local: SocketAddr,
        /// Its packets.
        inbox: mpsc::Receiver<Vec<u8>>,
    },
}

impl ClientChannel {
    /// Creates a socket for one client: it sends from the address of the request and receives only from the client.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when no socket can be created, or there is no route to the client.
    pub(super) async fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(local).await?;
        socket.connect(peer).await?;
        Ok(Self::Own(socket))
    }

    /// Sends one packet.
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Own(socket) => socket.send(packet).await.map(drop),
            Self::Shared { listener, peer, local, inbox: _ } => listener.send(packet, *local, *peer).await,
        }
    }

    /// Waits for one packet and copies it into `buffer` as far as it fits; returns the length copied.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(socket) => socket.recv(buffer).await,
            Self::Shared { inbox, .. } => {
                let Some(packet) = inbox.recv().await else {
                    // The server has dropped the transfer and will end this task.
                    return std::future::pending().await;
                };
                let length = packet.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(&packet) {
                    *to = *from;
                }
                Ok(length)
            }
        }
    }
}
