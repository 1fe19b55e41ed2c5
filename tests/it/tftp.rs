//! Tests of the TFTP server on real sockets: with a raw client, our own client, and other programs.

mod clients;
mod limits;
mod observer;
mod paths;
mod quirks;
mod single_port;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifeguard::tftp::packet::{TftpErrorCode, TftpPacket, TftpRequest, TransferMode};
use lifeguard::tftp::{PortMode, TftpFetch, TftpLimits, TftpObserver, TftpServer, TransferEnd};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a test waits for an expected packet: far longer than it takes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Limits without retransmission within a test.
const LONG_RETRY_LIMITS: TftpLimits = TftpLimits {
    first_retransmit_after: Duration::from_mins(10),
    max_retransmit_wait: Duration::from_mins(10),
    max_retransmits: 5,
    first_answer_timeout: Duration::from_mins(20),
    max_silence: Duration::from_hours(1),
    max_transfer_time: Duration::from_hours(1),
    slow_allowance: Duration::from_hours(1),
    max_transfers: 512,
    max_transfers_per_client: 512,
};

/// Limits with quick retransmission and quick end.
const SHORT_LIMITS: TftpLimits = TftpLimits {
    first_retransmit_after: Duration::from_millis(100),
    max_retransmit_wait: Duration::from_millis(200),
    max_retransmits: 3,
    first_answer_timeout: Duration::from_secs(1),
    max_silence: Duration::from_mins(1),
    ..LONG_RETRY_LIMITS
};

/// Waits for `what`, with a time limit.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let until = Instant::now() + WAIT_TIMEOUT;
    timeout_at(until, work).await.unwrap_or_else(|_| panic!("{what} did not come in {WAIT_TIMEOUT:?}"))
}

/// A call of the observer.
#[derive(Debug, Clone, PartialEq)]
enum ObservedFetch {
    Asked(TftpFetch),
    Ended(TftpFetch, TransferEnd),
    Dropped(TftpFetch),
}

struct RecordingObserver(mpsc::UnboundedSender<ObservedFetch>);

impl TftpObserver for RecordingObserver {
    fn on_request(&self, fetch: &TftpFetch) {
        self.0.send(ObservedFetch::Asked(fetch.clone())).ok();
    }

    fn on_end(&self, fetch: &TftpFetch, end: TransferEnd) {
        self.0.send(ObservedFetch::Ended(fetch.clone(), end)).ok();
    }

    fn on_drop(&self, fetch: &TftpFetch) {
        self.0.send(ObservedFetch::Dropped(fetch.clone())).ok();
    }
}

/// A running server with its own boot tree.
struct TftpSite {
    grounds: TempDir,
    server: SocketAddr,
    observed: mpsc::UnboundedReceiver<ObservedFetch>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl TftpSite {
    async fn start(limits: TftpLimits) -> Self {
        Self::listen("127.0.0.1:0", limits).await
    }

    async fn listen(listen: &str, limits: TftpLimits) -> Self {
        Self::answering(listen, limits, PortMode::OnePerTransfer).await
    }

    async fn answering(listen: &str, limits: TftpLimits, ports: PortMode) -> Self {
        let (sender, observed) = mpsc::unbounded_channel();
        let observer = Arc::new(RecordingObserver(sender));
        let grounds = tempfile::tempdir().unwrap();
        let root = grounds.path().join("boot");
        fs_err::create_dir(&root).unwrap();
        let server = TftpServer::bind(listen.parse().unwrap(), root, observer).await.unwrap();
        let server = server.with_limits(limits).with_port_mode(ports);
        let (address, stop, mut tasks) = (server.local_addr(), CancellationToken::new(), JoinSet::new());
        tasks.spawn(server.run(stop.clone()));
        Self { grounds, server: address, observed, stop, tasks }
    }

    /// The path of `name` in the tree.
    fn path(&self, name: &str) -> PathBuf {
        self.grounds.path().join("boot").join(name)
    }

    /// Puts a file with `size_bytes` of noise into the tree.
    fn file(&self, name: &str, size_bytes: usize) -> Vec<u8> {
        let content = noise(size_bytes);
        fs_err::write(self.path(name), &content).unwrap();
        content
    }

    /// The next call of the observer.
    async fn next_observed(&mut self) -> ObservedFetch {
        within("a call of the observer", self.observed.recv()).await.expect("the server has stopped")
    }

    /// How the next fetch ended.
    async fn end(&mut self) -> TransferEnd {
        loop {
            if let ObservedFetch::Ended(_, end) = self.next_observed().await {
                return end;
            }
        }
    }

    async fn client(&self) -> RawTftpClient {
        RawTftpClient::at(self.server).await
    }
}

/// Random bytes without repetition within a block or window.
fn noise(size_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size_bytes + 8);
    while bytes.len() < size_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size_bytes);
    bytes
}

/// A raw client that sends nothing by itself.
struct RawTftpClient {
    socket: UdpSocket,
    server: SocketAddr,
    /// The source of the last packet.
    peer: SocketAddr,
}

impl RawTftpClient {
    async fn at(server: SocketAddr) -> Self {
        let from = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { "::".parse().unwrap() };
        Self::from(from, server).await
    }

    /// Creates a client with its own address.
    async fn from(from: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).await.unwrap();
        Self { socket, server, peer: server }
    }

    async fn send_raw(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).await.unwrap();
    }

    async fn ask(&self, file: &str, options: &[(&str, &str)]) {
        self.send_raw(&TftpPacket::Read(request(file, options)).to_bytes()).await;
    }

    async fn say(&self, packet: TftpPacket<'_>) {
        self.socket.send_to(&packet.to_bytes(), self.peer).await.unwrap();
    }

    async fn ack(&self, block: u16) {
        self.say(TftpPacket::Ack { block }).await;
    }

    /// The next datagram.
    async fn hear_raw(&mut self) -> Vec<u8> {
        let mut room = vec![0; 65_536];
        let (length, from) = within("a packet", self.socket.recv_from(&mut room)).await.unwrap();
        self.peer = from;
        room.truncate(length);
        room
    }

    /// The next packet must be this block; returns its payload.
    async fn hear_data(&mut self, number: u16) -> Vec<u8> {
        let bytes = self.hear_raw().await;
        match TftpPacket::parse(&bytes) {
            Ok(TftpPacket::Data { block, payload }) if block == number => payload.to_vec(),
            other => panic!("block {number} expected, not {other:?}"),
        }
    }

    /// Waits for this block, ignoring repetitions before it on a busy machine.
    async fn hear_until_data(&mut self, number: u16) {
        loop {
            let bytes = self.hear_raw().await;
            if matches!(TftpPacket::parse(&bytes), Ok(TftpPacket::Data { block, .. }) if block == number) {
                return;
            }
        }
    }

    /// The next packet must be an OACK; returns its options as text.
    async fn hear_options(&mut self) -> String {
        let bytes = self.hear_raw().await;
        match TftpPacket::parse(&bytes) {
            Ok(TftpPacket::OptionsAck(options)) => {
                options.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
            other => panic!("an OACK expected, not {other:?}"),
        }
    }

    /// The next packet must be an ERROR.
    async fn hear_error(&mut self) -> (u16, String) {
        let bytes = self.hear_raw().await;
        match TftpPacket::parse(&bytes) {
            Ok(TftpPacket::Error { code: TftpErrorCode(code), message }) => (code, message),
            other => panic!("an ERROR expected, not {other:?}"),
        }
    }

    /// Checks that nothing more has arrived: the next packet is the one that this client sends to itself.
    async fn hear_no_more(&mut self) {
        let own = (Ipv4Addr::LOCALHOST, self.socket.local_addr().unwrap().port());
        self.socket.send_to(b"nothing more", own).await.unwrap();
        let packet = self.hear_raw().await;
        assert_eq!(packet, b"nothing more", "{:?}", TftpPacket::parse(&packet));
    }

    /// Acknowledges block by block of 512 bytes from `block` on; returns the content.
    async fn hear_rest(&mut self, mut block: u16) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let payload = self.hear_data(block).await;
            self.ack(block).await;
            content.extend_from_slice(&payload);
            if payload.len() < 512 {
                return content;
            }
            block = block.wrapping_add(1);
        }
    }
}

fn request(file: &str, options: &[(&str, &str)]) -> TftpRequest {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TftpRequest { file: file.as_bytes().to_owned(), mode: TransferMode::Octet, options }
}
