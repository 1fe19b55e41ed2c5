//! The TFTP server on real sockets: against a client that does as it is told, our own, and those of others.

mod clients;
mod limits;
mod observing;
mod paths;
mod quirks;
mod single_port;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifeguard::tftp::packet::{ErrorCode, Mode, Packet, Request};
use lifeguard::tftp::{End, Fetch, Limits, Observer, Ports, Server};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that never retransmits within a test: what comes came at once.
const STUBBORN: Limits = Limits {
    first_wait: Duration::from_mins(10),
    longest_wait: Duration::from_mins(10),
    retries: 5,
    unanswered: Duration::from_mins(20),
    longest_silence: Duration::from_hours(1),
    longest_transfer: Duration::from_hours(1),
    slow: Duration::from_hours(1),
    transfers: 512,
    transfers_per_client: 512,
};

/// A server that retransmits and gives up soon.
const HASTY: Limits = Limits {
    first_wait: Duration::from_millis(100),
    longest_wait: Duration::from_millis(200),
    retries: 3,
    unanswered: Duration::from_secs(1),
    longest_silence: Duration::from_mins(1),
    ..STUBBORN
};

/// Waits for `what`, which must come.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let until = Instant::now() + PATIENCE;
    timeout_at(until, work).await.unwrap_or_else(|_| panic!("{what} did not come in {PATIENCE:?}"))
}

/// What an observer is told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Asked(Fetch),
    Ended(Fetch, End),
    Dropped(Fetch),
}

struct Witness(mpsc::UnboundedSender<Told>);

impl Observer for Witness {
    fn asked(&self, fetch: &Fetch) {
        self.0.send(Told::Asked(fetch.clone())).ok();
    }

    fn ended(&self, fetch: &Fetch, end: End) {
        self.0.send(Told::Ended(fetch.clone(), end)).ok();
    }

    fn dropped(&self, fetch: &Fetch) {
        self.0.send(Told::Dropped(fetch.clone())).ok();
    }
}

/// A running server over a tree of its own.
struct Site {
    grounds: TempDir,
    server: SocketAddr,
    told: mpsc::UnboundedReceiver<Told>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Site {
    async fn start(limits: Limits) -> Self {
        Self::listen("127.0.0.1:0", limits).await
    }

    async fn listen(listen: &str, limits: Limits) -> Self {
        Self::answering(listen, limits, Ports::OnePerTransfer).await
    }

    async fn answering(listen: &str, limits: Limits, ports: Ports) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let observer = Arc::new(Witness(tell));
        let grounds = tempfile::tempdir().unwrap();
        let root = grounds.path().join("boot");
        fs_err::create_dir(&root).unwrap();
        let server = Server::bind(listen.parse().unwrap(), root, observer).await.unwrap();
        let server = server.limited(limits).answering_from(ports);
        let (address, stop, mut tasks) = (server.local_addr(), CancellationToken::new(), JoinSet::new());
        tasks.spawn(server.run(stop.clone()));
        Self { grounds, server: address, told, stop, tasks }
    }

    /// Where `name` is in the tree.
    fn path(&self, name: &str) -> PathBuf {
        self.grounds.path().join("boot").join(name)
    }

    /// Puts a file with `size_bytes` of noise into the tree.
    fn file(&self, name: &str, size_bytes: usize) -> Vec<u8> {
        let content = noise(size_bytes);
        fs_err::write(self.path(name), &content).unwrap();
        content
    }

    /// The next thing that the observer was told.
    async fn told(&mut self) -> Told {
        within("a word to the observer", self.told.recv()).await.expect("the server has gone")
    }

    /// How the next fetch ended.
    async fn end(&mut self) -> End {
        loop {
            if let Told::Ended(_, end) = self.told().await {
                return end;
            }
        }
    }

    async fn client(&self) -> Client {
        Client::at(self.server).await
    }
}

/// Bytes that repeat nowhere near a block's or a window's length.
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

/// A client that sends what it is told to, and nothing by itself.
struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    /// Where the last packet came from.
    peer: SocketAddr,
}

impl Client {
    async fn at(server: SocketAddr) -> Self {
        let from = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { "::".parse().unwrap() };
        Self::from(from, server).await
    }

    /// A client with an address of its own.
    async fn from(from: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).await.unwrap();
        Self { socket, server, peer: server }
    }

    async fn send_raw(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).await.unwrap();
    }

    async fn ask(&self, file: &str, options: &[(&str, &str)]) {
        self.send_raw(&Packet::Read(request(file, options)).to_bytes()).await;
    }

    async fn say(&self, packet: Packet<'_>) {
        self.socket.send_to(&packet.to_bytes(), self.peer).await.unwrap();
    }

    async fn ack(&self, block: u16) {
        self.say(Packet::Ack { block }).await;
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
        match Packet::parse(&bytes) {
            Ok(Packet::Data { block, payload }) if block == number => payload.to_vec(),
            other => panic!("block {number} expected, not {other:?}"),
        }
    }

    /// Waits for this block; what is repeated before it on a busy machine is passed over.
    async fn hear_until_data(&mut self, number: u16) {
        loop {
            let bytes = self.hear_raw().await;
            if matches!(Packet::parse(&bytes), Ok(Packet::Data { block, .. }) if block == number) {
                return;
            }
        }
    }

    /// The next packet must be an OACK; returns its options as text.
    async fn hear_options(&mut self) -> String {
        let bytes = self.hear_raw().await;
        match Packet::parse(&bytes) {
            Ok(Packet::OptionsAck(options)) => {
                options.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
            other => panic!("an OACK expected, not {other:?}"),
        }
    }

    /// The next packet must be an ERROR.
    async fn hear_error(&mut self) -> (u16, String) {
        let bytes = self.hear_raw().await;
        match Packet::parse(&bytes) {
            Ok(Packet::Error { code: ErrorCode(code), message }) => (code, message),
            other => panic!("an ERROR expected, not {other:?}"),
        }
    }

    /// Nothing more has come: what this client sends to itself is what it hears next.
    async fn hear_no_more(&mut self) {
        let own = (Ipv4Addr::LOCALHOST, self.socket.local_addr().unwrap().port());
        self.socket.send_to(b"nothing more", own).await.unwrap();
        let heard = self.hear_raw().await;
        assert_eq!(heard, b"nothing more", "{:?}", Packet::parse(&heard));
    }

    /// Acknowledges block by block of 512 bytes from `block` on; returns what came.
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

fn request(file: &str, options: &[(&str, &str)]) -> Request {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Request { file: file.as_bytes().to_owned(), mode: Mode::Octet, options }
}
