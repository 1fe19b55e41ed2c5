//! The way to one client: a socket of its own, or the listening port with all others.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::listener::TftpListener;

/// Packets of one client that may wait in front of its transfer; more are dropped, as a network drops them.
pub(super) const INBOX_PACKETS: usize = 16;

/// Where answers come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PortMode {
    /// Each transfer has a port of its own, as RFC 1350 §4 says.
    #[default]
    OnePerTransfer,
    /// All answers come from the listening port, which passes NAT and firewalls.
    ///
    /// Then whoever can forge a client's address can forge its ACKs too, so one ACK never brings more than one block.
    Single,
}

/// The way to one client; hears nobody else.
#[derive(Debug)]
pub(super) enum ClientChannel {
    /// A connected socket.
    Own(UdpSocket),
    /// The listening port; what the client says comes by the inbox.
    Shared {
        /// The port.
        listener: Arc<TftpListener>,
        /// The client.
        peer: SocketAddr,
        /// The address that it asked.
        local: SocketAddr,
        /// Its packets.
        inbox: mpsc::Receiver<Vec<u8>>,
    },
}

impl ClientChannel {
    /// Makes the socket for one client: it sends from the address that was asked and hears nobody else.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when the machine has no socket for it, or no way to the client.
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

    /// Waits for one packet, which is put into `room` as far as it fits; returns its length there.
    pub(super) async fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(socket) => socket.recv(room).await,
            Self::Shared { inbox, .. } => {
                let Some(packet) = inbox.recv().await else {
                    // The server has let the transfer go, and ends it.
                    return std::future::pending().await;
                };
                let length = packet.len().min(room.len());
                for (to, from) in room.iter_mut().zip(&packet) {
                    *to = *from;
                }
                Ok(length)
            }
        }
    }
}
