//! Datagrams to a device, each sent only within the lease.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clock::Clock;
use tokio::net::UdpSocket;

use crate::connect::{ConnectError, local_error, resolve};
use crate::lease::ProcessLease;
use crate::trouble::LocalTrouble;

/// Why a datagram was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The lease of this process has expired.
    #[error("lease expired")]
    LeaseExpired,
    /// The system refused it, or reports that the device refused an earlier one.
    #[error(transparent)]
    Socket(io::Error),
}

/// A socket that exchanges datagrams with one device. Others' datagrams do not reach it.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    device: SocketAddr,
    local: SocketAddr,
    lease: ProcessLease,
}

impl DatagramSocket {
    /// Opens a socket at a free port for the device `host`, an address or a name. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Local`] or [`ConnectError::NoSuchName`].
    pub async fn open(
        clock: &dyn Clock,
        host: &str,
        port: u16,
        limit: Duration,
        lease: ProcessLease,
    ) -> Result<Self, ConnectError> {
        let mut last = None;
        for device in resolve(clock, host, port, limit).await? {
            match open_socket(device).await {
                Ok((socket, local)) => return Ok(Self { socket, device, local, lease }),
                Err(error) => {
                    let trouble = LocalTrouble::of_socket(&error, device.ip())
                        .unwrap_or_else(|| LocalTrouble::Network(device.ip()));
                    last = Some(local_error(trouble, Some(&error)));
                }
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::NoSuchName(host.to_owned())))
    }

    /// The device's address.
    #[must_use]
    pub fn device(&self) -> SocketAddr {
        self.device
    }

    /// The socket's own address.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// [`SendError`]: this datagram was not sent.
    pub async fn send(&self, datagram: &[u8]) -> Result<(), SendError> {
        loop {
            self.socket.writable().await.map_err(SendError::Socket)?;
            // Immediately before it is sent: no system call delays it.
            if !self.lease.may_act() {
                return Err(SendError::LeaseExpired);
            }
            match self.socket.try_send(datagram) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(SendError::Socket(error)),
            }
        }
    }

    /// Waits for a datagram of the device and returns its length.
    ///
    /// # Errors
    ///
    /// The system's error, `ConnectionRefused` where nothing listens at the device's port.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }
}

async fn open_socket(device: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let any = match device.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(device).await?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

#[cfg(test)]
mod tests {
    use clock::SystemClock;
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn open(device: SocketAddr, lease: ProcessLease) -> DatagramSocket {
        DatagramSocket::open(&SystemClock, &device.ip().to_string(), device.port(), LIMIT, lease)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn no_datagram_is_sent_after_the_lease_expired() {
        let device = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let lease = ProcessLease::default();
        let socket = open(device.local_addr().unwrap(), lease.clone()).await;
        socket.send(b"1").await.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(device.recv_from(&mut buffer).await.unwrap(), (1, socket.local()));
        lease.extend(Instant::now());
        assert!(matches!(socket.send(b"2").await, Err(SendError::LeaseExpired)));
        lease.extend(Instant::now() + LIMIT);
        socket.send(b"3").await.unwrap();
        device.recv_from(&mut buffer).await.unwrap();
        assert_eq!(buffer[0], b'3', "the second was not sent");
    }

    #[tokio::test]
    async fn a_device_that_does_not_listen_is_distinguished_from_a_local_fault() {
        let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let socket = open(unused, ProcessLease::default()).await;
        socket.send(b"1").await.unwrap();
        let refused = socket.receive(&mut [0]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let lease = ProcessLease::default();
        let error =
            DatagramSocket::open(&SystemClock, "255.255.255.255", 161, LIMIT, lease).await.unwrap_err();
        assert!(matches!(error, ConnectError::Local { trouble: LocalTrouble::Network(_), .. }), "{error:?}");
    }
}
