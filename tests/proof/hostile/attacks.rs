//! Malicious clients, and clients that lost power in the middle of a request.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lifeguard::farm::Random;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::cluster::pause;

/// Number of concurrent incomplete requests, and of TFTP transfers.
const CONNECTIONS: usize = 600;
const TRANSFERS: usize = 600;
/// The first attacker's address.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);

/// Opens connections and leaves them: incomplete headers, incomplete bodies, idle, answers unread.
pub(super) async fn half_sent_http(server: SocketAddr, span: Duration, random: &mut Random) {
    let pieces: [&[u8]; 5] = [
        b"",
        b"GET /api/v1/devices HT",
        b"POST /api/v1/devices/board-001/events/image-running HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n",
        b"POST /api/v1/devices/board-001/events/mark HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n{\"mark\": ",
        b"GET /api/v1/devices/board-001/history?limit=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ];
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let address = u32::from(FIRST_ADDRESS) + u32::try_from(random.next_below(40)).unwrap_or(0);
        let Ok(mut connection) = connect(Ipv4Addr::from(address), server).await else { continue };
        let _ = connection.write_all(pieces[random.next_below(pieces.len())]).await;
        open.push(connection);
    }
    pause(span).await;
}

async fn connect(from: Ipv4Addr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    #[expect(clippy::disallowed_methods, reason = "a server that is full must not stop its attacker")]
    let connected = tokio::time::timeout(Duration::from_secs(1), socket.connect(server)).await;
    connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Starts transfers that are never acknowledged, with the longest timeout; some requests are garbage.
pub(super) async fn tftp_flood(server: SocketAddr, span: Duration, random: &mut Random) {
    let requests: [&[u8]; 5] = [
        b"\x00\x01live/initrd\x00octet\x00timeout\x0030\x00",
        b"\x00\x01live/kernel\x00octet\x00blksize\x0065464\x00windowsize\x0064\x00",
        b"\x00\x01live/initrd\x00octet\x00",
        b"\x00\x01../../etc/passwd\x00octet\x00",
        b"\x00\x01\xff\xfe\x00\x00\x00",
    ];
    let mut sockets = Vec::new();
    for _ in 0..TRANSFERS {
        let address = u32::from(FIRST_ADDRESS) + u32::try_from(random.next_below(4)).unwrap_or(0);
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::from(address), 0)).await else { continue };
        let _ = socket.send_to(requests[random.next_below(requests.len())], server).await;
        sockets.push(socket);
        if sockets.len().is_multiple_of(50) {
            pause(Duration::from_millis(10)).await;
        }
    }
    pause(span).await;
}
