//! The listening port.
//!
//! Each datagram carries the address it was sent to. A machine with several addresses must answer from that address,
//! because clients drop answers from another one.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// More than the largest request, so that a longer one is detected.
const RECEIVE_BUFFER_BYTES: usize = 2048;

/// Kernel queue for requests: after a power failure, all boards of a farm send requests at once.
const SOCKET_QUEUE_BYTES: usize = 1024 * 1024;

/// A datagram with its source and destination.
#[derive(Debug)]
pub(super) struct Datagram {
    /// The sender; an IPv4 client has an IPv4 address.
    pub peer: SocketAddr,
    /// The address to answer from; port 0.
    pub local: SocketAddr,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// A bound port.
#[derive(Debug)]
pub(super) struct TftpListener {
    socket: UdpSocket,
    local_addr: SocketAddr,
}

impl TftpListener {
    /// Binds `listen`; `[::]` includes IPv4.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when the address cannot be bound.
    pub(super) fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_ipv6() {
            socket.set_only_v6(!listen.ip().is_unspecified())?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        socket.set_recv_buffer_size(SOCKET_QUEUE_BYTES)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local_addr = socket.local_addr()?;
        Ok(Self { socket, local_addr })
    }

    /// The bound address.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits for a datagram, ignoring broadcast and multicast.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when the socket fails.
    pub(super) async fn receive(&self) -> io::Result<Datagram> {
        loop {
            let received = self.socket.async_io(Interest::READABLE, || self.try_receive()).await?;
            if let Some(datagram) = received {
                return Ok(datagram);
            }
        }
    }

    /// Sends `packet` to `peer` from this port and the address `local`.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when it could not be sent.
    pub(super) async fn send(&self, packet: &[u8], local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, || self.try_send(packet, local, peer)).await
    }

    fn try_send(&self, packet: &[u8], local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
        let (fd, slices) = (self.socket.as_raw_fd(), [IoSlice::new(packet)]);
        if let (SocketAddr::V4(_), IpAddr::V4(local)) = (self.local_addr, local.ip()) {
            let zero = nix::libc::in_addr { s_addr: 0 };
            let source = nix::libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let info = nix::libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: zero };
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd, &slices, &control, MsgFlags::empty(), Some(&SockaddrStorage::from(peer)))?;
            return Ok(());
        }
        // A dual-stack socket uses IPv4-mapped addresses.
        let mapped = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let scope = if let SocketAddr::V6(peer) = peer { peer.scope_id() } else { 0 };
        let info = nix::libc::in6_pktinfo {
            ipi6_addr: nix::libc::in6_addr { s6_addr: mapped(local.ip()).octets() },
            ipi6_ifindex: scope,
        };
        let to = SocketAddr::from(SocketAddrV6::new(mapped(peer.ip()), peer.port(), 0, scope));
        let control = [ControlMessage::Ipv6PacketInfo(&info)];
        sendmsg(fd, &slices, &control, MsgFlags::empty(), Some(&SockaddrStorage::from(to)))?;
        Ok(())
    }

    fn try_receive(&self) -> io::Result<Option<Datagram>> {
        let mut bytes = vec![0; RECEIVE_BUFFER_BYTES];
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::in_pktinfo);
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), MsgFlags::empty())?;

        let sent_to = message.cmsgs()?.find_map(|part| destination_of(&part));
        let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
        let peer = message.address.as_ref().and_then(address_of);
        let length = message.bytes;
        bytes.truncate(length);

        let Some((peer, (destination, local))) = peer.zip(sent_to).filter(|_| is_whole) else {
            return Ok(None);
        };
        // RFC 1123 §4.2.3.5: a request to a broadcast address should be ignored.
        let is_group = destination.is_multicast() || destination == IpAddr::from(Ipv4Addr::BROADCAST);
        Ok((!is_group && peer.port() != 0).then(|| Datagram {
            peer,
            local: local_address_for(peer, local),
            bytes,
        }))
    }
}

/// Returns the destination of a packet, and the local address it stands for.
fn destination_of(part: &ControlMessageOwned) -> Option<(IpAddr, IpAddr)> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = part {
        // Both are in network order.
        let address = |raw: nix::libc::in_addr| IpAddr::from(Ipv4Addr::from(raw.s_addr.to_ne_bytes()));
        return Some((address(info.ipi_addr), address(info.ipi_spec_dst)));
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = part {
        let address = IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical();
        return Some((address, address));
    }
    None
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from(std::net::SocketAddrV4::from(*v4)));
    let v6 = || {
        address.as_sockaddr_in6().map(|v6| {
            let v6 = SocketAddrV6::from(*v6);
            // A mapped address has no scope; a link-local one needs it.
            v6.ip().to_ipv4_mapped().map_or(SocketAddr::from(v6), |v4| SocketAddr::from((v4, v6.port())))
        })
    };
    v4.or_else(v6)
}

/// Returns the local address `local` on the link of `peer`, with any port.
fn local_address_for(peer: SocketAddr, local: IpAddr) -> SocketAddr {
    match (local, peer) {
        (IpAddr::V6(local), SocketAddr::V6(peer)) => SocketAddrV6::new(local, 0, 0, peer.scope_id()).into(),
        _ => SocketAddr::new(local, 0),
    }
}
